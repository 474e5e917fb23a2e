"""Properties of ``attention``. Each names the wrong versions that it kills; ``tests/mutants.py`` breaks them in."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam.reference import ops
from minisam_kernels import InputError
from minisam_kernels.attn.attention import TOLERANCE, attention, attention_numpy
from oracles import assert_close, oracle
from strategies import arrays, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "bias from the scaled query": ("np.matmul(query, tables.T", "np.matmul(query * np.float32(D**-0.5), tables.T"),
    "forgets to scale the scores": ("np.float32(D**-0.5 * LOG2_E)", "np.float32(LOG2_E)"),
    "scales by 1/D": ("np.float32(D**-0.5 * LOG2_E)", "np.float32(1 / D * LOG2_E)"),
    "mixes rows and columns": ("first, W, H, W, totals.T", "first, H, W, H, totals.T"),
    "forgets where a piece begins": ("terms[None], first, W", "terms[None], 0, W"),
    "powers of 2": ("LOG2_E = 1 / np.log(2)", "LOG2_E = 1"),
    "powers of 2 for the bias": ("H, W, D) * np.float32(LOG2_E)", "H, W, D)"),
    "forgets to divide": ("parts.sum(axis=0), totals,", "parts.sum(axis=0), 1,"),
    "leaves out the last rows": ("-(-N // ROWS)", "max(1, N // ROWS)"),
    "leaves out a tile": ("parts.sum(axis=0)", "parts[: max(1, tiles - 1)].sum(axis=0)"),
    "padding of the values is leftovers": ("values = np.zeros", "values = np.nan * np.zeros"),
    "padding of the keys is leftovers": ("scaled[N:] = 0", "scaled[N:] = np.nan"),
    "keys of the first head": ("tokens[b, :, 1, head]", "tokens[b, :, 1, 0]"),
    "values of the first head": ("tokens[b, :, 2, head]", "tokens[b, :, 2, 0]"),
    "keys of the first image": ("tokens[b, :, 1, head]", "tokens[0, :, 1, head]"),
    "queries of the first rows": ("tokens[b, rows, 0, head]", "tokens[b, :ROWS, 0, head][: len(tokens[b, rows])]"),
    "readable version scales the bias": (
        "decomposed_rel_pos_numpy(q.reshape",
        "decomposed_rel_pos_numpy((q * D**-0.5).reshape",
    ),
}
# so small that queries and keys are both cut, and the last tile of keys often padded
small_pieces = mock.patch.dict(attention.__globals__, ROWS=5, KEYS=4)


@st.composite
def inputs(draw: st.DrawFn, tables: bool | None = None) -> tuple[np.ndarray, int, np.ndarray | None, np.ndarray | None]:
    """qkv and tables, normal numbers: scores of tens already make every weight but one vanish."""
    num_heads, D, B = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 4, 7])), draw(st.integers(1, 3))
    H, W = draw(sizes(1, 5)), draw(sizes(1, 5))
    qkv = draw(arrays((B, H, W, 3 * num_heads * D), scale=draw(st.sampled_from([1e-3, 1.0])), spikes=False))
    if not (draw(st.booleans()) if tables is None else tables):
        return qkv, num_heads, None, None
    lengths = [draw(st.sampled_from([2 * size - 1, 3, 8])) for size in (H, W)]
    return qkv, num_heads, *(draw(arrays((length, D), scale=1.0, spikes=False)) for length in lengths)


def magnitude(qkv, num_heads, rel_pos_h=None, rel_pos_w=None) -> np.ndarray:
    """Σ p |v| (1 + max S) for each number of the result; S from absolute values, p the true weights."""
    double = qkv.astype(np.float64)
    B, H, W, C = *qkv.shape[:3], qkv.shape[3] // 3
    heads = double.reshape(B, H * W, 3, num_heads, C // num_heads)
    q, k = np.abs(heads).transpose(2, 0, 3, 1, 4)[:2]
    S = (q @ k.transpose(0, 1, 3, 2)).max(-1, keepdims=True, initial=0) * (C // num_heads) ** -0.5
    for table in (rel_pos_h, rel_pos_w):
        S = S + (0 if table is None else q.sum(-1, keepdims=True) * np.abs(table).max(initial=0))
    double[..., 2 * C :] = np.abs(double[..., 2 * C :])
    weighted = attention_numpy(double, num_heads, rel_pos_h, rel_pos_w)
    return weighted * (1 + S.transpose(0, 2, 1, 3)).repeat(C // num_heads, -1).reshape(B, H, W, C)


def double(*arguments):
    return [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arguments]


@given(inputs())
def test_numpy_is_torch(drawn):
    """The readable version, in float64, is torch's. Kills: readable version scales the bias."""
    assert_close(attention_numpy(*double(*drawn)), oracle(ops.attention, *drawn), magnitude(*drawn), 1e-4)


@given(inputs())
def test_compiled_is_torch(drawn):
    """Agrees within its stated accuracy. Kills: bias from the scaled query, forgets to scale the scores, scales by 1/D,
    powers of 2, powers of 2 for the bias, mixes rows and columns, forgets to divide, keys or values of the first head,
    keys of the first image."""
    assert_close(attention(*drawn), oracle(ops.attention, *drawn), magnitude(*drawn), TOLERANCE)


@small_pieces
@given(inputs())
def test_small_pieces_change_nothing(drawn):
    """However the work is cut. Kills: forgets where a piece begins, queries of the first rows, leaves out the last
    rows or a tile, padding of the keys or values is leftovers."""
    assert_close(attention(*drawn), oracle(ops.attention, *drawn), magnitude(*drawn), TOLERANCE)


@small_pieces
@given(inputs())
def test_bits_do_not_depend_on_the_batch(drawn):
    """An image alone gives what it gives among others, bit by bit. Kills: keys of the first image."""
    together = attention(*drawn)
    for b in range(len(together)):
        np.testing.assert_array_equal(together[b : b + 1], attention(drawn[0][b : b + 1], *drawn[1:]))


@given(inputs(tables=True))
def test_bias_uses_the_unscaled_query(drawn):
    """SAM's quirk. With keys of zero the scores are the bias alone: softmax(q · R), and no D^−½ in it. Kills: bias
    from the scaled query, readable version scales the bias."""
    qkv, num_heads, rel_pos_h, rel_pos_w = double(*drawn)
    B, H, W, C = *qkv.shape[:3], qkv.shape[3] // 3
    qkv[..., C : 2 * C] = 0
    q, v = (part.reshape(B, H, W, num_heads, -1) for part in (qkv[..., :C], qkv[..., 2 * C :]))
    R_h, R_w = oracle(ops.get_rel_pos, H, H, rel_pos_h), oracle(ops.get_rel_pos, W, W, rel_pos_w)
    p = np.exp(np.einsum("bhwnd,hyd->bnhwy", q, R_h)[..., None] + np.einsum("bhwnd,wxd->bnhwx", q, R_w)[..., None, :])
    expected = np.einsum("bnhwyx,byxnd->bhwnd", p / p.sum((-2, -1), keepdims=True), v).reshape(B, H, W, C)
    bound = magnitude(qkv, num_heads, rel_pos_h, rel_pos_w)
    assert_close(attention_numpy(qkv, num_heads, rel_pos_h, rel_pos_w), expected, bound, 1e-4)
    assert_close(attention(qkv, num_heads, rel_pos_h, rel_pos_w), expected, bound, TOLERANCE)


@given(inputs())
def test_weights_sum_to_one(drawn):
    """Law: where every token has the same value, that is the answer. Kills: forgets to divide."""
    qkv, C = drawn[0].copy(), drawn[0].shape[-1] // 3
    qkv[..., 2 * C :] = np.arange(C)
    expected = np.broadcast_to(np.arange(C, dtype=np.float64), (*qkv.shape[:3], C))
    assert_close(attention(qkv, *drawn[1:]), expected, expected * qkv[0, ..., 0].size, TOLERANCE)


@given(inputs(), st.floats(-2, 2, width=32))
def test_moving_all_keys_changes_nothing(drawn, shift):
    """Law: a constant added to every key adds one number to a query's scores. Kills: forgets to divide."""
    qkv, C = drawn[0].copy(), drawn[0].shape[-1] // 3
    qkv[..., C : 2 * C] += np.float32(shift)
    moved = attention(qkv, *drawn[1:])
    assert_close(moved, attention(*drawn).astype(np.float64), magnitude(*drawn) + magnitude(qkv, *drawn[1:]), TOLERANCE)


@given(inputs())
def test_heads_and_windows_do_not_mix(drawn):
    """Law: heads in reverse give heads in reverse, and windows too. Kills: keys of the first head."""
    qkv, num_heads, rel_pos_h, rel_pos_w = drawn
    B, H, W, C = *qkv.shape[:3], qkv.shape[3] // 3
    turned = qkv.reshape(B, H, W, 3, num_heads, -1)[::-1, ..., ::-1, :].reshape(qkv.shape)
    back = attention(turned, num_heads, rel_pos_h, rel_pos_w).reshape(B, H, W, num_heads, -1)[::-1, ..., ::-1, :]
    assert_close(back.reshape(B, H, W, C), attention(*drawn).astype(np.float64), 2 * magnitude(*drawn), TOLERANCE)


@pytest.mark.parametrize("query", [3, 50, 77, 83, 100, 111])
def test_large_scores_do_not_overflow(query):
    """Scores up to ±10⁴, whose exponentials no float32 holds: the answer is the value of the best key."""
    qkv = np.zeros((1, 1, 3, 3), np.float32)
    qkv[0, 0, :, 0], qkv[0, 0, :, 1], qkv[0, 0, :, 2] = query, (100, -100, 60), (1, 2, 3)
    np.testing.assert_array_equal(attention(qkv, 1)[0, 0, :, 0], [1, 1, 1])


@pytest.mark.parametrize("part", range(3))
def test_nan_stands_where_it_belongs(part):
    """A NaN in one token's query, key or value spreads exactly as far as in the readable version. (torch's fused
    attention, 2.13 on a CPU with AVX-512, makes zeros of a query with NaN.)"""
    qkv = np.random.default_rng(0).standard_normal((2, 2, 3, 3 * 4)).astype(np.float32)
    qkv[1, 0, 2, 4 * part] = np.nan
    assert_close(attention(qkv, 2), attention_numpy(*double(qkv, 2)), magnitude(np.nan_to_num(qkv), 2), TOLERANCE)


def test_no_windows_at_all():
    assert attention(np.empty((0, 2, 3, 12)), 2).shape == (0, 2, 3, 4)


ONE = np.ones((3, 4))


@pytest.mark.parametrize(
    ("qkv", "num_heads", "tables", "message"),
    [
        ((2, 2, 12), 1, (), r"expected qkv of shape \(B, H, W, 3 \* C\), got \(2, 2, 12\)"),
        ((1, 2, 2, 12), 3, (), r"expected a last axis of qkv that is a multiple of 3 \* 3, got 12"),
        ((1, 2, 2, 12), 0, (), r"expected num_heads >= 1, got 0"),
        ((1, 2, 2, 0), 1, (), r"expected a last axis of qkv that is a multiple of 3 \* 1, got 0"),
        ((1, 0, 2, 12), 1, (), r"expected qkv with at least one token, got \(1, 0, 2, 12\)"),
        ((1, 2, 2, 12), 1, (ONE, None), "expected both rel_pos_h and rel_pos_w or neither, got one"),
        ((1, 2, 2, 12), 1, (ONE, ONE[:, :2]), r"expected rel_pos_w of shape \(3, 4\), got \(3, 2\)"),
        ((1, 2, 2, 12), 1, (ONE[:0], ONE), r"expected rel_pos_h of shape \(3, 4\), got \(0, 4\)"),
    ],
)
def test_bad_input_names_expected_and_received(qkv, num_heads, tables, message):
    with pytest.raises(InputError, match=message):
        attention(np.ones(qkv), num_heads, *tables)
