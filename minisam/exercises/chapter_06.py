"""Chapter 6's exercises: property tests of a reader's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.exercises import Test, same

Arrays = tuple[np.ndarray, np.ndarray]


def _softmax(scores: np.ndarray, axis: int = 1) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def _head(q: np.ndarray, k: np.ndarray, v: np.ndarray, w: tuple[np.ndarray, ...], slip: str = "") -> np.ndarray:
    """One head: q (Nq, C), k and v (Nk, C), w = (Wq, Wk, Wv (C, D), Wo (D, C)); ``slip`` names a mistake to make."""
    scale = 1.0 if slip == "scale" else np.sqrt(w[0].shape[1])
    scores = (q @ w[0]) @ (k @ w[1]).T / scale
    return _softmax(scores, 0 if slip == "axis" else 1) @ (v @ w[2]) @ w[3]


def _both_ways(
    tokens: np.ndarray,
    image: np.ndarray,
    token_pe: np.ndarray,
    image_pe: np.ndarray,
    read: tuple[np.ndarray, ...],
    write: tuple[np.ndarray, ...],
    slip: str = "",
) -> Arrays:
    values = image + image_pe if slip == "values" else image
    new = tokens + _head(tokens + token_pe, image + image_pe, values, read, slip)
    heard = tokens if slip == "old" else new
    keys = heard if slip == "again" else heard + token_pe
    values = heard + token_pe if slip == "values" else heard
    return new, image + _head(image + image_pe, keys, values, write, slip)


SLIPS = {
    "values": "Positions go into queries and keys. Values stay without them.",
    "old": "The image reads the tokens as they are after they have read the image.",
    "again": "Add token_pe again when the tokens become keys.",
    "scale": "Divide the scores by √D, D the width of the head.",
    "axis": "The weights of one query over all keys sum to 1: softmax along the keys.",
}


def two_way(answer: Callable[..., Arrays]) -> str:
    """answer(tokens, image, token_pe, image_pe, read, write) → (tokens, image), one head in each direction."""
    rng = np.random.default_rng()
    for t, n, c, d in ((1, 5, 3, 2), (4, 9, 6, 3), (7, 16, 8, 4)):
        arrays = [rng.standard_normal(shape) for shape in ((t, c), (n, c), (t, c), (n, c))]
        read, write = (tuple(rng.standard_normal(s) for s in ((c, d), (c, d), (c, d), (d, c))) for _ in range(2))
        tokens, image, token_pe, image_pe = arrays
        want = _both_ways(tokens, image, token_pe, image_pe, read, write)
        given = [x.copy() for x in arrays]
        result: Any = answer(*given, read, write)
        if not (isinstance(result, tuple | list) and len(result) == 2):
            return "Return two arrays: the tokens, and the image."
        if any(not np.array_equal(a, b) for a, b in zip(given, arrays)):
            return "Your function changes its arguments in place; the caller still needs them."
        hints = ("The tokens are off: tokens + the head's output.", "The tokens are right, the image is off.")
        wrong = next((w for g, x, hint in zip(result, want, hints) if (w := same(g, x, hint))), "")
        if wrong:
            for slip, hint in SLIPS.items():
                bad = _both_ways(tokens, image, token_pe, image_pe, read, write, slip)
                if all(np.shape(g) == x.shape and np.allclose(g, x) for g, x in zip(result, bad)):
                    return hint
            return wrong
    return ""


def self_attention(answer: Callable[..., np.ndarray]) -> str:
    """answer(i, tokens, token_pe, attend) → block i's tokens after self-attention, before the norm."""
    rng = np.random.default_rng()
    a, b, c = rng.standard_normal((3, 6, 6))

    def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        return q @ a + k @ b + v @ c  # linear, so that whatever goes in shows in what comes out

    for i in (0, 1, 2):
        tokens, token_pe = rng.standard_normal((2, 4, 6))
        q = tokens + token_pe
        want = attend(tokens, tokens, tokens) if i == 0 else tokens + attend(q, q, tokens)
        value = answer(i, tokens.copy(), token_pe.copy(), attend)
        wrong = same(value, want, f"This was block {i}.")
        if wrong and np.shape(value) == want.shape:
            if i == 0 and np.allclose(value, tokens + want):
                return "The first block replaces the tokens: nothing is added to what attention gives."
            if i == 0 and np.allclose(value, attend(q, q, tokens)):
                return "The first block adds no positions: the tokens are the prompt as it came in."
            if i > 0 and np.allclose(value, tokens + attend(q, q, q)):
                return "Positions go into queries and keys, not into values."
            if i > 0 and np.allclose(value, attend(q, q, tokens)):
                return "From the second block on, attention is added to the tokens."
        if wrong:
            return wrong
    return ""


Part = tuple[np.ndarray, np.ndarray, np.ndarray]


def _part(scores: np.ndarray, values: np.ndarray) -> Part:
    largest = scores.max(axis=1)
    weights = np.exp(scores - largest[:, None])
    return largest, weights.sum(axis=1), weights @ values


def merge(answer: Callable[[Part, Part], Part]) -> str:
    """answer(a, b): (largest (Nq,), total (Nq,), mixed (Nq, D)) of two sets of keys → the same of both together."""
    rng = np.random.default_rng()
    for size, shift in ((1.0, 0.0), (5.0, 3.0), (1.0, 2000.0), (1.0, -2000.0)):
        scores, values = size * rng.standard_normal((3, 10)), rng.standard_normal((10, 4))
        scores[:, 6:] += shift
        a, b = _part(scores[:, :6], values[:6]), _part(scores[:, 6:], values[6:])
        with np.errstate(over="ignore", invalid="ignore"):
            result: Any = answer(a, b)
        if not (isinstance(result, tuple | list) and len(result) == 3):
            return "Return three arrays: largest, total, mixed."
        largest, total, mixed = (np.asarray(x) for x in result)
        wrong = same(largest, scores.max(axis=1), "The largest score of both sets is the larger of the two.")
        if wrong:
            return wrong
        if not (np.isfinite(total).all() and np.isfinite(mixed).all()):
            return "exp overflows: multiply a set by exp(its largest − the new largest), which is never above 1."
        want = _part(scores, values)
        if np.allclose(total, a[1] + b[1]) and not np.allclose(total, want[1]):
            return "The two totals were counted from different maxima: scale each of them before you add."
        wrong = same(total, want[1], "total: each set's, times exp(its largest − the new largest).")
        wrong = wrong or same(mixed, want[2], "mixed: the same factors, one for every query.")
        if wrong:
            return wrong
    return ""


def cost(answer: Callable[[int, int, int, int], float]) -> str:
    """answer(tokens, image_tokens, channels, inner): multiply–adds of one attention from tokens to the image."""
    for t, n, c, inner in ((7, 4096, 256, 128), (1, 10, 8, 8), (20, 100, 16, 4)):
        want = 2 * t * c * inner + 2 * n * c * inner + 2 * t * n * inner
        value = answer(t, n, c, inner)
        if np.shape(value) == () and want == 2 * value:
            return "Half of it: keys and values, queries and the way out, scores and mixing are two products each."
        if np.shape(value) == () and value == 2 * t * n * inner:
            return "These are the scores and the mixing. Before them come three projections, and one after."
        wrong = same(value, want, f"For T = {t}, N = {n}, C = {c}, inner width {inner}: count six products.", 1e-12)
        if wrong:
            return wrong
    return ""


EXERCISES: dict[str, Test] = {"1": two_way, "2": self_attention, "3": merge, "4": cost}
