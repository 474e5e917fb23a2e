"""Scores become weights: the compiled loops that stand between the two products of an attention::

    weight_ij = exp(s_ij − m_i),    total_i = Σⱼ weight_ij,    m_i = maxⱼ s_ij        for query i and key j

Chapter 3, eq-softmax; ``softmax_numpy`` is the readable version. The division by total_i comes after the second
product, which leaves D numbers per query to divide instead of one for each key. The scores lie in cache and the weights
take their memory. There are three loops, because what is side by side in memory decides what a vector register can do.
"""

from __future__ import annotations

import numpy as np

from minisam_kernels.layers.softmax import row_max
from minisam_kernels.runtime.elementary import exp, exp2
from minisam_kernels.runtime.jit import jit

TOLERANCE = 8.0  # × eps × (1 + the absolute terms of a score) × weight


@jit
def weigh_with_rel_pos(scores, terms, first, columns, H, W, totals):
    """2^(scores + bias − maximum) in place of the first H · W of scores (G, n, …), and its sums, totals (G, n).

    Query ``i`` is token ``first + i`` of a grid that is ``columns`` wide, and the keys are a grid of H × W.
    ``terms`` (G, n, 2H − 1 + 2W − 1) holds q · table for every distance, the keys' way round; what a query needs are H
    neighbours of the first part and W of the second. Slices, whose bounds LLVM sees, make the inner loop a vector loop:
    0.19 ns a score, against 1.1 ns with the same indices written out.
    """
    for g in range(scores.shape[0]):
        for i in range(scores.shape[1]):
            row = scores[g, i, : H * W]
            # s_ij: the score and the bias q_i · R_h[h, y] + q_i · R_w[w, x] of the key in row y and column x
            if terms.shape[2] > 0:
                h, w = (first + i) // columns, (first + i) % columns
                term_h = terms[g, i, H - 1 - h : 2 * H - 1 - h]  # for y in [0, H)
                term_w = terms[g, i, 2 * H + W - 2 - w : 2 * H + 2 * W - 2 - w]  # for x in [0, W)
                for y in range(H):
                    part = row[y * W : (y + 1) * W]
                    for x in range(W):
                        part[x] += term_h[y] + term_w[x]
            # m_i, weight_ij and total_i
            largest = row_max(row)
            total = np.float32(0)
            for j in range(row.size):
                row[j] = exp2(row[j] - largest)
                total += row[j]
            totals[g, i] = total


@jit
def weigh_many_keys(scores, scale, largest, totals):
    """scores (heads, Nq, keys) → exp(scale · (score − largest)) in place, and their sums, totals (heads, Nq)."""
    for h in range(scores.shape[0]):
        for i in range(scores.shape[1]):
            total = np.float32(0)
            for j in range(scores.shape[2]):
                e = exp(scale * (scores[h, i, j] - largest[h, i]))
                scores[h, i, j] = e
                total += e
            totals[h, i] = total


@jit
def softmax_few_keys(scores, scale, largest, totals):
    """scores (heads, Nk, queries) → softmax(scale · scores) over Nk, in place.

    Image tokens lie side by side, so a maximum or a sum over the keys is eight of them at once in a vector register.
    ``largest`` and ``totals`` (queries,) are room to work in.
    """
    heads, keys, queries = scores.shape
    for h in range(heads):
        # m of every query j, over the keys i
        for j in range(queries):
            largest[j] = scores[h, 0, j]
            totals[j] = 0
        for i in range(1, keys):
            for j in range(queries):
                largest[j] = scores[h, i, j] if scores[h, i, j] > largest[j] else largest[j]
        # weight and total
        for i in range(keys):
            for j in range(queries):
                e = exp(scale * (scores[h, i, j] - largest[j]))
                scores[h, i, j] = e
                totals[j] += e
        # weight / total: the keys are few
        for j in range(queries):
            totals[j] = np.float32(1) / totals[j]
        for i in range(keys):
            for j in range(queries):
                scores[h, i, j] *= totals[j]
