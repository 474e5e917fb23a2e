"""What ends a command from outside: signals, closed pipes, full disks, little memory, few threads, odd paths.

Each is one line and an exit code, and leaves nothing half-written.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import minisam
from command_line import run
from minisam.checkpoints.checkpoint import save_checkpoint
from minisam.commands import main as commands
from minisam.commands.main import main
from minisam.console import explain, terminated_by_exception
from minisam.files.images import save_png
from minisam.sam import build
from minisam_kernels import InputError
from small_models import SMALL

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a signal in a callback is lost": ("minisam/console.py", "if frame.f_code.co_name in _SWALLOW:", "if False:"),
    "a child unwinds its parent": ("minisam/console.py", "if os.getpid() != owner:", "if False:"),
    "a second signal breaks the cleaning": ("minisam/console.py", "signal.signal(number, signal.SIG_IGN)", "pass"),
    "the former handler is lost": ("minisam/console.py", "or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL", ""),
    "OpenBLAS starts all": ("minisam/__main__.py", 'os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")', "pass"),
    "files in place of streams": ("minisam/commands/main.py", "if getattr(sys, name) is None:", "if False:"),
    "what was not written is tried again": (
        "minisam/commands/main.py",
        "        if isinstance(error, OSError):",
        "        if False:",
    ),
    "help that nobody reads": (
        "minisam/commands/main.py",
        "            finally:\n",
        "            except ZeroDivisionError:\n",
    ),
}

ONLY_BEGINNINGS = (
    "/",
    ".",
    "\n.png",
    "\udcff.png",
    "dangling.png",
    "photo.png",
    "photo.png/x.png",
    "loop.png",
    "/dev/null",
)
ROOT = Path(minisam.__file__).parents[1]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_png("photo.png", np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    save_checkpoint("small.safetensors", build(SMALL, seed=1).state_dict(), SMALL)
    return tmp_path


def failing(monkeypatch, error):
    """A command that only raises."""
    monkeypatch.setattr("minisam.commands.main._read", mock.Mock(side_effect=error))
    return "read"


ENDS = {
    "bad input": (InputError("expected a, got b"), 2, "expected a, got b"),
    "two lines": (InputError("expected a,\ngot b"), 2, "expected a, got b"),
    "memory": (MemoryError("Unable to allocate 9 TiB"), 2, "enough memory"),
    "memory of torch": (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9"), 2, "enough memory"),
    "memory without a word": (MemoryError(), 2, "enough memory"),
    "depth": (RecursionError("maximum recursion depth exceeded"), 2, "nested less deeply"),
    "a full disk": (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.png"), 2, "x.png: No space left"),
    "no permission": (PermissionError(errno.EACCES, "Permission denied", b"x.png"), 2, "x.png: Permission denied"),
    "a file without a name": (OSError("gone"), 2, "got gone"),
    "a circle of links": (OSError(errno.ELOOP, os.strerror(errno.ELOOP), "loop"), 2, "loop: Too many levels"),
    "a long name": (OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), "x" * 5000), 2, "xxx"),
    "a fault of ours": (ZeroDivisionError("division by zero"), 70, "ZeroDivisionError: division by zero"),
    "another of ours": (RuntimeError("odd"), 70, "RuntimeError: odd"),
    "a long message": (KeyError("x" * 10**6), 70, "KeyError"),
    "Ctrl-C": (KeyboardInterrupt(), 130, "minisam: interrupted"),
    "Ctrl-C with a word": (KeyboardInterrupt("stopped at step 3"), 130, "minisam: stopped at step 3"),
    "the other side is gone": (BrokenPipeError(), 0, ""),
    "an exit": (SystemExit(7), 7, ""),
}


@pytest.mark.parametrize("name", ENDS)
def test_each_end_is_one_line(capsys, monkeypatch, name):
    error, code, words = ENDS[name]
    monkeypatch.setattr("minisam.commands.main._silence", lambda stream: None)
    assert run(capsys, failing(monkeypatch, error))[::2] == (code, mock.ANY)
    main([failing(monkeypatch, error)])
    err = capsys.readouterr().err
    assert words in err and err.strip().count("\n") == 0 and len(err) < 6000


def test_a_traceback_for_those_who_ask(monkeypatch):
    monkeypatch.setenv("MINISAM_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main([failing(monkeypatch, ZeroDivisionError())])
    assert main([failing(monkeypatch, InputError("expected a, got b"))]) == 2


def test_explained_in_other_programs(capsys):
    from minisam.console import exit_code

    assert exit_code(mock.Mock(side_effect=MemoryError("9 TiB"))) == 2
    assert capsys.readouterr().err == "minisam: error: expected enough memory, got none left (9 TiB)\n"
    assert explain(ValueError("x"))[0] == 70


# ------------------------------------------------------------------------------------------------ paths


@pytest.mark.parametrize(
    "name",
    [
        "x" * 300 + ".png",
        "/".join(["d" * 200] * 30) + ".png",
        "loop.png",
        "loop.png/x.png",
        "photo.png/x.png",
        "a\0b.png",
        "photo.png\0",
        ".",
        "/",
        "/dev/null",
        "\udcff.png",
        "dangling.png",
        "\n.png",
    ],
)
@pytest.mark.parametrize(
    "option", ["image", "-o", "--masks", "--mask", "--checkpoint", "--config", "--data", "--init", "folder"]
)
def test_odd_paths_are_one_line(place, capsys, name, option):
    """In every place where a path may stand."""
    os.symlink("loop.png", "loop.png")
    os.symlink("nowhere/x.png", "dangling.png")
    words = ["segment", "photo.png", "--checkpoint", "small.safetensors", "--point", "1,1"]
    if option == "image":
        words[1] = name
    elif option == "--checkpoint":
        words[3] = name
    elif option in ("--config", "--data", "--init"):
        words = ["train", "run", option, name, "--world", "0.5", "--steps", "1"]
    elif option == "folder":
        words = ["train", name, "--steps", "1", "--data", "nowhere", "--world", "0.5"]
    else:
        words += [option, name]
    if option == "-o" and name in ("\n.png", "\udcff.png"):
        pytest.skip("a file may have this name")
    if option == "--masks" and name in ONLY_BEGINNINGS:
        pytest.skip("only the beginning of names")
    before = set(os.listdir())
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "expected" in err and set(os.listdir()) == before


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"seed": ' + "[" * 50_000 + "]" * 50_000 + "}",
        '{"a":' * 50_000,
        '{"seed": 1' + "0" * 5000 + "}",
        '{"seed": 18446744073709551616}',
        '{"steps": 1e400}',
        '{"steps": 99999999999999999999}',
        '{"lr": 1' + "0" * 400 + "}",
        '{"lr": NaN}',
        '{"lr": 1e999}',
        '{"batch": 9223372036854775808}',
        '{"drops": [99999999999999999999]}',
        '{"seed": -1}',
        '{"init": "a\\u0000b"}',
        '{"data": ["a\\u0000b"], "world": 0.5}',
        '{"model": "\\ud800"}',
        "\ufeff{",
        "",
    ],
)
def test_odd_settings_are_one_line(place, capsys, text):
    Path("c.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    code, out, err = run(capsys, "train", "run", "--config", "c.json", "--steps", "1" if "steps" not in text else "2")
    if '"steps"' in text:
        code, out, err = run(capsys, "train", "run", "--config", "c.json")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "expected" in err and len(err) < 1000
    assert not Path("run").exists()


@pytest.mark.parametrize(
    "number",
    [
        "99999999999999999999",
        "18446744073709551616",
        "9" * 5000,
        "1e3",
        "-1",
        "0x9",
        "NaN",
        "１２３４５６７８９０１２３４５６７８９０",
    ],
)
@pytest.mark.parametrize(
    "option", ["--seed", "--steps", "--batch", "--masks", "--warmup", "--hold-out", "--drop", "--depth"]
)
def test_numbers_beyond_64_bits(place, capsys, option, number):
    code, out, err = run(capsys, "train", "run", option, number)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "expected" in err and len(err) < 1000


# ------------------------------------------------------------------------------------------------ signals and streams


def test_a_signal_unwinds(tmp_path):
    """SIGTERM removes what is half-written; its former handler comes back. Kills: a second signal breaks the cleaning,
    the former handler is lost."""
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stop, terminated_by_exception(), tempfile.TemporaryDirectory(dir=tmp_path):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            (tmp_path / "cleaned").touch()
    assert stop.value.code == 143 and os.listdir(tmp_path) == ["cleaned"] and signal.getsignal(signal.SIGTERM) == before
    heard = []
    signal.signal(signal.SIGTERM, lambda *arguments: heard.append(1))
    with terminated_by_exception():
        signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)
    assert heard == [1]


def test_a_signal_in_a_callback_comes_again():
    """Where an exception would only be printed. Kills: a signal in a callback is lost."""

    class Thing:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit), terminated_by_exception():
        Thing()
        time.sleep(5)


def test_a_forked_child_ends_at_once():
    """Kills: a child unwinds its parent."""
    with terminated_by_exception():
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    ("streams", "code"),
    [(">&-", 0), ("<&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), ("| head -c 0", 0), (">/dev/full", 2)],
)
def test_streams_that_are_closed_or_full(streams, code):
    """Kills: what was not written is tried again, help that nobody reads."""
    line = f"{sys.executable} -m minisam --version {streams}"
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, env=buffered)
    assert done.returncode == code and done.stderr.count("\n") == (code == 2)


def test_closed_streams_are_not_files(monkeypatch):
    """Kills: files in place of streams."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    commands._open_streams()
    for name in ("stdin", "stdout", "stderr"):
        assert getattr(sys, name).name == os.devnull
        getattr(sys, name).close()


def test_openblas_starts_no_threads_where_it_cannot(monkeypatch):
    """Kills: OpenBLAS starts all."""
    from minisam import __main__

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "environ", {})
    __main__._spare_threads()
    assert os.environ == {}
    monkeypatch.setattr(threading.Thread, "start", mock.Mock(side_effect=RuntimeError("can't start new thread")))
    __main__._spare_threads()
    assert os.environ == {"OPENBLAS_NUM_THREADS": "1"}


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize("target", ["test-kernels", "screenshots", "check", "bench"])
def test_make_in_a_folder_with_a_space(tmp_path, target):
    """Each line that it would run is read by a shell that only prints the variables' values."""
    folder = tmp_path / "a b"
    (folder / ".venv").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    printed = subprocess.run(["make", "-n", target], cwd=folder, capture_output=True, text=True, check=True).stdout
    lines = [line for line in printed.splitlines() if "MINISAM_BOOK" in line or "NUMBA_CACHE_DIR" in line]
    assert bool(lines) == (target in ("test-kernels", "screenshots"))
    for line in lines:
        shown = line.rstrip("\\ ").replace(".venv/bin/python", "env #") + ("" if "python" in line else " env")
        values = subprocess.run(["bash", "-c", shown], cwd=folder, capture_output=True, text=True, check=True).stdout
        assert any(
            str(folder) in value for value in values.splitlines() if value.startswith(("MINISAM_BOOK", "NUMBA_CACHE"))
        )
