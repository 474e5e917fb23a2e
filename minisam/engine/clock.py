"""What a person's work costs: seconds for each action, from what others measured on people.

=======  =======  ==================================================================================================
action   seconds  source
=======  =======  ==================================================================================================
look     2.0      find the next object and turn to it. Assumed; it is the same with and without a model
click    1.8      four clicks on an object's extreme points take 7 s (Papadopoulos et al. 2017): 7 / 4
wait     0.2      until the mask is there. SAM aims at 50 ms for a prompt; with some way to the screen, assumed
check    1.6      look at a mask and judge it. Assumed, a little less than a click; that yes or no to a box takes a
                  small part of drawing one is what Papadopoulos et al. 2016, "We don't need no bounding-boxes", live on
accept   0.5      press a key. Assumed, as is "reject"
reject   0.5
vertex   1.8      a corner of a polygon is a click as above. A mask of COCO took 79 s (Lin et al. 2014), which is 44
                  such corners; the masks here are simpler
stroke   4.0      a stroke of the brush: press, follow, let go. Assumed: two clicks and some way
=======  =======  ==================================================================================================

Six of the eight are assumptions. So what depends on them is said with each of them halved, and half as much again:
``sensitivity``. What was done stays the same there; a person whose clicks took longer might have given up sooner.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from minisam_kernels import InputError

Actions = dict[str, int]  # action → how often


@dataclasses.dataclass(frozen=True)
class Clock:
    """Seconds for each action."""

    look: float = 2.0
    click: float = 1.8
    wait: float = 0.2
    check: float = 1.6
    accept: float = 0.5
    reject: float = 0.5
    vertex: float = 1.8
    stroke: float = 4.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < float("inf"):
                raise InputError(f"expected {name} to take 0 seconds or more, got {value:g}")

    def seconds(self, actions: Mapping[str, int]) -> float:
        """Add up the seconds of all actions; ``InputError`` for one that the clock does not know."""
        known = dataclasses.asdict(self)
        unknown = sorted(set(actions) - set(known))
        if unknown:
            raise InputError(f"expected actions among {', '.join(known)}, got {unknown[0]!r}")
        return float(sum(known[name] * count for name, count in actions.items()))

    def scaled(self, factor: float, action: str) -> Clock:
        """The clock with one action ``factor`` times as long."""
        if action not in dataclasses.asdict(self):
            raise InputError(f"expected an action among {', '.join(ACTIONS)}, got {action!r}")
        return dataclasses.replace(self, **{action: factor * getattr(self, action)})


ACTIONS = tuple(field.name for field in dataclasses.fields(Clock))


def add(*several: Mapping[str, int]) -> Actions:
    """Add up counts of actions; those that never happened are left out."""
    total: Actions = {}
    for actions in several:
        for name, count in actions.items():
            total[name] = total.get(name, 0) + count
    return {name: count for name, count in total.items() if count}


def sensitivity(
    figure: Callable[[Clock], float], clock: Clock, change: float = 0.5
) -> list[tuple[str, float, float, float]]:
    """Compute a figure with each action shorter and longer by a share of itself.

    Parameters
    ----------
    figure : callable
        Clock → number, from actions that were counted.
    clock : Clock
    change : float
        .5 is ± 50 %.

    Returns
    -------
    list of (action, shorter, as it is, longer)
    """
    now = figure(clock)
    return [
        (name, figure(clock.scaled(1 - change, name)), now, figure(clock.scaled(1 + change, name))) for name in ACTIONS
    ]
