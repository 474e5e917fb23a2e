"""Many workers that die: no good picture is lost, none is done twice at once, and every run comes to an end.

Most of it is a simulation of what distributed does to tasks (``Toy``), at random and quickly: the rules of handing out
are the same code. ``test_cluster_faults`` kills real processes.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import toy_pictures as toy
from minisam.engine.store import Picture
from minisam.engine.worker import PICTURE, Outcome
from refusals import refusal

pytest.importorskip("distributed")
from distributed import KilledWorker

from minisam.engine import cluster

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a killed picture is given up": (
        "minisam/engine/cluster.py",
        "if self.careful and self.deaths[picture] >= DEATHS:",
        "if True:",
    ),
    "blame without care": ("minisam/engine/cluster.py", "if self.careful and self.deaths", "if self.deaths"),
    "poison for ever": ("minisam/engine/cluster.py", "self.deaths[picture] += error.allowed_failures + 1", "pass"),
    "care costs nothing": ("minisam/engine/cluster.py", "(1 if self.careful else IN_FLIGHT)", "IN_FLIGHT"),
    "all at once": ("minisam/engine/cluster.py", "while len(self.flying) < limit:", "while limit:"),
    "lost answers": (
        "minisam/engine/cluster.py",
        "            except Exception:  # its worker died with the answer, or it cannot be reached\n"
        "                self.again.append(picture)\n",
        "            except Exception:  # its worker died with the answer, or it cannot be reached\n",
    ),
    "forgotten tasks": (
        "minisam/engine/cluster.py",
        "        else:  # cancelled or lost: the scheduler forgot it\n            self.again.append(picture)",
        "        else:  # cancelled or lost: the scheduler forgot it\n            pass",
    ),
    "futures that wait for ever": (
        "minisam/engine/cluster.py",
        "(stalled and not self",
        "(False and not self",
    ),
    "a new cluster without tasks": (
        "minisam/engine/cluster.py",
        "if anew or (",
        "if (",
    ),
    "a worker without minisam for ever": ("minisam/engine/cluster.py", "if not self.answered and", "if False and"),
    "the end while nobody works": ("minisam/engine/cluster.py", "or (limit == 0 and not self.careful)", ""),
}


class ToyFuture:
    """As much of distributed's as is used."""

    def __init__(self, key: str, picture: Picture) -> None:
        self.key, self.picture = key, picture
        self.status, self.error, self.answers = "pending", None, True
        self.calls: list[Callable[[Any], object]] = []

    def add_done_callback(self, call: Callable[[Any], object]) -> None:
        self.calls.append(call)

    def end(self, status: str, error: BaseException | None = None, answers: bool = True) -> None:
        self.status, self.error, self.answers = status, error, answers
        for call in self.calls:
            call(self)

    def exception(self, timeout: float) -> BaseException | None:
        return self.error

    def result(self, timeout: float) -> Outcome:
        if not self.answers:
            raise TimeoutError
        return Outcome(self.picture, masks=1)


class Toy:
    """A crew whose workers each run one task at a look, and die at random: with all their tasks, as in distributed.

    ``chances`` of a look: of a worker to die, of an answer to be lost with it, of a task to be cancelled or to be
    forgotten without a word, of the whole cluster to be made anew, and of nobody to be there for a while.
    """

    def __init__(self, width: int, seed: int, kills: int = 0, poison: int = 0, **chances: float) -> None:
        self.rng, self.full, self.width, self.kills = random.Random(seed), width, width, kills
        self.poison = {f"poison{number}" for number in range(poison)}
        self.allowed = 0  # deaths that a scheduler forgives a task, trying it again by itself
        self.chances = chances
        self.tasks: list[list[ToyFuture]] = [[] for _ in range(width)]
        self.client = SimpleNamespace(submit=self.submit)
        self.most, self.careful = 0, 0  # tasks that were with the workers at a time, per worker
        self.deaths: dict[str, int] = {}  # picture → workers that died with it
        self.seen: list[tuple[str, int]] = []  # (picture, how many others were with its worker) at each death

    def chance(self, what: str) -> bool:
        return self.rng.random() < self.chances.get(what, 0)

    def submit(self, function: Any, recipe: Any, picture: Picture, key: str, pure: bool) -> ToyFuture:
        assert function is cluster.annotate and not pure
        future = ToyFuture(key, picture)
        min(self.tasks, key=len).append(future)
        self.most = max(self.most, max(map(len, self.tasks)))
        return future

    def runs(self, keys: set[str]) -> bool:
        return any(future.key in keys for tasks in self.tasks for future in tasks)

    def look(self) -> bool:
        self.width = 0 if self.chance("nobody") else self.full
        if self.chance("anew"):
            self.tasks = [[] for _ in range(self.full)]
            return True
        for tasks in self.tasks if self.width else []:
            if tasks and self.chance("forgets"):
                tasks.pop(0)
            elif tasks and self.chance("cancels"):
                tasks.pop(0).end("cancelled")
            elif tasks and (tasks[0].picture.name in self.poison or (self.kills and self.chance("dies"))):
                self.kills -= tasks[0].picture.name not in self.poison
                dead, tasks[:] = list(tasks), []
                for future in dead:
                    name = future.picture.name
                    self.deaths[name] = self.deaths.get(name, 0) + self.allowed + 1
                    self.seen.append((name, len(dead) - 1))
                    future.end("error", KilledWorker(future.key, None, self.allowed))  # type: ignore[arg-type]
            elif tasks:
                tasks.pop(0).end("finished", answers=not self.chance("silent"))
        return False


def pictures(number: int, poison: int = 0) -> list[Picture]:
    names = [f"a{i:03}" for i in range(number)]
    for i in range(poison):
        names.insert((i * 7 + 3) % len(names), f"poison{i}")
    return [Picture(f"{name}.png", name) for name in names]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow each other at once."""
    monkeypatch.setattr(cluster, "LOOK", 0.002)
    monkeypatch.setattr(cluster, "STALLED", 0.02)


def outcomes(crew: Toy, work: list[Picture], most: int = 20000) -> dict[str, list[Outcome]]:
    """Name → what was yielded for it, for no more than so many looks."""
    looks, look = 0, crew.look

    def counted() -> bool:
        nonlocal looks
        looks += 1
        assert looks < most, "the run does not end"
        return look()

    crew.look = counted  # type: ignore[method-assign]
    found: dict[str, list[Outcome]] = {picture.name: [] for picture in work}
    recipe = toy.recipe_of(Path("in"), Path("out"))
    for outcome in cluster._Run(crew, recipe, work):  # type: ignore[arg-type]
        found[outcome.picture.name].append(outcome)
    return found


def check(crew: Toy, found: dict[str, list[Outcome]]) -> None:
    """Each picture has one outcome, and the right one; a good one fails only if too many workers died with it."""
    assert all(len(each) == 1 for each in found.values())
    failed = {name for name, (outcome,) in found.items() if outcome.failure}
    assert crew.poison <= failed
    for name in failed:
        assert found[name][0].fault == PICTURE and f"{crew.deaths[name]} workers" in found[name][0].failure
        assert crew.deaths[name] >= cluster.DEATHS
    for name in found.keys() - crew.poison:
        assert (name in failed) <= (crew.deaths.get(name, 0) >= cluster.DEATHS)
    assert crew.most <= cluster.IN_FLIGHT


@pytest.mark.parametrize("seed", range(6))
def test_poison_costs_no_other_picture(quick: None, seed: int) -> None:
    """Each of three is given up after four workers, and was alone with three of these. Kills: a killed
    picture is given up, poison for ever, care costs nothing, all at once."""
    crew = Toy(3, seed, poison=3)
    found = outcomes(crew, pictures(40, 3))
    check(crew, found)
    assert {name for name, (outcome,) in found.items() if outcome.failure} == crew.poison
    for name in crew.poison:
        assert crew.deaths[name] == cluster.DEATHS
        assert [others for who, others in crew.seen if who == name][1:] == [0] * (cluster.DEATHS - 1)
    assert all(deaths == 1 for name, deaths in crew.deaths.items() if name not in crew.poison)


def test_a_scheduler_with_its_own_tries(quick: None) -> None:
    """Where four workers have died with a task before one hears of it, its neighbours are not blamed for good. Kills:
    blame without care."""
    crew = Toy(3, 0, poison=2)
    crew.allowed = 3
    found = outcomes(crew, pictures(40, 2))
    check(crew, found)
    assert {name for name, (outcome,) in found.items() if outcome.failure} == crew.poison
    assert {crew.deaths[name] for name in crew.poison} == {8} and len(crew.deaths) > 2


@pytest.mark.parametrize("seed", range(6))
def test_twenty_kills_at_random(quick: None, seed: int) -> None:
    """Kills: a killed picture is given up."""
    crew = Toy(4, seed, kills=20, dies=0.15)
    found = outcomes(crew, pictures(300))
    check(crew, found)
    assert crew.kills == 0 and not any(outcome.failure for (outcome,) in found.values())


@pytest.mark.parametrize("seed", range(6))
def test_whatever_gets_lost_is_handed_out_again(quick: None, seed: int) -> None:
    """Kills: lost answers, forgotten tasks, the end while nobody works."""
    chances = {"dies": 0.02, "silent": 0.1, "cancels": 0.1, "forgets": 0.03, "anew": 0.02, "nobody": 0.1}
    crew = Toy(3, seed, kills=10, poison=1, **chances)
    check(crew, outcomes(crew, pictures(60, 1)))


@pytest.mark.parametrize(("what", "stalled"), [("forgets", 0.02), ("anew", float("inf"))])
def test_tasks_that_nobody_knows(quick: None, monkeypatch: pytest.MonkeyPatch, what: str, stalled: float) -> None:
    """Some after a while, those of a cluster that was made anew at once. Kills: futures that wait for ever, a new
    cluster without tasks."""
    monkeypatch.setattr(cluster, "STALLED", stalled)
    crew = Toy(3, 0, **{what: 0.3})
    check(crew, outcomes(crew, pictures(40), 3000))


def test_nobody_at_first(quick: None) -> None:
    """Kills: the end while nobody works."""
    crew = Toy(2, 0)
    crew.width = 0
    assert len(outcomes(crew, pictures(5))) == 5
    crew.width = 0
    assert all(len(each) == 1 for each in outcomes(crew, pictures(5)).values())


def test_workers_without_minisam(quick: None) -> None:
    """Nothing ever ends well: the first errors say why. Kills: a worker without minisam for ever."""
    crew = Toy(2, 0)

    def look() -> bool:
        for tasks in crew.tasks:
            if tasks:
                tasks.pop().end("error", ModuleNotFoundError("No module named 'minisam'"))
        return False

    crew.look = look  # type: ignore[method-assign]
    words = refusal(outcomes, crew, pictures(50), 500)
    assert "workers that can run minisam.engine.worker, got ModuleNotFoundError: No module named 'minisam'" in words


def test_an_error_of_one_task_is_its_own(quick: None) -> None:
    """It is tried again, in the end alone, and then it is a failure with its reason."""
    crew, look = Toy(2, 0), Toy.look

    def mostly() -> bool:
        for tasks in crew.tasks:
            if tasks and tasks[0].picture.name == "a002":
                tasks.pop(0).end("error", ValueError("odd {}"))
        return look(crew)

    crew.look = mostly  # type: ignore[method-assign]
    found = outcomes(crew, pictures(10))
    assert [name for name, (outcome,) in found.items() if outcome.failure] == ["a002"]
    assert "got ValueError: odd {}" in found["a002"][0].failure


def test_no_scheduler_is_one_line() -> None:
    """Within the time that was given, whatever the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    for address in (f"tcp://127.0.0.1:{port}", "nonsense", "ftp://a", ""):
        words = refusal(lambda where: cluster.Crew(1, where, 1.0), address)
        assert words.startswith("expected a scheduler at ") and "got none" in words
    assert time.monotonic() - start < 60


def test_only_what_is_imported_is_sent() -> None:
    """A function by its name, so that its compiled code is found on disk, and a recipe of some hundred bytes."""
    from distributed.protocol.pickle import dumps

    assert len(dumps(cluster.annotate)) < 200 and b"minisam.engine.worker" in dumps(cluster.annotate)
    assert len(dumps((toy.recipe_of(Path("in"), Path("out")), Picture("a.png", "a")))) < 500
