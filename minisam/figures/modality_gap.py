"""Figure of chapter 14: images and texts lie in one space, but not in one place.

    from minisam.figures.modality_gap import modality_gap
    modality_gap()                    # the towers that come with minisam

Every crop of an object of the world's held-out scenes has a vector, and so has its noun. All have length 1. Training
brings the two of a pair together *compared with other pairs*; nothing asks that images and texts have the same mean,
and they don't (Liang et al. 2022). Across: the direction from the mean of the images to that of the texts. Down: the
first principal component of what is left. So the gap is not chosen by an algorithm, it is the axis.

The second view takes each kind's mean away; SAM is asked in words with much the same move (``TextPredictor``). Recall
says how often the nearest text of a crop, among those of the nouns here, names the crop's noun, and whether it does so
more often without the gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from minisam.clip.pairs import Described
from minisam.figures.shared.overlay import BLUE, ORANGE, VERMILION
from minisam.figures.shared.paint import canvas, painted, signed, style
from minisam.figures.shared.states import Axis, State, states
from minisam.world import HELD_OUT
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.clip import Clip

SCENES, NOUNS, SHOWN = 120, 16, 5
VIEWS = ("as they are", "each kind's mean taken away")


@dataclass(frozen=True)
class Cloud:
    """Vectors of N crops and of K nouns.

    ``images`` (N, E) and ``texts`` (K, E) float32, of length 1; ``noun`` (N,): which of the ``names`` (K) a crop shows.
    """

    images: np.ndarray
    texts: np.ndarray
    noun: np.ndarray
    names: tuple[str, ...]

    @property
    def gap(self) -> np.ndarray:
        """(E,): from the mean of the images to the mean of the texts."""
        return self.texts.mean(axis=0) - self.images.mean(axis=0)

    def centred(self) -> Cloud:
        """Each kind's mean taken away, lengths 1 again."""
        images, texts = (_unit(x - x.mean(axis=0)) for x in (self.images, self.texts))
        return Cloud(images, texts, self.noun, self.names)

    def recall(self) -> float:
        """The share of crops whose nearest text is that of their noun."""
        return float(((self.images @ self.texts.T).argmax(axis=1) == self.noun).mean())

    def cosines(self) -> dict[str, float]:
        """Mean cosines: of a crop with its noun's text, with another's, and of two crops."""
        all_pairs, own = self.images @ self.texts.T, np.zeros((len(self.images), len(self.names)), bool)
        own[np.arange(len(own)), self.noun] = True
        between = self.images @ self.images.T
        others = between[~np.eye(len(between), dtype=bool)]
        return {
            "own": float(all_pairs[own].mean()),
            "other": float(all_pairs[~own].mean()),
            "images": float(others.mean()),
        }


def _unit(x: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(length > 0, length, 1)


def cloud(clip: Clip, scenes: int = SCENES, nouns: int = NOUNS) -> Cloud:
    """A crop from each held-out scene for every noun that it shows; of the nouns, those that most scenes show."""
    size = clip.config.image_size
    pixels: dict[str, list[np.ndarray]] = {}
    for number in range(scenes):
        scene, rng = Described(HELD_OUT + number), np.random.default_rng(number)
        for noun in scene.of_noun:
            pixels.setdefault(noun, []).append(scene.draw(rng, size, noun, expand=1.5, background=False).crop.pixels)
    names = sorted(pixels, key=lambda noun: (-len(pixels[noun]), noun))[:nouns]
    if len(names) < 2:
        raise InputError(f"expected scenes with at least 2 nouns, got {len(names)}")
    crops = np.concatenate([pixels[name] for name in names])
    shown = np.repeat(np.arange(len(names)), [len(pixels[name]) for name in names])
    return Cloud(clip.embed_image(crops), clip.embed_text(names), shown, tuple(names))


def project(c: Cloud, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 2) and texts (K, 2): along ``gap``, and along the first principal component of what is left."""
    across = gap / np.linalg.norm(gap)
    both = np.concatenate([c.images, c.texts])
    left = both - np.outer(both @ across, across)
    left = left - left.mean(axis=0)
    down = np.linalg.svd(left, full_matrices=False)[2][0]
    down = down * (1 if down[np.abs(down).argmax()] > 0 else -1)  # a component has no sign of its own
    return tuple(np.stack([x @ across, x @ down], axis=1) for x in (c.images, c.texts))  # type: ignore[return-value]


def modality_gap(
    clip: Clip | None = None, scenes: int = SCENES, nouns: int = NOUNS, question: str = "", source: str = ""
) -> Any:
    """Buttons over two views, and over nouns to mark. ``clip``: the towers, ``minisam.clip.load()`` if not given."""
    if clip is None:
        from minisam.clip import load

        clip = load()
    plain = cloud(clip, scenes, nouns)
    clouds, axis = (plain, plain.centred()), plain.gap
    question = question or (
        "A crop of a car and the word car were trained to lie close. Is the nearest neighbour of a crop a word, or "
        "another crop?"
    )
    axes = [Axis("embeddings", VIEWS), Axis("marked", plain.names[:SHOWN])]
    return states(axes, lambda view, noun: draw(clouds[view], axis, VIEWS[view], noun), question, source)


def words(c: Cloud, view: str, noun: int) -> str:
    """The gap's length, mean cosines, and recall."""
    cosines = c.cosines()
    of = int((c.noun == noun).sum())
    own, other, images = (signed(cosines[kind]) for kind in ("own", "other", "images"))
    return (
        f"{view.capitalize()}: the means of {len(c.images)} crops and {len(c.names)} words are "
        f"{np.linalg.norm(c.gap):.2f} apart. Mean cosine of a crop with its word {own}, with another word {other}, "
        f"with another crop {images}. The nearest of the {len(c.names)} words is the right one for {c.recall():.0%} of "
        f"the crops (chance: {1 / len(c.names):.0%}). Marked: “{c.names[noun]}”, {of} crops."
    )


@style
def draw(c: Cloud, gap: np.ndarray, view: str, noun: int) -> State:
    """Crops as dots, words as triangles, the line between the two means."""
    figure, ((axes,),) = canvas(1, 1, (7, 4.4), (0.13, 0.98, 0.14, 0.91))
    images, texts = project(c, gap)
    own = c.noun == noun
    axes.plot(*images[~own].T, "o", color=BLUE, alpha=0.25, markersize=5, label="a crop")
    axes.plot(*texts.T, "^", color=ORANGE, markeredgecolor="black", markersize=9, label="a word")
    axes.plot(*images[own].T, "s", color=VERMILION, markeredgecolor="white", markersize=6.5,
              label=f"a crop: {c.names[noun]}")  # fmt: skip
    axes.annotate(c.names[noun], texts[noun], (-8, 6), textcoords="offset points", ha="right", fontweight="bold",
                  bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1})  # fmt: skip
    (x0, y0), (x1, y1) = images.mean(axis=0), texts.mean(axis=0)
    if np.hypot(x1 - x0, y1 - y0) > 0.02:
        axes.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "<->", "linewidth": 2})
        axes.annotate(f"the gap, {np.linalg.norm(c.gap):.2f}", ((x0 + x1) / 2, (y0 + y1) / 2), (0, 8),
                      textcoords="offset points", ha="center",
                      bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5})  # fmt: skip
    axes.set(xlabel="from the images' mean to the texts' mean", ylabel="first component of the rest", title=view)
    axes.legend(loc="best", fontsize=11, framealpha=0.9)
    axes.grid(alpha=0.3)
    axes.margins(0.08, 0.12)
    text = words(c, view, noun)
    far = " on the other side of a gap" if view == VIEWS[0] else ""
    alt = f"A scatter plot: crops as dots, words as triangles{far}. {text}"
    return State(painted(figure), text, alt)
