"""Training on words: one tap of the last layer, the loss over several right answers, scenes that survive a stop."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.predictor import SamPredictor
from minisam.sam import build
from minisam.training import text_data, text_prompts
from minisam.training.rounds import grade
from minisam.training.settings import Settings, TextSettings
from minisam.training.text_data import fit_prior
from minisam.training.text_prompts import OneTap, text_loss
from minisam.training.text_scenes import TextScenes
from minisam.world import HELD_OUT, render
from refusals import refusal
from small_models import SMALL

pytestmark = pytest.mark.usefixtures("torch_at_one_thread")
MUTANTS = {
    "the other tap": ("minisam/training/text_prompts.py", "self.tap[0], self.tap[1]", "self.tap[1], self.tap[0]"),
    "the first answer alone": (
        "minisam/training/text_prompts.py",
        "for answer in answers.unbind(1)]",
        "for answer in answers[:, :1].expand_as(answers).unbind(1)]",
    ),
    "answers that are none": (
        "minisam/training/text_prompts.py",
        "losses = losses.masked_fill(~known[:, None], torch.inf)",
        "losses = losses + 0",
    ),
    "a half-written scene": (
        "minisam/training/text_scenes.py",
        "os.truncate(self.folder / name, len(self)",
        "os.truncate(self.folder / name, os.path.getsize(self.folder / name)) or (len(self)",
    ),
    "scenes that are held out": ("minisam/training/text_scenes.py", "integers(HELD_OUT)", "integers(HELD_OUT, 2**31)"),
    "a prior without a ridge": ("minisam/training/text_data.py", "ridge: float = 1.0", "ridge: float = 0.0"),
    "the old projection": (
        "minisam/training/text_prompts.py",
        'if notes["towers"] != self.stream.towers:',
        "if False:",
    ),
}


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("column", [0, 1])
def test_one_tap_is_every_other_pixel_of_the_layer(row: int, column: int) -> None:
    """Kills: the other tap."""
    torch.manual_seed(0)
    whole, x = nn.ConvTranspose2d(3, 5, 2, stride=2), torch.randn(2, 3, 4, 6)
    tap = OneTap(3, 5)
    tap.load_state_dict(whole.state_dict())
    tap.tap = row, column
    assert torch.allclose(tap(x), whole(x)[..., row::2, column::2], atol=1e-6)


def test_the_closest_pair_of_mask_and_right_answer_learns() -> None:
    """By brute force, and with the gradient of that pair alone.

    Kills: the first answer alone; answers that are none.
    """
    torch.manual_seed(1)
    s, low_res = Settings(), (4 * torch.randn(3, 4, 8, 8)).requires_grad_()
    confidence = torch.rand(3, 4)
    answers = torch.rand(3, 3, 8, 8) > 0.5
    answers[0, 2] = low_res[0, 2] > 0  # mask 2 is right, if answer 2 is one
    answers[2, 2] = low_res[2, 1] > 0  # but this one is none
    known = torch.tensor([[True, True, True], [True, False, True], [True, True, False]])
    loss, figures = text_loss(low_res, confidence, answers, known, s)
    expected, learning = 0.0, torch.zeros(3, 4)
    for m in range(3):
        pairs = {
            (k, g): float(grade(low_res[m : m + 1, k : k + 1].detach(), answers[m : m + 1, g], s))
            for k in range(4)
            for g in range(3)
            if known[m, g]
        }
        several = min((pair for pair in pairs if pair[0] > 0), key=pairs.__getitem__)
        single = min((pair for pair in pairs if pair[0] == 0), key=pairs.__getitem__)
        learning[m, several[0]] = learning[m, 0] = 1
        expected += pairs[several] + pairs[single]
        for k in range(4):
            masks = [(low_res[m, k] > 0, answers[m, g]) for g in range(3) if known[m, g]]
            iou = max(float((a & b).sum() / (a | b).sum()) for a, b in masks)
            expected += float(confidence[m, k] - iou) ** 2 / 4
        assert m != 0 or several == (2, 2)
    assert loss.item() == pytest.approx(expected / 3, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, low_res)
    assert torch.equal(gradient.abs().sum((2, 3)) > 0, learning > 0)
    assert 0 <= float(figures["iou"]) <= float(figures["oracle"]) <= 1


def test_the_prior_is_an_affine_map_that_float16_can_hold() -> None:
    """It finds the map on the directions that texts have, and nothing large on the others.

    Kills: a prior without a ridge.
    """
    rng = np.random.default_rng(0)
    basis, weight, bias = rng.standard_normal((3, 8)), rng.standard_normal((8, 8)), rng.standard_normal(8)
    texts = (rng.standard_normal((5000, 3)) @ basis + 1).astype(np.float32)
    texts += 1e-6 * rng.standard_normal(texts.shape).astype(np.float32)
    crops = texts @ weight + bias + 0.1 * rng.standard_normal(texts.shape)
    prior = fit_prior(texts, crops.astype(np.float32)).astype(np.float16).astype(float)
    assert np.abs(texts @ prior[:-1] + prior[-1] - (texts @ weight + bias)).max() < 0.05 and np.abs(prior).max() < 10


@pytest.fixture(scope="module")
def predictor() -> SamPredictor:
    return SamPredictor(build(SMALL))


def test_scenes_go_on_after_a_stop(tmp_path, predictor) -> None:
    """Kills: a half-written scene; scenes that are held out."""
    scenes = TextScenes(tmp_path / "a", predictor)
    scenes.extend(3)
    stopped = TextScenes(tmp_path / "b", predictor)
    stopped.extend(1)
    with open(tmp_path / "b" / "images.u8", "ab") as file:
        file.write(b"half of a scene")
    with open(tmp_path / "b" / "scenes.jsonl", "ab") as file:
        file.write(b'{"seed": 3, "ma')
    again = TextScenes(tmp_path / "b", predictor)
    assert len(again) == 1
    again.extend(3)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    seed = json.loads(again.lines[2])["seed"]
    scene, original = again.scene(2), render(seed, SMALL.image_size)
    assert seed < HELD_OUT and np.array_equal(scene.image, original.image)
    assert (scene.domain, scene.caption) == (original.domain, original.caption)
    for mask, other in zip(scene.masks, original.masks, strict=True):
        assert np.array_equal(mask.segmentation, other.segmentation)
        assert (mask.name, mask.level, mask.parent, mask.area) == (other.name, other.level, other.parent, other.area)
    predictor.set_image(original.image)
    assert np.allclose(
        again.array("embeddings.f16")[2], np.moveaxis(predictor.features[0], 0, -1), atol=1e-2, rtol=1e-3
    )
    assert "expected scenes of" in refusal(TextScenes, tmp_path / "a", predictor, 1)


class Towers:
    """CLIP whose vectors are a crop's mean colour, turned."""

    def __init__(self, turn: int) -> None:
        self.config = dataclasses.make_dataclass("Config", ["image_size", "embed_dim"])(8, 4)
        self.turn = np.linalg.qr(np.random.default_rng(turn).standard_normal((4, 4)))[0].astype(np.float32)
        self.state = {"turn": self.turn}

    def embed_image(self, crops, inside=None):
        vectors = np.pad(crops.mean((1, 2)), ((0, 0), (0, 1)), constant_values=40).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) @ self.turn

    def embed_text(self, texts):
        return np.ones((len(texts), 4), np.float32) / 2


def test_a_training_stops_goes_on_and_starts_from_another(tmp_path, monkeypatch) -> None:
    """The loss is finite, a stop changes nothing, and with turned towers every crop keeps its token.

    Kills: the old projection.
    """
    from minisam.training.loop import Trainer

    small = build(SMALL)
    for module in (text_data, text_prompts):
        monkeypatch.setattr(module, "load", lambda name: small)
    monkeypatch.setattr(text_data, "load_clip", lambda path: Towers(int(path or 0)))
    s = TextSettings(scenes=str(tmp_path / "scenes"), count=3, steps=3, batch=2, warmup=0, precision="float32")
    Trainer(s, tmp_path / "whole").run(workers=0)
    stopped = Trainer(s, tmp_path / "parts")
    stopped.train_step(next(stopped.batches(0)))
    stopped.save()
    Trainer(s, tmp_path / "parts").run(workers=0)
    whole, parts = (read_safetensors(tmp_path / name / "weights.safetensors")[0] for name in ("whole", "parts"))
    assert all(np.allclose(whole[name], parts[name], atol=1e-3) for name in whole)
    Trainer(dataclasses.replace(s, pool=2), tmp_path / "pooled").run(workers=0)
    old = Trainer(s, tmp_path / "whole").task
    turned = dataclasses.replace(s, towers="1", start=str(tmp_path / "whole"))
    new = Trainer(turned, tmp_path / "turned").task
    assert old.stream.towers != new.stream.towers
    crops = [torch.tensor(task.stream.table["crops"].astype(np.float32)).flatten(0, 1) for task in (old, new)]
    old.model.load_state_dict(Trainer(s, tmp_path / "whole").average)
    with torch.no_grad():
        tokens = [task.model.prompt_encoder.embed_texts(c) for task, c in zip((old, new), crops)]
    assert torch.allclose(*tokens, atol=2e-2)


def test_refusals() -> None:
    assert "alike" in refusal(TextSettings(alike=2).check)
    assert "pool 1 or 2" in refusal(TextSettings(pool=3).check)
    assert "masks from 3 on" in refusal(TextSettings(masks=2).check)
