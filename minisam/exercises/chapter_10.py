"""The tests of chapter 10's exercises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.exercises import same


def _click(answer: Callable[..., Any]) -> str:
    """10.1: (predicted, truth, u) → (x, y), label: uniform in the error region."""
    truth, predicted = np.zeros((5, 9), bool), np.zeros((5, 9), bool)
    truth[1:4, 1:5] = True
    predicted[1:4, 3:8] = True  # 6 pixels missing at the left, 9 too many at the right
    seen: Counter[tuple[int, int]] = Counter()
    for u in (np.arange(300) + 0.5) / 300:
        click, label = answer(predicted.copy(), truth.copy(), float(u))
        x, y = (int(v) for v in click)
        if not (0 <= x < 9 and 0 <= y < 5):
            return f"({x}, {y}) is outside an image 9 wide and 5 high: a click is (x, y), x the column."
        if not predicted[y, x] ^ truth[y, x]:
            return f"the click ({x}, {y}) is not where the masks differ. A click is (x, y); an array is indexed [y, x]."
        if int(label) != int(truth[y, x]):
            return "a missed pixel gets label 1 (foreground), a wrongly covered one label 0. That is the truth's value."
        seen[x, y] += 1
    if len(seen) < 15:
        return f"of 15 wrong pixels only {len(seen)} are ever clicked. Errors of both kinds are one region."
    if max(seen.values()) > 1.3 * min(seen.values()):
        return (
            "not uniform: with u uniform each wrong pixel must come equally often. Number the pixels; take ⌊u · count⌋."
        )
    for number in range(30):
        rng = np.random.default_rng(number)
        truth, predicted = rng.random((6, 4)) < 0.5, rng.random((6, 4)) < 0.5
        truth[2, 3] = True
        if number % 3 == 0:
            predicted = truth.copy()
        u = float(rng.choice([0.0, rng.random(), 1 - 1e-12]))
        (x, y), label = answer(predicted.copy(), truth.copy(), u)
        wrong = predicted ^ truth
        if not (wrong if wrong.any() else truth)[int(y), int(x)] or int(label) != int(truth[int(y), int(x)]):
            if not wrong.any():
                return "where nothing is wrong, click any pixel of the truth, label 1."
            return f"with u = {u} the click ({x}, {y}), label {label} does not point at an error."
    return ""


def _rounds(answer: Callable[..., Any]) -> str:
    """10.2: pause → for rounds 2 to 11, does it bring a new point?"""
    for pause in range(8):
        out = answer(pause)
        plan = [bool(v) for v in out]
        if len(plan) != 10:
            return f"expected an entry for each of the rounds 2 to 11, that is 10, got {len(plan)}."
        if sum(plan) != 8:
            return f"of the ten rounds after the first 8 bring a new point, got {sum(plan)}."
        if plan[-1]:
            return "the last round brings no new point: the model is to polish its own mask."
        want = [True] * 8
        want.insert(pause, False)
        if plan != [*want, False]:
            return f"with pause = {pause} the quiet round comes before later point number {pause}, counted from 0."
    return ""


def _box(answer: Callable[..., Any]) -> str:
    """10.3: (box, noise, size) → noisy box."""
    rng = np.random.default_rng(0)
    for number in range(60):
        size = int(rng.choice([256, 512, 1024]))
        corners = np.sort(rng.uniform(0, size - 1, (2, 2)), axis=0).ravel()
        box = corners.astype(float)  # x0 y0 x1 y1
        noise = rng.normal(size=4) * (4 if number % 3 == 0 else 1)
        sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
        limit = 20 * size / 1024
        moved = noise * 0.1 * sides
        want = np.clip(box + np.clip(moved, -limit, limit), 0, size - 1)
        out = np.asarray(answer(box.copy(), noise.copy(), size), float)
        if out.shape == (4,):
            if (abs(out - box) > limit + 1e-6).any():
                return f"a coordinate moved by {abs(out - box).max():.1f} pixels; at most 20 of 1024, here {limit:g}."
            swapped = np.clip(box + np.clip(noise * 0.1 * sides[[1, 0, 3, 2]], -limit, limit), 0, size - 1)
            if np.allclose(out, swapped) and not np.allclose(want, swapped):
                return "x moves by 10 % of the width and y by 10 % of the height."
            limited_sigma = np.clip(box + noise * np.minimum(0.1 * sides, limit), 0, size - 1)
            if np.allclose(out, limited_sigma) and not np.allclose(want, limited_sigma):
                return "the limit is on the movement, not on σ."
            if (out < 0).any() or (out > size - 1).any():
                return "a corner left the image: clip to 0 … size − 1."
        wrong = same(out, want, "Movement: noise · 10 % of the side, clipped; then the corner, clipped to the image.")
        if wrong:
            return wrong
    return ""


def _rate(answer: Callable[..., Any]) -> str:
    """10.4: (step, block) → the learning rate of encoder block ``block`` of 32 at a step of SAM's schedule."""

    def want(step: int, block: int) -> float:
        base = 8e-4 * (step + 1) / 250 if step < 250 else 8e-4 / 10 ** ((step >= 60_000) + (step >= 86_666))
        return base * 0.8 ** (32 - block)

    for step, block, hint in (
        (5000, 31, "Block 31 is the last: one block below the decoder, so one factor of 0.8."),
        (0, 31, "Warm-up is linear, and the first step already moves: 8e-4 · (step + 1) / 250."),
        (5000, 0, "The first block is the farthest from the decoder: 32 factors of 0.8."),
        (60_000, 31, "From step 60,000 on the rate is a tenth."),
        (86_666, 31, "From step 86,666 on it is a hundredth."),
    ):
        out = float(answer(step, block))
        if abs(out - want(step, block)) > 1e-6 * want(step, block):
            return f"at step {step}, block {block}: got {out:.3g}. {hint}"
    rng = np.random.default_rng(0)
    for step, block in zip(rng.integers(0, 90_000, 50).tolist(), rng.integers(0, 32, 50).tolist()):
        wrong = same(answer(step, block), want(step, block), f"At step {step}, block {block}.", 1e-6)
        if wrong or abs(answer(step, block) / want(step, block) - 1) > 1e-6:
            return (
                wrong
                or f"at step {step}, block {block} it is off by a factor {answer(step, block) / want(step, block):.3g}."
            )
    return ""


EXERCISES = {"1": _click, "2": _rounds, "3": _box, "4": _rate}
