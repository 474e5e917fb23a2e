"""``minisam engine annotate``: a folder into a store, its exit codes, and one line for whatever is wrong."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from command_line import refused, run
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.commands import engine
from minisam.commands.everything import SETTINGS
from minisam.commands.main import main
from minisam.engine.annotation import Result
from minisam.engine.store import Picture
from minisam.engine.worker import Outcome
from minisam.files.images import save_png
from minisam.sam import build
from small_models import SMALL, picture

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a failed picture is no failure": (
        "minisam/commands/engine.py",
        "return 0 if result.whole else NOT_ALL",
        "return 0",
    ),
    "failures are not listed": (
        "minisam/commands/engine.py",
        '        print(f"minisam: {picture}: {reason}", file=sys.stderr)\n',
        "        pass\n",
    ),
    "thresholds of the large models": ("minisam/commands/engine.py", "options.preset is None,", "False,"),
    "a preset that nobody takes": ("minisam/commands/engine.py", 'PRESETS[options.preset or "meta"] | given', "given"),
    "what was done before counts": ("minisam/commands/engine.py", " - (result.total - self.todo)", ""),
    "this process needs Dask": (
        "minisam/commands/engine.py",
        "if options.workers != 0:\n        try",
        "if True:\n        try",
    ),
}
KEEP = ["--points-per-side", "2", "--pred-iou-thresh", "0", "--stability-score-thresh", "0", "--box-nms-thresh", "1"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder ``in`` of two pictures, and weights of a very small model; commands run beside them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "EVERY", float("inf"))
    os.mkdir("in")
    for number, name in enumerate("ab"):
        save_png(f"in/{name}.png", picture(40, 60, number))
    save_checkpoint("small.safetensors", build(SMALL, seed=7).state_dict(), SMALL)
    return tmp_path


def annotate(*arguments: str) -> tuple[str, ...]:
    return ("engine", "annotate", "in", "--out", "out", "--checkpoint", "small.safetensors", *arguments)


def test_a_folder_becomes_a_store(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0; with a bad picture 3, and it is listed; the same command goes on. Kills: a failed picture is no
    failure, failures are not listed."""
    code, out, err = run(capsys, *annotate("--workers", "0", *KEEP))
    assert (code, err) == (0, "") and out.startswith("out: of 2 pictures 2 done; 24 masks in ")
    assert sorted(os.listdir("out/pictures")) == ["a.json", "a.png", "b.json", "b.png"]
    Path("in/c.png").touch()
    for _ in range(2):
        code, out, err = run(capsys, *annotate("--workers", "0", *KEEP))
        assert code == 3 and out == "out: of 3 pictures 0 done, 2 done before, 1 failed\n"
        assert err == "minisam: c.png: expected an image, got c.png, which is empty\n"
    save_png("in/c.png", picture(40, 60, 3))
    code, out, err = run(capsys, *annotate("--workers", "0", *KEEP))
    assert (code, err) == (0, "") and out.startswith("out: of 3 pictures 1 done, 2 done before; 12 masks")
    assert sorted(os.listdir("out")) == ["manifest.json", "pictures"]


def test_settings_and_thresholds(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Kills: thresholds of the large models, a preset that nobody takes."""
    for out, words, values in (
        ("own", ["--model", "tiny", "--points-per-side", "1"], {"pred_iou_thresh": 0.5, "crop_n_layers": 0}),
        ("meta", ["--preset", "meta", "--model", "tiny", "--points-per-side", "1"], {"pred_iou_thresh": 0.88}),
        ("sa1b", ["--preset", "sa1b", *KEEP[2:], "--points-per-side", "4", "--checkpoint", "small.safetensors"],
         {"crop_n_layers": 2, "paper_rules": True}),
    ):  # fmt: skip
        assert run(capsys, "engine", "annotate", "in", "-o", out, "--workers", "0", *words)[0] == 0
        assert values.items() <= json.loads(Path(out, "manifest.json").read_text())["settings"].items()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Every setting that decides masks is an option."""
    assert main(["engine", "annotate", "--help"]) == 0
    text = capsys.readouterr().out
    for name in SETTINGS:
        assert (f"--{name.replace('_', '-')} " in text) == (name not in engine.HERE)
    assert main(["engine", "--help"]) == 0 and "annotate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in", "-o", "in/out"], "a store outside of the pictures' folder"),
        (["in", "-o", "."], "a store outside of the pictures' folder"),
        (["empty", "-o", "out"], "expected pictures (.jpg"),
        (["nowhere", "-o", "out"], "expected a folder of pictures, got nowhere"),
        (["in", "-o", "full"], "expected an empty folder or a store, got"),
        (["in", "-o", "small.safetensors"], "expected a folder to write into"),
        (["in", "-o", "out", "--preset", "paper"], "expected a preset among meta, sa1b, got 'paper'"),
        (["in", "-o", "out", "--stretch", "log"], "expected the stretch percentile, got 'log'"),
        (["in", "-o", "out", "--model", "vit_b"], "small.safetensors"),
        (["in", "-o", "out", "--model", "huge"], "expected a model among"),
        (["in", "-o", "out", "--points-per-side", "0"], "points_per_side to be a whole number from 1 to 1024, got 0"),
        (["in", "-o", "out", "--workers", "-1"], "expected a whole number of at least 0, got '-1'"),
        (
            ["in", "-o", "out", "--workers", "2", "--scheduler", "tcp://a:1"],
            "expected one of --workers and --scheduler, got both",
        ),
    ],
)
def test_bad_input_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    os.mkdir("empty")
    os.mkdir("full")
    Path("full/notes.txt").write_text("mine")
    here = [] if "--workers" in arguments else ["--workers", "0"]
    assert words in refused(
        capsys, "engine", "annotate", *arguments, *here, "--checkpoint", "small.safetensors", *KEEP[2:]
    )


def test_another_store_is_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other settings, another version, other weights."""
    assert run(capsys, *annotate("--workers", "0", *KEEP))[0] == 0
    assert "expected a store made with points_per_side 3, got" in refused(
        capsys, *annotate("--workers", "0", *KEEP, "--points-per-side", "3")
    )
    path = Path("out/manifest.json")
    path.write_text(path.read_text().replace('"minisam": "', '"minisam": "0.0.'))
    assert "expected a store made with minisam '" in refused(capsys, *annotate("--workers", "0", *KEEP))


def test_without_dask(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the extra; this process alone does without. Kills: this process needs Dask."""
    find = engine.need.__globals__["importlib"].util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "distributed" else find(name))
    monkeypatch.setitem(sys.modules, "distributed", None)
    for words in ([], ["--workers", "2"], ["--scheduler", "tcp://127.0.0.1:1"]):
        assert "expected the extra 'engine' (pip install 'minisam[engine]')" in refused(capsys, *annotate(*words))
    assert run(capsys, *annotate("--workers", "0", *KEEP))[0] == 0


def test_no_scheduler_is_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    code, out, err = run(capsys, *annotate("--scheduler", "tcp://127.0.0.1:1", "--wait", "1", *KEEP))
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.startswith("minisam: error: expected a scheduler at tcp://127.0.0.1:1 within 1 s, got none (")


@pytest.mark.slow
def test_workers_write_the_same_bytes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes of one thread with the real model, beside this process with all its threads."""
    pytest.importorskip("distributed")
    Path("in/c.png").touch()
    assert run(capsys, *annotate("--workers", "0", *KEEP))[0] == 3
    os.rename("out", "here")
    code, out, err = run(capsys, *annotate("--workers", "2", *KEEP))
    assert code == 3 and "2 done, 1 failed" in out and "dashboard: http://127.0.0.1:" in err
    for path in Path("here").rglob("*"):
        if path.is_file():
            assert Path("out", path.relative_to("here")).read_bytes() == path.read_bytes()
    assert len(list(Path("out").rglob("*"))) == len(list(Path("here").rglob("*")))


def test_progress_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no terminal: a line with what is left, now and then. Kills: what was done before counts."""
    now = [0.0]
    monkeypatch.setattr(engine.time, "monotonic", lambda: now[0])
    result = Result(12, before=2, failed={"x.png": "known"})
    with engine._Told() as told:
        told.hear(result, None)
        for done in (1, 2, 3):
            result.done, now[0] = done, now[0] + 20
            told.hear(result, Outcome(Picture("a.png", "a"), 1))
        told.say("dashboard: here")
    line = "minisam: 2/9 pictures, 0.05 per second, 2 min 20 s left\ndashboard: here\n"
    assert capsys.readouterr().err == line


def test_time_is_told() -> None:
    assert [engine._time(seconds) for seconds in (0.4, 59, 200, 3900)] == ["0 s", "59 s", "3 min 20 s", "1 h 05 min"]
