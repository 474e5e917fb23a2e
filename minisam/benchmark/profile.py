"""Where the time goes: timers put around the model's stages and kernels from outside, and taken off again.

Each timer counts what is its own, without what it calls that has a timer too, so the stages add up to the whole. Only
the calling thread is timed: it works on the pieces like all the others, so its time is the wall clock's, with the
moments included in which it waits for the last pieces of the others.
"""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

# Where a part of the model begins → its name, or a function of the call's arguments that gives it.
PARTS: dict[str, str | Callable[..., str]] = {
    "minisam.predictor:resize_image": "pixels",
    "minisam.predictor:normalise_and_pad": "pixels",
    "minisam.model.image_encoder:ImageEncoderViT.embed_patches": "patch embedding",
    "minisam.model.image_encoder:ImageEncoderViT.block": lambda self, i, x: (
        f"{'global' if i in self.config.encoder_global_attn_indexes else 'windowed'} blocks"
    ),
    "minisam.model.image_encoder:ImageEncoderViT.neck": "neck",
    "minisam.fused.decoder:image_terms": "decoder's terms of the image",
    "minisam.model.prompt_encoder:PromptEncoder.__call__": "prompt encoder",
    "minisam.fused.prompts:FusedPrompts.self_attention": "tokens to tokens",
    "minisam.fused.prompts:FusedPrompts.read_image": "tokens to image",
    "minisam.fused.prompts:FusedPrompts.update_basis": "image to tokens, set up",
    "minisam.fused.prompts:FusedPrompts.update_tile": "image to tokens",
    "minisam.fused.prompts:FusedPrompts.mlp": "heads of the tokens",
    "minisam.fused.prompts:FusedPrompts.masks": "upscaling and masks",
}
NAMES = {"norm_linear": "norm1 and qkv", "window_attention": "attention", "linear": "proj", "mlp": "norm2 and mlp"}
NAMES |= {"merge_tiles": "merge tiles", "skinny_linear": "few rows"}


class Timers:
    """A stack of running timers for one thread; ``own`` is what each name took itself, in seconds."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.own: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self.parts: list[str] = []
        self.running: list[str] = []
        self.last = 0.0

    def switch(self) -> None:
        """Add the time since the last change to the timer that runs."""
        now = time.perf_counter()
        if self.running:
            self.own[self.running[-1]] += now - self.last
        self.last = now

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        self.switch()
        self.own.setdefault(name, 0.0)
        self.calls[name] = self.calls.get(name, 0) + 1
        self.running.append(name)
        try:
            yield
        finally:
            self.switch()
            self.running.pop()

    def part(self, function: Callable[..., Any], label: str | Callable[..., str]) -> Callable[..., Any]:
        """``function`` as a part of the model: the kernels in it are listed under its name."""

        @functools.wraps(function)
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            if threading.get_ident() != self.thread:
                return function(*arguments, **keywords)
            name = label if isinstance(label, str) else label(*arguments, **keywords)
            self.parts.append(name)
            try:
                with self.timed(name):
                    return function(*arguments, **keywords)
            finally:
                self.parts.pop()

        return wrapped

    def kernel(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """``function`` as a kernel; one that a kernel calls is part of it."""

        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            inside = bool(self.running) and "·" in self.running[-1]
            if threading.get_ident() != self.thread or not self.parts or inside:
                return function(*arguments, **keywords)
            label = name.removesuffix("_tiles").removesuffix("_tile").replace("_", " ")
            with self.timed(f"{self.parts[-1]} · {NAMES.get(name, label)}"):
                return function(*arguments, **keywords)

        return wrapped


def _kernels() -> Iterator[tuple[Any, str, Any]]:
    """(module, name, function) of every kernel that a module of the model has imported."""
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("minisam.") and not module_name.startswith("minisam.benchmark"):
            for name, value in list(vars(module).items()):
                package, _, folder = (getattr(value, "__module__", "") or "").rpartition(".")[0].partition(".")
                kernel = package == "minisam_kernels" and folder not in ("", "runtime")
                if kernel and callable(value) and not isinstance(value, type):
                    yield module, name, value


@contextmanager
def installed(timers: Timers) -> Iterator[None]:
    """Timers around every part and kernel while the block runs."""
    undo: list[tuple[Any, str, Any]] = []

    def replace(holder: Any, name: str, new: Any) -> None:
        undo.append((holder, name, vars(holder)[name]))
        setattr(holder, name, new)

    try:
        for path, label in PARTS.items():
            module, _, rest = path.partition(":")
            *outer, name = rest.split(".")
            holder: Any = functools.reduce(getattr, outer, import_module(module))
            replace(holder, name, timers.part(vars(holder)[name], label))
        for module, name, function in list(_kernels()):
            replace(module, name, timers.kernel(function, name))
        yield
    finally:
        for holder, name, old in reversed(undo):
            setattr(holder, name, old)


def profiled(call: Callable[[], Any], times: int) -> list[dict[str, Any]]:
    """Stages, part by part in the order in which they first ran: name, seconds, calls, for one call of ``call``."""
    timers = Timers()
    with installed(timers):
        for _ in range(times):
            with timers.timed("the rest"):
                call()
    order = list(dict.fromkeys(name.split(" · ")[0] for name in timers.own if name != "the rest"))
    names = [name for part in order for name in timers.own if name.split(" · ")[0] == part] + ["the rest"]
    return [
        {"name": name, "seconds": timers.own[name] / times, "calls": round(timers.calls[name] / times, 2)}
        for name in names
    ]
