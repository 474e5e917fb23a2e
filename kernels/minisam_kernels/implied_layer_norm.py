"""stub"""
from __future__ import annotations

import numpy as np

from minisam_kernels.head_products import add_head_products
from minisam_kernels.jit import jit


@jit
def implied_layer_norm_tile(values, cross, length, scale, mixed, eps, channels, features):
    """values (groups, heads, T, D), cross (groups, heads * D + 1, P), length (P,), scale (P,), mixed (K, P) = gram · features.

    features (K, P), scaled by 1/σ in place. Returns largest ratio of the terms to the sum.
    """
    groups, heads, tokens, width = values.shape
    pixels = features.shape[1]
    rows = heads * (tokens - 1) + 1
    crossed = np.empty((heads * tokens, pixels), np.float32)
    across, square = np.zeros(pixels, np.float32), np.zeros(pixels, np.float32)
    for g in range(groups):
        group = features[g * rows : (g + 1) * rows]
        crossed[:] = np.float32(0)
        add_head_products(values[g], cross[g], crossed)
        for h in range(heads):
            for t in range(tokens):
                row = group[h * (tokens - 1) + t] if t < tokens - 1 else group[rows - 1]
                line = crossed[h * tokens + t]
                for n in range(pixels):
                    across[n] += row[n] * line[n]
        last = cross[g, heads * width]
        row = group[rows - 1]
        for n in range(pixels):
            across[n] += row[n] * last[n]
    for r in range(len(features)):
        for n in range(pixels):
            square[n] += features[r, n] * mixed[r, n]
    worst = np.float32(0)
    for n in range(pixels):
        ss = square[n] if square[n] > 0 else np.float32(0)
        xx = scale[n] * scale[n] * length[n]
        total = xx + np.float32(2) * scale[n] * across[n] + ss
        total = total if not total < 0 else np.float32(0)
        ratio = (xx + ss) / (total + channels * eps)
        worst = ratio if ratio > worst else worst
        square[n] = np.float32(1) / np.sqrt(total / channels + eps)
    for r in range(len(features)):
        for n in range(pixels):
            features[r, n] *= square[n]
    return worst
