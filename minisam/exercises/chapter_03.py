"""The tests of chapter 3's exercises: attention, windowed and global."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from minisam.exercises import same
from minisam.exercises.mistakes import hint_for
from minisam.model.config import CONFIGS, SamConfig
from minisam_kernels.attn.window import window_partition_numpy, window_unpartition_numpy
from minisam_kernels.layers.softmax import softmax_numpy


def stable_softmax(answer: Callable[..., Any]) -> str:
    """3.1: softmax(x (..., N)) → (..., N), for scores of any size."""
    rng = np.random.default_rng(31)
    rows = [
        rng.standard_normal((3, 4, 5)).astype(np.float32),
        np.array([[1e4, 1e4 - 1, -1e4], [-2e4, -2e4, -2e4 - 3]], np.float32),
        np.array([[0.0, -np.inf, 1.0], [-np.inf, -np.inf, 3.0]], np.float32),
        np.array([[7.0], [-90.0]], np.float32),
        np.array([[100.0, 0.0], [-100.0, -300.0]], np.float32),  # the second row is far below the first
    ]
    for x in rows:
        given = x.copy()
        with np.errstate(all="ignore"):
            out = answer(x)
            naive = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
            shifted = np.exp(x - x.max())
            wrongs = {
                "exp overflows above 88 and a ratio of infinities is NaN. Subtract something first.": naive,
                "Subtract the maximum of each row, not of the whole array: a row far below becomes 0/0.": shifted
                / shifted.sum(-1, keepdims=True),
                "The weights of one query sum to 1: divide by the sum over the last axis only.": np.exp(
                    x - x.max(-1, keepdims=True)
                )
                / np.exp(x - x.max(-1, keepdims=True)).sum(),
            }
        if not np.array_equal(x, given):
            return "your function changes the scores that it was given; make a new array."
        want = softmax_numpy(x.astype(np.float64))
        wrong = hint_for(out, want, wrongs, "A weight of −∞ is 0, and the others share 1.", 1e-5)
        if wrong:
            return wrong
    return ""


def windows_and_back(answer: Any) -> str:
    """3.2: (partition(x (B, H, W, C), w) → (B · nW, w, w, C), unpartition(windows, w, (H, W)) → (B, H, W, C))."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return "give both functions: answer = (partition, unpartition)."
    partition, unpartition = answer
    rng = np.random.default_rng(32)
    for B, H, W, C, w in [(1, 4, 6, 2, 2), (2, 5, 7, 3, 3), (1, 3, 3, 1, 14), (3, 4, 2, 2, 4), (1, 6, 4, 1, 3)]:
        x = rng.standard_normal((B, H, W, C))
        want = window_partition_numpy(x, w)
        down, across = -(-H // w), -(-W // w)
        padded = np.pad(x, ((0, 0), (0, down * w - H), (0, across * w - W), (0, 0)))
        before = np.pad(x, ((0, 0), (down * w - H, 0), (across * w - W, 0), (0, 0)))
        wrongs = {
            "A reshape alone does not cut squares: split into (down, w, across, w), then bring the two w together.": (
                padded.reshape(-1, w, w, C)
            ),
            "The filling goes to the right and to the bottom.": window_partition_numpy(before, w),
            "Windows are numbered row by row, and yours go column by column.": np.ascontiguousarray(
                want.reshape(B, down, across, w, w, C).swapaxes(1, 2)
            ).reshape(-1, w, w, C),
            "Rows and columns inside a window are swapped.": want.swapaxes(1, 2),
            "The filling is zeros.": window_partition_numpy(
                np.pad(x, ((0, 0), (0, down * w - H), (0, across * w - W), (0, 0)), mode="edge"), w
            ),
        }
        shape = f"For ({B}, {H}, {W}, {C}) and windows of {w} there are {B * down * across}."
        wrong = hint_for(partition(x, w), want, wrongs, shape)
        if wrong:
            return f"partition: {wrong}"
        windows = rng.standard_normal(want.shape)
        again = window_unpartition_numpy(windows, w, (H, W))
        wrongs = {"Cut off what was padded, at the right and at the bottom.": windows.reshape(B, -1, C)[:, : H * W]}
        wrong = hint_for(unpartition(windows, w, (H, W)), again, wrongs, "It undoes partition, then crops to (H, W).")
        if wrong:
            return f"unpartition: {wrong}"
    return ""


def pairs_of_a_config(answer: Callable[..., Any]) -> str:
    """3.3: pairs(config) → the scores of one image, all heads and blocks, the filling's included."""
    rng = np.random.default_rng(33)
    configs = list(CONFIGS.values())
    for _ in range(10):
        depth = int(rng.integers(1, 9))
        everywhere = tuple(int(i) for i in np.flatnonzero(rng.random(depth) < 0.4))
        configs.append(
            replace(
                CONFIGS["vit_b"],
                name="made up",
                image_size=int(rng.integers(2, 30)) * 16,
                encoder_depth=depth,
                encoder_global_attn_indexes=everywhere,
                window_size=int(rng.integers(2, 15)),
            )
        )

    def count(c: SamConfig, across: int, queries: int | None = None) -> int:
        side, w, wide = c.image_embedding_size, c.window_size, len(c.encoder_global_attn_indexes)
        windowed = across**2 * w**4 if queries is None else queries * w**2
        return c.encoder_num_heads * (wide * side**4 + (c.encoder_depth - wide) * windowed)

    for c in configs:
        side, w, wide = c.image_embedding_size, c.window_size, len(c.encoder_global_attn_indexes)
        whole = -(-side // w)
        want = count(c, whole)
        wrongs = {
            "Windows that do not fit are padded, not left out: ⌈side/w⌉ of them along a side.": count(c, side // w),
            "The filling asks, too, in the released code: a window has w² queries and w² keys.": count(
                c, whole, side**2
            ),
            "Every head has scores of its own.": want // c.encoder_num_heads,
            "Only encoder_global_attn_indexes look everywhere; you have it the other way round.": c.encoder_num_heads
            * ((c.encoder_depth - wide) * side**4 + wide * whole**2 * w**4),
            "A grid of side × side tokens has side⁴ pairs, not side².": c.encoder_num_heads
            * (wide * side**2 + (c.encoder_depth - wide) * whole**2 * w**2),
            "A pair and its mirror are two: the query of one is the key of the other.": want // 2,
        }
        given = f"(for {c.name}: {side} × {side} tokens, windows of {w}, {c.encoder_depth} blocks, {wide} global)"
        out = answer(c)
        wrong = hint_for(out, want, wrongs, f"Expected {want:,} {given}.", 1e-12)
        if wrong:
            return wrong
    return ""


def masked_attention(answer: Callable[..., Any]) -> str:
    """3.4: masked(q (N, D), k (N, D), v (N, D), real (N,)) → (N, D), one head of one window, the filling hidden."""
    rng = np.random.default_rng(34)
    for N, D, some in [(9, 4, 6), (4, 8, 4), (16, 3, 1), (5, 2, 3)]:
        q, k, v = rng.standard_normal((3, N, D)) * 2
        real = np.zeros(N, bool)
        real[rng.permutation(N)[:some]] = True
        scores = q @ k.T * D**-0.5

        def attend(scores: np.ndarray, v: np.ndarray = v) -> np.ndarray:
            return softmax_numpy(scores) @ v

        want = attend(np.where(real, scores, -np.inf))
        erased = softmax_numpy(scores) * real
        wrongs = {
            "A score of 0 is no mask: exp 0 is 1. A key is hidden by a score of −∞.": attend(np.where(real, scores, 0)),
            "The weights that are left have to sum to 1 again: hide the keys before the softmax.": erased @ v,
            "You hide rows (queries); hide columns (keys).": attend(np.where(real[:, None], scores, -1e30)),
            "That is attention without a mask.": attend(scores),
            "Divide the product by √D.": attend(np.where(real, q @ k.T, -np.inf)),
        }
        out = answer(q, k, v, real)
        wrong = hint_for(out, want, wrongs, "softmax over the real keys of q·k/√D, times v.", 1e-6)
        if wrong:
            return wrong
        changed = np.where(real[:, None], v, 1e6), np.where(real[:, None], k, -50.0)
        moved = same(answer(q, changed[1], changed[0], real), want, "What the filling holds must not matter.", 1e-6)
        if moved:
            return moved
    return ""


EXERCISES = {"1": stable_softmax, "2": windows_and_back, "3": pairs_of_a_config, "4": masked_attention}
