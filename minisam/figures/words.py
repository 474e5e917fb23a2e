"""Figure of chapter 14: SAM asked in words, with its failures.

    from minisam.figures.words import words
    words()                           # the models that come with minisam

A held-out scene, a phrase that is true of something in it, and the mask of the highest predicted IoU. The same question
is asked three ways: with the phrase, with a word for what is not in the scene, and with the embedding of the object's
own image, which is what the decoder was trained on. A mask is graded by its IoU with the nearest of all masks that the
phrase is true of.

Phrases are picked by rule, not by how they turn out: the name of the largest whole, the first that names a colour, the
first that names a part; and the one with the lowest IoU of all in the scene, so that every scene shows its failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.clip.crops import crop, large_enough
from minisam.figures.shared.overlay import ORANGE, SKY, outline, show, tint
from minisam.figures.shared.paint import painted, style
from minisam.figures.shared.states import Axis, State, states
from minisam.world import HELD_OUT, Scene, render
from minisam.world.phrases import NOUNS, Phrase, phrases
from minisam_kernels.losses.iou import iou
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.text.predictor import TextPredictor

SEEDS = (HELD_OUT + 3, HELD_OUT + 8, HELD_OUT + 25)
PHRASES = ("a whole", "a colour", "a part", "the worst of the scene")
PROMPTS = ("the words", "a random word", "the object's own image")
MOST = 40  # phrases of a scene that are tried for the worst


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
    """A scene, one phrase for each of ``PHRASES``, the masks (K, S, S) that it is true of, an answer for each of
    ``PROMPTS``, and how many phrases the worst was found among."""

    scene: Scene
    said: list[Phrase]
    truths: list[np.ndarray]
    answers: list[list[Answer]]
    tried: int


def predictor_of_words() -> TextPredictor:
    """The tiny model, tuned for embeddings, with the towers that come with minisam."""
    import minisam
    from minisam.text.predictor import TextPredictor, with_text

    return TextPredictor(with_text(minisam.load("tiny")))


def phrases_to_ask(scene: Scene) -> list[Phrase]:
    """The phrases of a scene that are true of large enough masks alone, in their own order."""
    masks = [mask.segmentation for mask in scene.masks]
    return [phrase for phrase in phrases(scene) if all(large_enough(masks[i]) for i in phrase.masks)]


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
    coloured = next((p for p in every if p.colour), largest)
    part = next((p for p in every if p.level != "whole" and p.text.startswith("the ")), largest)
    some = every[:MOST]
    worst = min(some, key=lambda p: _answer(predictor, p.text, _text(predictor, p.text), masks[list(p.masks)]).iou)
    said = [largest, coloured, part, worst]
    truths = [masks[list(p.masks)] for p in said]
    answers = []
    for phrase, truth in zip(said, truths):
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
    return predictor.clip.embed_text([text])


def _answer(predictor: TextPredictor, prompt: str, embedding: np.ndarray, truth: np.ndarray) -> Answer:
    masks, scores, _ = predictor.predict_embeddings(embedding)
    best = int(scores[0].argmax())
    mask = masks[0, best]
    return Answer(prompt, mask, float(scores[0, best]), float(np.nan_to_num(iou(mask[None], truth)).max()))


def words(
    predictor: TextPredictor | None = None, seeds: Sequence[int] = SEEDS, question: str = "", source: str = ""
) -> Any:
    """Buttons over scenes, phrases and prompts. ``predictor``: ``predictor_of_words()`` if not given."""
    if not len(seeds):
        raise InputError("expected at least one scene, got none")
    predictor = predictor_of_words() if predictor is None else predictor
    asked = [ask(predictor, seed) for seed in seeds]
    names = [f"{n + 1}: {one.scene.domain}" for n, one in enumerate(asked)]
    question = question or (
        "The decoder was trained on embeddings of images, never on a word. Will a word do as well as the object's own "
        "image, and will a word for something that is not there give a mask at all?"
    )
    axes = [Axis("scene", names), Axis("phrase", PHRASES), Axis("prompt", PROMPTS)]
    return states(axes, lambda s, p, k: draw(asked[s], p, k), question, source)


def sentence(asked: Asked, phrase: int, prompt: int) -> str:
    """The prompt, what came back, and what a right answer would have been."""
    answer, truths = asked.answers[phrase][prompt], asked.truths[phrase]
    covered = float(answer.mask.mean())
    count = "one mask" if len(truths) == 1 else f"{len(truths)} masks"
    text = (
        f"{answer.prompt} gives a mask of {covered:.1%} of the image, predicted IoU {answer.predicted:.2f}. "
        f"True IoU with the nearest of what “{asked.said[phrase].text}” means ({count}): {answer.iou:.2f}."
    )
    if PHRASES[phrase] == PHRASES[-1]:
        text += f" It is the phrase with the lowest IoU of {asked.tried} in this scene."
    return text


@style
def draw(asked: Asked, phrase: int, prompt: int) -> State:
    """The image with the mask tinted, and dashed the outlines of what the phrase is true of."""
    from matplotlib.figure import Figure

    answer, image = asked.answers[phrase][prompt], asked.scene.image
    figure = Figure(figsize=(4.2, 4.55), dpi=110)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.92)
    axes = figure.subplots()
    show(axes, tint(image, answer.mask, SKY, 0.5, dim=0.65), f"{asked.said[phrase].text}: IoU {answer.iou:.2f}")
    for truth in asked.truths[phrase]:
        outline(axes, truth, ORANGE, "dashed", 1.8)
    outline(axes, answer.mask, SKY, "solid", 1.8)
    text = sentence(asked, phrase, prompt)
    return State(painted(figure), text, f"A rendered scene; the mask tinted, what was meant outlined dashed. {text}")
