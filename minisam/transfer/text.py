"""Words as prompts on scenes that no training saw: mean IoU of a word's mask with the best of the masks it denotes.

A word is compared with controls that get the same scene and the same right answers: a word that is not true of them,
the word's vector with its numbers permuted, the vector of the true crop (what the decoder was tuned with), and a point,
alone and together with the word. Differences come with 95 % intervals from a bootstrap over scenes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.transfer.report import Job, Table, markdown

if TYPE_CHECKING:
    from minisam.text.predictor import TextPredictor
    from minisam.world import Scene

SCENES, ASKED = 100, 8  # held-out scenes, and phrases of each
LEAST = 100 / 1024  # √area of what is asked for, of the image's side: the paper's limit
CHOOSING = 20_000  # the scenes from HELD_OUT + CHOOSING on are for the choice of thresholds
PERMUTED = 14  # the seed of the permutation of a vector's numbers
ROWS = {  # figure → what the table calls it
    "word": "word",
    "word_best": "word, best of three",
    "word_single": "word, single-mask token",
    "word_unmoved": "word without the prior",
    "random": "random word",
    "shuffled": "word, its vector's numbers permuted",
    "image": "image: vector of the true crop",
    "word_point": "word and point, single-mask token",
    "random_point": "random word and point, single-mask token",
    "point": "point, most confident of three",
    "point_single": "point, single-mask token",
    "point_tiny": "point, tiny's own decoder, most confident of three",
}
DIFFERENCES = (
    ("word", "random"), ("word", "shuffled"), ("image", "word"), ("word", "word_unmoved"), ("word_point", "point"),
    ("word_point", "point_single"), ("word_point", "random_point"), ("point", "point_tiny"),
)  # fmt: skip


@dataclass(frozen=True)
class Question:
    """Words about a scene, all masks that they denote (K, S, S) bool, and words that are true of none of these."""

    scene: int
    text: str
    random: str
    level: str
    colour: str
    masks: np.ndarray


def ask(number: int, scene: Scene, pool: list[str], least: float) -> list[Question]:
    """Draw up to ``ASKED`` phrases of a scene, half of them for wholes and half for parts where there are enough.

    Each denotes a mask whose √area is at least ``least`` of the image's side, and none of more than 90 % of the image;
    ``pool`` are phrases of other scenes, of which a random word is drawn.
    """
    from minisam.clip.crops import large_enough
    from minisam.world.phrases import phrases

    rng = np.random.default_rng([14, number])
    every = phrases(scene)
    masks = [mask.segmentation for mask in scene.masks]
    fit = [
        phrase
        for phrase in every
        if any(large_enough(masks[i], least) for i in phrase.masks)
        and max(masks[i].mean() for i in phrase.masks) <= 0.9
    ]
    mixed = [fit[i] for i in rng.permutation(len(fit))]
    wholes = [phrase for phrase in mixed if phrase.level == "whole"]
    parts = [phrase for phrase in mixed if phrase.level != "whole"]
    few = min(len(wholes), max(ASKED // 2, ASKED - len(parts)))
    questions = []
    for phrase in wholes[:few] + parts[: ASKED - few]:
        true = {other.text for other in every if set(other.masks) & set(phrase.masks)}
        wrong = [text for text in pool if text not in true]
        random = wrong[rng.integers(len(wrong))]
        denoted = np.array([masks[i] for i in phrase.masks])
        questions.append(Question(number, phrase.text, random, phrase.level, phrase.colour, denoted))
    return questions


def cases(count: int, size: int, first: int = 0, least: float = LEAST) -> Iterator[tuple[Scene, list[Question]]]:
    """Yield the held-out scenes from ``HELD_OUT + first`` on with the questions about each."""
    from minisam.world import HELD_OUT, render
    from minisam.world.phrases import phrases

    scenes = [render(HELD_OUT + first + number, size) for number in range(count)]
    texts = [[phrase.text for phrase in phrases(scene)] for scene in scenes]
    for number, scene in enumerate(scenes):
        pool = sorted({text for other, some in enumerate(texts) if other != number or count == 1 for text in some})
        yield scene, ask(first + number, scene, pool, least)


def best_iou(masks: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """IoU of each mask (M, S, S) with the truth (K, S, S) that it fits best → (M,)."""
    a, b = (part.reshape(len(part), -1).astype(np.float32) for part in (masks, truths))
    both = a @ b.T
    return (both / np.maximum(a.sum(1)[:, None] + b.sum(1) - both, 1)).max(1)


def measure(predictor: TextPredictor, tiny: Any, scene: Scene, question: Question) -> dict[str, float]:
    """Measure every row of ``ROWS`` for a question; the scene is set in both predictors."""
    from minisam.annotator import centre_point
    from minisam.text.instances import embed_masks

    truths = question.masks
    target = truths[truths.sum((1, 2)).argmax()]  # whose crop and centre are the controls' prompts
    word, random = predictor.embed_texts([question.text, question.random])
    unmoved = predictor.clip.embed_text([question.text])[0]
    shuffled = word[np.random.default_rng(PERMUTED).permutation(len(word))]
    image = embed_masks(predictor.clip, scene.image, [target])[0, 0]
    asked = {"word": word, "random": random, "shuffled": shuffled, "image": image, "word_unmoved": unmoved}
    masks, confidence, _ = predictor.predict_embeddings(np.array(list(asked.values())))
    figures = {}
    for name, three, sure in zip(asked, masks, confidence):
        iou = best_iou(three, truths)
        figures[name] = float(iou[sure.argmax()])
        if name == "word":
            figures["word_best"] = float(iou.max())
    single = predictor.predict_embeddings(word[None], multimask_output=False)[0][0]
    figures["word_single"] = float(best_iou(single, truths)[0])
    # with a point, the mask at the point is meant
    coords, labels = np.array([[centre_point(target)]], float), np.ones((1, 1), int)
    for name, vector in (("word_point", word), ("random_point", random)):
        masks, _, _ = predictor.predict_embeddings(vector[None], coords, labels, multimask_output=False)
        figures[name] = float(best_iou(masks[0], target[None])[0])
    for name, model in (("point", predictor), ("point_tiny", tiny)):
        masks, confidence, _ = model.predict_batch(coords, labels)
        figures[name] = float(best_iou(masks[0], target[None])[confidence[0].argmax()])
    masks, _, _ = predictor.predict_batch(coords, labels, multimask_output=False)
    return figures | {"point_single": float(best_iou(masks[0], target[None])[0])}


def evaluate(
    predictor: TextPredictor, tiny: Any, count: int = SCENES, first: int = 0, least: float = LEAST
) -> dict[str, Any]:
    """Ask about ``count`` held-out scenes.

    Parameters
    ----------
    predictor : TextPredictor
    tiny : SamPredictor
        Of the model whose image encoder it shares; its embedding of a scene serves both.
    count, first : int
    least : float
        As for ``ask``.

    Returns
    -------
    dict
        "each": for every question its scene, text, level, colour, number of masks, area (share of the image, of the
        largest), and a mean IoU per row of ``ROWS``. "mean": of all. "differences": [mean, low, high].
    """
    from minisam.console import progress

    each: list[dict[str, Any]] = []
    with progress(total=count, unit="scene", desc="transfer text") as bar:
        for scene, questions in cases(count, predictor.model.config.image_size, first, least):
            tiny.set_image(scene.image)
            predictor.features, predictor.original_size = tiny.features, scene.image.shape[:2]
            for question in questions:
                about = {"scene": question.scene, "domain": scene.domain, "text": question.text}
                about |= {"level": question.level, "colour": question.colour, "masks": len(question.masks)}
                about["area"] = float(question.masks.mean((1, 2)).max())
                each.append(about | measure(predictor, tiny, scene, question))
            bar.update()
    scenes = np.array([entry["scene"] for entry in each])
    differences = {
        f"{a} - {b}": interval(scenes, np.array([entry[a] - entry[b] for entry in each])) for a, b in DIFFERENCES
    }
    mean = {name: float(np.mean([entry[name] for entry in each])) for name in ROWS}
    return {"scenes": count, "questions": len(each), "mean": mean, "differences": differences, "each": each}


def interval(groups: np.ndarray, values: np.ndarray, draws: int = 4000) -> list[float]:
    """Return the mean of ``values`` (N,) and its 95 % interval when whole groups are drawn again, with replacement."""
    _, number = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(number, values), np.bincount(number)
    again = np.random.default_rng(0).integers(len(sums), size=(draws, len(sums)))
    means = sums[again].sum(1) / counts[again].sum(1)
    return [float(values.mean()), *(float(value) for value in np.quantile(means, (0.025, 0.975)))]


def tables(report: dict[str, Any]) -> list[Table]:
    """Return the means by level and colour, the differences, and the worst words, as tables."""
    each = report["each"]
    groups: dict[str, Callable[[dict[str, Any]], bool]] = {
        "all": lambda entry: True,
        "wholes": lambda entry: entry["level"] == "whole",
        "parts": lambda entry: entry["level"] != "whole",
        "with a colour": lambda entry: bool(entry["colour"]),
        "without": lambda entry: not entry["colour"],
        "one mask": lambda entry: entry["masks"] == 1,
        "several": lambda entry: entry["masks"] > 1,
    }
    chosen = {name: [entry for entry in each if belongs(entry)] for name, belongs in groups.items()}
    rows: list[list[Any]] = [["questions", *(len(some) for some in chosen.values())]]
    for key, name in ROWS.items():
        means = [float(np.mean([entry[key] for entry in some])) if some else None for some in chosen.values()]
        rows.append([name, *means])
    about = f"{report['questions']} phrases of {report['scenes']} held-out scenes of the world"
    notes = [f"{about}; all models have seen its domains. IoU with the best of the masks that the words denote."]
    differences: list[list[Any]] = []
    for key, values in report["differences"].items():
        a, b = key.split(" - ")
        differences.append([f"{ROWS[a]} − {ROWS[b]}", *values])
    worst = sorted(each, key=lambda entry: entry["word"] - entry["image"])[:12]
    failed = [[e["text"], e["domain"], e["masks"], e["area"], e["word"], e["image"], e["scene"]] for e in worst]
    columns = ["words", "domain", "masks", "area", "word", "image", "scene"]
    return [
        Table("Words: mean IoU", ["prompt", *groups], rows, notes),
        Table(
            "Differences of mean IoU",
            ["difference", "mean", "from", "to"],
            differences,
            ["95 %, bootstrap over scenes."],
        ),
        Table("Where words fall furthest behind the image", columns, failed),
    ]


def report_words(scenes: int, first: int = 0, weights: str | None = None, least: float = LEAST) -> dict[str, Any]:
    """Load the models, ``weights`` in the place of the shipped ones, and ``evaluate``."""
    from minisam.checkpoints.loading import load
    from minisam.predictor import SamPredictor
    from minisam.text.predictor import TEXT_WEIGHTS, TextPredictor, with_text

    sam = load("tiny")
    return evaluate(TextPredictor(with_text(sam, weights or TEXT_WEIGHTS)), SamPredictor(sam), scenes, first, least)


def jobs(scenes: int = SCENES) -> list[Job]:
    """Return the suite's jobs for words."""
    from minisam.transfer import text_instances

    def every() -> list[Table]:
        return text_instances.tables(text_instances.report_every(scenes))

    command = f"minisam transfer text --scenes {scenes}"
    words = Job("text", command, lambda: tables(report_words(scenes)))
    return [words, Job("text-all", f"{command} --all", every)]


def add(parsers: Any) -> None:
    """Add the task's options."""
    from minisam.console import positive

    parser = parsers.add_parser(
        "text",
        help="IoU of masks for words, beside controls",
        description="Mean IoU of the masks for words on held-out scenes of the world, beside random words, permuted "
        "vectors, the true crop's vector and points; with --all, precision and recall of every instance.",
    )
    parser.add_argument("--scenes", type=positive, default=SCENES, metavar="N", help=f"scenes (default {SCENES})")
    parser.add_argument("--all", action="store_true", help="every instance instead of one mask")
    parser.add_argument("--choosing", action="store_true", help="other held-out scenes: those to choose thresholds on")
    weights = "of another tuning than the shipped one (python -m minisam.training.text_prompts)"
    least = (
        f"√area of the objects asked for, of the image's side, at least (default {LEAST:.3f}: the paper's 100 of 1024)"
    )
    parser.add_argument("--least", type=float, default=LEAST, metavar="SHARE", help=least)
    parser.add_argument("--weights", metavar="PATH", help=weights)
    parser.add_argument("--json", metavar="PATH", help="write all figures as JSON as well")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """``minisam transfer text``."""
    from minisam.files.atomic import check_output, write_text
    from minisam.transfer import text_instances

    if options.json is not None:
        check_output(options.json)
    first = CHOOSING if options.choosing else 0
    if options.all:
        report = text_instances.report_every(options.scenes, first)
    else:
        report = report_words(options.scenes, first, options.weights, options.least)
    if options.json is not None:
        write_text(options.json, json.dumps(report, indent=1) + "\n")
    print("\n\n".join(markdown(table) for table in (text_instances.tables if options.all else tables)(report)))
    return 0
