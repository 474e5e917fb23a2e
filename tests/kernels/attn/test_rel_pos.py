"""Properties of ``get_rel_pos`` and ``decomposed_rel_pos``. Each names the wrong versions it kills (``mutants.py``)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.attn.rel_pos import (
    TABLE_TOLERANCE,
    TOLERANCE,
    decomposed_rel_pos,
    decomposed_rel_pos_numpy,
    get_rel_pos,
    get_rel_pos_numpy,
    turned_tables,
)
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "distance the other way round": ("q * q_step - k * k_step", "k * k_step - q * q_step"),
    "distance in units of the query": ("q * q_step - k", "q - k"),
    "cuts the table instead of interpolating": (
        "index = np.clip((np.arange(length) + 0.5) * (L / length) - 0.5, 0, L - 1)",
        "index = np.clip(np.arange(length), 0, L - 1)",
    ),
    "interpolates with the ends aligned": (
        "(np.arange(length) + 0.5) * (L / length) - 0.5",
        "np.arange(length) * ((L - 1) / max(length - 1, 1))",
    ),
    "interpolates beyond the ends": (
        "np.clip((np.arange(length) + 0.5) * (L / length) - 0.5, 0, L - 1)",
        "(np.arange(length) + 0.5) * (L / length) - 0.5",
    ),
    "takes the nearest entry": ("part = (index - low)", "part = np.round(index - low)"),
    "tables are not turned round": ("2 * size - 1)[::-1])", "2 * size - 1))"),
    "forgets to turn columns back": (
        "rel_w.transpose(0, 2, 1)).transpose(1, 0, 2)",
        "rel_w.transpose(0, 2, 1)).reshape(H, W, W)",
    ),
    "one row's vectors for all rows": ("rel_h.transpose(0, 2, 1), out", "rel_h[:1].transpose(0, 2, 1), out"),
    "scales the query": (
        "columns = q[b, head].transpose(1, 0, 2)",
        "columns = q[b, head].transpose(1, 0, 2) * D**-0.5",
    ),
    "readable version mixes rows and columns": ('"bnhwd,wkd->bnhwk"', '"bnhwd,wkd->bnwhk"'),
}


@given(sizes(1, 9), sizes(1, 9), sizes(1, 20), st.data())
def test_table_is_torch(q_size, k_size, length, data):
    """Both versions, with and without interpolation, equal sizes and not. Kills: distance the other way round, in
    units of the query; cuts the table, takes the nearest entry, ends aligned, beyond the ends."""
    length = data.draw(st.sampled_from([2 * max(q_size, k_size) - 1, length]))
    table = data.draw(arrays((length, 3)))
    expected = oracle(ops.get_rel_pos, q_size, k_size, table)
    largest = np.abs(table).max()
    assert_close(get_rel_pos_numpy(q_size, k_size, table.astype(np.float64)), expected, largest, 1e-4)
    assert_close(get_rel_pos(q_size, k_size, table), expected, largest, TABLE_TOLERANCE)


@given(sizes(2, 9), st.data())
def test_only_the_distance_counts(size, data):
    """Law: R[q + 1, k + 1] = R[q, k], for a table of any length; where it fits, R[q, k] is exactly entry
    q − k + size − 1. Kills: distance the other way round, cuts the table."""
    table = data.draw(arrays((data.draw(sizes(1, 20)), 2)))
    R = get_rel_pos(size, size, table)
    np.testing.assert_array_equal(R[1:, 1:], R[:-1, :-1])
    table = data.draw(arrays((2 * size - 1, 2)))
    np.testing.assert_array_equal(get_rel_pos(size, size, table)[0], table[:size][::-1])
    np.testing.assert_array_equal(get_rel_pos(size, size, table)[-1], table[size - 1 :][::-1])


@given(sizes(1, 6), sizes(1, 6), st.data())
def test_turned_tables_hold_what_a_query_needs(H, W, data):
    """Law: R_h[h] are H neighbours of the first part, R_w[w] W of the second. Kills: tables are not turned round."""
    tables = [data.draw(arrays((data.draw(st.sampled_from([2 * size - 1, 3, 8])), 4))) for size in (H, W)]
    turned = turned_tables(*tables, H, W, 4)
    assert turned.shape == (2 * H - 1 + 2 * W - 1, 4) and turned_tables(None, None, H, W, 4).shape == (0, 4)
    R_h, R_w = (get_rel_pos(size, size, table) for size, table in zip((H, W), tables))
    for h in range(H):
        np.testing.assert_array_equal(turned[H - 1 - h : 2 * H - 1 - h], R_h[h])
    for w in range(W):
        np.testing.assert_array_equal(turned[2 * H + W - 2 - w : 2 * H + 2 * W - 2 - w], R_w[w])


@st.composite
def inputs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    B, heads, D = draw(st.integers(0, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 9))
    H, W = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return draw(arrays((B, heads, H, W, D))), draw(arrays((H, H, D))), draw(arrays((W, W, D)))


@given(inputs())
def test_products_are_torch(drawn):
    """Both versions, for rows and columns. Kills: forgets to turn columns back, one row's vectors for all rows, scales
    the query, readable version mixes rows and columns."""
    expected = [oracle(lambda *a, i=i: ops.decomposed_rel_pos(*a)[i], *drawn) for i in range(2)]
    double = [a.astype(np.float64) for a in drawn]
    magnitude = decomposed_rel_pos_numpy(*map(np.abs, double))
    for actual, e, m in zip(decomposed_rel_pos_numpy(*double), expected, magnitude, strict=True):
        assert_close(actual, e, m, 1e-4)
    for actual, e, m in zip(decomposed_rel_pos(*drawn), expected, magnitude, strict=True):
        assert_close(actual, e, m, TOLERANCE)


@given(inputs())
def test_bias_is_linear_in_the_query_as_it_is(drawn):
    """SAM's quirk: nothing scales the query here. With R = 1 the bias is the sum of the query's numbers. Kills: scales
    the query."""
    q, rel_h, rel_w = drawn
    total = q.sum(-1, dtype=np.float64, keepdims=True)
    size = np.abs(q).sum(-1, dtype=np.float64, keepdims=True)
    for bias in decomposed_rel_pos(q, np.ones_like(rel_h), np.ones_like(rel_w)):
        assert_close(bias, np.broadcast_to(total, bias.shape), size, TOLERANCE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: get_rel_pos(2, 2, np.ones(3)), r"expected rel_pos of shape \(L, D\), got \(3,\)"),
        (lambda: get_rel_pos(2, 2, np.ones((0, 3))), r"expected rel_pos of shape \(L, D\) with L >= 1, got \(0, 3\)"),
        (lambda: get_rel_pos(0, 2, np.ones((3, 3))), "expected sizes >= 1, got q_size 0 and k_size 2"),
        (
            lambda: decomposed_rel_pos(np.ones((1, 2, 3, 4)), np.ones((2, 2, 4)), np.ones((3, 3, 4))),
            r"expected q of shape \(B, heads, H, W, D\), got \(1, 2, 3, 4\)",
        ),
        (
            lambda: decomposed_rel_pos(np.ones((1, 1, 2, 3, 4)), np.ones((3, 3, 4)), np.ones((3, 3, 4))),
            r"expected rel_h of shape \(2, 2, 4\), got \(3, 3, 4\)",
        ),
        (
            lambda: decomposed_rel_pos(np.ones((1, 1, 2, 3, 4)), np.ones((2, 2, 4)), np.ones((3, 3, 5))),
            r"expected rel_w of shape \(3, 3, 4\), got \(3, 3, 5\)",
        ),
    ],
)
def test_bad_input_names_expected_and_received(call, message):
    with pytest.raises(InputError, match=message):
        call()
