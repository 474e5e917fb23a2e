"""Properties of ``Cache``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

from minisam_kernels.runtime import cache
from minisam_kernels.runtime.cache import Cache

# wrong version → (text in the file, its replacement)
MUTANTS = {
    "no hash of the content": ("hashlib.sha256(key + content[32:]).digest():", "content[:32]:"),
    "no hash of the constants": ('f"{fingerprint} {machine} ', 'f"{machine} '),
    "no version": ("{numba.__version__}", ""),
    "checked indices are as good": (", _config.BOUNDSCHECK))", "))"),
    "damage is the caller's": (
        "contextlib.suppress(Exception):  # none",
        "contextlib.suppress(FileNotFoundError):  # none",
    ),
    "kept with a changed callee": ("and all(_is_current(kernel) for kernel in called)", ""),
    "kept with a callee of unknown age": ("isinstance(cache, Cache) and", "not isinstance(cache, Cache) or"),
    "mixed code counts as current": ("now if pure else _SEVERAL", "now"),
    "changed while it compiled": ("now == self.planned.pop(signature, now)", "self.planned.pop(signature, now)"),
    "loaded code has no age": ("self.made_from.add(self.planned.pop(signature))", "self.planned.pop(signature)"),
    "said every time": ("    _said = True\n", ""),
    "anybody's folder": ("about.st_uid == os.geteuid() and", ""),
    "a folder open to all": (" and not about.st_mode & 0o077", ""),
    "a link to a folder": ("folder.lstat()", "folder.stat()"),
    "a half-written file": ("temporary.unlink(missing_ok=True)", "pass"),
    "written in place": (
        "        temporary.write_bytes(content)\n",
        "        path.write_bytes(content)\n        temporary.write_bytes(content)\n",
    ),
    "a home called ~": ("if user.is_absolute() else []", ""),
    "only the folder that is written to": ("*_temporary_folder(self.source, make=False)]", "][:1]"),
}

SOURCE = """
C, T, A = 2.0, (1, 2.0), np.array([1.0, 2.0])

@kept
def inner(x):
    return x * C

@kept
def middle(x):
    return inner(x) + T[1]

@kept
def outer(x):
    return middle(x) + A[0]
"""


def kept(function):
    compiled = CPUDispatcher(function, targetoptions={"nopython": True})
    compiled._cache = Cache(compiled)
    return compiled


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """A function that imports ``kernels.py`` as a new process does, with no code in memory; and folders of its own."""
    path = tmp_path / "source" / "kernels.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cache, "_said", False)

    def new_process(**constants):
        module = ModuleType("kernels")
        module.kept, module.np = kept, np
        exec(compile(SOURCE, str(path), "exec"), module.__dict__)
        module.__dict__.update(constants)
        return module

    return new_process


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "kernels.py")


def was_compiled(kernel):
    """Whether this process compiled it, instead of finding it on disk."""
    return any(kernel.stats.cache_misses.values())


# ------------------------------------------------------------------------------------------------ constants


@pytest.mark.parametrize("name, value, answer", [("C", 5.0, 18), ("T", (1, 7.0), 14), ("A", np.array([4.0, 2.0]), 12)])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_changed_constant_stays_in_its_process(begin, name, value, answer, when):
    """The next process has the values of its own source, whoever compiled first. Kills: no hash of the constants."""
    if when == "after":
        assert begin().outer(3.0) == 9
    assert begin(**{name: value}).outer(3.0) == answer
    module = begin()
    assert module.outer(3.0) == 9 and was_compiled(module.outer)
    module = begin()
    assert module.outer(3.0) == 9 and not was_compiled(module.outer)


@pytest.mark.parametrize("first", ["inner", "middle"])
@pytest.mark.parametrize("back", [False, True])
def test_code_of_two_times_is_not_kept(begin, first, back):
    """What is compiled keeps its constants; a kernel around it is right for no process but this one, so not kept.

    ``back``: changed, compiled, and changed back, as a test does. Kills: kept with a changed callee, mixed code counts
    as current."""
    module = begin(**({"C": 5.0} if back else {}))
    getattr(module, first)(3.0)
    module.C = 2.0 if back else 5.0
    assert module.outer(3.0) == (18 if back else 9)
    for c, answer in ((2.0, 9), (5.0, 18)):
        assert begin(C=c).outer(3.0) == answer


def test_code_found_on_disk_has_an_age_too(begin):
    """Kills: loaded code has no age."""
    begin().inner(3.0)
    module = begin()
    assert module.inner(3.0) == 6 and not was_compiled(module.inner)
    module.C = 5.0
    assert module.outer(3.0) == 9 and begin(C=5.0).outer(3.0) == 18


def test_a_constant_that_changes_during_compilation(begin, monkeypatch):
    """Kills: changed while it compiled, mixed code counts as current."""
    module = begin()
    compiler = module.inner._compiler.compile

    def change(args, return_type):
        compiled = compiler(args, return_type)
        module.C = 5.0
        return compiled

    monkeypatch.setattr(module.inner._compiler, "compile", change)
    assert module.inner(3.0) == 6 and begin(C=5.0).inner(3.0) == 15
    assert module.outer(3.0) == 9 and begin(C=5.0).outer(3.0) == 18


def test_a_callee_of_numba_has_no_age(begin):
    """Kills: kept with a callee of unknown age."""
    for _ in range(2):
        module = begin()
        module.inner = CPUDispatcher(module.inner.py_func, targetoptions={"nopython": True})
        assert module.outer(3.0) == 9 and was_compiled(module.outer)


def test_recompile_takes_the_values_of_now(begin):
    module = begin()
    assert module.inner(3.0) == 6
    module.C = 5.0
    assert module.inner(3.0) == 6
    module.inner.recompile()
    assert module.inner(3.0) == 15 and begin().inner(3.0) == 6 and begin(C=5.0).inner(3.0) == 15


def test_other_versions_and_checked_indices(begin, monkeypatch):
    """Kills: no version, checked indices are as good."""
    begin().inner(3.0)
    for place, name, value in (
        (numba, "__version__", "0.0"),
        (numba.config, "BOUNDSCHECK", 7),
        (np, "__version__", "0"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            module = begin()
            assert module.inner(3.0) == 6 and was_compiled(module.inner)
        begin().inner(3.0)


# ------------------------------------------------------------------------------------------------ damaged files

DAMAGE = {f"the first {n}": lambda content, n=n: content[:n] for n in (0, 1, 31, 32, 33, 1000)} | {
    "all but one": lambda content: content[:-1],
    "a longer file": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content)),
    "text": lambda content: b"no code at all\n" * 99,
    "one bit at the end": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "one bit of the hash": lambda content: bytes([content[0] ^ 128]) + content[1:],
    "one bit inside": lambda content: content[:5000] + bytes([content[5000] ^ 4]) + content[5001:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_compiled_again_and_mended(begin, tmp_path, capsys, damage):
    """Kills: no hash of the content."""
    assert begin().inner(3.0) == 6
    (path,) = files(tmp_path)
    content = path.read_bytes()
    path.write_bytes(DAMAGE[damage](content))
    for compiled in (True, False):
        module = begin()
        assert module.inner(3.0) == 6 and was_compiled(module.inner) == compiled
    assert files(tmp_path) == [path] and capsys.readouterr().err == ""


def test_files_in_each_others_place(begin, tmp_path):
    """The code of another function, or for another type of argument."""
    module = begin()
    module.inner(3.0), module.inner(3), module.middle(3.0)
    whole = [path.read_bytes() for path in files(tmp_path)]
    for path, content in zip(files(tmp_path), whole[1:] + whole[:1], strict=True):
        path.write_bytes(content)
    for compiled in (True, False):
        module = begin()
        assert (module.inner(3.0), module.inner(3), module.middle(3.0)) == (6, 6, 8)
        assert {was_compiled(module.inner), was_compiled(module.middle)} == {compiled}


@pytest.mark.parametrize("kind", ["unreadable", "folder", "broken link", "circle of links", "gone", "folder gone"])
def test_what_cannot_be_read(begin, tmp_path, capsys, monkeypatch, kind):
    """Kills: damage is the caller's, only the folder that is written to."""
    begin().inner(3.0)
    (path,) = files(tmp_path)
    path.unlink()
    if kind == "unreadable":
        path.touch()
        read = Path.read_bytes
        monkeypatch.setattr(Path, "read_bytes", lambda self: raise_(errno.EACCES) if self == path else read(self))
    elif kind == "folder":
        path.mkdir()
    elif kind.endswith("gone"):
        path.parent.rmdir() if kind == "folder gone" else None
    else:
        path.symlink_to(path if kind == "circle of links" else tmp_path / "nowhere")
    module = begin()
    assert module.inner(3.0) == 6 and was_compiled(module.inner)
    assert capsys.readouterr().err == ""
    monkeypatch.undo() if kind == "unreadable" else None


def raise_(number, path=""):
    raise OSError(number, os.strerror(number), str(path))


# ------------------------------------------------------------------------------------------------ folders


def closed(monkeypatch, *folders, number=errno.EROFS):
    """Nothing can be written in these folders; what is begun there stays half-written."""
    write = Path.write_bytes

    def write_or_fail(self, content):
        if any(self.is_relative_to(folder) for folder in folders):
            write(self, content[: len(content) // 2])
            raise_(number, self)
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", write_or_fail)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_where_code_is_kept_if_a_folder_is_closed(begin, tmp_path, monkeypatch, capsys, number):
    """Beside the source, in the home, among the temporary files, nowhere: said once, and nothing half-written stays.

    Kills: a half-written file, said every time, only the folder that is written to, written in place."""
    places = [tmp_path / "source", tmp_path / "home", tmp_path / "tmp"]
    for closed_ones in range(4):
        cache._said = False
        with monkeypatch.context() as patch:
            closed(patch, *places[:closed_ones], number=number)
            for again in (False, True):
                module = begin()
                assert module.outer(3.0) == 9 and was_compiled(module.outer) == (closed_ones == 3 or not again)
        said = capsys.readouterr().err
        left = [place for place in places if files(place)]
        assert left == places[closed_ones : closed_ones + 1] and said.count("\n") == (closed_ones >= 2)
        for path in files(tmp_path):
            assert path.suffix == ".nbc"
            path.unlink()
        if said:
            assert os.strerror(number) in said and str(places[1]) in said
            assert ("kept in" in said, "NUMBA_CACHE_DIR" in said) == (closed_ones == 2, closed_ones == 3)


def test_code_beside_a_package_that_cannot_be_written_is_found(begin, tmp_path, monkeypatch, capsys):
    """What a container's image ships."""
    begin().inner(3.0)
    closed(monkeypatch, tmp_path)
    module = begin()
    assert module.inner(3.0) == 6 and not was_compiled(module.inner) and capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["new", "two new", "file", "below a file", "too long", "circle of links", "a device"])
def test_the_folder_that_the_user_names(begin, tmp_path, monkeypatch, capsys, kind):
    folder = {
        "new": tmp_path / "a",
        "two new": tmp_path / "a" / "b",
        "file": tmp_path / "f",
        "below a file": tmp_path / "f" / "g",
        "too long": tmp_path / ("x" * 300),
        "circle of links": tmp_path / "l",
        "a device": Path("/dev/null"),
    }[kind]
    (tmp_path / "f").touch()
    (tmp_path / "l").symlink_to(tmp_path / "l")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    for compiled in (True, False):
        module = begin()
        assert module.inner(3.0) == 6 and was_compiled(module.inner) == compiled
    said = capsys.readouterr().err
    usable = kind in ("new", "two new")
    assert said.count("\n") == (not usable) and (str(folder) in said) == (not usable)
    (path,) = (path for path in files(tmp_path) if path.suffix == ".nbc")
    assert path.is_relative_to(folder if usable else tmp_path / "tmp")


@pytest.mark.parametrize("kind", ["theirs", "open", "link", "file", "gone"])
def test_a_temporary_folder_that_others_can_write_to_is_not_used(begin, tmp_path, monkeypatch, capsys, kind):
    """Its code would run. Kills: anybody's folder, a folder open to all, a link to a folder."""
    if kind == "theirs":
        user = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: user)
    own = tmp_path / "tmp" / f"minisam-{os.geteuid()}"
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    if kind == "link":
        own.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        own.touch()
    elif kind == "gone":
        (tmp_path / "tmp").rmdir()
    else:
        own.mkdir(mode=0o700)
        own.chmod(0o777 if kind == "open" else 0o700)
    closed(monkeypatch, tmp_path / "source", tmp_path / "home")
    module = begin()
    assert module.inner(3.0) == 6 and "each process compiles anew" in capsys.readouterr().err
    assert [path for path in files(tmp_path) if path.suffix == ".nbc"] == []


def test_the_temporary_folder_is_the_users_alone(begin, tmp_path, monkeypatch):
    closed(monkeypatch, tmp_path / "source", tmp_path / "home")
    begin().inner(3.0)
    own = tmp_path / "tmp" / f"minisam-{os.geteuid()}"
    assert own.stat().st_mode & 0o777 == 0o700 and len(files(own)) == 1


def test_no_home(begin, tmp_path, monkeypatch):
    """``~`` stays a ``~`` where nobody knows the home: no folder of that name is made. Kills: a home called ~."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    closed(monkeypatch, tmp_path / "source")
    begin().inner(3.0)
    assert not Path("~").exists() and len(files(tmp_path / "tmp")) == 1


# ------------------------------------------------------------------------------------------------ real processes


def start(code, folder):
    settings = {"NUMBA_CACHE_DIR": str(folder), "NUMBA_DISABLE_JIT": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ | settings, **pipes)


SIGMOID = """
import numpy as np
from minisam_kernels.runtime import elementary
from minisam_kernels.runtime.elementary import exp, sigmoid
{}
print(f"{{sigmoid(np.float32(1)):.7f}}", "compiled" if any(sigmoid.stats.cache_misses.values()) else "found")
"""


def test_processes_with_other_constants(tmp_path):
    """The product's own kernels: a constant of what ``sigmoid`` calls is changed, or changed back after a call."""
    changes = ["elementary._E2 = np.float32(0)"]
    changes.append(changes[0] + "; exp(np.float32(1)); elementary._E2 = np.float32(0.49999993)")
    wrong = [start(SIGMOID.format(change), tmp_path).communicate()[0].split()[0] for change in changes]
    assert wrong[0] == wrong[1] != "0.7310586"
    assert start(SIGMOID.format(""), tmp_path).communicate() == ("0.7310586 compiled\n", "")


@pytest.mark.slow
def test_processes_at_once(tmp_path):
    """Three compile into one empty folder, and it is whole afterwards."""
    runs = [run.communicate() for run in [start(SIGMOID.format(""), tmp_path) for _ in range(3)]]
    assert {(out.split()[0], err) for out, err in runs} == {("0.7310586", "")}
    assert {path.suffix for path in files(tmp_path)} == {".nbc"}
    assert start(SIGMOID.format(""), tmp_path).communicate() == ("0.7310586 found\n", "")
