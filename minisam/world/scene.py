"""A scene: a domain painted on a stage, photographed, cut out, and put into words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minisam.model.config import CONFIGS
from minisam.world.captions import caption
from minisam.world.domains.catalogue import DOMAIN, DOMAINS
from minisam.world.domains.stage import Stage
from minisam.world.render.camera import photograph
from minisam.world.render.painter import Painter, SceneMask
from minisam.world.render.rng import Rng
from minisam.world.render.shading import Canvas
from minisam_kernels import InputError

SIZE = CONFIGS["tiny"].image_size  # what the shipped model sees, so that nothing is resized
HELD_OUT = 2**30  # training never takes a scene from this seed on


@dataclass
class Scene:
    """An image and all that the world knows about it.

    Attributes
    ----------
    image : ndarray, shape (S, S, 3), uint8
    masks : list of SceneMask
        Parents before their children.
    domain : str
        One of ``DOMAINS``.
    caption : str
        One sentence about what can be seen.
    """

    image: np.ndarray
    masks: list[SceneMask]
    domain: str
    caption: str


def choose(rng: Rng, domain: str | Sequence[str] | None) -> str:
    """The domain of a scene: the only one, or one of several with equal chance; a number is drawn in any case."""
    choice = DOMAINS if domain is None else (domain,) if isinstance(domain, str) else tuple(domain)
    unknown = [name for name in choice if name not in DOMAIN]
    if unknown or not choice:
        raise InputError(f"expected domains out of {', '.join(DOMAINS)}, got {', '.join(unknown) or 'none'}")
    return rng.pick(choice)


def render(seed: int, size: int = SIZE, domain: str | Sequence[str] | None = None) -> Scene:
    """The scene of ``seed`` as an image with its masks.

    Parameters
    ----------
    seed : int
        Not negative. Scenes from ``HELD_OUT`` on are never trained on.
    size : int
        The image has ``size`` × ``size`` pixels.
    domain : str, sequence of str or None
        One of ``DOMAINS``, or several to choose from with equal chance; None: all of them.

    Returns
    -------
    Scene

    Raises
    ------
    InputError
        If a domain is unknown, or there is none to choose from.

    Notes
    -----
    The same seed and choice gives the same scene at every size, and the same bytes at the same size on every machine.
    ``render(seed)`` is ``render(seed, domain=render(seed).domain)``.
    """
    rng = Rng(seed)
    name = choose(rng, domain)
    chosen = DOMAIN[name]
    light_x, light_y = rng.direction()
    canvas = Canvas(size, (light_x, -abs(light_y) if rng.chance(0.7) else light_y))  # mostly from above
    painter = Painter(canvas, rng)
    chosen.paint(Stage(rng, painter))
    image = photograph(rng, canvas.colour, chosen.camera)
    masks = painter.masks()
    return Scene(image, masks, name, caption(image, masks, chosen.opening))
