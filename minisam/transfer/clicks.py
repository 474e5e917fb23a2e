"""Clicks, one after another, by the two protocols of the field, with any model that can be clicked.

SAM's (section 7.1 and appendix D.1): the first click is the pixel farthest from the object's boundary, each next one
the pixel farthest from the boundary of the error; mean IoU after 1, 2, 3, 5 and 9. ``confident``: of the first click's
three masks the one goes on that the model itself ranks highest. ``oracle``: the one that is closest to the truth goes
on, as a user would choose. Later clicks have one mask.

RITM's (Sofiiuk et al. 2021, and the code they published): the same first click; then the pixel where the Euclidean
distance transform of the missing or of the superfluous pixels, padded with zeros, is largest, among pixels not clicked
before; equal maxima go to the superfluous ones. NoC@85 and NoC@90 are how many clicks it takes to an IoU of .85 and
.90, and 20 where 20 do not suffice. The first mask is the confident one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from minisam.transfer.intervals import interval, text
from minisam.transfer.report import Job, Table
from minisam_kernels import InputError

if TYPE_CHECKING:  # and in functions what loads the compiler: the command line reads ``add`` of every task
    from minisam.predictor import SamPredictor
    from minisam.transfer.held_out import Case

POINTS = (1, 2, 3, 5, 9)  # after so many clicks SAM's protocol looks
MOST, TARGETS = 20, (0.85, 0.9)  # clicks of RITM's protocol at most, and the IoU that they shall reach
LEAST = 32  # pixels of the smallest object that is asked for, in a reduced image
FIGURES = ("confident", "oracle", *(f"noc_{round(100 * target)}" for target in TARGETS))


class Model(Protocol):
    """What is clicked. ``ranked``: its scores say which of the first click's masks is best; else it has one."""

    name: str
    ranked: bool

    def set_image(self, image: np.ndarray) -> None:
        """Take an image (H, W, 3) uint8."""

    def answer(
        self, points: np.ndarray, labels: np.ndarray, state: np.ndarray | None, several: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Answer P clicks about each of B objects: points (B, P, 2) as (x, y), labels (B, P), the ``state`` (B, ...) of
        the masks that were chosen before, or None. Return M masks (B, M, H, W), their scores (B, M) and states
        (B, M, ...): M is 1, or with ``several`` what there is to choose from."""


class SamClicks:
    """``Model`` for SAM: three masks for the first click, one for the others, with the last logits fed back."""

    ranked = True

    def __init__(self, predictor: SamPredictor) -> None:
        self.predictor, self.name = predictor, predictor.model.config.name

    def set_image(self, image: np.ndarray) -> None:
        self.predictor.set_image(image)

    def answer(
        self, points: np.ndarray, labels: np.ndarray, state: np.ndarray | None, several: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.predictor.predict_batch(points, labels, mask_input=state, multimask_output=several)


# ---- where to click --------------------------------------------------------------------------------------------------

Clicks = tuple[np.ndarray, np.ndarray]  # (x, y) of each object (B, 2), labels (B,)
Rule = Callable[[np.ndarray, np.ndarray, np.ndarray], Clicks]  # masks, truths, pixels clicked before: (B, H, W) each


def sam_clicks(masks: np.ndarray, truths: np.ndarray, clicked: np.ndarray) -> Clicks:
    """Click as ``annotator.next_click`` does, for a batch: the deeper error, a missing one if both are equally deep;
    where nothing differs the truth's centre is confirmed. What was clicked before does not matter."""
    from minisam.transfer.depth import depths

    missing, extra = depths(truths & ~masks), depths(masks & ~truths)
    right = ~(masks ^ truths).any((1, 2))
    missing[right] = depths(truths[right])
    return _deepest(missing, extra, missing.max((1, 2)) >= extra.max((1, 2)))


def ritm_clicks(masks: np.ndarray, truths: np.ndarray, clicked: np.ndarray) -> Clicks:
    """Click as RITM's published code does. Where every wrong pixel has been clicked, it is the first pixel of the
    image, as background: there too this is their rule."""
    from minisam.transfer.depth import depths

    missing, extra = depths(truths & ~masks) * ~clicked, depths(masks & ~truths) * ~clicked
    return _deepest(missing, extra, missing.max((1, 2)) > extra.max((1, 2)))


def _deepest(missing: np.ndarray, extra: np.ndarray, foreground: np.ndarray) -> Clicks:
    depth = np.where(foreground[:, None, None], missing, extra)
    rows, columns = np.unravel_index(depth.reshape(len(depth), -1).argmax(1), depth.shape[1:])
    return np.stack([columns, rows], 1), foreground.astype(np.int64)


def play(
    model: Model, truths: np.ndarray, rounds: int, rule: Rule, oracle: bool = False, enough: float | None = None
) -> np.ndarray:
    """Click on all objects of the image that is set, at the same time, each for itself.

    Parameters
    ----------
    model : Model
    truths : ndarray, shape (B, H, W), bool
        None of them empty.
    rounds : int
        Clicks on each object.
    rule : Rule
        Where to click.
    oracle : bool
        Whether the truth chooses among the first click's masks.
    enough : float, optional
        An object is clicked no further once its IoU is as high.

    Returns
    -------
    ndarray, shape (B, rounds), float64
        IoU after each click; NaN after ``enough``.
    """
    from minisam_kernels.losses.iou import iou

    count, shape = len(truths), truths.shape[1:]
    result = np.full((count, rounds), np.nan)
    active = np.arange(count)
    masks, clicked = np.zeros((count, *shape), bool), np.zeros((count, *shape), bool)
    points, labels = np.zeros((count, 0, 2)), np.zeros((count, 0), np.int64)
    state: np.ndarray | None = None
    for number in range(rounds):
        point, label = rule(masks, truths[active], clicked)
        clicked[np.arange(len(active)), point[:, 1], point[:, 0]] = True
        points = np.concatenate([points, point[:, None]], 1)
        labels = np.concatenate([labels, label[:, None]], 1)
        several = number == 0 and (oracle or model.ranked)
        found, scores, states = model.answer(points, labels, state, several)
        true = iou(found.reshape(-1, *shape), np.repeat(truths[active], found.shape[1], 0)).reshape(found.shape[:2])
        best = (true if oracle else scores).argmax(1)
        rows = np.arange(len(active))
        masks, state, result[active, number] = found[rows, best], states[rows, best], true[rows, best]
        if enough is not None:
            going = result[active, number] < enough
            active, masks, clicked = active[going], masks[going], clicked[going]
            points, labels, state = points[going], labels[going], state[going]
            if not len(active):
                break
    return result


def number_of_clicks(values: np.ndarray, target: float) -> np.ndarray:
    """NoC: the first click after which the IoU (B, N) is at least ``target``; N where none is."""
    reached = values >= target  # NaN is not, but stands only after an IoU that was
    return np.where(reached.any(1), reached.argmax(1) + 1, values.shape[1])


def measure(model: Model, case: Case) -> dict[str, np.ndarray]:
    """Play both protocols on every object of an image: ``FIGURES`` → (B, 5), (B, 5), (B,), (B,), and who ``failed``.

    ``failed`` (B, 2) says whose IoU never reached the targets: such a one also counts as ``MOST`` clicks.
    """
    model.set_image(case.image)
    truths, columns = np.stack(case.masks), np.array(POINTS) - 1
    ritm = play(model, truths, MOST, ritm_clicks, enough=max(TARGETS))
    noc = {f"noc_{round(100 * target)}": number_of_clicks(ritm, target) for target in TARGETS}
    return {
        "confident": play(model, truths, POINTS[-1], sam_clicks)[:, columns],
        "oracle": play(model, truths, POINTS[-1], sam_clicks, oracle=True)[:, columns],
        **noc,
        "failed": np.stack([~(ritm >= target).any(1) for target in TARGETS], 1),
    }


# ---- sets ------------------------------------------------------------------------------------------------------------


def reduced(case: Case, side: int | None, objects: int | None = None, seed: int = 0) -> Case:
    """The case with its longer side reduced to ``side``, without masks below ``LEAST`` pixels there, and of the others
    at most so many ``objects``, drawn with a chance ∝ √area as in training."""
    from minisam.annotator import chance_by_area
    from minisam.model.preprocess import input_size, resize_image
    from minisam.training.sources import resize_masks
    from minisam.transfer.held_out import Case

    image, masks = case.image, case.masks
    height, width = image.shape[:2]
    if side is not None and max(height, width) > side:
        size = input_size(height, width, side)[::-1]
        image = resize_image(image, side)
        masks = list(resize_masks(np.stack(masks), (0, 0, width, height), size)) if masks else []
    masks = [mask for mask in masks if mask.sum() >= (LEAST if side is not None else 1)]
    if objects is not None and len(masks) > objects:
        chance = chance_by_area(np.array([mask.sum() for mask in masks], float))
        chosen = np.random.default_rng(seed).choice(len(masks), objects, replace=False, p=chance)
        masks = [masks[i] for i in chosen]
    return Case(case.name, image, masks)


def measure_all(model: Model, cases: Iterable[Case], left_out: dict[str, str] | None = None) -> dict[str, np.ndarray]:
    """Play on every object of every case: the arrays of ``measure`` joined, and each object's ``picture``.

    ``left_out``: images without a case, and why, for the error where no object is left.
    """
    from minisam.transfer.points import why

    parts: list[dict[str, np.ndarray]] = []
    for number, case in enumerate(cases):
        if case.masks:
            parts.append({**measure(model, case), "picture": np.full(len(case.masks), number)})
    if not parts:
        raise InputError(f"expected at least one object that is large enough, got none{why(left_out or {})}")
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def summary(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Means with bootstrap intervals over pictures: ``FIGURES`` → mean, low, high; and the share that ``failed``."""
    report: dict[str, Any] = {"pictures": len(np.unique(found["picture"])), "objects": len(found["picture"])}
    report |= {key: interval(found[key][None], found["picture"]) for key in FIGURES}
    return report | {"failed": found["failed"].mean(0).tolist()}


def evaluate(
    models: list[Model],
    folder: str | None,
    limit: int | None = None,
    every: int = 1,
    world: int = 0,
    side: int | None = None,
    objects: int | None = None,
) -> dict[str, Any]:
    """Measure models on the same objects: of a folder, or of the world's first ``world`` held-out scenes (``side``)."""
    from minisam.console import progress
    from minisam.transfer.held_out import world_cases
    from minisam.transfer.points import folder_cases, held_out_pictures

    report: dict[str, Any] = {"set": folder or f"world, held out, {world} scenes", "points": POINTS, "models": {}}
    left_out: dict[str, str] = {}
    total = world if folder is None else len(held_out_pictures(folder, every)[:limit])
    for model in models:
        cases = world_cases(world, side or 320)
        if folder is not None:
            cases = folder_cases(folder, limit, every, left_out=left_out)
        with progress(iterable=cases, total=total, unit="image", desc=f"clicks, {model.name}") as bar:
            found = measure_all(model, (reduced(case, side, objects, n) for n, case in enumerate(bar)), left_out)
        each = {key: found[key].tolist() for key in ("picture", *FIGURES)}
        report["models"][model.name] = {**summary(found), "each": each}
    return report | {"left_out": left_out}


def table(report: dict[str, Any]) -> Table:
    """The report as a table: a row for each model, confident and oracle."""
    columns = ["model", *(f"IoU, {n} click{'s' * (n > 1)}" for n in POINTS), *(f"NoC@{t:.0%}"[:-1] for t in TARGETS)]
    rows: list[list[Any]] = []
    for name, entry in report["models"].items():
        noc = [text(entry[key], digits=2) for key in FIGURES[2:]]
        rows.append([f"{name}, confident", *(text(entry["confident"], i) for i in range(len(POINTS))), *noc])
        rows.append([f"{name}, oracle", *(text(entry["oracle"], i) for i in range(len(POINTS))), None, None])
    first = next(iter(report["models"].values()))
    count = f"{first['pictures']} images, {first['objects']} objects"
    notes = [f"{count}; in brackets 95 % of bootstrap means over images."]
    failed = [f"{name} {entry['failed'][-1]:.0%}" for name, entry in report["models"].items()]
    notes += [f"Left out {what}: {why}" for what, why in report.get("left_out", {}).items()]
    notes.append(f"Not at an IoU of {TARGETS[-1]:g} after {MOST} clicks: {', '.join(failed)}.")
    return Table(f"Clicks: {report['set']}", columns, rows, notes)


def jobs(scenes: int = 12, objects: int = 4) -> list[Job]:
    """The suite's job: tiny, which has seen every domain."""

    def run() -> list[Table]:
        from minisam.checkpoints.loading import load
        from minisam.predictor import SamPredictor

        model = SamClicks(SamPredictor(load("tiny")))
        model.name = "tiny (has seen)"
        return [table(evaluate([model], None, world=scenes, objects=objects))]

    return [Job("clicks-tiny", f"minisam transfer clicks --world {scenes} --objects {objects}", run)]


# ---- the command -----------------------------------------------------------------------------------------------------


def add(parsers: Any) -> None:
    """``minisam transfer clicks``: its options."""
    from minisam.console import add_model, positive

    parser = parsers.add_parser(
        "clicks",
        help="clicks one after another: mean IoU after 1, 2, 3, 5, 9, and how many it takes to .85 and .90",
        description="SAM's protocol (confident, and with an oracle that picks the first click's mask) and RITM's, "
        "with bootstrap intervals over images; a network in RITM's manner on the same objects, if one is given.",
    )
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="images/ and masks/, or SA-1B's schema")
    add_model(parser)
    parser.add_argument("--net", metavar="PATH", help="a click network beside SAM: a file of experiments.left_out")
    parser.add_argument("--world", type=positive, metavar="N", help="N held-out scenes of the world, no folder")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="only every N-th image")
    parser.add_argument("--side", type=positive, metavar="S", help="images reduced to a longer side of S pixels")
    parser.add_argument("--objects", type=positive, metavar="N", help="at most N objects an image")
    parser.add_argument("--json", metavar="PATH", help="write the figures as JSON as well")
    parser.set_defaults(run=main)


def main(options: argparse.Namespace) -> int:
    """``minisam transfer clicks``."""
    from minisam.console import load_model, need
    from minisam.files.atomic import check_outputs, write_text
    from minisam.predictor import SamPredictor
    from minisam.transfer.click_net import ClickNet, ClickPredictor
    from minisam.transfer.report import markdown

    need("transfer", "scipy")
    if (options.folder is None) == (options.world is None):
        raise InputError("expected either a folder of images with masks or --world, got both or neither")
    check_outputs([options.json], options.net, options.checkpoint)
    models: list[Model] = [SamClicks(SamPredictor(load_model(options)))]
    if options.net is not None:
        models.append(ClickPredictor(ClickNet(options.net)))
    limits = {"limit": options.limit, "every": options.every, "side": options.side, "objects": options.objects}
    report = evaluate(models, options.folder, world=options.world or 0, **limits)
    if options.json is not None:
        write_text(options.json, json.dumps(report, indent=1) + "\n")
    print(markdown(table(report)))
    return 0
