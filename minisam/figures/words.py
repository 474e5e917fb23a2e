"""Figure of chapter 14: SAM asked in words, with its failures.

    from minisam.figures.words import words
    words()                           # the models that come with minisam

A held-out scene, a phrase that is true of something in it, and the mask of the highest predicted IoU. The same question
is asked three ways: with the phrase, with a word for what is not in the scene, and with the embedding of the object's
own image, which is what the decoder was trained on. (``TextPredictor`` moves a text's vector by the gap that
``modality_gap`` shows.) A mask is graded by its IoU with the nearest of all masks that the phrase is true of. The page
(``words.js``) works with a kernel and without one.

Phrases are picked by rule, not by how they turn out: the name of the largest whole, the first that names a colour, the
first that names a part; and the one with the lowest IoU of all in the scene, so that every scene shows its failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from minisam.clip.crops import crop, large_enough
from minisam.figures.shared.encoding import jpeg, mask_text
from minisam.world import HELD_OUT, Scene, render
from minisam.world.phrases import NOUNS, Phrase, phrases
from minisam_kernels.losses.iou import iou
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.text.predictor import TextPredictor

HERE = Path(__file__).parent
FILES = ("shared/canvas.js", "shared/masks.js", "words.js")
SEEDS = (HELD_OUT + 8, HELD_OUT + 9, HELD_OUT + 6)  # three domains, chosen before there was a mask
PHRASES = ("a whole", "a colour", "a part", "the worst of the scene")
PROMPTS = ("the words", "a random word", "the object's own image")
MOST = 40  # phrases of a scene that are tried for the worst
LARGEST = 0.4  # share of the image of what a phrase means: no walls


@dataclass(frozen=True)
class Answer:
    """What the model made of a prompt: ``prompt`` in words, the mask (S, S), its predicted IoU, its IoU with the
    nearest mask that the phrase is true of."""

    prompt: str
    mask: np.ndarray
    predicted: float
    iou: float


@dataclass(frozen=True)
class Asked:
    """A scene, a phrase for each of ``PHRASES`` that it has, the masks (K, S, S) that it is true of, an answer for each
    of ``PROMPTS``, and how many phrases the worst was found among."""

    scene: Scene
    said: dict[str, Phrase]
    truths: list[np.ndarray]
    answers: list[list[Answer]]
    tried: int


def predictor_of_words() -> TextPredictor:
    """The tiny model, tuned for embeddings, with the towers that come with minisam."""
    import minisam
    from minisam.text.predictor import TextPredictor, with_text

    return TextPredictor(with_text(minisam.load("tiny")))


def phrases_to_ask(scene: Scene) -> list[Phrase]:
    """The phrases of a scene that are true of masks that are large enough and no background, in their own order."""
    fit = [large_enough(m.segmentation) and m.area <= LARGEST * m.segmentation.size for m in scene.masks]
    return [phrase for phrase in phrases(scene) if all(fit[i] for i in phrase.masks)]


def ask(predictor: TextPredictor, seed: int) -> Asked:
    """Ask about one scene. Raises ``InputError`` where it has no phrase of a large enough object."""
    size = predictor.model.config.image_size
    scene = render(seed, size)
    every = phrases_to_ask(scene)
    if not every:
        raise InputError(f"expected an object of at least a tenth of the side in scene {seed}, got none")
    predictor.set_image(scene.image)
    masks = np.array([mask.segmentation for mask in scene.masks])
    shown = {phrase.noun for phrase in phrases(scene)}
    rng = np.random.default_rng(seed)
    other = [noun for noun in NOUNS if noun not in shown]
    largest = max(every, key=lambda p: (p.level == "whole", p.text == p.noun, masks[list(p.masks)].sum()))
    coloured = next((p for p in every if p.colour), None)
    part = next((p for p in every if p.level != "whole" and p.text.startswith("the ")), None)
    some = every[:MOST]
    worst = min(some, key=lambda p: _answer(predictor, p.text, _text(predictor, p.text), masks[list(p.masks)]).iou)
    said = {kind: p for kind, p in zip(PHRASES, (largest, coloured, part, worst)) if p is not None}
    truths = [masks[list(p.masks)] for p in said.values()]
    answers = []
    for phrase, truth in zip(said.values(), truths):
        word = other[rng.integers(len(other))]
        cut = crop(scene.image, truth[0], predictor.clip.config.image_size)
        image = predictor.clip.embed_image(cut.pixels[None])
        answers.append([
            _answer(predictor, f"“{phrase.text}”", _text(predictor, phrase.text), truth),
            _answer(predictor, f"“{word}”, which is not there,", _text(predictor, word), truth),
            _answer(predictor, f"The image of the object that “{phrase.text}” means", image, truth),
        ])  # fmt: skip
    return Asked(scene, said, truths, answers, len(some))


def _text(predictor: TextPredictor, text: str) -> np.ndarray:
    return predictor.embed_texts([text])


def _answer(predictor: TextPredictor, prompt: str, embedding: np.ndarray, truth: np.ndarray) -> Answer:
    masks, scores, _ = predictor.predict_embeddings(embedding)
    best = int(scores[0].argmax())
    mask = masks[0, best]
    true = np.nan_to_num(iou(np.repeat(mask[None], len(truth), axis=0), truth))
    return Answer(prompt, mask, float(scores[0, best]), float(true.max()))


class Words(anywidget.AnyWidget):
    """Scenes, phrases and prompts to choose from. See ``words``."""

    _esm = "".join((HERE / name).read_text(encoding="utf-8") for name in FILES)
    _css = "".join((HERE / name).read_text(encoding="utf-8") for name in ("click.css", "words.css"))

    scenes: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    prompts: traitlets.List[str] = traitlets.List(list(PROMPTS)).tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)


def words(predictor: TextPredictor | None = None, seeds: Sequence[int] = SEEDS, source: str = "") -> Words:
    """The figure. predictor: ``predictor_of_words()`` if not given; seeds of scenes. ``source``: the address of this
    code, for the link below the figure."""
    if not len(seeds):
        raise InputError("expected at least one scene, got none")
    predictor = predictor_of_words() if predictor is None else predictor
    return Words(scenes=[_packed(ask(predictor, seed)) for seed in seeds], source=source)


def sentence(asked: Asked, phrase: int, prompt: int) -> str:
    """The prompt, what came back, and what a right answer would have been."""
    answer, truths = asked.answers[phrase][prompt], asked.truths[phrase]
    kind, said = list(asked.said.items())[phrase]
    count = "one mask" if len(truths) == 1 else f"{len(truths)} masks"
    text = (
        f"{answer.prompt} gives a mask of {answer.mask.mean():.1%} of the image, predicted IoU {answer.predicted:.2f}. "
        f"True IoU with the nearest of what “{said.text}” means ({count}): {answer.iou:.2f}."
    )
    if kind == PHRASES[-1]:
        text += f" Of {asked.tried} phrases of this scene, none has a lower IoU."
    return text


def _packed(asked: Asked) -> dict[str, Any]:
    """What the page gets: a JPEG to look at, masks as COCO's text, and sentences."""
    questions = [
        {
            "kind": kind,
            "phrase": phrase.text,
            "truths": [mask_text(mask) for mask in asked.truths[n]],
            "answers": [
                {"mask": mask_text(answer.mask), "words": sentence(asked, n, k)}
                for k, answer in enumerate(asked.answers[n])
            ],
        }
        for n, (kind, phrase) in enumerate(asked.said.items())
    ]
    return {
        "title": asked.scene.domain, "alt": f"Rendered scene. {asked.scene.caption}", "jpeg": jpeg(asked.scene.image),
        "size": len(asked.scene.image), "questions": questions,
    }  # fmt: skip
