"""The source of chance: one stream of uniform numbers per scene.

NumPy promises that the bits of ``PCG64`` never change, but not how a distribution is made from them. Everything here
is therefore made from plain uniform numbers in [0, 1), drawn a block at a time (a call of a ``Generator`` method costs
about a microsecond, taking the next item of a list a twentieth of that).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from minisam.world.render.exact import GRID

T = TypeVar("T")
BLOCK = 2048


class Rng:
    """Random numbers of one scene, the same on every machine for the same seed."""

    def __init__(self, seed: int) -> None:
        generator = np.random.Generator(np.random.PCG64(seed))
        blocks = (generator.random(BLOCK).tolist() for _ in itertools.count())
        self.random: Callable[[], float] = itertools.chain.from_iterable(blocks).__next__
        """The next uniform number in [0, 1)."""

    def uniform(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.random()

    def log_uniform(self, low: float, high: float) -> float:
        """Between ``low`` and ``high`` (both positive) with every factor of two equally likely."""
        return round(low * math.exp(self.random() * math.log(high / low)) * GRID) / GRID

    def signed(self, scale: float) -> float:
        """Bell-shaped about 0, standard deviation ``scale``, never beyond 3 of them (sum of three uniforms)."""
        draw = self.random
        return scale * 2.0 * (draw() + draw() + draw() - 1.5)

    def integer(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + int(self.random() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.random() < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.random() * len(options))]

    def weighted(self, options: Sequence[tuple[float, T]]) -> T:
        """One of the options ``(weight, value)``, in proportion to the weights."""
        total = 0.0
        for weight, _ in options:
            total += weight
        rest = self.random() * total
        for weight, value in options:
            rest -= weight
            if rest < 0.0:
                return value
        return options[-1][1]

    def array(self, count: int) -> np.ndarray:
        """``count`` uniform numbers, shape (count,), float64."""
        return np.array([self.random() for _ in range(count)])

    def direction(self) -> tuple[float, float]:
        """A unit vector (x, y) in a uniform direction."""
        return unit(self.uniform(0.0, 2.0 * math.pi))


def unit(angle: float) -> tuple[float, float]:
    """``(cos, sin)`` of an angle in radians, on the grid of ``exact.snap``."""
    return round(math.cos(angle) * GRID) / GRID, round(math.sin(angle) * GRID) / GRID
