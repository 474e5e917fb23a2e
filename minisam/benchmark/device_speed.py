"""``minisam bench --device``: how fast the reference is on a device, in four precisions and five forms.

    eager      the plain attention, which holds its whole bias
    fast       the attention of ``minisam.reference.fast``
    compiled   that, with ``torch.compile``
    flex       compiled, with ``fast.flex_attention``: torch's FlexAttention adds the bias score by score
    tiled      compiled, with the attention of ``minisam.reference.tiled``: on a GPU, in half precision

Every time is beside what the device can do at best in the same run: its products of matrices, and its memory.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minisam.benchmark import flops
from minisam.benchmark.measure import spread
from minisam.model.config import SamConfig
from minisam.model.preprocess import MEAN, STD
from minisam.reference import automatic, fast, ops
from minisam.reference.model import Block
from minisam.reference.model import Sam as ReferenceSam
from minisam.sam import Sam
from minisam.verify import device as devices
from minisam_kernels.masks.nms import nms

PRECISIONS = {
    "float32": (torch.float32, False),
    "bfloat16": (torch.bfloat16, False),
    "tf32": (torch.float32, True),
    "float16": (torch.float16, False),
}
FORMS = ("eager", "fast", "compiled", "flex", "tiled")
PARTS = ("encoder", "decoder", "everything")
DEAD = ("illegal memory access", "device-side assert", "unspecified launch failure")  # nothing runs after these
TOGETHER = 20  # products or copies in a row on a GPU
Call = Callable[[], Any]


@dataclass(frozen=True)
class Plan:
    """What to measure. ``side``: of the matrices whose product is the ceiling; ``copied``: bytes of the copy that is
    the other; ``grid``: points a side for everything; ``backend``: of ``torch.compile``; ``precisions``: () for all;
    ``forms``: () for all that the device has."""

    precisions: tuple[str, ...] = ()
    parts: tuple[str, ...] = PARTS
    batches: tuple[int, ...] = (1, 4, 8)
    prompts: tuple[int, ...] = (1, 16, 64, 256)
    grid: int = 32
    points: int = 64  # in a batch
    side: int = 8192
    copied: int = 2**30
    rounds: int = 9
    budget: float = 30.0  # seconds per row: its rounds end early
    backend: str = "inductor"
    forms: tuple[str, ...] = ()


QUICK = Plan((), PARTS, (2,), (3,), 2, 4, 128, 2**20, 2, 5.0, "eager")


def time_of(call: Call, device: torch.device, rounds: int, budget: float) -> dict[str, Any]:
    """Seconds of the first call, which does not count, and of ``rounds`` more; the most memory that torch held on a
    GPU meanwhile (on the CPU it does not say). Work that fails has the reason in their place; others go on."""

    def once() -> float:
        devices.synchronise(device)
        start = time.perf_counter()
        call()
        devices.synchronise(device)
        return time.perf_counter() - start

    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
    free = devices.free_bytes(device)
    try:
        first = once()
        once()  # may still choose algorithms
        if cuda:  # compilers allocate as well
            torch.cuda.reset_peak_memory_stats(device)
        seconds: list[float] = []
        start = time.perf_counter()
        while len(seconds) < rounds and (len(seconds) < 2 or time.perf_counter() - start < budget):
            seconds.append(once())
    except torch.cuda.OutOfMemoryError:
        return {"failed": f"not run: {free / 1e9:.1f} GB of free memory are too little"}
    except (RuntimeError, NotImplementedError) as error:  # no such kernel, no compiler
        if any(words in str(error) for words in DEAD):
            raise
        return {"failed": f"not run: {type(error).__name__}: {' '.join(str(error).split())[:120]}"}
    peak = torch.cuda.max_memory_allocated(device) if cuda else None
    return {"first_call": first, "seconds": seconds, "peak_bytes": peak} | spread(seconds)


def ceilings(device: torch.device, plan: Plan) -> dict[str, float]:
    """Operations per second of a product of two matrices in each precision; bytes per second of a copy.

    Medians of many in a row, as the model's own come, of random numbers: on constant ones a GPU's clock is higher.
    """
    best: dict[str, float] = {}
    times = TOGETHER if device.type == "cuda" else 1

    def rate(once: Call, work: float) -> float | None:
        speed = time_of(lambda: [once() for _ in range(times)], device, max(3, plan.rounds), plan.budget)
        return None if "failed" in speed else times * work / speed["median"]

    for name in plan.precisions or PRECISIONS:
        dtype, tf32 = PRECISIONS[name]
        with devices.float32_products(tf32):
            a, b = torch.randn(2, plan.side, plan.side, device=device).to(dtype)
            out = torch.empty_like(a)
            speed = rate(functools.partial(torch.matmul, a, b, out=out), 2 * plan.side**3)
        if speed is not None:
            best[name] = speed
        del a, b, out
    source = torch.randn(plan.copied // 4, device=device)
    speed = rate(functools.partial(torch.empty_like(source).copy_, source), 2 * plan.copied)  # read and written
    return best if speed is None else best | {"copy": speed}


def forms(plan: Plan, device: torch.device, dtype: torch.dtype) -> list[str]:
    """Those of the plan that the device has."""
    tiles = device.type == "cuda" and dtype in devices.HALVES and find_spec("triton") is not None
    return [form for form in plan.forms or FORMS if form != "tiled" or tiles]


def attention(form: str) -> Callable[..., Tensor]:
    """What the encoder's blocks call in a form: ``ops.attention`` or what gives the same."""
    if form == "tiled":
        from minisam.reference import tiled  # needs Triton, which comes with torch for a GPU

        return tiled.attention
    return {"eager": ops.attention, "flex": fast.flex_attention}.get(form, fast.attention)


def parts(model: ReferenceSam, form: str, backend: str) -> tuple[Callable[[Tensor], Tensor], Callable[..., Any]]:
    """The encoder and the decoder (``predict_masks``) in a form. Each is compiled anew for its shapes."""
    fast.use(model, attention(form))
    if form in ("eager", "fast"):
        return model.image_encoder, model.mask_decoder.predict_masks
    torch.compiler.reset()  # kept code counts towards a limit beyond which torch runs eager without a word
    step = torch.compile(Block.forward, backend=backend, dynamic=False)
    decoder = torch.compile(model.mask_decoder.predict_masks, backend=backend, dynamic=False)
    return functools.partial(model.image_encoder, step=step), decoder


def everything(
    model: ReferenceSam, encode: Callable[[Tensor], Tensor], decode: Callable[..., Any], pixels: Tensor, plan: Plan
) -> list[Tensor]:
    """An image of the model's size, uint8 (S, S, 3) in the computer's memory, → on the device yes/no masks (K, S, S),
    boxes (K, 4), predicted IoU and stability (K,): three masks for every point of a grid, at the image's size; then
    duplicates go, by boxes. Nothing is filtered before."""
    weight, size = model.image_encoder.pos_embed, model.config.image_size
    device, dtype = weight.device, weight.dtype
    mean, std = (torch.from_numpy(x).to(device) for x in (MEAN, STD))
    features = encode((((pixels.to(device) - mean) / std)[None]).to(dtype))
    points = torch.from_numpy(automatic.point_grid(plan.grid) * size).float().to(device)
    candidates: list[tuple[Tensor, ...]] = []
    for batch in points.split(plan.points):
        sparse, dense = model.prompt_encoder((batch[:, None], torch.ones(len(batch), 1, device=device)))
        pe = model.prompt_encoder.get_dense_pe()
        logits, iou = decode(features, *(x.to(dtype) for x in (pe, sparse, dense)))
        full = automatic.full_size(logits[:, 1:].float(), (size, size), size).flatten(0, 1)
        with device:  # what the functions make is made there
            masks, stability = full > 0, automatic.stability_score(full, 0.0, 1.0)
            candidates.append((masks, automatic.mask_to_box(masks), iou[:, 1:].flatten().float(), stability))
    columns = [torch.cat(column) for column in zip(*candidates)]
    stays = torch.from_numpy(nms(columns[1].float().cpu().numpy(), columns[2].cpu().numpy(), 0.7)).to(device)
    return [column[stays] for column in columns]


@torch.no_grad()
def measure(
    sam: Sam,
    device: torch.device,
    plan: Plan,
    tell: Callable[[str], object],
    keep: Callable[[dict[str, Any]], object] = lambda figures: None,
) -> dict[str, Any]:
    """The report's ceilings and rows; ``keep`` gets them after every row, for a run may be cut short.

    A row's error is the largest difference from eager float32, where that ran, over the largest number.
    """
    tell("ceilings")
    figures: dict[str, Any] = {"ceilings": ceilings(device, plan), "rows": []}
    truths: dict[tuple[str, int], Tensor] = {}
    for precision in sorted(plan.precisions or PRECISIONS, key=lambda name: name != "float32"):  # its results first
        dtype, tf32 = PRECISIONS[precision]
        model = devices.load(sam, device, torch.float32)  # anew: half precision rounds the weights
        devices.place(model, device, dtype)
        with devices.float32_products(tf32):
            for form in forms(plan, device, dtype):
                for part, number, call, counts in work(model, form, dtype, plan):
                    tell(f"{part} {number}: {precision}, {form}")
                    row = {"part": part, "number": number, "precision": precision, "form": form}
                    if device.type == "cpu" and counts["needs"] > devices.free_bytes(device):
                        row["failed"] = f"not run: expected to need {counts['needs'] / 1e9:.1f} GB"
                    else:
                        row |= counts | time_of(call, device, plan.rounds, plan.budget)
                    if part != "everything" and "failed" not in row:
                        result = call()
                        result = (result if isinstance(result, Tensor) else result[0]).float().cpu()
                        if (precision, form) == ("float32", "eager"):
                            truths[part, number] = result
                        if (part, number) in truths:
                            truth = truths[part, number]
                            row["error"] = float((result - truth).abs().max() / truth.abs().max())
                    del call  # and the images that it holds
                    figures["rows"].append(row)
                    keep(figures)
    return figures


@functools.cache
def encoder_counts(config: SamConfig, dtype: torch.dtype, batch: int) -> dict[str, int]:
    """Operations, and bytes that the products of the fast form read and write."""
    picture = (batch, config.image_size, config.image_size, 3)
    moved = devices.count(config, dtype, lambda model: model.image_encoder(torch.empty(picture)), fast=True).traffic
    return {"operations": batch * sum(flops.encoder(config).values()), "bytes": moved}


@functools.cache
def decoder_counts(config: SamConfig, dtype: torch.dtype, prompts: int) -> dict[str, int]:
    """The same of a decoder that gets one point per prompt, and bytes that it holds."""
    side, dim = config.image_embedding_size, config.prompt_embed_dim

    def decode(model: ReferenceSam) -> Any:
        features, pe = torch.empty(1, side, side, dim), torch.empty(side, side, dim)
        return model.mask_decoder.predict_masks(features, pe, torch.empty(prompts, 2, dim), torch.empty(1, 1, 1, dim))

    counted = devices.count(config, dtype, decode, fast=True)
    operations = sum(flops.decoder(config, prompts).values())
    return {"operations": operations, "bytes": counted.traffic, "needs": counted.peak}


def work(
    model: ReferenceSam, form: str, dtype: torch.dtype, plan: Plan
) -> Iterator[tuple[str, int, Call, dict[str, Any]]]:
    """(part, batch or prompts, what to do, its counts, with the bytes that it needs) of a form."""
    config, device = model.config, model.image_encoder.pos_embed.device
    rng = np.random.default_rng(0)
    size = config.image_size
    for batch in plan.batches if "encoder" in plan.parts else ():
        encode, _ = parts(model, form, plan.backend)
        pixels = torch.from_numpy(rng.standard_normal((batch, size, size, 3), dtype=np.float32)).to(device, dtype)
        needs = {"needs": devices.encoder_bytes(config, dtype, batch, fast=form != "eager")}
        yield "encoder", batch, functools.partial(encode, pixels), encoder_counts(config, dtype, batch) | needs
        del encode, pixels
    side, dim = config.image_embedding_size, config.prompt_embed_dim
    features = torch.from_numpy(rng.standard_normal((1, side, side, dim), dtype=np.float32)).to(device, dtype)
    for prompts in plan.prompts if form in ("eager", "compiled") and "decoder" in plan.parts else ():
        _, decode = parts(model, form, plan.backend)
        points = (rng.uniform(0, size, (prompts, 1, 2)), np.ones((prompts, 1)))
        sparse, dense, pe = (x.to(dtype) for x in devices.embed_prompt(model, points))
        call = functools.partial(decode, features, pe, sparse, dense)
        yield "decoder", prompts, call, decoder_counts(config, dtype, prompts)
    if "everything" not in plan.parts:
        return
    encode, decode = parts(model, form, plan.backend)
    pixels = torch.from_numpy(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
    held = plan.grid**2 * 3 * size**2 + plan.points * 3 * size**2 * 9  # masks; logits and what their scores make
    call = functools.partial(everything, model, encode, decode, pixels, plan)
    yield "everything", plan.grid**2, call, {"needs": held + devices.encoder_bytes(config, dtype, 1, form != "eager")}
