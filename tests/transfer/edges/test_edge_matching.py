"""The one-to-one correspondence against brute force and against BSDS's own program, on 40 × 40 pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from minisam.transfer.edges.correspondence import UNMATCHED, Correspondence, search_window, tolerance_of
from minisam_kernels import InputError
from strategies import LAYOUTS, lay_out, seeds

MUTANTS = {
    "nobody moves": (
        "minisam/transfer/edges/correspondence.py",
        "                    heapq.heappush(heap, (d << SHIFT) + r)\n",
        "                    pass\n",
    ),
    "squared distances": (
        "minisam/transfer/edges/correspondence.py",
        "np.rint(100 * np.sqrt(squared",
        "np.rint(100 * (squared",
    ),
    "any distance": (
        "minisam/transfer/edges/correspondence.py",
        "best, end, stays = d, r, False",
        "best, end, stays = 0, r, False",
    ),
    "partners left alone": (
        "minisam/transfer/edges/correspondence.py",
        "    for n in range(count_alone):  #",
        "    for n in range(0):  #",
    ),
    "a tolerance that excludes itself": (
        "minisam/transfer/edges/correspondence.py",
        "near = squared <= tolerance**2",
        "near = squared < tolerance**2",
    ),
    "unmatched is cheap": ("minisam/transfer/edges/correspondence.py", "UNMATCHED = 1 << 30", "UNMATCHED = 150"),
}  # fmt: skip


def squared_distances(detected: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return ((np.argwhere(detected)[:, None] - np.argwhere(drawn)[None]) ** 2).sum(axis=-1)


def brute_force(detected: np.ndarray, drawn: np.ndarray, tolerance: float) -> tuple[int, int]:
    """The most pairs and their least cost, from the dense matrix of all pairs."""
    squared = squared_distances(detected, drawn)
    if not squared.size:
        return 0, 0
    near = squared <= tolerance**2
    costs = np.where(near, np.rint(100 * np.sqrt(squared)), UNMATCHED)
    rows, columns = linear_sum_assignment(costs)
    pairs = near[rows, columns]
    most = (maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum()
    assert most == pairs.sum()  # the two oracles agree
    return int(pairs.sum()), int(costs[rows, columns][pairs].sum())


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0, 1, 1.5, 2, 2.9, 4.34]), seeds)
def test_equal_to_brute_force_along_a_sweep(height, width, tolerance, seed):
    """As many pairs, and as near, whatever came before. Kills: nobody moves, squared distances, any distance, partners
    left alone, a tolerance that excludes itself, unmatched is cheap."""
    rng = np.random.default_rng(seed)
    drawn = rng.random((height, width)) < rng.choice([0.02, 0.1, 0.3])
    correspondence, soft = Correspondence(drawn, tolerance), rng.random((height, width))
    for threshold in (0.02, 0.3, 0.1, 0.0):
        # most pixels stay and some change, as when a map is thinned anew at every threshold
        detected = soft + 0.1 * rng.random((height, width)) < threshold
        matched = correspondence.update(detected)
        pairs, cost = brute_force(detected, drawn, tolerance)
        assert not (matched & ~detected).any() and not (correspondence.matched_drawn() & ~drawn).any()
        assert matched.sum() == correspondence.matched_drawn().sum() == pairs
        assert correspondence.total_cost() == cost


def test_equal_to_brute_force_on_pictures_of_40():
    """Lines, as in real maps: 40 pictures of 40 × 40."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        drawn, detected = np.zeros((2, 40, 40), bool)
        for image in (drawn, detected):
            for at in rng.integers(0, 40, 5):
                image[at], image[:, at] = rng.random((2, 40)) < 0.8
        correspondence = Correspondence(drawn, 3.5)
        matched = correspondence.update(detected)
        assert (matched.sum(), correspondence.total_cost()) == brute_force(detected, drawn, 3.5)


def test_equal_to_bsds_program_on_pictures_of_40():
    """Its graph has random gaps: it may find a pair fewer, never one more."""
    program = pytest.importorskip("pyEdgeEval._lib", reason="installed where there is a C++ compiler")
    rng = np.random.default_rng(0)
    found, expected = [], []
    for _ in range(60):
        drawn, detected = rng.random((40, 40)) < 0.08, rng.random((40, 40)) < 0.08
        share = 3 / np.hypot(40, 40)
        correspondence = Correspondence(drawn, tolerance_of((40, 40), share))
        found.append(correspondence.update(detected).sum())
        matched, matched_drawn, _, _ = program.correspond_pixels(detected, drawn, max_dist=share)
        assert (matched > 0).sum() == (matched_drawn > 0).sum() <= found[-1]
        expected.append((matched > 0).sum())
    assert sum(found) - sum(expected) <= 0.003 * sum(expected)


@given(seeds, st.sampled_from(LAYOUTS))
def test_either_side(seed, layout):
    """Who is called detected makes no difference to the pairs and their cost."""
    rng = np.random.default_rng(seed)
    first, second = (lay_out(rng.random((12, 17)) < 0.2, layout) for _ in range(2))
    one, other = Correspondence(first, 2.3), Correspondence(second, 2.3)
    assert one.update(second).sum() == other.update(first).sum()
    assert one.total_cost() == other.total_cost()


def test_the_window_is_a_disc():
    steps, costs = search_window(1.5, 10)
    assert sorted(steps.tolist()) == [-11, -10, -9, -1, 0, 1, 9, 10, 11]
    assert sorted(costs.tolist()) == [0] + [100] * 4 + [141] * 4
    assert tolerance_of((321, 481)) == pytest.approx(4.337, abs=1e-3)


def test_bad_input():
    with pytest.raises(InputError, match="expected drawn pixels as booleans"):
        Correspondence(np.zeros((3, 3)), 1)
    with pytest.raises(InputError, match="tolerance of 0 pixels or more"):
        Correspondence(np.zeros((3, 3), bool), float("nan"))
    with pytest.raises(InputError, match=r"of shape \(3, 3\), got \(3, 4\)"):
        Correspondence(np.zeros((3, 3), bool), 1).update(np.zeros((3, 4), bool))
