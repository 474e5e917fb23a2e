"""What several commands share: kinds of arguments, the model that the options name, progress on a terminal."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.model.config import SamConfig
    from minisam.sam import Sam

COMPILING = "compiling once, which takes half a minute or so; later runs start at once"


def positive(text: str) -> int:
    """A whole number above 0."""
    return _whole(text, 1, "above 0")


def count(text: str) -> int:
    """A whole number, 0 or more."""
    return _whole(text, 0, "of at least 0")


def _whole(text: str, least: int, wanted: str) -> int:
    if not text.isdecimal() or len(text) > 18 or int(text) < least:
        wanted = "of at most 18 digits" if text.isdecimal() and len(text) > 18 else wanted
        raise argparse.ArgumentTypeError(f"expected a whole number {wanted}, got {text[:40]!r}")
    return int(text)


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--model`` and ``--checkpoint``."""
    parser.add_argument("--model", metavar="NAME", help="tiny (the default), vit_b, vit_l or vit_h")
    parser.add_argument("--checkpoint", metavar="PATH", help="weights: .pth, .safetensors or a folder of transformers")


def add_depth(parser: argparse.ArgumentParser) -> None:
    """``--depth``."""
    parser.add_argument("--depth", type=positive, metavar="N", help="only N blocks in the encoder, with random weights")


def shallow(config: SamConfig, depth: int) -> SamConfig:
    """The same sizes with the first ``depth`` blocks; the last sees everything if none of these does."""
    if depth > config.encoder_depth:
        raise InputError(f"expected --depth of at most {config.encoder_depth} for {config.name}, got {depth}")
    indexes = tuple(i for i in config.encoder_global_attn_indexes if i < depth) or (depth - 1,)
    return dataclasses.replace(config, encoder_depth=depth, encoder_global_attn_indexes=indexes)


def planned_config(options: argparse.Namespace) -> SamConfig | None:
    """The sizes that ``load_or_build_model`` will have, before it loads; None where only a checkpoint says them."""
    from minisam.model.config import get_config

    depth = getattr(options, "depth", None)
    if depth is not None and options.checkpoint is not None:
        raise InputError("expected --depth without --checkpoint, got both")
    if options.checkpoint is not None and options.model is None:
        return None
    config = get_config(options.model or "tiny")
    return config if depth is None else shallow(config, depth)


def trained(options: argparse.Namespace) -> bool:
    """Whether ``load_or_build_model`` finds weights."""
    from minisam.checkpoints.loading import WEIGHTS

    shipped = (WEIGHTS / f"{options.model or 'tiny'}.safetensors").exists() and getattr(options, "depth", None) is None
    return options.checkpoint is not None or shipped


def load_model(options: argparse.Namespace) -> Sam:
    """The trained model that the options name; without ``--model``, a checkpoint says itself which one it is."""
    from minisam.checkpoints.loading import load

    if options.checkpoint is None:
        from minisam.model.config import get_config

        return load(get_config(options.model or "tiny").name)
    if options.model is None:
        return load(Path(options.checkpoint).absolute())
    return load(options.model, checkpoint=options.checkpoint)


def load_or_build_model(options: argparse.Namespace) -> Sam:
    """As ``load_model``, with random weights for a model that has none here: enough to check and to compile."""
    from minisam.sam import Sam, random_state

    config = planned_config(options)
    if config is None or trained(options):
        return load_model(options)
    if getattr(options, "depth", None) is None:
        print(f"no weights for {config.name}: random ones (--checkpoint names a file)", file=sys.stderr)
    state = random_state(config)
    for value in state.values():
        value.flags.writeable = False  # as weights from a file are
    return Sam(config, state)


def explain(error: Exception) -> tuple[int, str]:
    """Exit code and line for what ended a program: bad input, what the machine cannot do, or a fault of ours."""
    text = " ".join(str(error).split())[:1000]
    if isinstance(error, InputError):
        return 2, text
    if isinstance(error, MemoryError) or (type(error) is RuntimeError and "t allocate memory" in text):  # torch's words
        return 2, f"expected enough memory, got none left ({text})"
    if type(error) is RuntimeError and text.startswith("Symlink loop"):  # pathlib's, until Python 3.13
        return 2, f"expected a path that ends somewhere, got: {text}"
    if isinstance(error, RecursionError):
        return 2, "expected input that is nested less deeply, got too many levels"
    if isinstance(error, OSError):
        name = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return 2, f"expected files that can be read and written, got {name}{error.strerror or text}"
    return 70, f"expected no fault in minisam, got {type(error).__name__}: {text} (MINISAM_DEBUG=1 shows where)"


# Functions that Python or LLVM calls back, where an exception is only printed.
_SWALLOW = ("__del__", "_raw_object_cache_notify", "_raw_object_cache_getbuffer")


@contextmanager
def terminated_by_exception() -> Iterator[None]:
    """Inside, SIGTERM raises ``SystemExit(143)``, so that what is half-written is removed; once, for a second signal
    while that goes on would leave it. Forked processes end at once. Only in the main thread, and unless SIGTERM is
    handled already."""
    owner = os.getpid()

    def terminate(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(128 + number)
        while frame is not None:
            if frame.f_code.co_name in _SWALLOW:  # a little later it will be over
                threading.Timer(0.05, os.kill, (owner, number)).start()
                return
            frame = frame.f_back
        signal.signal(number, signal.SIG_IGN)
        print("\nminisam: terminated", file=sys.stderr)
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def exit_code(call: Callable[[], int | None]) -> int:
    """Of a program that is this call: bad input and Ctrl-C are one line, without a traceback."""
    try:
        return call() or 0
    except (InputError, MemoryError, RecursionError, OSError) as error:
        code, message = explain(error)
        print(f"minisam: error: {message}", file=sys.stderr)
        return code
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def need(extra: str, *modules: str) -> None:
    """Raise unless the modules of an optional set of dependencies are installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        raise InputError(f"expected the extra {extra!r} (pip install 'minisam[{extra}]'), got no {names}")


def progress(**settings: Any) -> Any:
    """A ``tqdm`` bar on stderr that vanishes when done, and is silent where stderr is not a terminal."""
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # no thread that watches the bar: the system may allow few
    return tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), leave=False, **settings)


@dataclasses.dataclass
class Compilation:
    """What Numba has compiled so far: the seconds that it took, and the number of functions."""

    seconds: float = 0.0
    functions: int = 0

    def clock(self) -> float:
        """Seconds from some beginning on; the clock stands still while Numba compiles."""
        return time.perf_counter() - self.seconds


@contextmanager
def compilation(bar: Any) -> Iterator[Compilation]:
    """Measure what Numba compiles inside the ``with``. A person who waits is told: on a terminal by the bar of
    ``progress``, which counts the functions, elsewhere by one line on stderr."""
    from numba.core import event

    compiled = Compilation()
    depth, start, description = 0, 0.0, ""

    class Listener(event.Listener):
        """Numba compiles under one lock; a function that a function calls is compiled inside, so its time is in it."""

        def on_start(self, event: Any) -> None:
            nonlocal depth, start, description
            if depth == 0:
                start = time.perf_counter()
                description = "" if bar.disable else bar.desc.removesuffix(": ")
            if bar.disable and compiled.functions == depth == 0:
                print(COMPILING, file=sys.stderr, flush=True)
            depth += 1
            bar.set_description(f"{description}: compiling once, function {compiled.functions + depth}")

        def on_end(self, event: Any) -> None:
            nonlocal depth
            depth -= 1
            compiled.functions += 1
            if depth == 0:
                compiled.seconds += time.perf_counter() - start
                bar.set_description(description)

    with event.install_listener("numba:compile", Listener()):
        yield compiled
