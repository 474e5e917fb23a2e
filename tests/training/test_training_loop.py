"""The loop: going on to the bit, stopping cleanly, bad luck with numbers and disks, what a training begins with."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_training import SETTINGS, batch_of

import minisam
from minisam import reference
from minisam.model.config import CONFIGS
from minisam.training import initialisation, loop
from minisam.training.log import read_log
from minisam.training.settings import read_settings
from minisam_kernels import InputError
from sa1b import sa1b_folder


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path, optimizer):
    """To the bit, drop path and all: stopped after two of four steps and begun again. Kills: a forgotten state."""
    settings = dataclasses.replace(SETTINGS, drop_path=0.3, layer_decay=0.8, optimizer=optimizer)
    whole = loop.Trainer(settings, tmp_path / "whole")
    assert whole.run(workers=0) == ""
    half = loop.Trainer(settings, tmp_path / "half")
    for _, batch in zip(range(2), half.batches(0), strict=False):
        half.train_step(batch)
    half.save()
    torch.rand(7)  # the global generator is not where chance comes from
    resumed = loop.Trainer(settings, tmp_path / "half")
    assert resumed.step == 2
    resumed.run(workers=0)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
        assert torch.equal(whole.average[key], resumed.average[key]), key
    log = read_log(tmp_path / "whole")
    assert log[-1]["step"] == 4 and np.isfinite(log[-1]["loss"]) and log[-1]["pictures_s"] > 0
    with pytest.raises(InputError, match="expected the settings that"):
        loop.Trainer(dataclasses.replace(settings, lr=1.0), tmp_path / "half")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_saves(tmp_path, number):
    """Ctrl-C in the middle of a step: the step is finished, saved and logged no line. Kills: half a step in a file."""
    trainer = loop.Trainer(SETTINGS, tmp_path)
    step = trainer.train_step

    def interrupt(batch):
        if trainer.step == 1:
            os.kill(os.getpid(), number)
        return step(batch)

    trainer.train_step = interrupt  # type: ignore[method-assign]
    before = signal.getsignal(number)
    assert trainer.run(workers=0) in ("interrupted", "terminated") and signal.getsignal(number) is before
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["checkpoint.pt", "raw.safetensors", "weights.safetensors"]


def group_of_one(folder: str) -> None:
    """A process and its group, which trains with a worker until it is stopped."""
    os.setpgid(0, 0)
    trainer = loop.Trainer(dataclasses.replace(SETTINGS, steps=10**6), folder)
    assert trainer.run(workers=1) == "terminated"


@pytest.mark.slow
def test_a_signal_to_the_whole_group_saves(tmp_path):
    """As ``timeout`` and ``torchrun`` send it, to workers too. Kills: a worker that dies, and the save that fails."""
    process = multiprocessing.get_context("spawn").Process(target=group_of_one, args=(str(tmp_path),))
    process.start()
    deadline = time.monotonic() + 120
    try:
        while not ((tmp_path / "log.jsonl").exists() and read_log(tmp_path)):  # 20 steps: the worker is at work
            assert process.is_alive() and time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 0
    finally:
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] >= 20


def test_the_average_is_of_the_last_tenth(tmp_path):
    """Keeps t / (t + 10) at step t, at most ``average``. Kills: an average of the first steps for ever, another step's
    share."""
    trainer = loop.Trainer(dataclasses.replace(SETTINGS, average=0.2), tmp_path)
    name = "mask_decoder.iou_token.weight"
    expected = trainer.average[name].clone()
    for step, batch in enumerate(trainer.batches(0), 1):
        trainer.train_step(batch)
        keep = min(0.2, step / (step + 10))
        expected = keep * expected + (1 - keep) * trainer.model.state_dict()[name]
        torch.testing.assert_close(trainer.average[name], expected)
    with trainer.averaged() as model:
        assert not model.training and torch.equal(model.state_dict()[name], trainer.average[name])
    assert trainer.model.training and not torch.equal(trainer.model.state_dict()[name], trainer.average[name])


@pytest.mark.slow
def test_finished_weights_are_not_begun_anew(tmp_path):
    """A folder whose checkpoint was deleted. Kills: step 0 written over them."""
    loop.Trainer(SETTINGS, tmp_path).run(workers=0)
    (tmp_path / "checkpoint.pt").unlink()
    with pytest.raises(InputError, match=r"expected .* to be new or to have a checkpoint.pt, got finished weights"):
        loop.Trainer(SETTINGS, tmp_path)


@pytest.mark.slow
def test_time_is_up(tmp_path):
    trainer = loop.Trainer(SETTINGS, tmp_path)
    assert trainer.run(workers=0, minutes=1e-6) == "time" and trainer.step == 1
    again = loop.Trainer(SETTINGS, tmp_path)
    assert again.step == 1 and again.run(workers=0) == "" and again.step == 4


@pytest.mark.slow
def test_a_log_is_cut_where_the_checkpoint_is(tmp_path):
    trainer = loop.Trainer(SETTINGS, tmp_path)
    trainer.save()
    lines = ['{"step": 0, "loss": 1}', '{"step": 900, "loss": 2}', '{"step": 95']
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    trainer.run(workers=0)
    assert [entry["step"] for entry in read_log(tmp_path)] == [0, 4]


def test_a_loss_that_is_no_number_keeps_the_last_checkpoint(tmp_path):
    trainer = loop.Trainer(SETTINGS, tmp_path)
    trainer.run(workers=0, minutes=1e-6)
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    with torch.no_grad():
        trainer.model.mask_decoder.iou_token.weight.fill_(float("nan"))
    with pytest.raises(InputError, match=r"expected a finite loss, got (loss|norm) nan near step 2; .* stays"):
        trainer.run(workers=0)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


def test_what_a_worker_stumbles_over_is_one_line(tmp_path):
    """A damaged picture in another process: its message alone."""
    folder = sa1b_folder(tmp_path / "set", 1)
    (folder / "images" / "0.jpg").write_bytes(b"no picture")
    settings = dataclasses.replace(SETTINGS, data=(str(folder),), world=0.0)
    with pytest.raises(InputError) as caught:
        loop.Trainer(settings, tmp_path / "run").run(workers=1)
    assert str(caught.value).startswith("expected a picture, got") and "\n" not in str(caught.value)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    """In a process that may write no file over 20 MB, where a checkpoint takes four times that."""
    trainer = loop.Trainer(SETTINGS, tmp_path)
    trainer.save()
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    program = (
        f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        "from minisam.training import loop; from minisam_kernels import InputError\n"
        "from test_training import SETTINGS\n"
        f"trainer = loop.Trainer(SETTINGS, {str(tmp_path)!r})\n"
        "try:\n    trainer.save()\nexcept InputError as error:\n    print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.stdout.startswith("expected to be able to write") and answer.stdout.count("\n") == 1, answer.stderr
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept and not list(tmp_path.glob(".*"))


def test_an_error_that_torch_hides_comes_with_the_room_that_is_left(tmp_path, monkeypatch):
    """Its writer says no more than "unexpected pos" on a disk without room."""
    trainer = loop.Trainer(SETTINGS, tmp_path)

    def full(state, file):
        raise RuntimeError("[enforce fail] . unexpected pos 64 vs 0\nframe #0: nowhere")

    monkeypatch.setattr(loop.torch, "save", full)
    monkeypatch.setattr(loop.shutil, "disk_usage", lambda folder: SimpleNamespace(free=123_456))
    with pytest.raises(InputError, match=r"checkpoint.pt, got: .* unexpected pos 64 vs 0 \(0.1 MB are free there\)$"):
        trainer.save()
    assert not list(tmp_path.iterdir())


def test_checkpoints_that_do_not_fit(tmp_path):
    """Another architecture, a damaged file, an unknown model size: one clear line each."""
    trainer = loop.Trainer(SETTINGS, tmp_path / "a")
    trainer.save()
    with pytest.raises(InputError, match="'model': "):
        loop.Trainer(dataclasses.replace(SETTINGS, model="vit_b"), tmp_path / "a")
    saved = torch.load(tmp_path / "a" / "checkpoint.pt", weights_only=True)
    saved["model"]["image_encoder.pos_embed"] = torch.zeros(1, 9, 9, 192)
    torch.save(saved, tmp_path / "a" / "checkpoint.pt")
    with pytest.raises(InputError, match=r"a model of this architecture, got: .*pos_embed"):
        loop.Trainer(SETTINGS, tmp_path / "a")
    (tmp_path / "a" / "checkpoint.pt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InputError, match="expected a whole checkpoint"):
        loop.Trainer(SETTINGS, tmp_path / "a")
    with pytest.raises(InputError, match="multiple of the patch"):
        dataclasses.replace(SETTINGS, size=65).check()
    with pytest.raises(InputError, match="--optimizer among adamw, muon, got 'sgd'"):
        dataclasses.replace(SETTINGS, optimizer="sgd").check()
    with pytest.raises(InputError, match="--hold-out of 2 or more, or 0 for none, got 1"):
        dataclasses.replace(SETTINGS, hold_out=1).check()
    with pytest.raises(InputError, match="expected --world below 1 with --data, got 1: none of its pictures"):
        dataclasses.replace(SETTINGS, data=("photos",), world=1.0).check()
    with pytest.raises(InputError, match="expected --drop-path below 1, got 1"):
        dataclasses.replace(SETTINGS, drop_path=1.0).check()
    for name in ("seed", "warmup"):
        with pytest.raises(InputError, match=f"expected --{name} of 0 or more, got -1"):
            dataclasses.replace(SETTINGS, **{name: -1}).check()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_compact_checkpoints_go_on(tmp_path, optimizer):
    settings = dataclasses.replace(SETTINGS, optimizer=optimizer)
    one = loop.Trainer(settings, tmp_path, compact=True)
    one.run(workers=0, minutes=1e-6)
    states = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["optimiser"]
    assert len(states) == len(one.optimiser.parts) == 1 + (optimizer == "muon")
    for state in states:
        moments = [value for values in state["state"].values() for key, value in values.items() if key != "step"]
        assert moments and all(value.dtype == torch.bfloat16 for value in moments)
    one.run(workers=0, save_every=0)  # a save after every step: the moments in use stay float32
    assert one.step == 4
    one.step = 1
    one.save()
    two = loop.Trainer(settings, tmp_path, compact=True)
    for part in two.optimiser.parts:
        moments = [value for values in part.state.values() for key, value in values.items() if key != "step"]
        assert moments and all(value.dtype == torch.float32 for value in moments)
    assert two.run(workers=0) == ""


def test_muon_turns_matrices_and_nothing_else(tmp_path):
    """Weights of linear layers move in far more directions than their gradient has; the rest is AdamW's. Kills: the
    tables of tokens among the matrices; a matrix left to AdamW."""
    settings = dataclasses.replace(SETTINGS, optimizer="muon", weight_decay=0.0)
    trainer = loop.Trainer(settings, tmp_path)
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    parts = [[p for group in part.param_groups for p in group["params"]] for part in trainer.optimiser.parts]
    adam, muon = ({names[id(parameter)] for parameter in part} for part in parts)
    assert muon | adam == set(names.values()) and not muon & adam
    assert {"image_encoder.blocks.0.attn.qkv.weight", "mask_decoder.iou_prediction_head.layers.0.weight"} <= muon
    for name in ("mask_decoder.mask_tokens.weight", "image_encoder.pos_embed", "image_encoder.blocks.0.attn.rel_pos_h"):
        assert name in adam
    weight = trainer.model.image_encoder.blocks[0].mlp.lin1.weight
    before = weight.detach().clone()
    trainer.train_step(batch_of())
    assert weight.grad is not None
    gradient, step = torch.linalg.svdvals(weight.grad), torch.linalg.svdvals(weight.detach() - before)
    assert step.sum() / step.max() > 3 * gradient.sum() / gradient.max()


def test_beside_muon_others_take_smaller_steps(tmp_path):
    """``others`` scales the rate of AdamW's part, matrices keep theirs, and alone AdamW knows nothing of it. Kills: a
    rate of all; a rate that is lost when a training goes on."""
    for optimizer, scales in (("muon", [{0.25}, {1.0}]), ("adamw", [{1.0}])):
        settings = dataclasses.replace(SETTINGS, optimizer=optimizer, others=0.25, weight_decay=0.0)
        for _ in range(2):  # begun, and gone on with
            trainer = loop.Trainer(settings, tmp_path / optimizer)
            parts = trainer.optimiser.parts
            assert [{group["scale"] for group in part.param_groups} for part in parts] == scales
            trainer.save()
            trainer.optimiser.step(0.01)
            assert [{group["lr"] for group in part.param_groups} for part in parts] == [
                {0.01 * scale for scale in some} for some in scales
            ]


def test_weights_can_be_used_and_trained_on(tmp_path):
    """What is written is a model that minisam.load reads, and a start at another size, average or raw."""
    trainer = loop.Trainer(SETTINGS, tmp_path / "one")
    trainer.run(workers=0)
    assert minisam.load(tmp_path / "one" / "weights.safetensors").config.image_size == 64
    average, raw = (initialisation.find_weights(tmp_path / "one", raw) for raw in (False, True))
    assert average.name == "weights.safetensors" and raw.name == "raw.safetensors"
    for path, state in ((average, trainer.average), (raw, trainer.model.state_dict())):
        again = loop.Trainer(dataclasses.replace(SETTINGS, init=str(path)), tmp_path / "two")
        assert torch.equal(again.model.mask_decoder.iou_token.weight, state["mask_decoder.iou_token.weight"])
    larger = loop.Trainer(dataclasses.replace(SETTINGS, size=128, init=str(average)), tmp_path / "three")
    assert larger.model.image_encoder.pos_embed.shape[1] == 16
    with pytest.raises(InputError, match="expected weights to begin with"):
        initialisation.find_weights(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected the \d+ weights of vit_b|of shape .*, as the model has it"):
        loop.Trainer(dataclasses.replace(SETTINGS, model="vit_b", init=str(average)), tmp_path / "four")


def test_other_encoders(tmp_path):
    """Another depth and width: trained, saved with its sizes, loaded."""
    settings = dataclasses.replace(SETTINGS, depth=2, width=64, steps=1)
    loop.Trainer(settings, tmp_path).run(workers=0)
    config = minisam.load(tmp_path / "weights.safetensors").config
    sizes = (config.encoder_depth, config.encoder_embed_dim, config.encoder_num_heads)
    assert sizes == (2, 64, 1) and config.encoder_global_attn_indexes == (0, 1)
    with pytest.raises(InputError, match="multiple of 64, got 100"):
        dataclasses.replace(SETTINGS, width=100).check()


def test_stretching_keeps_what_fits_and_interpolates_positions():
    """A model at twice the size starts from the same function of position. Kills: tables that are cut off."""
    small, large = (dataclasses.replace(CONFIGS["tiny"], image_size=s) for s in (64, 128))
    state = reference.build(small).state_dict()
    state["image_encoder.pos_embed"] = torch.linspace(0, 1, 8)[None, None, :, None].expand(1, 8, 8, 192)
    stretched = initialisation.stretch(state, large.shapes())
    reference.build(large).load_state_dict(stretched)
    row = stretched["image_encoder.pos_embed"][0, 3, :, 0]
    assert len(row) == 16 and (row[1:] >= row[:-1]).all() and row[0] == 0 and row[-1] == 1


def test_the_loss_falls(tmp_path):
    """Twenty steps on one batch make its loss smaller: gradients reach the weights. Kills: a detached embedding."""
    trainer = loop.Trainer(dataclasses.replace(SETTINGS, steps=100), tmp_path)
    losses = [float(trainer.train_step(batch_of())["loss"]) for _ in range(20)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1


def test_first_masks_have_no_chequerboard():
    """A transposed convolution begins with one weight for its 2 × 2 outputs, so that logits begin smooth."""
    model = loop.begin(SETTINGS).model
    for number in (0, 3):
        weight = model.mask_decoder.output_upscaling[number].weight
        assert (weight == weight[:, :, :1, :1]).all() and weight.std() > 0.01
    assert 0.05 < model.prompt_encoder.no_mask_embed.weight.std() < 0.2
    first, transformer = model.mask_decoder.transformer.layers[0], model.mask_decoder.transformer
    for attention in (first.cross_attn_image_to_token, transformer.final_attn_token_to_image):
        assert torch.equal(attention.q_proj.weight, attention.k_proj.weight)
    assert not torch.equal(first.self_attn.q_proj.weight, first.self_attn.k_proj.weight)


def test_layers_learn_at_their_own_rates():
    """Layer-wise decay: 0.8 to the power of blocks above. Kills: an order from the input up; decayed positions."""
    settings = dataclasses.replace(SETTINGS, layer_decay=0.8)
    task = loop.begin(settings)
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    seen = {}
    for group in initialisation.parameter_groups(task.model, settings, 8):
        seen |= {names[id(p)]: (group["scale"], group["weight_decay"]) for p in group["params"]}
    assert len(seen) == len(names)
    assert seen["image_encoder.blocks.7.mlp.lin1.weight"] == (pytest.approx(0.8), 0.1)
    assert seen["image_encoder.blocks.0.mlp.lin1.bias"] == (pytest.approx(0.8**8), 0.0)
    assert seen["image_encoder.pos_embed"] == (pytest.approx(0.8**9), 0.0)
    assert seen["image_encoder.patch_embed.proj.weight"] == (pytest.approx(0.8**9), 0.1)
    assert seen["image_encoder.neck.0.weight"] == (1.0, 0.1)
    decoder = "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight"
    assert seen[decoder] == (1.0, 0.1) and seen["mask_decoder.mask_tokens.weight"] == (1.0, 0.0)


def test_drop_path_is_for_training_alone():
    """A branch is left out or scaled, picture by picture, with the expected mean; evaluation leaves it alone."""
    path = initialisation.DropPath(0.25)
    x = torch.ones(4000, 2, 3)
    torch.manual_seed(0)
    y = path(x)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.75]) and (y == y[:, :1, :1]).all()
    assert float(y.mean()) == pytest.approx(1, abs=0.03)
    assert torch.equal(path.eval()(x), x)
    model = reference.build(dataclasses.replace(CONFIGS["tiny"], image_size=64))
    initialisation.add_drop_path(model, 0.4)
    rates = [block.drop_path.rate for block in model.image_encoder.blocks]
    assert rates[0] == 0 and rates[-1] == 0.4 and rates == sorted(rates)
    assert model.state_dict().keys() == reference.build("tiny").state_dict().keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"stepz": 3}', "got stepz"),
        ("[1]", "expected a table of settings"),
        ("{", "expected settings as JSON"),
        ('{"steps": "3"}', "expected steps in"),
        ('{"mask_feedback": 1}', "expected mask_feedback in"),
    ],
)
def test_bad_settings_files(tmp_path, text, message):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_settings(tmp_path / "c.json", loop.Settings)


def test_settings_files_hold_what_a_log_says(tmp_path):
    settings = dataclasses.replace(SETTINGS, drops=(3, 4), decay="steps", data=("a",), lr=1.0)
    (tmp_path / "c.json").write_text(json.dumps({**settings.plain(), "lr": 1}))
    assert loop.Settings(**read_settings(tmp_path / "c.json", loop.Settings)) == settings


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "half"}, {"decay": "fast"}, {"drops": (3,)}, {"world": 0.5}, {"lr": float("nan")}, {"rounds": 0},
        {"multimask": "worst"}, {"focal": -1.0}, {"clip": 0.0}, {"drop_path": 2.0}, {"model": "huge"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(changes):
    with pytest.raises(InputError, match="expected"):
        dataclasses.replace(SETTINGS, **changes).check()


def test_an_autoencoder_of_another_depth_is_no_beginning(tmp_path):
    """Of the same depth it fits, decoder or not. Kills: blocks left as they were, without a word."""
    from minisam.training.settings import PretrainSettings

    small = {"model": "tiny", "width": 64, "size": 64, "batch": 2, "steps": 1, "warmup": 0}
    loop.Trainer(PretrainSettings(**small, depth=2), tmp_path).run(workers=0)
    for depth in (2, 4):
        settings = dataclasses.replace(SETTINGS, **small, depth=depth, init=str(tmp_path / "weights.safetensors"))
        if depth == 2:
            loop.begin(settings)
            continue
        with pytest.raises(InputError, match=r"got missing: image_encoder\.blocks\.2\."):
            loop.begin(settings)


@pytest.mark.parametrize("others", [(4,), (0,), (4, 0)])
def test_a_team_goes_on_from_one_step(tmp_path, monkeypatch, others):
    """Machines without a common folder, seen from one at step 2. Kills: one that begins anew while another goes on;
    only those notice who are not at the mean (4, 2, 0)."""
    first = loop.Trainer(SETTINGS, tmp_path)
    for _, batch in zip(range(2), first.batches(0), strict=False):
        first.train_step(batch)
    first.save()
    mean = (2 + sum(others)) / (1 + len(others))
    monkeypatch.setattr(loop.Team, "mean", lambda self, values: torch.full_like(values, mean))
    monkeypatch.setattr(loop.Team, "any", lambda self, flag: flag or any(step != mean for step in others))
    with pytest.raises(InputError, match=rf"expected all processes .*, got step 2 .*, on average {mean:g}"):
        loop.Trainer(SETTINGS, tmp_path)


def test_lists_in_a_file_of_settings(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"drops": ["a"]}')
    with pytest.raises(InputError, match=r"expected drops in .* as a list of int, got \['a'\]"):
        read_settings(path, loop.Settings)
