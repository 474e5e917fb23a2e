"""The tests of chapter 2's exercises: pixels to tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.exercises import same
from minisam.exercises.mistakes import hint_for
from minisam.model.preprocess import input_size
from minisam_kernels.layers.layer_norm import layer_norm_numpy
from minisam_kernels.layers.patch_embed import patch_embed_numpy


def patches_by_product(answer: Callable[..., Any]) -> str:
    """2.1: patch_tokens(image (B, H, W, 3), weight (C, 3, p, p), bias (C,)) → (B, H/p, W/p, C)."""
    rng = np.random.default_rng(21)
    for B, h, w, C, p in [(1, 2, 3, 5, 4), (2, 3, 1, 2, 2), (1, 1, 1, 1, 1), (3, 2, 2, 7, 3)]:
        image, weight = rng.standard_normal((B, h * p, w * p, 3)), rng.standard_normal((C, 3, p, p))
        bias = rng.standard_normal(C)
        want = patch_embed_numpy(image, weight, bias)
        patches = image.reshape(B, h, p, w, p, 3).transpose(0, 1, 3, 2, 4, 5).reshape(B, h, w, p * p * 3)
        wrongs = {
            "The weight is stored as (C, channel, row, column), and your patches are (row, column, channel): "
            "bring one into the order of the other before you flatten.": patches @ weight.reshape(C, -1).T + bias,
            "Rows and columns inside a patch are swapped.": patch_embed_numpy(image, weight.swapaxes(2, 3), bias),
            "The bias is missing.": want - bias,
            "A reshape alone does not cut an image into squares: split rows into (h, p) and columns into (w, p), then "
            "bring h and w together with a transpose.": image.reshape(B, h, w, -1)
            @ weight.transpose(0, 2, 3, 1).reshape(C, -1).T
            + bias,
        }
        wrong = hint_for(
            answer(image, weight, bias), want, wrongs, "Check one patch by hand: it is image[b, i*p:(i+1)*p]."
        )
        if wrong:
            return wrong
    return ""


def token_under_a_pixel(answer: Callable[..., Any]) -> str:
    """2.2: token_of(x, y, height, width, image_size, patch) → (row, column)."""
    rng = np.random.default_rng(22)
    sizes = [(300, 451), (451, 300), (7, 1000), (1024, 1024), (90, 61), (333, 1000)]
    for height, width in sizes:
        for image_size, patch in [(256, 8), (1024, 16)]:
            h, w = input_size(height, width, image_size)
            for _ in range(30):
                x, y = int(rng.integers(width)), int(rng.integers(height))
                u, v = x * w / width, y * h / height
                if min(abs(u / patch - round(u / patch)), abs(v / patch - round(v / patch))) < 1e-9:
                    continue  # on the edge of a token: rounding decides
                scale = image_size / max(height, width)
                wrongs = {
                    "Row comes first, and it belongs to y.": (int(u // patch), int(v // patch)),
                    "The point is in pixels of the photograph; scale it to the model's input first.": (
                        int(y // patch),
                        int(x // patch),
                    ),
                    "The two sides are not scaled alike: each side of the resized image is rounded to whole pixels, "
                    "so use w'/W for x and h'/H for y.": (int(y * scale // patch), int(x * scale // patch)),
                    "The shorter side is not stretched: the image keeps its shape, and the rest is padded.": (
                        int(y * image_size / height // patch),
                        int(x * image_size / width // patch),
                    ),
                    "A token begins where the one before it ends: round down, not to the nearest.": (
                        round(v / patch),
                        round(u / patch),
                    ),
                }
                given = f"for x={x}, y={y} in {width} × {height}"
                out = answer(x, y, height, width, image_size, patch)
                want = (int(v // patch), int(u // patch))
                wrong = hint_for(out, want, wrongs, f"Expected token {want} {given}.", 1e-12)
                if wrong:
                    return wrong
    return ""


def back_to_the_picture(answer: Callable[..., Any]) -> str:
    """2.3: rebuild(tokens (B, h, w, C), weight (C, 3, p, p), bias (C,)) → (B, h · p, w · p, 3)."""
    rng = np.random.default_rng(23)
    for B, h, w, C, p in [(1, 2, 3, 12, 2), (2, 1, 2, 15, 2), (1, 3, 2, 5, 2), (1, 1, 1, 27, 3)]:
        weight, bias = rng.standard_normal((C, 3, p, p)), rng.standard_normal(C)
        image = rng.standard_normal((B, h * p, w * p, 3))
        tokens = patch_embed_numpy(image, weight, bias)
        matrix = weight.transpose(0, 2, 3, 1).reshape(C, -1)

        def laid_out(rows: np.ndarray, B: int = B, h: int = h, w: int = w, p: int = p) -> np.ndarray:
            return rows.reshape(B, h, w, p, p, 3).transpose(0, 1, 3, 2, 4, 5).reshape(B, h * p, w * p, 3)

        inverse = np.linalg.pinv(matrix)
        want = laid_out((tokens - bias) @ inverse.T)
        wrongs = {
            "The bias was added last, so it has to be taken away first.": laid_out(tokens @ inverse.T),
            "The transpose undoes W only if its rows are orthonormal; these are not. Use np.linalg.pinv.": laid_out(
                (tokens - bias) @ matrix
            ),
            "Every patch is right, but they lie in the wrong order: rows of patches, then rows of pixels inside a "
            "patch, then patches across.": ((tokens - bias) @ inverse.T).reshape(B, h * p, w * p, 3),
            "You flatten W as (channel, row, column) and read a patch as (row, column, channel).": laid_out(
                (tokens - bias) @ np.linalg.pinv(weight.reshape(C, -1)).T
            ),
        }
        out = answer(tokens, weight, bias)
        otherwise = (
            "With fewer filters than numbers in a patch, the smallest patch that fits is wanted: the pseudo-inverse."
        )
        wrong = hint_for(out, want, wrongs, otherwise)
        if wrong:
            return wrong
        again = same(patch_embed_numpy(np.asarray(out), weight, bias), tokens, "The image you made has other tokens.")
        if again:
            return again
    return ""


def channels_first_norm(answer: Callable[..., Any]) -> str:
    """2.4: layer_norm_2d(x (B, C, H, W), weight (C,), bias (C,), eps) → (B, C, H, W)."""
    rng = np.random.default_rng(24)
    for B, C, H, W, eps in [(2, 5, 3, 4, 1e-6), (1, 3, 3, 3, 1e-2), (3, 2, 1, 1, 1e-6), (1, 8, 2, 1, 0.5)]:
        x = rng.standard_normal((B, C, H, W)) * 3 + rng.standard_normal((1, C, 1, 1))
        weight, bias = rng.standard_normal(C), rng.standard_normal(C)
        want = np.moveaxis(layer_norm_numpy(np.moveaxis(x, 1, -1), weight, bias, eps), -1, 1)

        def over(axes: tuple[int, ...], ddof: int = 0, x: np.ndarray = x, eps: float = eps) -> np.ndarray:
            spread = x.var(axes, keepdims=True, ddof=ddof) + eps
            return (x - x.mean(axes, keepdims=True)) / np.sqrt(spread)

        w, b = weight[:, None, None], bias[:, None, None]
        wrongs = {
            "You normalise each channel over the image (that is InstanceNorm). Here each pixel is normalised over "
            "its channels.": over((2, 3)) * w + b,
            "You normalise over channels and image together. Two pixels must not know of each other.": over((1, 2, 3))
            * w
            + b,
            "Mean and variance come from one pixel of one image, never from the batch.": over((0, 2, 3)) * w + b,
            "Scale and shift are missing: weight[c] and bias[c], one pair for each channel.": over((1,)),
            "ε belongs under the root.": (x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + eps) * w + b,
            "The variance is the biased one: divide by C, not by C − 1.": over((1,), ddof=1) * w + b if C > 1 else want,
        }
        wrong = hint_for(answer(x, weight, bias, eps), want, wrongs, "Each pixel's C numbers are one token.", 1e-5)
        if wrong:
            return wrong
    return ""


EXERCISES = {"1": patches_by_product, "2": token_under_a_pixel, "3": back_to_the_picture, "4": channels_first_norm}
