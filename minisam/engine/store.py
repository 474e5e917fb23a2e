"""A store: masks of many pictures in one folder, each JSON file beside its picture, as SA-1B itself lies.

    OUT/manifest.json         what made it: minisam's version, the weights' SHA-256, every setting
    OUT/failed.jsonl          pictures without masks, each with the reason; not there when there are none
    OUT/pictures/sub/a.json   the masks in SA-1B's schema, ids from 1
    OUT/pictures/sub/a.jpg    a link to the picture, a copy where the system makes no links

``minisam train --data OUT`` reads it. A JSON file is written under another name and renamed, so that it is whole or not
there; whoever fills a store again does only what is missing. One process at a time fills it (``Store.filling``): a
second one is refused where the file system knows locks, and where it does not, both write the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from minisam.files.atomic import atomic, make_folder, write_text, writing
from minisam.files.formats import as_sa1b, read_report, write
from minisam.files.images import ENDINGS, is_image_name
from minisam.files.records import read_json, walk
from minisam_kernels import InputError

MANIFEST, FAILED, PICTURES = "manifest.json", "failed.jsonl", "pictures"
SCHEMA = 1  # of the manifest; a store of another number is refused


class Picture(NamedTuple):
    """A picture of a folder: its path from there, and the name of its JSON file in a store, without ``.json``."""

    path: str
    name: str


class Failure(NamedTuple):
    """Why a picture has no masks, and the file's size and time of change then: a changed picture is tried again."""

    picture: str
    name: str
    reason: str
    bytes: int
    modified: int


def find_pictures(folder: str | Path) -> list[Picture]:
    """Find every picture below a folder, sorted by path, but those in folders ``masks``, which hold truth.

    A name is the path without its ending, unless two would be alike, ``a.jpg`` and ``a.png``.

    Raises
    ------
    InputError
        If the folder cannot be read, or has no picture.
    """
    if not os.path.isdir(folder):
        raise InputError(f"expected a folder of pictures, got {str(folder)[:200]}")
    found = (path for path in walk(folder) if is_image_name(path) and path.parent.name != "masks")
    paths = sorted(path.relative_to(folder).as_posix() for path in found)
    if not paths:
        raise InputError(f"expected pictures ({', '.join(ENDINGS)}) below {folder}, got none")
    names = [path.removesuffix(PurePosixPath(path).suffix) for path in paths]
    for _ in range(2):  # the second time for a name that is now like another's whole path
        often = Counter(name.lower() for name in names)  # where a.JPG and A.jpg are one file
        names = [path if often[name.lower()] > 1 else name for path, name in zip(paths, names)]
    return [Picture(*pair) for pair in zip(paths, names)]


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits; ``InputError`` where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"expected a file that can be read, got {path} ({error.strerror})") from error


class Store:
    """The store in ``folder``. To make one, or to fill it: ``filling``.

    Parameters
    ----------
    folder : str or Path
        ``OUT`` above.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    # ---- one picture ------------------------------------------------------------------------------------------

    def record(self, name: str) -> Path:
        """The JSON file of the picture of this name."""
        return self.folder / PICTURES / f"{name}.json"

    def link(self, picture: Picture) -> Path:
        """The picture's place in the store."""
        return self.folder / PICTURES / (picture.name + PurePosixPath(picture.path).suffix)

    def has(self, name: str) -> bool:
        """Whether the picture of this name has its masks."""
        try:
            return os.stat(self.record(name)).st_size > 0
        except OSError:
            return False

    def count(self, name: str) -> int:
        """How many masks the picture of this name has; ``InputError`` if its file is none of minisam's."""
        return len(read_report(self.record(name))["annotations"])

    def keep(self, picture: Picture, folder: str | Path, size: tuple[int, int], records: list[dict[str, Any]]) -> None:
        """Write a picture's masks, and link the picture.

        Parameters
        ----------
        picture : Picture
            Of ``folder``.
        folder : str or Path
            Where the picture lies.
        size : (int, int)
            (H, W) of the picture, upright.
        records : list of dict
            As ``SamAutomaticMaskGenerator`` gives them with output_mode "coco_rle".

        Raises
        ------
        InputError
            If a file cannot be written.
        """
        record, link = self.record(picture.name), self.link(picture)
        with writing(record):
            record.parent.mkdir(parents=True, exist_ok=True)
        _link(Path(folder) / picture.path, link)
        with atomic(record) as temporary:
            write(temporary, "sa1b", as_sa1b(link, size, records, picture.name), "")

    # ---- all of them ------------------------------------------------------------------------------------------

    def manifest(self) -> dict[str, Any]:
        """What made the store; ``InputError`` if there is no whole manifest, or that of another minisam's store."""
        path = self.folder / MANIFEST
        values = read_json(path, "a manifest of a store")
        if not isinstance(values, dict) or "schema" not in values:
            raise InputError(f"expected a manifest of a store, got {path}, which is none")
        if values["schema"] != SCHEMA:
            raise InputError(f"expected a store of schema {SCHEMA}, got {path} of schema {values['schema']!r:.20}")
        return values

    @contextmanager
    def filling(self, manifest: dict[str, Any]) -> Iterator[None]:
        """Inside, this process fills the store, which is made, or gone on with where the manifest is the same.

        Parameters
        ----------
        manifest : dict
            Whatever decides the masks, as JSON has it.

        Raises
        ------
        InputError
            If the folder holds other things, or a store with another manifest, or another process fills it.
        """
        make_folder(self.folder)
        with _locked(self.folder):
            wanted = json.loads(json.dumps({"schema": SCHEMA} | manifest))
            if (self.folder / MANIFEST).exists():
                _same(self.manifest(), wanted, self.folder)
            else:
                others = [name for name in sorted(os.listdir(self.folder)) if not _is_temporary(name)]
                if others:
                    names = ", ".join(others[:3])
                    raise InputError(f"expected an empty folder or a store, got {self.folder} with {names}")
                write_text(self.folder / MANIFEST, json.dumps(wanted, indent=1, ensure_ascii=False) + "\n")
            make_folder(self.folder / PICTURES)
            self.sweep()
            try:
                yield
            finally:
                self.sweep()
                self.compact()

    def sweep(self) -> None:
        """Remove what killed processes left half-written."""
        for folder, _, names in os.walk(self.folder):
            for name in names:
                if _is_temporary(name):
                    with suppress(OSError):
                        os.unlink(os.path.join(folder, name))

    def check_link(self, folder: str | Path, picture: Picture) -> None:
        """Raise ``InputError`` if the store has the masks of another picture under the same name."""
        link = self.link(picture)
        if os.path.islink(link):
            stored, wanted = os.path.realpath(link), os.path.realpath(os.path.join(folder, picture.path))
            if stored != wanted:
                raise InputError(f"expected the pictures that the store was made of, {stored}, got {wanted}")

    # ---- what failed ------------------------------------------------------------------------------------------

    def failures(self) -> dict[str, Failure]:
        """Pictures without masks: path → why. Half a line, of a process that was killed, is passed over."""
        try:
            lines = (self.folder / FAILED).read_bytes().split(b"\n")
        except FileNotFoundError:
            return {}
        found = {}
        for line in lines[:-1]:
            try:
                failure = Failure(**json.loads(line))
            except (ValueError, TypeError):
                continue
            found[failure.picture] = failure
        return found

    def fail(self, folder: str | Path, picture: Picture, reason: str) -> None:
        """Note why a picture of ``folder`` has no masks; ``InputError`` if that cannot be written."""
        path = self.folder / FAILED
        failure = Failure(picture.path, picture.name, reason, *_status(folder, picture))
        line = json.dumps(failure._asdict(), ensure_ascii=False) + "\n"
        with writing(path), open(path, "a+b") as file:
            if file.tell():  # after half a line, of a process that was killed, a new one begins
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())

    def failed_before(self, folder: str | Path, picture: Picture, failures: dict[str, Failure]) -> bool:
        """Whether the picture failed as it is now."""
        failure = failures.get(picture.path)
        return failure is not None and (failure.bytes, failure.modified) == _status(folder, picture)

    def compact(self) -> None:
        """Leave in ``failed.jsonl`` one line for each picture that still has no masks, sorted by its path."""
        path = self.folder / FAILED
        if not path.exists():
            return
        named = self.failures()
        left = [named[path] for path in sorted(named) if not self.has(named[path].name)]
        with suppress(InputError):  # on a full disk the long file stays
            if left:
                write_text(path, "".join(json.dumps(each._asdict(), ensure_ascii=False) + "\n" for each in left))
            else:
                path.unlink()


def _is_temporary(name: str) -> bool:
    """Whether a file is called as ``minisam.files.atomic`` calls what is half-written."""
    return name.startswith(".") and name.endswith(".tmp")


def _status(folder: str | Path, picture: Picture) -> tuple[int, int]:
    """A picture's size in bytes and its time of change in nanoseconds; zeros where it is gone."""
    try:
        status = os.stat(os.path.join(folder, picture.path))
        return status.st_size, status.st_mtime_ns
    except OSError:
        return 0, 0


def _link(source: Path, link: Path) -> None:
    """Make ``link`` lead to ``source``, by a relative path, so that both may be moved together; else copy it."""
    if os.path.lexists(link):
        return
    try:
        os.symlink(os.path.relpath(os.path.realpath(source), os.path.realpath(link.parent)), link)
    except FileExistsError:
        pass
    except (OSError, NotImplementedError, ValueError):
        with atomic(link) as temporary:
            shutil.copyfile(source, temporary)


def _same(stored: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Raise ``InputError`` with the first thing in which two manifests differ."""
    flat = [{**m, **m.get("settings", {}), "settings": None} for m in (wanted, stored)]
    for key in sorted(flat[0].keys() | flat[1].keys(), key=lambda key: (key != "minisam", key)):
        here, there = (values.get(key) for values in flat)
        if here != there:
            raise InputError(f"expected a store made with {key} {here!r:.80}, got {folder} made with {there!r:.80}")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases with the process; ``InputError`` where another holds it."""
    try:
        import fcntl
    except ImportError:  # Windows: two processes write the same bytes
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"expected a store that no other process fills, got {folder}, which one does") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
