"""The tests of chapter 4's exercises: relative positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minisam.exercises.mistakes import hint_for
from minisam_kernels.attn.rel_pos import resize_table
from minisam_kernels.layers.softmax import softmax_numpy


def brute_force(q: np.ndarray, table_h: np.ndarray, table_w: np.ndarray) -> np.ndarray:
    """q (H, W, D), tables (2H − 1, D) and (2W − 1, D) → bias (H, W, H, W), pair by pair."""
    H, W, _ = q.shape
    bias = np.empty((H, W, H, W), q.dtype)
    for h, w, y, x in np.ndindex(bias.shape):
        bias[h, w, y, x] = q[h, w] @ table_h[h - y + H - 1] + q[h, w] @ table_w[w - x + W - 1]
    return bias


def decomposed_bias(answer: Callable[..., Any]) -> str:
    """4.1: bias(q (H, W, D), table_h (2H − 1, D), table_w (2W − 1, D)) → (H, W, H, W)."""
    rng = np.random.default_rng(41)
    for H, W, D in [(3, 4, 5), (2, 2, 4), (1, 5, 3), (4, 1, 2), (1, 1, 1)]:
        q, table_h, table_w = (rng.standard_normal(s) for s in ((H, W, D), (2 * H - 1, D), (2 * W - 1, D)))
        want = brute_force(q, table_h, table_w)
        up = np.broadcast_to(brute_force(q, table_h, 0 * table_w), want.shape)
        wrongs = {
            "The distance is query minus key: h − h', not h' − h.": brute_force(q, table_h[::-1], table_w[::-1]),
            "The query is used as it is. Only its product with the key is divided by √D.": want * D**-0.5,
            "The term of the columns is missing.": up,
            "The term of the rows is missing.": want - up,
            "Each query has its own bias: q, not the key, is multiplied with the tables.": brute_force(
                q, table_h[::-1], table_w[::-1]
            ).transpose(2, 3, 0, 1),
            "The last two axes are the key's row and column, in this order.": np.swapaxes(want, 2, 3),
        }
        out = answer(q, table_h, table_w)
        hint = f"With {H} × {W} tokens a query takes table_h[h − h' + {H - 1}] and table_w[w − w' + {W - 1}]."
        wrong = hint_for(out, want, wrongs, hint)
        if wrong:
            return wrong
    return ""


def tables_for_a_scaled_query(answer: Callable[..., Any]) -> str:
    """4.2: converted(table (L, D)) → the table (L, D) for a model that scales the query by D^−½ for everything."""
    rng = np.random.default_rng(42)
    for H, W, D in [(3, 4, 16), (2, 3, 64), (2, 2, 5)]:
        q, k, v = rng.standard_normal((3, H * W, D))
        tables = rng.standard_normal((2 * H - 1, D)), rng.standard_normal((2 * W - 1, D))
        given = [table.copy() for table in tables]
        new = [answer(table) for table in tables]
        if any(not np.array_equal(a, b) for a, b in zip(tables, given)):
            return "your function changes the table that it was given; make a new one."

        def attend(query: np.ndarray, tables: Any, q: np.ndarray = q, k: np.ndarray = k, H: int = H, W: int = W) -> Any:
            bias = brute_force(query.reshape(H, W, -1), *tables).reshape(H * W, H * W)
            return softmax_numpy(q @ k.T * q.shape[1] ** -0.5 + bias)

        for table, out in zip(tables, new):
            wrongs = {
                "That makes the bias smaller still. The scaled query is √D times too small.": table * D**-0.5,
                "The scale is √D, for it is the root that the query is divided by.": table * D,
                "The bias would be √D times too small: something has to make up for it.": table,
                "D is the width of a head, the table's second axis.": table * np.sqrt(len(table)),
            }
            wrong = hint_for(out, table * D**0.5, wrongs, "Which factor undoes D^−½?")
            if wrong:
                return wrong
        wrong = hint_for(attend(q * D**-0.5, new) @ v, attend(q, tables) @ v, {}, "The attention differs.")
        if wrong:
            return wrong
    return ""


def resized_table(answer: Callable[..., Any]) -> str:
    """4.3: resized(table (L, D), length) → (length, D), linear, ends not aligned."""
    rng = np.random.default_rng(43)
    for L, length in [(5, 9), (9, 5), (27, 127), (7, 7), (3, 2), (1, 5), (15, 1), (127, 27)]:
        table = rng.standard_normal((L, 3))
        position = (np.arange(length) + 0.5) * (L / length) - 0.5

        def read(at: np.ndarray, table: np.ndarray = table, L: int = L) -> np.ndarray:
            return np.stack([np.interp(at, np.arange(L), column) for column in table.T], axis=1)

        low = np.clip(np.floor(position).astype(int), 0, max(L - 2, 0))
        beyond = table[low] + (position - low)[:, None] * (table[np.minimum(low + 1, L - 1)] - table[low])
        wrongs = {
            "The ends are not aligned: entry i stands for the stretch from i to i + 1, so its middle, i + ½, is "
            "what is scaled.": read(np.arange(length) * ((L - 1) / max(length - 1, 1))),
            "The half is missing: read at (i + ½) · L / length − ½.": read(np.arange(length) * (L / length)),
            "Between two entries, take their weighted mean, not the nearer one.": table[
                np.clip(np.rint(position), 0, L - 1).astype(int)
            ],
            "Before the first and after the last entry there is nothing to read: stay at the end.": beyond,
            "Entries are not simply cut off or left out.": table[np.minimum(np.arange(length), L - 1)],
        }
        wrong = hint_for(answer(table, length), resize_table(table, length), wrongs, f"From {L} entries to {length}.")
        if wrong:
            return wrong
    return ""


def bias_from_products(answer: Callable[..., Any]) -> str:
    """4.4: rows(terms (H, W, 2H − 1)) → (H, W, H): from q · table to the bias of rows, without the table."""
    rng = np.random.default_rng(44)
    for H, W, D in [(3, 4, 5), (5, 2, 3), (1, 3, 2), (6, 6, 2)]:
        q, table = rng.standard_normal((H, W, D)), rng.standard_normal((2 * H - 1, D))
        terms = q @ table.T
        want = brute_force(q, table, np.zeros((2 * W - 1, D)))[..., 0]
        wrongs = {
            "The key's rows run backwards through the terms: h' larger means a smaller index.": want[..., ::-1],
            "A query's slice depends on its own row h.": np.broadcast_to(terms[..., :H], want.shape),
            "The distance is query minus key: h − h' + H − 1.": brute_force(q, table[::-1], np.zeros((2 * W - 1, D)))[
                ..., 0
            ],
        }
        wrong = hint_for(answer(terms), want, wrongs, f"Entry [h, w, h'] is terms[h, w, h − h' + {H - 1}].")
        if wrong:
            return wrong
    return ""


EXERCISES = {"1": decomposed_bias, "2": tables_for_a_scaled_query, "3": resized_table, "4": bias_from_products}
