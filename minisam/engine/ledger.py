"""The ledger: what happened, in order, one line of JSON for each task. Lines are only ever added.

The first line says which recipe it is. A process that is killed while it writes leaves half a line at the end: it is
dropped, and said, and its task is done again. A damaged line anywhere else is an error, for nobody knows what it was.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from minisam.files.atomic import make_folder, writing
from minisam_kernels import InputError

Entry = dict[str, Any]
VERSION = 1


class Ledger:
    """The tasks of a run that are done, in a file that grows.

    Parameters
    ----------
    path : Path
        Made if it is not there, with its folder.
    head : dict
        What the run is: of a ledger that is there the first line must say the same.

    Raises
    ------
    InputError
        If the file is no ledger, is another run's or cannot be written.
    """

    def __init__(self, path: Path, head: Entry) -> None:
        self.path = path
        head = json.loads(json.dumps({"ledger": VERSION, **head}))
        self.entries: list[Entry] = []
        if path.exists():
            self.entries, whole = read(path)
            if whole < path.stat().st_size:
                print(f"{path}: dropped half a line at its end; that task is done again", file=sys.stderr)
                with writing(path):
                    os.truncate(path, whole)
        make_folder(path.parent)
        if not self.entries:
            self._write(head)
        elif self.entries[0] != head:
            raise InputError(_other(path, self.entries[0], head))
        self.done = {entry["task"]: entry for entry in self.entries[1:]}

    def _write(self, entry: Entry) -> None:
        """Add a line, on the disk before this returns; of a full disk the file is as it was before."""
        line = (json.dumps(entry, allow_nan=False) + "\n").encode()
        size = self.path.stat().st_size if self.path.exists() else 0
        with writing(self.path), open(self.path, "ab") as file:
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, size)
                raise
        self.entries.append(entry)

    def add(self, task: str, entry: Entry) -> Entry:
        """Note that a task is done, and what came of it, as JSON gives it back."""
        if task in self.done:
            raise ValueError(f"expected a new task, got {task!r} a second time")
        self._write(json.loads(json.dumps({"task": task, **entry}, allow_nan=False)))
        self.done[task] = self.entries[-1]
        return self.entries[-1]


def read(path: Path) -> tuple[list[Entry], int]:
    """Read a ledger's whole lines, and the number of their bytes; what follows the last end of a line is left out.

    Raises ``InputError`` if the file is none, or a line is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"expected a ledger, got {path} ({error.strerror})") from error
    whole = data.rfind(b"\n") + 1
    entries: list[Entry] = []
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        wanted = "task" if number > 1 else "ledger"
        if not isinstance(entry, dict) or wanted not in entry:
            raise InputError(f"expected a ledger of minisam engine, got {path}, whose line {number} is none")
        if number == 1 and entry["ledger"] != VERSION:
            raise InputError(f"expected a ledger of version {VERSION}, got {path} of version {entry['ledger']!r:.20}")
        entries.append(entry)
    return entries, whole


def _other(path: Path, old: Entry, new: Entry) -> str:
    """Say what differs between a ledger's first line and the run that would go on with it."""
    for key in sorted({*old, *new}):
        before, now = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(now, dict):
            differ = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
            if differ:
                key, before, now = f"{key}.{differ[0]}", before.get(differ[0]), now.get(differ[0])
        if before != now:
            return f"expected the run that {path} was begun with, {key} = {before!r:.60}, got {now!r:.60}"
    return f"expected the run that {path} was begun with, got another"
