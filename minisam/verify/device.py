"""Where torch computes, how exactly, and whether it fits: devices, dtypes, memory, float32 with or without TF32.

What a CPU can show of it is tested in ``make test``, the rest by ``make test-gpu`` (``tests/verify/test_device.py``).
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minisam.model.config import SamConfig
from minisam.reference import build
from minisam.reference.model import Sam as ReferenceSam
from minisam.reports.environment import available_bytes
from minisam.sam import Sam
from minisam_kernels.runtime.errors import InputError

DEVICES = ("cpu", "cuda")
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
HALVES = (torch.bfloat16, torch.float16)
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "_scaled_dot_product")  # beginnings of operators' names


def check_device(name: str) -> torch.device:
    """The device called ``name``; raises where torch cannot use it."""
    if name not in DEVICES:
        raise InputError(f"expected a device among {', '.join(DEVICES)}, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("expected a GPU for --device cuda, got none that torch can use")
    return torch.device(name)


def check_dtype(name: str) -> torch.dtype:
    """The dtype called ``name``."""
    if name not in DTYPES:
        raise InputError(f"expected a dtype among {', '.join(DTYPES)}, got {name!r}")
    return DTYPES[name]


def describe(device: torch.device) -> dict[str, Any]:
    """Name, memory and versions, for a report."""
    about: dict[str, Any] = {"type": device.type, "torch": torch.__version__}
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        about |= {"name": card.name, "memory_gb": round(card.total_memory / 1e9, 1), "cuda": torch.version.cuda}
    return about


# --------------------------------------------------------------------------------------------------------- memory


class Count(TorchDispatchMode):
    """Bytes of what runs inside: ``peak``, the most that its results hold at one time, and ``traffic``, the inputs and
    outputs of its products of matrices, each once. Works on tensors without numbers (the device "meta")."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = self.traffic = 0
        self.owners: dict[int, int] = {}  # storage → tensors that hold it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        old = {x.untyped_storage()._cdata for x in inputs}
        out = func(*args, **(kwargs or {}))
        results = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if func.__name__.startswith(PRODUCTS):
            self.traffic += sum(x.numel() * x.element_size() for x in inputs + results)
        for x in results:
            storage = x.untyped_storage()
            key = storage._cdata
            if key in self.owners or key not in old:  # not a view of what was there before
                self._hold(x, key, storage.nbytes())
        self.peak = max(self.peak, self.live)
        return out

    def _hold(self, x: Tensor, key: int, size: int) -> None:
        if key not in self.owners:
            self.owners[key] = 0
            self.live += size
        self.owners[key] += 1

        def let_go() -> None:
            self.owners[key] -= 1
            if self.owners[key] == 0:
                del self.owners[key]
                self.live -= size

        weakref.finalize(x, let_go)


def count(config: SamConfig, dtype: torch.dtype, work: Callable[[ReferenceSam], Any], fast: bool = False) -> Count:
    """What ``work`` holds and moves on a model without numbers. ``fast``: its attention is one operator, as on a device
    that has it; otherwise products, softmax and all scores, as on a device that has none for this dtype and bias."""
    before, where = torch.get_default_dtype(), FakeTensorMode() if fast else torch.device("meta")
    torch.set_default_dtype(dtype)
    try:
        with cast(Any, where), torch.no_grad():
            model = build(config, fast)
            with Count() as counted:
                work(model)
    finally:
        torch.set_default_dtype(before)
    return counted


def weight_bytes(config: SamConfig, itemsize: int) -> int:
    """Of all weights."""
    return itemsize * sum(math.prod(shape) for shape in config.shapes().values())


@functools.cache
def encoder_bytes(config: SamConfig, dtype: torch.dtype, batch: int = 1, fast: bool = False) -> int:
    """Of the weights, and of what the encoder holds beside them at its worst, scores of attention included."""
    picture = (batch, config.image_size, config.image_size, 3)
    held = count(config, dtype, lambda model: model.image_encoder(torch.empty(picture)), fast).peak
    return weight_bytes(config, dtype.itemsize) + held


def free_bytes(device: torch.device) -> float:
    """What can still be had."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else available_bytes()


def check_memory(config: SamConfig, device: torch.device, dtype: torch.dtype) -> None:
    """Raise unless an image can be encoded; on the CPU the NumPy model's weights and work need room as well."""
    needed = float(encoder_bytes(config, dtype))
    if device.type == "cpu":
        needed += weight_bytes(config, 4)
    needed, free = 1.2 * needed, free_bytes(device)  # a fifth for the libraries' own
    if needed > free:
        raise InputError(
            f"expected {needed / 1e9:.1f} GB of free memory on the {device.type} for {config.name} "
            f"({config.encoder_depth} blocks, {str(dtype).removeprefix('torch.')}), got {free / 1e9:.1f} GB"
        )


# ------------------------------------------------------------------------------------------------------ computing


@contextmanager
def float32_products(tf32: bool = False) -> Iterator[None]:
    """Products of float32 matrices to float32's precision, or with inputs of 11 bits (TF32) where a GPU can."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def place(model: ReferenceSam, device: torch.device, dtype: torch.dtype) -> ReferenceSam:
    """The model on the device in ``dtype``. In half precision the prompt encoder stays float32: a place of 1024 pixels
    times 2π times a Gaussian number, rounded to 8 bits, would be another place. Its results are then rounded once."""
    model = model.eval().requires_grad_(False)
    if dtype in HALVES:
        model.image_encoder.to(device, dtype)
        model.mask_decoder.to(device, dtype)
        model.prompt_encoder.to(device, torch.float32)
    else:
        model.to(device, dtype)
    return model


def load(sam: Sam, device: torch.device, dtype: torch.dtype, fast: bool = False) -> ReferenceSam:
    """``sam``'s weights in the reference, placed; without a second set of random weights on the way."""
    with torch.device("meta"):
        model = build(sam.config, fast)
    state = {name: torch.from_numpy(np.array(value)) for name, value in sam.state_dict().items()}
    model.load_state_dict(state, assign=True)
    return place(model, device, dtype)


def tensor(value: Any, device: torch.device | str, dtype: torch.dtype = torch.float64) -> Any:
    """Arrays as tensors of ``dtype`` (bool stays bool); everything else as it is."""
    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(np.array(value)).to(device=device, dtype=torch.bool if value.dtype == bool else dtype)


def embed_prompt(model: ReferenceSam, points: Any = None, boxes: Any = None, masks: Any = None) -> tuple[Tensor, ...]:
    """Arrays of a prompt → sparse and dense embeddings and the image's positions, in the prompt encoder's dtype."""
    weight = model.prompt_encoder.no_mask_embed.weight
    points, boxes, masks = (
        tuple(tensor(p, weight.device, weight.dtype) for p in points) if points else None,
        tensor(boxes, weight.device, weight.dtype),
        tensor(masks, weight.device, weight.dtype),
    )
    return *model.prompt_encoder(points, boxes, masks), model.prompt_encoder.get_dense_pe()


def decode(model: ReferenceSam, features: Tensor, prompt: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """All four masks' logits and predicted IoU, from the embedding and what ``embed_prompt`` gave."""
    sparse, dense, place = (x.to(features.dtype) for x in prompt)
    return model.mask_decoder.predict_masks(features, place, sparse, dense)
