"""Files are written whole or not at all, and nothing but files."""

from __future__ import annotations

import os

import pytest

from minisam.files.atomic import atomic, check_output
from minisam_kernels import InputError

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a name that appears before its content": (
        "minisam/files/atomic.py",
        """        yield temporary
""",
        """        path.write_bytes(b'')
        yield temporary
""",
    ),
    "an old file that is lost when writing fails": (
        "minisam/files/atomic.py",
        """    try:
        yield temporary
""",
        """    path.unlink(missing_ok=True)
    try:
        yield temporary
""",
    ),
    "the link itself is replaced": (
        "minisam/files/atomic.py",
        "Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)",
        "Path(path)",
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
