"""The simulated annotator, the loss of equation 1, and a training that can be interrupted."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minisam import reference
from minisam.config import CONFIGS
from minisam.training import loop, prompts
from minisam.training.data import Pictures, find_records
from minisam.world import render
from minisam_kernels import InputError
from strategies import seeds

SETTINGS = loop.Settings(size=64, steps=4, batch=2, masks=2, rounds=3, warmup=2)


def blobs(seed: int, count: int = 4, size: int = 24) -> torch.Tensor:
    """Random rectangles (count, size, size) bool, none empty."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, size, size), bool)
    for mask in masks:
        (y0, x0), (h, w) = rng.integers(0, size - 1, 2), rng.integers(1, size, 2)
        mask[y0 : y0 + h, x0 : x0 + w] = True
    return torch.from_numpy(masks)


@given(seeds)
def test_points_lie_in_the_mask_and_boxes_near_it(seed):
    """Kills: (row, column) for (x, y), noise without a limit, labels of a box on a point."""
    masks = blobs(seed)
    coords, labels, is_box = prompts.initial_prompts(masks, torch.Generator().manual_seed(seed))
    for mask, place, label, box in zip(masks, coords, labels, is_box, strict=True):
        rows, columns = np.nonzero(mask.numpy())
        if box:
            limit = 20 * masks.shape[-1] / 1024 + 1e-4
            truth = torch.tensor([[columns.min(), rows.min()], [columns.max(), rows.max()]])
            assert label.tolist() == [2, 3] and (place - truth).abs().max() <= limit
        else:
            x, y = place[0].long()
            assert label.tolist() == [1, -1] and mask[y, x]


@given(seeds)
def test_corrections_point_at_errors(seed):
    """A missed pixel gets a foreground point, a wrong one background. Kills: labels from the prediction."""
    truth, predicted = blobs(seed), blobs(seed + 1)
    coords, labels = prompts.correction(predicted, truth, torch.Generator().manual_seed(seed))
    for i in range(len(truth)):
        x, y = coords[i, 0].long()
        assert labels[i, 0] == int(truth[i, y, x])
        if (truth[i] != predicted[i]).any():
            assert truth[i, y, x] != predicted[i, y, x]


def test_every_pixel_of_a_region_can_be_drawn():
    """Uniform: over many draws each of six pixels comes up. Kills: always the first or the centre."""
    region = torch.zeros(600, 4, 4, dtype=torch.bool)
    region[:, 1:3, :3] = True
    drawn = prompts.sample_pixels(region, torch.Generator().manual_seed(0)).long()
    counts = torch.bincount(drawn[:, 1] * 4 + drawn[:, 0], minlength=16).view(4, 4)
    assert (counts[1:3, :3] > 60).all() and counts.sum() == counts[1:3, :3].sum()


def batch_of(size: int = 64) -> dict[str, torch.Tensor]:
    items = [Pictures(size, 2, (), 1.0, 0, 2)[i] for i in range(2)]
    return {key: torch.from_numpy(np.stack([item[key] for item in items])) for key in items[0]}


def test_only_the_best_mask_learns_from_a_point():
    """Equation 1: the hypernetworks of the masks that lost get no gradient. Kills: mean instead of min."""
    model = reference.build(SETTINGS.config())
    batch = batch_of()
    batch = {"image": batch["image"][:1], "size": batch["size"][:1], "masks": batch["masks"][:1, :1]}
    generator = next(g for s in range(50) if not prompts.initial_prompts(
        batch["masks"].flatten(0, 1), g := torch.Generator().manual_seed(s))[2].any())  # fmt: skip
    loss, _ = loop.interact(model, batch, 1, torch.Generator().manual_seed(generator.initial_seed()))
    loss.backward()
    networks = model.mask_decoder.output_hypernetworks_mlps
    learned = [i for i in range(4) if networks[i].layers[2].weight.grad.abs().sum() > 0]
    assert len(learned) == 1 and learned[0] > 0


def test_pictures_are_numbered():
    """Item i depends on (seed, i) alone, and pads at the right and bottom. Kills: a generator shared by items."""
    one, other = Pictures(64, 3, (), 1.0, 5, 10), Pictures(64, 3, (), 1.0, 5, 10)
    other[0]
    for key in ("image", "size", "masks"):
        np.testing.assert_array_equal(one[7][key], other[7][key])
    assert one[7]["masks"].shape == (3, 64, 64) and one[7]["masks"].any(axis=(1, 2)).all()
    assert not np.array_equal(one[7]["image"], one[8]["image"])


def sa1b_folder(path, count: int = 2):
    """A folder in SA-1B's schema made of world pictures."""
    coco = pytest.importorskip("pycocotools.mask")
    (path / "images").mkdir(parents=True)
    (path / "annotations").mkdir()
    for i in range(count):
        scene = render(i, 96)
        Image.fromarray(scene.image[:64]).save(path / "images" / f"{i}.jpg")
        masks = [m.segmentation[:64] for m in scene.masks if m.segmentation[:64].any()]
        codes = [coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in masks]
        annotations = [{"segmentation": {"size": c["size"], "counts": c["counts"].decode()}} for c in codes]
        record = {"image": {"file_name": f"{i}.jpg", "width": 96, "height": 64}, "annotations": annotations}
        (path / "annotations" / f"{i}.json").write_text(json.dumps(record))
    return path


def test_real_pictures_come_from_sa1bs_schema(tmp_path):
    folder = sa1b_folder(tmp_path / "set")
    assert len(find_records(folder)) == 2
    item = Pictures(64, 3, (str(folder),), 0.0, 0, 10)[3]
    height, width = item["size"]
    assert max(height, width) == 64 and not item["masks"][:, height:].any() and not item["masks"][:, :, width:].any()
    with pytest.raises(InputError, match=r"expected pictures and JSON files in SA-1B's schema below .*, got none"):
        find_records(tmp_path / "set" / "images")
    with pytest.raises(InputError, match=r"expected --world 1 when no --data folder is given, got 0.5"):
        Pictures(64, 3, (), 0.5, 0, 10)


def test_stretching_keeps_what_fits_and_interpolates_positions():
    """A model at twice the size starts from the same function of position. Kills: tables that are cut off."""
    small, large = (dataclasses.replace(CONFIGS["tiny"], image_size=s) for s in (64, 128))
    state = reference.build(small).state_dict()
    state["image_encoder.pos_embed"] = torch.linspace(0, 1, 8)[None, None, :, None].expand(1, 8, 8, 192)
    stretched = loop.stretch(state, large.shapes())
    reference.build(large).load_state_dict(stretched)
    row = stretched["image_encoder.pos_embed"][0, 3, :, 0]
    assert len(row) == 16 and (row[1:] >= row[:-1]).all() and row[0] == 0 and row[-1] == 1


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path):
    """To the bit: stopped after two of four steps and begun again, the weights are equal. Kills: a forgotten state."""
    whole = loop.Trainer(SETTINGS, tmp_path / "whole")
    whole.run(workers=0)
    half = loop.Trainer(SETTINGS, tmp_path / "half")
    for _, batch in zip(range(2), half.batches(0), strict=False):
        half.train_step(batch)
    half.save()
    resumed = loop.Trainer(SETTINGS, tmp_path / "half")
    assert resumed.step == 2
    resumed.run(workers=0)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 4 and np.isfinite(log[-1]["loss"])
    with pytest.raises(InputError, match="expected the settings that"):
        loop.Trainer(dataclasses.replace(SETTINGS, lr=1.0), tmp_path / "half")


def test_an_interrupted_training_is_saved(tmp_path):
    """Ctrl-C between steps leaves a checkpoint of the last whole step and no temporary file."""
    trainer = loop.Trainer(SETTINGS, tmp_path)
    step = trainer.train_step

    def interrupt(batch):
        if trainer.step == 1:
            raise KeyboardInterrupt
        return step(batch)

    trainer.train_step = interrupt
    with pytest.raises(KeyboardInterrupt):
        trainer.run(workers=0)
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 1
    assert not list(tmp_path.glob("*.tmp"))


def test_the_loss_falls(tmp_path):
    """Twenty steps on one batch make its loss smaller: gradients reach the weights. Kills: a detached embedding."""
    trainer = loop.Trainer(dataclasses.replace(SETTINGS, steps=100), tmp_path)
    losses = [trainer.train_step(batch_of())["loss"] for _ in range(20)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1


@given(st.integers(0, 399))
def test_learning_rate(step):
    settings = loop.Settings(steps=400, warmup=100, lr=1.0, final_lr=0.2)
    rate = settings.learning_rate(step)
    assert 0 < rate <= 1 and (step >= 100 or rate == (step + 1) / 100) and (step < 100 or rate >= 0.2)
