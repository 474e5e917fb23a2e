"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from minisam_kernels import InputError


@contextmanager
def writing(path: str | Path, temporary: str | Path = "") -> Iterator[None]:
    """Turn what the system says while ``path`` is written (no space left, say) into an ``InputError`` that names it,
    and not its temporary."""
    try:
        yield
    except (OSError, InputError) as error:
        system = f"expected to be able to write {path}, got: {getattr(error, 'strerror', None) or error}"
        message = str(error) if isinstance(error, InputError) else system
        raise InputError(message.replace(str(temporary or path), str(path))) from error


def check_output(path: str | Path, *inputs: str | Path) -> Path:
    """``path``, links followed, as a place to write to: its folder exists and is writable, it is no folder and none of
    ``inputs``."""
    if "\0" in str(path):
        raise InputError(f"expected a file to write, got {str(path)!r}")
    with writing(path):  # of a name that is too long, say
        path = Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)
        is_folder = path.is_dir()
    if is_folder:
        raise InputError(f"expected a file to write, got the folder {path}")
    if path.exists() and not path.is_file():
        raise InputError(f"expected a file to write, got {path}, which is a device or a pipe")
    if not path.parent.is_dir():
        raise InputError(f"expected an existing folder to write {path.name!r} into, got {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"expected a writable folder for {path.name!r}, got {path.parent}")
    for other in inputs:
        if path.exists() and Path(other).exists() and path.samefile(other):
            raise InputError(f"expected an output other than the input, got {path} for both")
    return path


def check_outputs(paths: Sequence[str | Path | None], *inputs: str | Path | None) -> None:
    """Check those ``paths`` that are named (``check_output``), and that no two of them are one file."""
    named = [path for path in paths if path is not None]
    places = [check_output(path, *(one for one in inputs if one is not None)).resolve() for path in named]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"expected different files to write, got {named[number]} twice")


def check_ending(path: str | Path, ending: str, what: str) -> None:
    """Raise ``InputError`` unless the name of ``what`` is to be written ends in ``ending``, in any case."""
    if Path(path).suffix.lower() != ending:
        raise InputError(f"expected {what} whose name ends in {ending}, got {Path(path).name!r:.60}")


def make_folder(folder: str | Path) -> None:
    """Make a folder, and those above it, unless it is there; ``InputError`` where nothing can be written into it."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"expected a folder to write into, got {str(folder)[:120]} ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"expected a writable folder, got {folder}")


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path``: it becomes ``path`` when the block ends, and is deleted when the block fails.

    An older file of that name stays as it is until then, and its mode is the new file's; without one it is as ``open``
    makes it, whatever the writer does. Of a link, the file that it leads to is replaced.
    Raises ``InputError`` where nothing can be written.
    """
    path = check_output(path)
    temporary = path.with_name(f".{path.name[:50]}.{os.getpid()}.tmp")
    try:
        with writing(path, temporary):
            temporary.touch()
            mode = (path if path.exists() else temporary).stat().st_mode & 0o7777
            yield temporary
            if temporary.stat().st_mode & 0o7777 != mode:
                temporary.chmod(mode)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all; ``InputError`` where nothing can be written."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
