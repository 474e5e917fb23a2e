"""``minisam verify``: every kernel and every stage of the model against torch, with its tolerance.

A kernel's error is measured in the units of its own file: |compiled − oracle| over eps · magnitude, where the magnitude
is the sum of the absolute terms; it must stay under the kernel's ``TOLERANCE``. The oracle is in float64. Stages are
compared as they stand in the model, errors of all earlier stages included: the largest difference over the largest
number of the stage. There torch computes in float64 or float32 (never TF32), which shows whether the NumPy model is
right, or in half precision, which shows what half precision costs: the NumPy model in float32 is then the truth, and
the tolerance a budget, ``tolerance``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from minisam.reference import fast, ops
from minisam.reference.model import Sam as ReferenceSam
from minisam.sam import Sam
from minisam.verify import device as devices
from minisam.verify.device import decode, embed_prompt, tensor
from minisam.verify.kernels import kernel_cases

EPS = float(np.finfo(np.float32).eps)
STAGE_TOLERANCE = 1e-4  # relative, for features and mask logits
IOU_TOLERANCE = 1e-5  # absolute, for predicted IoU
MASK_TOLERANCE = 0.01  # of 1 − IoU of masks in half precision with those in float32, away from the threshold
DECODER_ROUNDINGS = 16  # of a token on its way through the two-way transformer, and of a pixel up to its logit
PROMPTS = {  # what a prompt holds: points, boxes, masks
    "one point": (1, False, False),
    "three points": (3, False, False),
    "a box": (0, True, False),
    "two points + box": (2, True, False),
    "a mask": (0, False, True),
    "point + box + mask": (1, True, True),
    "no prompt": (0, False, False),
}

Logits = tuple[np.ndarray, np.ndarray]  # mask logits, predicted IoU


@dataclass
class Line:
    """One line of the report: ``what`` is "part: stage". ``error``, the largest, ``mean``, that of all numbers, and
    ``tolerance`` share a unit, which ``unit`` names; times are in seconds."""

    what: str
    shape: str
    error: float
    mean: float
    tolerance: float
    unit: str
    seconds_here: float
    seconds_there: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Within the tolerance; NaN is not."""
        return self.error <= self.tolerance

    def as_dict(self) -> dict[str, Any]:
        """For JSON, which has no NaN."""
        numbers = {name: None if value != value else value for name, value in asdict(self).items()}
        return numbers | {"passed": self.passed}

    def __str__(self) -> str:
        verdict = "ok  " if self.passed else "FAIL"
        timing = f"{self.seconds_here * 1e3:9.1f} ms {self.seconds_there * 1e3:9.1f} ms"
        numbers = f"{self.error:9.2e} ≤ {self.tolerance:7.1e} {self.unit:10} {self.mean:9.2e}"
        return f"{verdict} {self.what:60} {self.shape:18} {numbers} {timing}  {self.note}".rstrip()


def timed(function: Callable[..., Any], *arguments: Any, device: torch.device | None = None) -> tuple[Any, float]:
    """The result, and the seconds that it took. A GPU does it once before, for its libraries start at the first call,
    and is waited for."""
    if device is not None and device.type == "cuda":
        function(*arguments)
        devices.synchronise(device)
    start = time.perf_counter()
    result = function(*arguments)
    if device is not None:
        devices.synchronise(device)
    return result, time.perf_counter() - start


def tolerance(dtype: torch.dtype, roundings: int) -> float:
    """What a stage's error may be, relative to its largest number, after that many roundings of one number.

    In half precision each rounding changes a number by a unit u at most, 2⁻⁸ of it in bfloat16 and 2⁻¹¹ in float16, up
    or down; n of them make about √n · u, as a random walk does. The largest of a million numbers may be twice that.
    (A norm over a handful of channels would blow it up; the models' smallest, after the first upscaling, has 32.)
    """
    if dtype not in devices.HALVES:
        return STAGE_TOLERANCE
    return 2 * roundings**0.5 * torch.finfo(dtype).eps / 2


def encoder_roundings(blocks: int) -> int:
    """Of a token after that many blocks: the patch's vector and its position, then two sums a block."""
    return 2 + 2 * blocks


def verify_kernels(device: torch.device, seed: int | None = None) -> Iterator[Line]:
    """A line for every kernel, on fresh random numbers of the sizes that the model uses."""
    for case in kernel_cases(np.random.default_rng(seed)):
        case.kernel(*case.arguments)  # compile
        actual, took = timed(case.kernel, *case.arguments)
        expected, theirs_took = timed(case.oracle, *(tensor(a, device) for a in case.arguments), device=device)
        expected = expected.double().cpu().numpy()
        error, unit = np.abs(np.asarray(actual, np.float64) - expected), "absolute"
        if case.tolerance != 0:
            error, unit = error / (EPS * case.magnitude), "eps·|terms|"
        largest, mean = float(error.max()), float(error.mean())
        yield Line(f"kernel: {case.name}", str(expected.shape), largest, mean, case.tolerance, unit, took, theirs_took)


def compare(
    what: str,
    actual: np.ndarray,
    expected: torch.Tensor,
    our_seconds: float,
    their_seconds: float,
    allowed: float = STAGE_TOLERANCE,
) -> Line:
    """A stage's line: the largest difference over the largest number."""
    truth = expected.double().cpu().numpy()
    scale, error = np.abs(truth).max(), np.abs(actual - truth)
    largest, mean = float(error.max() / scale), float(error.mean() / scale)
    return Line(what, str(actual.shape), largest, mean, allowed, "relative", our_seconds, their_seconds)


def compare_answers(
    what: str,
    ours: tuple[np.ndarray, np.ndarray],
    theirs: tuple[torch.Tensor, torch.Tensor],
    our_seconds: float,
    their_seconds: float,
    allowed: float = STAGE_TOLERANCE,
) -> Iterator[Line]:
    """Lines for (logits, predicted IoU). Yes/no masks may differ only where a logit is within the tolerance of 0; what
    they may in half precision is ``compare_masks``'s to say."""
    (logits, iou), (their_logits, their_iou) = ours, theirs
    truth = their_logits.double().cpu().numpy()
    line = compare(what, logits, their_logits, our_seconds, their_seconds, allowed)
    differ = (logits > 0) != (truth > 0)
    line.note = f"masks differ in {int(differ.sum())} pixels"
    half = their_logits.dtype in devices.HALVES
    if not half and (differ & (np.abs(truth) > STAGE_TOLERANCE * np.abs(truth).max())).any():
        line.error, line.note = float("nan"), "masks differ away from the threshold"
    yield line
    error = np.abs(iou - their_iou.double().cpu().numpy())
    limit = allowed * max(1.0, float(np.abs(iou).max())) if half else IOU_TOLERANCE
    largest, mean = float(error.max()), float(error.mean())
    yield Line(f"{what}, IoU", str(iou.shape), largest, mean, limit, "absolute", 0.0, 0.0)


def compare_masks(what: str, pairs: list[tuple[np.ndarray, torch.Tensor]]) -> Line:
    """The line of 1 − mean IoU of the masks of many prompts, from logits (B, M, h, w) and rounded ones. Pixels nearer
    to the threshold than one rounding of the largest logit do not count: half precision cannot tell their side."""
    logits = np.concatenate([ours for ours, _ in pairs])
    rounded = torch.cat([theirs for _, theirs in pairs])
    largest = np.abs(logits).max(axis=(1, 2, 3), keepdims=True)
    clear = np.abs(logits) > torch.finfo(rounded.dtype).eps / 2 * largest
    ours, theirs = logits > 0, (rounded > 0).cpu().numpy()

    def iou(where: np.ndarray | bool) -> np.ndarray:
        overlap, union = (mask.sum(axis=(2, 3)) for mask in (ours & theirs & where, (ours | theirs) & where))
        return np.where(union == 0, 1.0, overlap / np.maximum(union, 1))

    ious = iou(clear)
    note = f"worst {ious.min():.4f}; all pixels {iou(True).mean():.4f}; {1 - clear.mean():.1%} lie at the threshold"
    lost = float(1 - ious.mean())
    return Line(what, str(logits.shape), lost, lost, MASK_TOLERANCE, "1 − mean IoU", 0.0, 0.0, note)


def random_picture(sam: Sam, rng: np.random.Generator, rectangular: bool) -> np.ndarray:
    """Noise of a normalised image's scale, (1, S, S, 3); a rectangular one ends early and is padded with zeros."""
    size = sam.config.image_size
    image = rng.standard_normal((1, size, size, 3)).astype(np.float32)
    if rectangular:
        image[:, round(size * 0.66) :] = 0
    return image


def random_prompt(sam: Sam, name: str, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Points, boxes and masks of ``PROMPTS[name]`` for one image, in pixels of the model's input."""
    count, has_box, has_mask = PROMPTS[name]
    size, low = sam.config.image_size, sam.config.low_res_size
    points = (rng.uniform(0, size, (1, count, 2)), rng.integers(0, 2, (1, count))) if count else None
    boxes = np.sort(rng.uniform(0, size, (1, 2, 2)), axis=1).reshape(1, 4) if has_box else None
    masks = 5 * rng.standard_normal((1, 1, low, low)).astype(np.float32) if has_mask else None
    return points, boxes, masks


def verify_encoder(
    sam: Sam, reference: ReferenceSam, image: np.ndarray, device: torch.device, picture: str = "square"
) -> Iterator[Line | Any]:
    """A line for each stage of the encoder, in its plain form, and one for all of it with the attention of ``fast``;
    the last thing that comes is the pair of embeddings."""
    ours, theirs, depth = sam.image_encoder, reference.image_encoder, sam.config.encoder_depth
    dtype, name = theirs.pos_embed.dtype, f"encoder, {picture}"
    pixels = tensor(image, device, dtype)
    x, took = timed(ours.embed_patches, image)
    y, theirs_took = timed(lambda i: theirs.patch_embed(i) + theirs.pos_embed, pixels, device=device)
    yield compare(f"{name}: patches + positions", x, y, took, theirs_took, tolerance(dtype, encoder_roundings(0)))
    for i, block in enumerate(theirs.blocks):
        x, took = timed(ours.block, i, x)
        y, theirs_took = timed(block, y, device=device)
        kind = "global" if i in sam.config.encoder_global_attn_indexes else "window"
        allowed = tolerance(dtype, encoder_roundings(i + 1))
        yield compare(f"{name}: block {i} ({kind})", x, y, took, theirs_took, allowed)
    x, took = timed(ours.neck, x)
    y, theirs_took = timed(lambda t: theirs.neck(t.movedim(-1, 1)).movedim(1, -1), y, device=device)
    allowed = tolerance(dtype, encoder_roundings(depth) + 4)  # two convolutions, two norms
    yield compare(f"{name}: neck", x, y, took, theirs_took, allowed)
    whole, took = timed(ours, image)
    fast.use(reference)
    again, theirs_took = timed(theirs, pixels, device=device)
    fast.use(reference, ops.attention)
    yield compare(f"{name}: all of it, torch with fast attention", whole, again, took, theirs_took, allowed)
    yield x, y


def decoder_tokens(sam: Sam, image: np.ndarray, sparse: np.ndarray, dense: np.ndarray) -> np.ndarray:
    """(B, 1 + M + T, C): what ``predict_masks`` reads masks and predicted IoU from, as the plain form computes it."""
    decoder, transformer = sam.mask_decoder, sam.mask_decoder.transformer
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def watched(*arguments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(transformer(*arguments))
        return seen[0]

    decoder.transformer = watched  # type: ignore[assignment]
    try:
        decoder.predict_masks(image, sam.prompt_encoder.get_dense_pe(), sparse, dense)
    finally:
        decoder.transformer = transformer
    return seen[0][0]


def verify_decoder(
    sam: Sam, reference: ReferenceSam, ours: np.ndarray, theirs: torch.Tensor, picture: str, device: torch.device
) -> Iterator[Line]:
    """Lines for every kind of prompt, from the two embeddings: the prompt's embeddings, the decoder's tokens, mask
    logits, yes/no masks and predicted IoU."""
    rng = np.random.default_rng(1)
    pe = sam.prompt_encoder.get_dense_pe()
    terms = sam.fused_decoder.prepare(ours, pe)
    allowed = tolerance(theirs.dtype, encoder_roundings(sam.config.encoder_depth) + 4 + DECODER_ROUNDINGS)
    tokens: list[torch.Tensor] = []  # a hook sees what the transformer gives
    pairs: list[tuple[np.ndarray, torch.Tensor]] = []
    hook = reference.mask_decoder.transformer.register_forward_hook(lambda *seen: tokens.append(seen[2][0]))
    for name in PROMPTS:
        prompt = random_prompt(sam, name, rng)
        what = f"decoder, {picture}: {name}"

        def plain(points: Any, boxes: Any, masks: Any) -> Logits:
            return sam.mask_decoder.predict_masks(ours, pe, *sam.prompt_encoder(points, boxes, masks))

        def fused(points: Any, boxes: Any, masks: Any, multimask_output: bool) -> Logits:
            return sam.fused_decoder.decode(terms, sam.prompt_encoder(points, boxes)[0], masks, multimask_output)

        def by_torch(*prompt: Any) -> tuple[torch.Tensor, torch.Tensor]:
            return decode(reference, theirs, embed_prompt(reference, *prompt))

        embedded, took = timed(sam.prompt_encoder, *prompt)
        truth, theirs_took = timed(embed_prompt, reference, *prompt, device=device)
        for part, x, y in zip(("sparse", "dense"), embedded, truth[:2]):
            if x.size:
                yield compare(f"{what}, {part} embedding", x, y, took, theirs_took)
        plain(*prompt)  # compile
        answer, took = timed(plain, *prompt)
        truth, theirs_took = timed(by_torch, *prompt, device=device)
        yield compare(f"{what}, tokens", decoder_tokens(sam, ours, *embedded), tokens[-1], 0.0, 0.0, allowed)
        yield from compare_answers(what, answer, truth, took, theirs_took, allowed)
        pairs.append((answer[0], truth[0]))
        for multimask_output, chosen in ((True, slice(1, None)), (False, slice(0, 1))):
            fused(*prompt, multimask_output)
            answer, took = timed(fused, *prompt, multimask_output)
            expected = (truth[0][:, chosen], truth[1][:, chosen])
            form = f"{what}, fused, {'three masks' if multimask_output else 'one mask'}"
            yield from compare_answers(form, answer, expected, took, theirs_took, allowed)
    hook.remove()
    if theirs.dtype in devices.HALVES:
        yield compare_masks(f"decoder, {picture}: yes/no masks of all prompts", pairs)


def verify_model(sam: Sam, device: torch.device, dtype: torch.dtype = torch.float64) -> Iterator[Line]:
    """Stage by stage, for a square and a rectangular image, against ``minisam.reference`` in ``dtype``."""
    with devices.float32_products():  # torch's own default rounds the inputs of convolutions to TF32
        reference = devices.load(sam, device, dtype)
        for picture in ("square", "rectangular"):
            image = random_picture(sam, np.random.default_rng(0), picture == "rectangular")
            for item in verify_encoder(sam, reference, image, device, picture):
                if isinstance(item, Line):
                    yield item
                else:
                    ours, theirs = item
                    yield from verify_decoder(sam, reference, ours, theirs, picture, device)


def verify_hugging_face(sam: Sam, device: torch.device, dtype: torch.dtype = torch.float64) -> Iterator[Line]:
    """End to end against the ``SamModel`` of Hugging Face's transformers, an implementation that is not ours."""
    from minisam.reference.hugging_face import build as build_hugging_face

    with devices.float32_products():
        theirs = build_hugging_face(sam, dtype).to(device)
        for picture in ("square", "rectangular"):
            rng, name = np.random.default_rng(2), f"Hugging Face, {picture}"
            image = random_picture(sam, rng, picture == "rectangular")
            ours, took = timed(sam.image_encoder, image)
            features, theirs_took = timed(theirs.encode, image, device=device)
            yield compare(f"{name}: encoder", ours, features, took, theirs_took)
            pe = sam.prompt_encoder.get_dense_pe()
            for kind in PROMPTS:
                prompt = random_prompt(sam, kind, rng)
                truth, theirs_took = timed(theirs.decode, features, *prompt, device=device)
                sparse, dense = sam.prompt_encoder(*prompt)
                answer, took = timed(sam.mask_decoder, ours, pe, sparse, dense, True)
                yield from compare_answers(f"{name}: {kind}", answer, truth, took, theirs_took)


@torch.no_grad()
def main(sam: Sam, device: torch.device, dtype: torch.dtype) -> list[Line]:
    """Print a line for each comparison, and return them."""
    parts = [verify_kernels(device), verify_model(sam, device, dtype)]
    where = f"torch {torch.__version__} on {device.type}, kernels in float64, the model in {str(dtype)[6:]}"
    print(f"minisam verify: {sam.config.name}, {sam.config.encoder_depth} blocks; {where}")
    if dtype in devices.HALVES:
        print("half precision: no comparison with Hugging Face's SamModel, which would round places as well")
    else:
        try:
            import transformers  # noqa: F401

            parts.append(verify_hugging_face(sam, device, dtype))
        except ImportError:
            print("transformers is not installed: no comparison with Hugging Face's SamModel")
    print(f"     {'what':60} {'shape':18} {'largest error ≤ tolerance':30} {'mean':>9} {'here':>12} {'torch':>12}")
    lines: list[Line] = []
    for part in parts:
        for line in part:
            print(line, flush=True)
            lines.append(line)
    print(f"{sum(line.passed for line in lines)} of {len(lines)} within tolerance")
    return lines
