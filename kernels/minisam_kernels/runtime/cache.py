"""The machine code of the kernels on disk, so that only the first process compiles them: what Numba asks a cache for.

Numba's own cache takes a function's file for all that its code depends on, and any damage, or a package and a home that
cannot be written, for the caller's fault. Here the cache never fails and never gives code that belongs to other values:
each file begins with a hash of the ``fingerprint``, the signature and what follows. A file whose hash is another one,
cut short or from other constants, is compiled again and replaced.

Folders, in this order: ``NUMBA_CACHE_DIR`` if it is set, otherwise ``__pycache__`` beside the source, then the user's
cache (``~/.cache/numba`` on Linux). The last is ``minisam-<user's number>`` among the temporary files, where nobody but
its owner may write, for its code will run. Reading tries all, so a container may ship what ``minisam warmup`` left
beside the package. Writing takes the first that can be written; should that be the last or none, one line says so.

A kernel that is compiled keeps its constants to the end of the process, as Numba documents. What is compiled around it
after one of them has changed holds values of two times, and is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from minisam_kernels.runtime.fingerprint import fingerprint

_config: Any = numba.config
_SEVERAL = "values of several times"
_said = False


class Cache:
    """The cache of one kernel, a Numba dispatcher."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.source = Path(kernel.py_func.__code__.co_filename).absolute()
        self.planned: dict[Any, str] = {}  # signature → fingerprint when its compilation began
        self.made_from: set[str] = set()  # fingerprints of the code that this process has
        self.cache_path = str(_folders(self.source)[0])

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The compiled function for a signature, or None where no folder has it whole and current."""
        target.refresh()
        self.planned[signature], _ = fingerprint(self.kernel)
        name, key = self._name_and_key(signature, target, self.planned[signature])
        for folder in [*_folders(self.source), *_temporary_folder(self.source, make=False)]:
            with contextlib.suppress(Exception):  # none there, unreadable, damaged
                content = (folder / name).read_bytes()
                if content[:32] == hashlib.sha256(key + content[32:]).digest():
                    compiled = CompileResult._rebuild(target, *pickle.loads(content[32:]))
                    self.made_from.add(self.planned.pop(signature))
                    return compiled
        return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what has just been compiled, if it and all that it calls were made from the values of now."""
        now, called = fingerprint(self.kernel)
        pure = now == self.planned.pop(signature, now) and all(_is_current(kernel) for kernel in called)
        self.made_from.add(now if pure else _SEVERAL)
        if not pure or compiled.library.has_dynamic_globals or not self.source.is_file():
            return
        name, key = self._name_and_key(signature, compiled.target_context, now)
        payload = dumps(compiled._reduce())
        content = hashlib.sha256(key + payload).digest() + payload
        reason = ""
        for folder in _folders(self.source):
            try:
                return _write(folder / name, content)
            except OSError as error:
                reason = f"{folder.parent} ({error.strerror or error})"
        for folder in _temporary_folder(self.source, make=True):
            with contextlib.suppress(OSError):
                _write(folder / name, content)
                return _say(f"expected to keep compiled kernels in {reason}; they are kept in {folder.parent}")
        _say(f"expected to keep compiled kernels in {reason}; each process compiles anew (see NUMBA_CACHE_DIR)")

    def flush(self) -> None:
        """Nothing: before Numba compiles again, it asks ``load_overload``, which knows what is current."""

    def _name_and_key(self, signature: Any, target: Any, fingerprint: str) -> tuple[str, bytes]:
        """A file's name, and what its hash covers before the content: of two versions of a kernel the later stays."""
        machine = repr((signature, target.codegen().magic_tuple(), _config.BOUNDSCHECK))
        number = hashlib.sha256(machine.encode()).hexdigest()[:16]
        function = self.kernel.py_func.__qualname__.replace("<", "").replace(">", "")
        name = f"{self.source.stem}.{function}.{sys.implementation.cache_tag}.{number}.nbc"
        return name, f"{fingerprint} {machine} {numba.__version__} {np.__version__}".encode()


def _is_current(kernel: Any) -> bool:
    """Whether all code of ``kernel`` in this process was made from the values of now."""
    cache = kernel._cache
    return isinstance(cache, Cache) and cache.made_from <= {fingerprint(kernel)[0]}


def _name(source: Path) -> str:
    """The name of a folder for a source file's folder, where many have theirs."""
    return f"{source.parent.name}_{hashlib.sha256(os.fsencode(source.parent)).hexdigest()[:16]}"


def _folders(source: Path) -> list[Path]:
    """Where code of a source file is kept."""
    if _config.CACHE_DIR:
        return [Path(_config.CACHE_DIR).absolute() / _name(source)]
    user = Path(AppDirs(appname="numba", appauthor=False).user_cache_dir)  # without a home it begins with a plain ~
    return [source.parent / "__pycache__", *([user / _name(source)] if user.is_absolute() else [])]


def _temporary_folder(source: Path, make: bool) -> list[Path]:
    """A folder inside the user's own among the temporary files, unless somebody else could write there."""
    try:
        folder = Path(tempfile.gettempdir()) / f"minisam-{os.geteuid()}"
        if make:
            folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except (OSError, AttributeError):  # AttributeError: Windows, whose users have no numbers
        return []
    private = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o077
    return [folder / _name(source)] if private else []


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, with the umask's mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _say(message: str) -> None:
    global _said
    if not _said:
        print(f"minisam: {message}", file=sys.stderr)
    _said = True
