"""Files are written whole or not at all, and nothing but files."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from minisam.files.atomic import atomic, check_output, check_outputs, writing
from minisam.files.images import save_png
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a name that appears before its content": (
        "minisam/files/atomic.py",
        "            yield temporary\n",
        "            path.write_bytes(b'')\n            yield temporary\n",
    ),
    "an old file that is lost when writing fails": (
        "minisam/files/atomic.py",
        "            yield temporary\n",
        "            path.unlink(missing_ok=True)\n            yield temporary\n",
    ),
    "the link itself is replaced": (
        "minisam/files/atomic.py",
        "Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)",
        "Path(path)",
    ),
    "a mode of the writer's": ("minisam/files/atomic.py", "temporary.chmod(mode)", "pass"),
    "the old file's mode is lost": ("minisam/files/atomic.py", "(path if path.exists() else temporary)", "temporary"),
    "the temporary's name in a message": (
        "minisam/files/atomic.py",
        "message.replace(str(temporary or path), str(path))",
        "message",
    ),
    "``-o /dev/null`` as root": ("minisam/files/atomic.py", "path.exists() and not path.is_file()", "False"),
}


def test_whole_or_not_at_all(tmp_path):
    """Kills: a name that appears before its content, an old file that is lost when writing fails."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    """Kills: the link itself is replaced, and its file is left as it was."""
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with atomic(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink() and target.read_text() == "new"
    (tmp_path / "astray").symlink_to(tmp_path / "missing" / "file")
    with pytest.raises(InputError, match=r"expected an existing folder to write 'file' into, got .*missing"):
        check_output(tmp_path / "astray")


def test_devices_and_pipes_are_no_files(tmp_path):
    """Kills: ``-o /dev/null`` as root, which would put a file in the place of the device."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(InputError, match=f"expected a file to write, got {path}, which is a device or a pipe"):
            check_output(path)
    with pytest.raises(InputError, match="expected a file to write, got the folder"):
        check_output(tmp_path)
    with pytest.raises(InputError, match=r"expected an existing folder to write 'file' into, got .*missing"):
        check_output(tmp_path / "missing" / "file")


@pytest.fixture
def umask():
    """Set the umask, for a test; afterwards it is what it was."""
    old = os.umask(0o022)
    yield os.umask
    os.umask(old)


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o027, 0o077])
@pytest.mark.parametrize("own", [None, 0o600, 0o666])
def test_files_have_the_modes_that_open_gives(tmp_path, umask, mask, own):
    """Whatever mode the writer gives its file, or if it puts another in its place. Kills: a mode of the writer's."""
    umask(mask)
    (tmp_path / "opened").touch()
    with atomic(tmp_path / "file") as temporary:
        if own is not None:
            temporary.unlink()
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, own))
            temporary.chmod(own)
    assert mode(tmp_path / "file") == mode(tmp_path / "opened") == 0o666 & ~mask


@pytest.mark.parametrize("old", [0o600, 0o644, 0o640, 0o664, 0o755, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path, umask, old):
    """As when it is written in place. Kills: the old file's mode is lost."""
    path = tmp_path / "file"
    path.touch()
    path.chmod(old)
    save_png(path, np.zeros((2, 2), bool))
    assert mode(path) == old and path.read_bytes().startswith(b"\x89PNG")


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/.hidden.tmp")


def test_a_full_disk_names_the_users_file(tmp_path, monkeypatch):
    """However deep the writers are nested, and where the writer's own words hold the temporary's name.
    Kills: the temporary's name in a message."""
    path = tmp_path / "mask.png"
    wanted = f"expected to be able to write {path}, got: No space left on device"
    with pytest.raises(InputError) as error, atomic(path):
        full()
    assert str(error.value) == wanted
    with monkeypatch.context() as patch:
        patch.setattr("PIL.Image.Image.save", full)
        for depth in range(3):
            with pytest.raises(InputError) as error:
                nested(path, depth)
            assert str(error.value) == wanted
    with pytest.raises(InputError) as error, atomic(path) as temporary:
        raise OSError(f"cannot write {temporary}: unexpected pos 64")
    assert str(error.value) == f"expected to be able to write {path}, got: cannot write {path}: unexpected pos 64"
    with pytest.raises(InputError, match=r"^expected two, got three$"), atomic(path):
        raise InputError("expected two, got three")
    with pytest.raises(InputError, match=f"expected to be able to write {path}, got: No space left"), writing(path):
        full()
    assert not list(tmp_path.iterdir())


def nested(path, depth):
    if depth == 0:
        save_png(path, np.zeros((2, 2), bool))
    else:
        with atomic(path) as temporary:
            nested(temporary, depth - 1)


@pytest.mark.parametrize("name", ["x" * 255, "ö" * 120, "x" * 240 + ".png", ".x", "a b"])
def test_names_up_to_the_longest(tmp_path, name):
    with atomic(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_named(tmp_path):
    with pytest.raises(InputError, match="File name too long"), atomic(tmp_path / ("x" * 300)):
        pass
    with pytest.raises(InputError, match=r"got 'a\\x00b'"):
        check_output("a\0b")


def test_outputs_are_different_files(tmp_path):
    """Neither one another nor an input, by whatever name."""
    (tmp_path / "set.json").write_text("{}")
    check_outputs([tmp_path / "a", None, tmp_path / "b"], tmp_path / "set.json", None)
    with pytest.raises(InputError, match=r"expected different files to write, got .*a twice"):
        check_outputs([tmp_path / "a", tmp_path / ".." / tmp_path.name / "a"])
    with pytest.raises(InputError, match="expected an output other than the input"):
        check_outputs([tmp_path / "set.json"], tmp_path / "set.json")
