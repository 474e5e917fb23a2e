"""The tests of chapter 11's exercises."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from minisam.exercises import Test, same


def _break_even(answer: Callable[..., Any]) -> str:
    cases = [(10, 1, 2), (0, 1, 2), (100, 3, 3), (7, 5, 2), (1, 1, 100), (64, 2, 10), (85, 4, 89)]
    cases += [tuple(map(int, row)) for row in np.random.default_rng(0).integers(1, 50, (40, 3))]  # type: ignore[misc]
    for encode, decode, whole in cases:
        out = answer(encode, decode, whole)
        if whole <= decode:
            if out is not None:
                return f"E = {encode}, d = {decode}, m = {whole}: a prompt alone costs as much, so None, got {out!r}."
            continue
        want = next(n for n in range(1, 10_000) if encode + n * decode < n * whole)
        if out != want:
            hint = f"E = {encode}, d = {decode}, m = {whole}: expected {want}, got {out!r}."
            tie = out is not None and encode + out * decode == out * whole
            return f"{hint} {'At equal cost it is not cheaper yet.' if tie else 'Solve E + N d < N m for whole N.'}"
    return ""


def _multiplications(answer: Callable[..., Any]) -> str:
    hints = (
        "Keys first: each of N image tokens is projected for all h heads, then each score takes D.",
        "Queries first: each of T queries goes back to C numbers in each head, then each score takes C.",
        "If the projected keys were kept, the second prompt pays for the scores alone.",
    )
    rng = np.random.default_rng(1)
    sizes = [(4096, 7, 256, 8, 16), (1, 1, 1, 1, 1), *rng.integers(1, 30, (20, 5)).tolist()]
    for N, T, C, h, D in sizes:
        out = answer(N, T, C, h, D)
        if np.shape(out) != (3,):
            return f"expected three counts, got {out!r}."
        keys = N * C * (h * D)  # a product of (N, C) and (C, hD)
        scores = h * T * N * D  # for each head (T, D) and (D, N)
        queries = h * T * D * C + h * T * C * N  # for each head (T, D), (D, C) and (C, N)
        for value, want, hint in zip(out, (keys + scores, queries, scores), hints):
            if value != want:
                return f"N, T, C, h, D = {N}, {T}, {C}, {h}, {D}: expected {want}, got {value}. {hint}"
    return ""


def _pads(answer: Callable[..., Any]) -> str:
    for H, W, w in [(64, 64, 14), *product((1, 5, 8, 9), (1, 4, 12), (1, 2, 3, 5, 14))]:
        real = np.zeros((H + -H % w, W + -W % w), bool)
        real[:H, :W] = True
        holds = [
            not real[i : i + w, j : j + w].all() for i, j in product(range(0, len(real), w), range(0, real.shape[1], w))
        ]
        out = answer(H, W, w)
        if np.shape(out) != (2,):
            return f"expected two numbers, got {out!r}."
        hint = f"{H} × {W} tokens, windows of {w}:"
        wrong = same(out[0], (~real).sum(), f"{hint} round H and W up to whole windows, each by itself.")
        wrong = wrong or same(out[1], sum(holds), f"{hint} all windows, without those that lie wholly in the image.")
        if wrong:
            return wrong
    return ""


def _sigma(answer: Callable[..., Any]) -> str:
    rng = np.random.default_rng(2)
    for K, P, C in ((1, 1, 4), (3, 5, 8), (7, 20, 16)):
        z, basis = rng.standard_normal((C, P)), rng.standard_normal((K, C))
        z, basis = z - z.mean(axis=0), basis - basis.mean(axis=1, keepdims=True)
        scale, features = rng.uniform(0.5, 2, P), rng.random((K, P))
        known = ((z**2).sum(axis=0), basis @ z, basis @ basis.T)
        y = scale * z + basis.T @ features
        out = answer(*known, scale, features, C, 0.01)
        want = np.sqrt((y**2).mean(axis=0) + 0.01)
        hint = "Square scale · z + Bᵀf: three terms, the middle one twice. Then divide by C, add ε, take the root."
        if np.shape(out) == want.shape and np.allclose(out, y.std(axis=0)):
            hint = "ε is missing."
        elif np.shape(out) == want.shape and np.allclose(out, want**2):
            hint = "That is σ²."
        elif np.shape(out) == want.shape and P > 1 and np.allclose(answer(*known, scale**0, features, C, 0.01), out):
            hint = "The image's part comes times scale: its square with scale², the mixed term with scale."
        wrong = same(out, want, hint)
        if wrong:
            return wrong
    return ""


EXERCISES: dict[str, Test] = {"1": _break_even, "2": _multiplications, "3": _pads, "4": _sigma}
