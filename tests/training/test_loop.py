"""The loop: going on to the bit, stopping cleanly, bad luck with numbers and disks."""

from __future__ import annotations

import dataclasses
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

from minisam.checkpoints.checkpoint import read_checkpoint
from minisam.training import log, loop
from minisam.training.log import read_log
from minisam_kernels import InputError
from sa1b import sa1b_folder
from small_trainings import PRETRAIN, SETTINGS, batch_of

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "a forgotten state": ("minisam/training/loop.py", 'self.optimiser.load_state_dict(saved["optimiser"])', "pass"),
    "half a step in a file": (
        "minisam/training/loop.py",
        'reason = stop.reason or "stopped with the others"',
        "reason, self.step = stop.reason, self.step - 1",
    ),
    "a worker that dies, and the save that fails": (
        "minisam/training/loop.py",
        '"worker_init_fn": _leave_group',
        '"worker_init_fn": None',
    ),
    "an average of the first steps for ever": (
        "minisam/training/loop.py",
        "keep = min(s.average, self.step / (self.step + 10))",
        "keep = s.average",
    ),
    "another step's share": (
        "minisam/training/loop.py",
        "self.step / (self.step + 10)",
        "(self.step - 1) / (self.step + 9)",
    ),
    "gradient clipping switched off": (
        "minisam/training/loop.py",
        "clip_grad_norm_(self.model.parameters(), s.clip)",
        "get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])",
    ),
    "a log of the clipped length": (
        "minisam/training/loop.py",
        "clip_grad_norm_(self.model.parameters(), s.clip)",
        "clip_grad_norm_(self.model.parameters(), s.clip).clamp(max=s.clip)",
    ),
    "step 0 written over them": (
        "minisam/training/loop.py",
        'elif (self.folder / "weights.safetensors").exists():',
        "elif False:",
    ),
    "a detached embedding": (
        "minisam/training/rounds.py",
        "_Known.apply(total, sums, embedding, ",
        "_Known.apply(total, sums, embedding.detach(), ",
    ),
    "one that begins anew while another goes on": (
        "minisam/training/loop.py",
        "if self.processes.any(bool(mean != self.step)):",
        "if False:",
    ),
    "only those notice who are not at the mean": (
        "minisam/training/loop.py",
        "if self.processes.any(bool(mean != self.step)):",
        "if bool(mean != self.step):",
    ),
    "the new settings for the old ones": (
        "minisam/training/loop.py",
        "for values in (old, wanted))",
        "for values in (wanted, old))",
    ),
    "a plan that counts the first steps": ("minisam/training/log.py", "if made == SKIPPED:", "if False:"),
    "a plan without the time that has gone by": (
        "minisam/training/log.py",
        "USED * (self.deadline - now) *",
        "USED * (self.least / MEASURED) *",
    ),
    "a plan that is not kept": (
        "minisam/training/loop.py",
        'self.settings = self.settings.planned(old["steps"])',
        "pass",
    ),
    "a warm-up longer than the training": (
        "minisam/training/settings.py",
        "warmup=min(self.warmup, steps // 4)",
        "warmup=self.warmup",
    ),
}


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
    lines = read_log(tmp_path / "whole")
    assert lines[-1]["step"] == 4 and np.isfinite(lines[-1]["loss"]) and lines[-1]["pictures_s"] > 0
    assert [entry["step"] for entry in lines] == [1, 4]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_saves(tmp_path, number):
    """Ctrl-C in the middle of a step: the step is finished, saved and logged. Kills: half a step in a file."""
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
    assert files == ["checkpoint.pt", "log.jsonl", "raw.safetensors", "weights.safetensors"]
    assert [entry["step"] for entry in read_log(tmp_path)] == [1, 2]


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
        while not (
            (tmp_path / "log.jsonl").exists() and len(read_log(tmp_path)) > 1
        ):  # 20 steps: the worker is at work
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


@pytest.mark.slow
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
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_gradient_is_clipped_before_the_step(tmp_path, optimizer):
    """What the optimiser's moments see has the length ``clip``, the log has the length before; a short one stays.

    Kills: gradient clipping switched off, a log of the clipped length.
    """
    moments = {}
    for clip in (1e-3, 1e6):
        settings = dataclasses.replace(SETTINGS, optimizer=optimizer, clip=clip)
        trainer = loop.Trainer(settings, tmp_path / f"{clip}")
        norm = float(trainer.train_step(batch_of())["norm"])
        assert 0.1 < norm < 1e3
        first = trainer.optimiser.parts[0]  # AdamW, whose first moment is a tenth of the gradient
        moments[clip] = torch.cat([state["exp_avg"].flatten() for state in first.state.values()])
    torch.testing.assert_close(moments[1e-3], moments[1e6] * (1e-3 / norm), rtol=1e-3, atol=1e-12)
    if optimizer == "adamw":  # all weights are in it
        assert float(moments[1e6].double().norm()) == pytest.approx(0.1 * norm, rel=1e-3)


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
    assert [entry["step"] for entry in read_log(tmp_path)] == [0, 1, 4]


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
    """A damaged image in another process: its message alone."""
    folder = sa1b_folder(tmp_path / "set", 1)
    (folder / "images" / "0.jpg").write_bytes(b"no picture")
    settings = dataclasses.replace(SETTINGS, data=(str(folder),), world=0.0)
    with pytest.raises(InputError) as caught:
        loop.Trainer(settings, tmp_path / "run").run(workers=1)
    assert str(caught.value).startswith("expected an image") and "\n" not in str(caught.value)


def test_a_worker_that_is_killed_is_one_line():
    """As by a system without memory. Other errors of torch come through."""

    def batches(words):
        yield {}
        raise RuntimeError(words)

    with pytest.raises(InputError, match=r"expected processes .*got one that was ended"):
        list(loop.in_one_line(batches("DataLoader worker (pid 7) is killed by signal: Killed.")))
    with pytest.raises(RuntimeError, match="shapes"):
        list(loop.in_one_line(batches("shapes differ")))


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    """In a process that may write no file over 20 MB, where a checkpoint takes four times that."""
    trainer = loop.Trainer(SETTINGS, tmp_path)
    trainer.save()
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    program = (
        f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        "from minisam.training import loop; from minisam_kernels import InputError\n"
        "from small_trainings import SETTINGS\n"
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


@pytest.mark.parametrize("settings", [SETTINGS, PRETRAIN])
def test_equal_trainings_write_equal_files(tmp_path, settings):
    """To the bytes, and with the mode that ``open`` gives."""
    for folder in ("a", "b"):
        loop.Trainer(settings, tmp_path / folder).save()
    (tmp_path / "opened").touch()
    for name in ("weights.safetensors", "raw.safetensors", "checkpoint.pt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).stat().st_mode == (tmp_path / "opened").stat().st_mode


@pytest.mark.parametrize(
    "turn", [np.transpose, np.asfortranarray, lambda array: array[::-1], lambda array: array[:, ::2]]
)
def test_weights_of_any_layout(tmp_path, turn):
    """A pretrained encoder alone has no configuration: its arrays come as they are."""
    array = turn(np.arange(12, dtype=np.float32).reshape(3, 4))
    loop.write_weights(tmp_path / "w.safetensors", {"image_encoder.a": array}, None, {"holds": "encoder"})
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "w.safetensors")["image_encoder.a"], array)


def test_a_full_disk_names_the_log(tmp_path):
    """``log.jsonl`` is written in place."""
    trainer = loop.Trainer(SETTINGS, tmp_path)
    (tmp_path / "log.jsonl").mkdir()
    journal = loop.Journal(trainer)
    journal.add({"loss": torch.tensor(1.0), "norm": torch.tensor(1.0)})
    with pytest.raises(InputError, match=r"expected to be able to write .*/log.jsonl, got: Is a directory$"):
        journal.write()


def test_checkpoints_that_do_not_fit(tmp_path):
    """Another architecture, a damaged file, an unknown model size: one clear line each."""
    trainer = loop.Trainer(SETTINGS, tmp_path / "a")
    trainer.save()
    with pytest.raises(InputError, match=r"expected --model tiny, .* got --model vit_b"):
        loop.Trainer(dataclasses.replace(SETTINGS, model="vit_b"), tmp_path / "a")
    saved = torch.load(tmp_path / "a" / "checkpoint.pt", weights_only=True)
    saved["model"]["image_encoder.pos_embed"] = torch.zeros(1, 9, 9, 192)
    torch.save(saved, tmp_path / "a" / "checkpoint.pt")
    with pytest.raises(InputError, match=r"a model of this architecture, got: .*pos_embed"):
        loop.Trainer(SETTINGS, tmp_path / "a")
    for missing in ("settings", "average", "step"):
        torch.save({key: value for key, value in saved.items() if key != missing}, tmp_path / "a" / "checkpoint.pt")
        with pytest.raises(InputError, match=f"expected a whole checkpoint, got .*{missing}"):
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
    with pytest.raises(InputError, match="expected --world below 1 with --data, got 1: none of its images"):
        dataclasses.replace(SETTINGS, data=("photos",), world=1.0).check()
    with pytest.raises(InputError, match="expected --drop-path below 1, got 1"):
        dataclasses.replace(SETTINGS, drop_path=1.0).check()
    for name in ("seed", "warmup"):
        with pytest.raises(InputError, match=f"expected --{name} of 0 or more, got -1"):
            dataclasses.replace(SETTINGS, **{name: -1}).check()


@pytest.mark.slow
def test_the_loss_falls(tmp_path):
    """Twenty steps on one batch make its loss smaller: gradients reach the weights. Kills: a detached embedding."""
    trainer = loop.Trainer(dataclasses.replace(SETTINGS, steps=100, weight_decay=0.0), tmp_path)
    first = trainer.model.image_encoder.patch_embed.proj.weight
    before = first.detach().clone()
    losses = [float(trainer.train_step(batch_of())["loss"]) for _ in range(20)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1
    assert (first != before).any(dim=(1, 2, 3)).all(), "the encoder learns, from its first layer on"


@pytest.mark.parametrize("others", [(4,), (0,), (4, 0)])
def test_processes_go_on_from_one_step(tmp_path, monkeypatch, others):
    """Machines without a common folder, seen from one at step 2. Kills: one that begins anew while another goes on;
    only those notice who are not at the mean (4, 2, 0)."""
    first = loop.Trainer(SETTINGS, tmp_path)
    for _, batch in zip(range(2), first.batches(0), strict=False):
        first.train_step(batch)
    first.save()
    mean = (2 + sum(others)) / (1 + len(others))
    monkeypatch.setattr(loop.Processes, "mean", lambda self, values: torch.full_like(values, mean))
    monkeypatch.setattr(loop.Processes, "any", lambda self, flag: flag or any(step != mean for step in others))
    with pytest.raises(InputError, match=rf"expected all processes .*, got step 2 .*, on average {mean:g}"):
        loop.Trainer(SETTINGS, tmp_path)


# a setting of each kind → another value, what to type for the old one, and for the new one
OTHERS = [
    ("steps", 8, "--steps 4", "--steps 8"),
    ("batch", 4, "--batch 2", "--batch 4"),
    ("size", 128, "--size 64", "--size 128"),
    ("lr", 0.01, "--lr 0.0008", "--lr 0.01"),
    ("decay", "cosine", "--decay linear", "--decay cosine"),
    ("world", 0.0, "--world 1.0", "--world 0.0"),
    ("data", ("a b", "c"), "no --data", "--data 'a b' --data c"),
    ("drops", (3, 4), "no --drop", "--drop 3 --drop 4"),
    ("mask_feedback", False, "no --no-mask-feedback", "--no-mask-feedback"),
    ("init", "tiny", "no --init", "--init tiny"),
    ("depth", 1, "--depth 0", "--depth 1"),
    ("multimask", "mean", "--multimask best", "--multimask mean"),
    ("hold_out", 20, "--hold-out 0", "--hold-out 20"),
]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A training of which nothing is there but what it was begun with."""
    folder = tmp_path_factory.mktemp("begun")
    torch.save({"settings": SETTINGS.plain(), "average": {}, "step": 1}, folder / "checkpoint.pt")
    return folder


@pytest.mark.parametrize(("name", "value", "old", "new"), OTHERS)
def test_what_to_type_to_go_on(begun, name, value, old, new):
    """And to train with what was typed instead, elsewhere. Kills: the new settings for the old ones."""
    trainer = loop.Trainer.__new__(loop.Trainer)
    trainer.settings, trainer.folder = dataclasses.replace(SETTINGS, **{name: value}), begun
    trainer.processes, trainer.task = loop.Processes(torch.device("cpu")), SimpleNamespace(name="train")
    with pytest.raises(InputError) as caught:
        trainer._resume()
    message = str(caught.value)
    assert message.startswith(f"expected {old}, with which {begun} was begun") and f"got {new} (" in message
    begin = "" if name in ("init", "depth") else f" --init {begun}"
    assert f"(to train with that: minisam train ANOTHER{begin} {new} …)" in message


def test_every_setting_has_words():
    """They are the options of the command, which makes the same settings of them."""
    from minisam.commands.main import _parser
    from minisam.training.settings import Settings, typed

    changes = {
        name: {str: "x", bool: False, int: 7, float: 0.5, tuple: (5, 6)}[type(value)]
        for name, value in dataclasses.asdict(Settings()).items()
    }
    words = " ".join(typed(name, value) for name, value in changes.items()).split()
    options = vars(_parser().parse_args(["train", "run", *words]))
    for name, value in changes.items():
        got = options[name]
        assert (type(value)(map(int, got)) if isinstance(value, tuple) else got) == value, name


def timed(minutes, seconds, first=3.0):
    """Trainings of ``minutes`` whose steps take ``seconds``, the first two ``first``: the planned number of steps."""
    now = 100.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log.time, "monotonic", lambda: now)
        planner = log.Planner(now + 60 * minutes)
        for made in range(1, 10**6):
            now += first if made <= log.SKIPPED else seconds
            if now >= planner.deadline:
                return None, made
            if planner.ready(made) and planner.measured:
                return made, made + planner.more()
    raise AssertionError("never planned")


@pytest.mark.parametrize(
    ("minutes", "seconds"),
    [(60, 1.0), (60, 0.01), (60, 40.0), (1, 0.1), (1, 1.0), (0.5, 2.0), (600, 3.0), (10, 0.004), (2, 0.5), (5, 7.3)],
)
def test_steps_fill_the_time(minutes, seconds):
    """All of it but what saving takes; planned in the first tenth, or after four steps. Kills: a plan that counts the
    first steps, a plan without the time that has gone by."""
    made, steps = timed(minutes, seconds)
    spent = 2 * 3.0 + (steps - 2) * seconds
    assert 0.9 * 60 * minutes - seconds <= spent <= 60 * minutes
    assert made == 4 or (made - 2) * seconds <= 0.1 * 60 * minutes


def test_too_little_time_for_a_plan():
    assert timed(0.1, 5.0) == (None, 2)


@pytest.mark.slow
def test_minutes_plan_the_schedule(tmp_path, monkeypatch, capsys):
    """The rate comes to its end with the time; the plan is kept, and going on needs no number.

    Kills: a plan that is not kept, a warm-up longer than the training.
    """
    monkeypatch.setattr(log.Planner, "measured", property(lambda self: True))
    monkeypatch.setattr(log.Planner, "more", lambda self: 4)
    asked = dataclasses.replace(SETTINGS, steps=0, warmup=250, batch=1, masks=1, rounds=1, depth=1)
    with pytest.raises(InputError, match="expected --steps above 0, or --minutes"):
        loop.Trainer(asked, tmp_path).run(workers=0)
    assert not list(tmp_path.iterdir())
    early = loop.Trainer(asked, tmp_path)
    assert early.run(workers=0, minutes=1e-9) == "time" and early.step == 1
    trainer = loop.Trainer(asked, tmp_path)
    assert trainer.settings == asked, "not planned yet"
    trainer.train_step = stop_at(trainer, 6)
    assert trainer.run(workers=0, minutes=60) == "terminated" and trainer.step == 6
    again = loop.Trainer(asked, tmp_path)
    assert (again.settings.steps, again.settings.warmup) == (9, 2), "planned at step 5 of all, the fourth of this run"
    assert again.run(workers=0, minutes=60) == "" and again.step == 9
    rates = [entry["lr"] for entry in read_log(tmp_path)]
    assert again.settings.learning_rate(9) == 0 and rates[-1] == pytest.approx(asked.lr / 7, rel=1e-3)
    assert "train: step 9 of 9, loss" in capsys.readouterr().err
    assert loop.Trainer(dataclasses.replace(asked, steps=9, warmup=2), tmp_path).step == 9
    with pytest.raises(InputError, match="expected --steps 9, with which"):
        loop.Trainer(dataclasses.replace(asked, steps=12, warmup=2), tmp_path)


def stop_at(trainer, number):
    """The trainer's step, which sends SIGTERM when it is number ``number``."""
    step = trainer.train_step

    def train_step(batch):
        if trainer.step == number - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(batch)

    return train_step
