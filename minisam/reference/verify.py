"""``minisam verify``: every kernel and every stage of the model against torch in float64, with its tolerance.

A kernel's error is measured in the units of its own file: |compiled − oracle| over eps · magnitude, where the magnitude
is the sum of the absolute terms; it must stay under the kernel's ``TOLERANCE``. Stages are compared as they stand in
the model, errors of all earlier stages included: the largest difference over the largest number of the stage.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from minisam.files import atomic
from minisam.reference import build as build_reference
from minisam.reference.cases import kernel_cases
from minisam.reference.model import Sam as ReferenceSam
from minisam.sam import Sam

EPS = float(np.finfo(np.float32).eps)
STAGE_TOLERANCE = 1e-4  # relative, for features and mask logits
IOU_TOLERANCE = 1e-5  # absolute, for predicted IoU
PROMPTS = {  # what a prompt holds: points, boxes, masks
    "one point": (1, False, False),
    "three points": (3, False, False),
    "a box": (0, True, False),
    "two points + box": (2, True, False),
    "a mask": (0, False, True),
    "point + box + mask": (1, True, True),
    "no prompt": (0, False, False),
}


@dataclass
class Line:
    """One line of the report. ``error`` and ``tolerance`` share a unit, which ``unit`` names; times are in seconds."""

    what: str
    shape: str
    error: float
    tolerance: float
    unit: str
    seconds_here: float
    seconds_there: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Within the tolerance; NaN is not."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok  " if self.passed else "FAIL"
        timing = f"{self.seconds_here * 1e3:9.1f} ms {self.seconds_there * 1e3:9.1f} ms"
        numbers = f"{self.error:9.2e} ≤ {self.tolerance:7.1e} {self.unit:10}"
        return f"{verdict} {self.what:44} {self.shape:18} {numbers} {timing}  {self.note}".rstrip()


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """The result, and the seconds that it took."""
    start = time.perf_counter()
    result = function(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def as_double(value: Any, device: str) -> Any:
    """Arrays as float64 tensors (bool stays bool); everything else as it is."""
    if not isinstance(value, np.ndarray):
        return value
    dtype = torch.bool if value.dtype == bool else torch.float64
    return torch.from_numpy(np.array(value)).to(device=device, dtype=dtype)


def verify_kernels(device: str) -> Iterator[Line]:
    """A line for every kernel, on fresh random numbers of the sizes that the model uses."""
    for case in kernel_cases(np.random.default_rng()):
        case.kernel(*case.arguments)  # compile
        actual, here = timed(case.kernel, *case.arguments)
        expected, there = timed(case.oracle, *(as_double(a, device) for a in case.arguments))
        expected = expected.double().cpu().numpy()
        error = np.abs(np.asarray(actual, np.float64) - expected)
        if case.tolerance == 0:
            yield Line(case.name, str(expected.shape), float(error.max()), 0.0, "absolute", here, there)
            continue
        worst = float((error / (EPS * case.magnitude)).max())
        yield Line(case.name, str(expected.shape), worst, case.tolerance, "eps·|terms|", here, there)


def compare(what: str, actual: np.ndarray, expected: torch.Tensor, here: float, there: float) -> Line:
    """A stage's line: the largest difference over the largest number."""
    truth = expected.double().cpu().numpy()
    error = float(np.abs(actual - truth).max() / np.abs(truth).max())
    return Line(what, str(actual.shape), error, STAGE_TOLERANCE, "relative", here, there)


def compare_answers(
    what: str, ours: tuple[np.ndarray, np.ndarray], theirs: tuple[torch.Tensor, torch.Tensor], here: float, there: float
) -> Iterator[Line]:
    """Lines for (logits, predicted IoU). Yes/no masks may differ only where a logit is within the tolerance of 0."""
    logits, iou = ours
    truth = theirs[0].double().cpu().numpy()
    line = compare(what, logits, theirs[0], here, there)
    differ = (logits > 0) != (truth > 0)
    line.note = f"masks differ in {int(differ.sum())} pixels"
    if (differ & (np.abs(truth) > STAGE_TOLERANCE * np.abs(truth).max())).any():
        line.error, line.note = float("nan"), "masks differ away from the threshold"
    yield line
    error = float(np.abs(iou - theirs[1].double().cpu().numpy()).max())
    yield Line(f"{what}, IoU", str(iou.shape), error, IOU_TOLERANCE, "absolute", 0.0, 0.0)


def random_picture(sam: Sam, rng: np.random.Generator, rectangular: bool) -> np.ndarray:
    """Noise of a normalised picture's scale, (1, S, S, 3); a rectangular one ends early and is filled with zeros."""
    size = sam.config.image_size
    image = rng.standard_normal((1, size, size, 3)).astype(np.float32)
    if rectangular:
        image[:, round(size * 0.66) :] = 0
    return image


def random_prompt(sam: Sam, name: str, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Points, boxes and masks of ``PROMPTS[name]`` for one picture, in pixels of the model's input."""
    count, has_box, has_mask = PROMPTS[name]
    size, low = sam.config.image_size, sam.config.low_res_size
    points = (rng.uniform(0, size, (1, count, 2)), rng.integers(0, 2, (1, count))) if count else None
    boxes = np.sort(rng.uniform(0, size, (1, 2, 2)), axis=1).reshape(1, 4) if has_box else None
    masks = 5 * rng.standard_normal((1, 1, low, low)).astype(np.float32) if has_mask else None
    return points, boxes, masks


def verify_encoder(sam: Sam, reference: ReferenceSam, image: np.ndarray, device: str) -> Iterator[Line | Any]:
    """A line for each stage of the encoder; the last thing that comes is the pair of embeddings."""
    ours, theirs = sam.image_encoder, reference.image_encoder
    x, here = timed(ours.embed_patches, image)
    y, there = timed(lambda i: theirs.patch_embed(i) + theirs.pos_embed, as_double(image, device))
    yield compare("encoder: patches + positions", x, y, here, there)
    for i, block in enumerate(theirs.blocks):
        x, here = timed(ours.block, i, x)
        y, there = timed(block, y)
        kind = "global" if i in sam.config.encoder_global_attn_indexes else "window"
        yield compare(f"encoder: block {i} ({kind})", x, y, here, there)
    x, here = timed(ours.neck, x)
    y, there = timed(lambda t: theirs.neck(t.movedim(-1, 1)).movedim(1, -1), y)
    yield compare("encoder: neck", x, y, here, there)
    yield x, y


def verify_decoder(
    sam: Sam, reference: ReferenceSam, ours: np.ndarray, theirs: torch.Tensor, kind: str, device: str
) -> Iterator[Line]:
    """Lines for every kind of prompt, from the two embeddings to mask logits, yes/no masks and predicted IoU."""
    rng = np.random.default_rng(1)
    pe = sam.prompt_encoder.get_dense_pe()
    reference_pe = reference.prompt_encoder.get_dense_pe()
    terms = sam.mask_decoder.prepare(ours, pe)
    for name in PROMPTS:
        points, boxes, masks = random_prompt(sam, name, rng)

        def here(points=points, boxes=boxes, masks=masks):
            return sam.mask_decoder.predict_masks(ours, pe, *sam.prompt_encoder(points, boxes, masks))

        def fused(multimask_output, points=points, boxes=boxes, masks=masks):
            sparse, _ = sam.prompt_encoder(points, boxes)
            return sam.mask_decoder.decode(terms, sparse, masks, multimask_output)

        def there(points=points, boxes=boxes, masks=masks):
            tensors = tuple(as_double(p, device) for p in points) if points else None
            prompt = reference.prompt_encoder(tensors, as_double(boxes, device), as_double(masks, device))
            return reference.mask_decoder.predict_masks(theirs, reference_pe, *prompt)

        here()  # compile
        answer, seconds_here = timed(here)
        truth, seconds_there = timed(there)
        yield from compare_answers(f"{kind}: {name}", answer, truth, seconds_here, seconds_there)
        for multimask_output, chosen in ((True, slice(1, None)), (False, slice(0, 1))):
            fused(multimask_output)
            answer, seconds_here = timed(fused, multimask_output)
            masks_there = (truth[0][:, chosen], truth[1][:, chosen])
            what = f"{kind}: {name}, fused, {'three masks' if multimask_output else 'one mask'}"
            yield from compare_answers(what, answer, masks_there, seconds_here, seconds_there)


def verify_model(sam: Sam, device: str) -> Iterator[Line]:
    """Stage by stage, for a square and a rectangular picture, against ``minisam.reference`` in float64."""
    reference = build_reference(sam.config)
    reference.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in sam.state_dict().items()})
    reference = reference.double().to(device).eval()
    for kind in ("square", "rectangular"):
        image = random_picture(sam, np.random.default_rng(0), kind == "rectangular")
        for item in verify_encoder(sam, reference, image, device):
            if isinstance(item, Line):
                yield item
            else:
                ours, theirs = item
                yield from verify_decoder(sam, reference, ours, theirs, kind, device)


def verify_hugging_face(sam: Sam, device: str) -> Iterator[Line]:
    """End to end against the ``SamModel`` of Hugging Face's transformers, an implementation that is not ours."""
    from minisam.reference.hugging_face import build as build_hugging_face

    theirs = build_hugging_face(sam).to(device)
    for kind in ("square", "rectangular"):
        rng = np.random.default_rng(2)
        image = random_picture(sam, rng, kind == "rectangular")
        ours, here = timed(sam.image_encoder, image)
        features, there = timed(theirs.encode, image)
        yield compare(f"Hugging Face, {kind}: encoder", ours, features, here, there)
        pe = sam.prompt_encoder.get_dense_pe()
        for name in PROMPTS:
            prompt = random_prompt(sam, name, rng)
            truth, there = timed(theirs.decode, features, *prompt)
            sparse, dense = sam.prompt_encoder(*prompt)
            answer, here = timed(sam.mask_decoder, ours, pe, sparse, dense, True)
            yield from compare_answers(f"Hugging Face, {kind}: {name}", answer, truth, here, there)


@torch.no_grad()
def main(sam: Sam, device: str = "cpu", json_path: str | None = None) -> int:
    """Print the report and return how many lines failed. ``json_path`` gets the same as JSON."""
    lines: list[Line] = []
    parts: list[Iterator[Line]] = [verify_kernels(device), verify_model(sam, device)]
    try:
        import transformers  # noqa: F401

        parts.append(verify_hugging_face(sam, device))
    except ImportError:
        print("transformers is not installed: no comparison with Hugging Face's SamModel")
    print(f"minisam verify: {sam.config.name}, oracle torch {torch.__version__} in float64 on {device}")
    print(f"     {'what':44} {'shape':18} {'error ≤ tolerance':30} {'here':>12} {'torch':>12}")
    for part in parts:
        for line in part:
            print(line, flush=True)
            lines.append(line)
    failed = sum(not line.passed for line in lines)
    print(f"{len(lines) - failed} of {len(lines)} within tolerance")
    if json_path:
        with atomic(json_path) as temporary:
            report = [{**asdict(line), "passed": line.passed} for line in lines]
            temporary.write_text(json.dumps(report, indent=1))
    return failed
