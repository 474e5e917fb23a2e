"""Chapter 3: its solutions, its exercises' hints, its figures, and what its text says in numbers."""

from __future__ import annotations

import inspect
import re

import ipywidgets as widgets
import numpy as np
import pytest

import minisam
from chapter import printed, solutions
from minisam.exercises import verdict
from minisam.figures import pad_share, pairs, reach
from minisam.figures.shared import encoder_attention, tokens
from minisam.model.config import CONFIGS
from minisam_kernels import InputError
from minisam_kernels.attn.attention import attention, attention_numpy
from minisam_kernels.attn.window import window_partition, window_partition_numpy, window_unpartition
from minisam_kernels.attn.window_attention import window_attention, window_attention_numpy
from minisam_kernels.layers.softmax import softmax, softmax_numpy


@pytest.fixture(scope="module")
def seen() -> tokens.Seen:
    return tokens.see(minisam.load("tiny"), "chelsea")


@pytest.fixture(scope="module")
def inputs(seen: tokens.Seen) -> list[np.ndarray]:
    return encoder_attention.block_inputs(seen)


def captions(widget: widgets.Widget) -> list[str]:
    """The words under every image of a figure."""
    if isinstance(widget, widgets.HTML):
        return re.findall(r'role="status">(.*?)</div>', widget.value)
    return [words for child in getattr(widget, "children", ()) for words in captions(child)]


# ------------------------------------------------------------------------------------------------------- exercises


@pytest.mark.parametrize("number", ["3.1", "3.2", "3.3", "3.4"])
def test_solutions_stand_alone(number: str) -> None:
    said = printed(solutions(3)[number])
    assert f"✓ {number}" in said and "✗" not in said


def weigh(x, minus=None, over=-1):
    e = np.exp(x if minus is None else x - minus(x))
    return e / e.sum(axis=over, keepdims=True)


def row_max(x):
    return x.max(-1, keepdims=True)


def in_place(x):
    x -= row_max(x)
    return weigh(x)


def cut(x, w, squares=True, front=False, mode="constant", columns_first=False):
    B, H, W, C = x.shape
    sides = ((-H % w, 0), (-W % w, 0)) if front else ((0, -H % w), (0, -W % w))
    x = np.pad(x, ((0, 0), *sides, (0, 0)), mode=mode)
    x = x.reshape(B, x.shape[1] // w, w, x.shape[2] // w, w, C)
    x = x.transpose(0, 3, 1, 2, 4, 5) if columns_first else x.transpose(0, 1, 3, 2, 4, 5) if squares else x
    return x.reshape(-1, w, w, C)


def put(windows, w, size, crop=True):
    H, W = size
    nh, nw = -(-H // w), -(-W // w)
    x = windows.reshape(-1, nh, nw, w, w, windows.shape[-1]).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(len(x), nh * w, nw * w, -1)
    return x[:, :H, :W] if crop else x


def counted(c, up=True, filling=True, heads=True, turn=False, square=False):
    side, w, wide = c.image_embedding_size, c.window_size, len(c.encoder_global_attn_indexes)
    n = -(-side // w) if up else side // w
    windowed, everywhere = (n**2 * w**4 if filling else side**2 * w**2), side**4
    if square:
        windowed, everywhere = n**2 * w**2, side**2
    few = wide if not turn else c.encoder_depth - wide
    return (c.encoder_num_heads if heads else 1) * (few * everywhere + (c.encoder_depth - few) * windowed)


def hide(q, k, v, real, fill=-np.inf, after=False, rows=False, scaled=True, mask=True):
    scores = q @ k.T * (len(q[0]) ** -0.5 if scaled else 1)
    if mask and not after:
        scores = np.where(real[:, None] if rows else real, scores, fill)
    p = softmax_numpy(scores)
    return (p * real if after else p) @ v


@pytest.mark.parametrize(
    ("number", "answer", "says"),
    [
        ("3.1", weigh, "overflows"),
        ("3.1", lambda x: weigh(x, np.max), "each row"),
        ("3.1", lambda x: weigh(x, row_max, None), "last axis only"),
        ("3.1", in_place, "changes the scores"),
        ("3.1", lambda x: np.exp(x - row_max(x)), "share 1"),
        ("3.2", cut, "both functions"),
        ("3.2", (lambda x, w: cut(x, w, squares=False), put), "does not cut squares"),
        ("3.2", (lambda x, w: cut(x, w, front=True), put), "to the right and to the bottom"),
        ("3.2", (lambda x, w: cut(x, w, mode="edge"), put), "zeros"),
        ("3.2", (lambda x, w: cut(x, w, columns_first=True), put), "column by column"),
        ("3.2", (lambda x, w: cut(x, w).swapaxes(1, 2), put), "swapped"),
        ("3.2", (cut, lambda *a: put(*a, crop=False)), "unpartition: expected shape"),
        ("3.3", lambda c: counted(c, up=False), "padded"),
        ("3.3", lambda c: counted(c, filling=False), "asks, too"),
        ("3.3", lambda c: counted(c, heads=False), "Every head"),
        ("3.3", lambda c: counted(c, turn=True), "other way round"),
        ("3.3", lambda c: counted(c, square=True), "side⁴"),
        ("3.4", lambda *a: hide(*a, fill=0), "exp 0 is 1"),
        ("3.4", lambda *a: hide(*a, after=True), "sum to 1 again"),
        ("3.4", lambda *a: hide(*a, rows=True, fill=-1e30), "hide columns"),
        ("3.4", lambda *a: hide(*a, mask=False), "without a mask"),
        ("3.4", lambda *a: hide(*a, scaled=False), "√D"),
        ("3.4", lambda *a: hide(*a, fill=-8), "."),
    ],
)
def test_wrong_answers_are_told_why(number: str, answer, says: str) -> None:
    assert says in verdict(number, answer)


def test_helpers_above_are_right_when_nothing_is_broken() -> None:
    """Otherwise a hint could be about something else."""
    assert verdict("3.1", lambda x: weigh(x, row_max)) == ""
    assert verdict("3.2", (cut, put)) == ""
    assert verdict("3.3", counted) == ""
    assert verdict("3.4", hide) == ""


# --------------------------------------------------------------------------------------------------------- figures


@pytest.mark.parametrize("i", [0, 3, 5, 7])
@pytest.mark.parametrize("token", [(11, 16), (0, 31), (30, 7)])
def test_what_a_token_looks_at_is_what_the_model_computes(seen, inputs, i, token) -> None:
    """The weights times the values are the attention's own output for that token, in window and global blocks."""
    seen_by = encoder_attention.look(seen.sam, i, inputs[i], token)
    mean = np.einsum("nyx,nyxd->nd", seen_by.weights(), seen_by.value).ravel()
    qkv = encoder_attention.qkv_of(seen.sam, i, inputs[i]).reshape(1, seen.side, seen.side, -1)
    np.testing.assert_allclose(mean, seen.sam.image_encoder.attend(i, qkv)[0][token], rtol=2e-4, atol=2e-5)


def test_what_a_token_looks_at_with_filling() -> None:
    """A model whose windows do not fit its grid: its tokens look at the filling, whose q, k, v are the bias."""
    from dataclasses import replace

    from minisam.sam import build

    config = replace(CONFIGS["tiny"], image_size=80, window_size=6, encoder_depth=2, encoder_global_attn_indexes=(1,))
    sam = build(config, seed=3)
    x = np.random.default_rng(0).standard_normal((10, 10, config.encoder_embed_dim)).astype(np.float32)
    qkv = encoder_attention.qkv_of(sam, 0, x).reshape(1, 10, 10, -1)
    for token in [(9, 9), (2, 7), (5, 5)]:
        seen_by = encoder_attention.look(sam, 0, x, token)
        mean = np.einsum("nyx,nyxd->nd", seen_by.weights(), seen_by.value).ravel()
        np.testing.assert_allclose(mean, sam.image_encoder.attend(0, qkv)[0][token], rtol=2e-4, atol=2e-5)
    grid = encoder_attention.look(sam, 0, x, (9, 9)).on_grid(np.ones((6, 6)))
    assert np.nansum(grid) == 16 and np.isnan(grid[:6]).all() and np.isnan(grid[:, :6]).all()


def test_block_inputs_are_the_encoders(seen, inputs) -> None:
    assert len(inputs) == seen.sam.config.encoder_depth + 1
    np.testing.assert_array_equal(seen.sam.image_encoder.neck(inputs[-1][None]), seen.sam.image_encoder(seen.x))


def test_figure_of_reach(seen, inputs) -> None:
    said = captions(reach.reach(seen.sam, "chelsea", {"nose": (238, 164)}, blocks=[0, 3]))
    weights = encoder_attention.look(seen.sam, 3, inputs[3], (14, 21)).weights().mean(0)
    order = np.sort(weights.ravel())[::-1]
    half = next(n for n in range(1, 1601) if order[:n].sum() >= 0.5)
    assert said[0].startswith("Block 0 looks in its window. nose (token row 14, column 21) has 64 tokens")
    assert said[1].startswith("Block 3 looks everywhere.") and "has 1600 tokens to look at" in said[1]
    assert f"lies on {half} of them" in said[1]
    assert f"stripe get {weights[27:].sum():.0%} of it" in said[1]
    rows, columns = np.indices((40, 40))
    far = (weights * np.sqrt((rows - 14) ** 2 + (columns - 21) ** 2)).sum()
    assert f"mean distance of {far:.1f} tokens" in said[1]
    in_window = (
        encoder_attention.look(seen.sam, 0, inputs[0], (14, 21)).weights().mean(0)
    )  # rows 8 to 15, columns 16 to 23
    far = (in_window * np.hypot(rows[8:16, 16:24] - 14, columns[8:16, 16:24] - 21)).sum()
    assert f"mean distance of {far:.1f} tokens" in said[0]
    for wrong in ({"points": {}}, {"blocks": []}):
        with pytest.raises(InputError, match="expected at least one point and one block"):
            reach.reach(seen.sam, "chelsea", **wrong)
    with pytest.raises(InputError, match="expected a block from 0 to 7, got 8"):
        reach.reach(seen.sam, "chelsea", blocks=[8])
    with pytest.raises(InputError, match="expected a token"):
        encoder_attention.look(seen.sam, 0, inputs[0], (40, 0))


def test_pairs_are_the_scores_that_there_are() -> None:
    """Counted by cutting real windows and taking products, for one head and block."""
    for side, window in [(5, 2), (6, 3), (4, 7)]:
        windows = window_partition_numpy(np.ones((1, side, side, 1)), window).reshape(-1, window**2, 1)
        assert pairs.window_pairs(side, window) == (windows @ windows.swapaxes(1, 2)).size
    tiny = pairs.count_pairs(CONFIGS["tiny"])
    assert tiny["as it is built"] == 3 * (6 * 25 * 64**2 + 2 * 1600**2)
    assert tiny["global only"] == 3 * 8 * 1600**2 and tiny["windows only"] == 3 * 8 * 25 * 64**2
    for config in CONFIGS.values():
        assert verdict("3.3", lambda c: pairs.count_pairs(c)["as it is built"]) == ""
        counts = list(pairs.count_pairs(config).values())
        assert counts == sorted(counts)


def test_figure_of_pairs() -> None:
    said = captions(pairs.pairs(["vit_b"], [32, 64]))
    built = 12 * (8 * 25 * 196**2 + 4 * 4096**2)
    assert f"vit_b, 64 × 64 tokens (an image of 1024 pixels): {built:,} pairs as built" in said[1]
    assert f"{12 * 4 * 4096**2 / built:.0%} of them in its 4 global" in said[1]
    with pytest.raises(InputError, match="expected models among tiny, vit_b, vit_l, vit_h, got sam"):
        pairs.pairs(["sam"])
    with pytest.raises(InputError, match="at least 1 token"):
        pairs.pairs(["tiny"], [0])


def test_filling_as_in_the_kernel_and_as_masked() -> None:
    rng = np.random.default_rng(4)
    qkv, bias = rng.standard_normal((7, 7, 3, 2, 4)), rng.standard_normal(24)
    tables = rng.standard_normal((7, 4)), rng.standard_normal((7, 4))
    share, plain, masked = pad_share.pad_effect(qkv, bias, 4, tables)
    kernel = window_attention(qkv.reshape(1, 7, 7, 24), bias, 2, 4, *tables)[0]
    np.testing.assert_allclose(plain, kernel, atol=1e-4)
    assert (share[:4, :4] == 0).all() and (share[4:] > 0).all() and (share[:, 4:] > 0).all()
    np.testing.assert_allclose(masked[:4, :4], plain[:4, :4], atol=1e-12)
    # masked is attention over the 3 × 3 real tokens of the last window alone, with the tables of a 4 × 4 window
    last = qkv[4:, 4:].reshape(9, 3, 2, 4)
    rows, columns = np.divmod(np.arange(9), 3)
    for head in range(2):
        q, k, v = last[:, :, head].swapaxes(0, 1)
        scores = q @ k.T / 2 + np.einsum("id,ijd->ij", q, tables[0][rows[:, None] - rows + 3])
        scores += np.einsum("id,ijd->ij", q, tables[1][columns[:, None] - columns + 3])
        found = masked[4:, 4:].reshape(9, 2, 4)[:, head]
        np.testing.assert_allclose(found, softmax_numpy(scores) @ v, atol=1e-9)


def test_defaults_fit_the_models() -> None:
    """The slider over tokens has every model's own number, and few windows of the buttons divide tiny's."""
    sides = inspect.signature(pairs.pairs).parameters["sides"].default
    assert {config.image_embedding_size for config in minisam.CONFIGS.values()} <= set(sides)
    sizes = inspect.signature(pad_share.pad_share).parameters["sizes"].default
    assert [size for size in sizes if minisam.CONFIGS["tiny"].image_embedding_size % size == 0] == [8]


def test_figure_of_filling(seen, inputs) -> None:
    said = captions(pad_share.pad_share(seen.sam, "chelsea", sizes=(8, 12)))
    assert said[0] == "Windows of 8: 0 rows and columns are padded. They fit, and nothing is different."
    attn = seen.sam.image_encoder.state / "blocks" / 1 / "attn"
    qkv = encoder_attention.qkv_of(seen.sam, 1, inputs[1])
    share, _, _ = pad_share.pad_effect(qkv, attn["qkv.bias"], 12, (attn["rel_pos_h"], attn["rel_pos_w"]))
    assert f"give it {share[share > 0].mean():.0%} of their attention" in said[1]
    assert f"{1 - (36 / 40) ** 2:.0%} of the real tokens" in said[1] and "(67% of an edge" in said[1]
    with pytest.raises(InputError, match="expected a windowed block from 0 to 7, got 3"):
        pad_share.pad_share(seen.sam, "chelsea", block=3)
    with pytest.raises(InputError, match="expected sizes of at least 1"):
        pad_share.pad_share(seen.sam, "chelsea", sizes=(0,))


# ------------------------------------------------------------------------------------------- what the chapter says


def test_attention_does_not_know_order() -> None:
    qkv = np.random.default_rng(5).standard_normal((1, 1, 12, 3 * 8))
    order = np.random.default_rng(6).permutation(12)
    np.testing.assert_allclose(attention(qkv[:, :, order], 2), attention(qkv, 2)[:, :, order], atol=1e-5)


def test_global_blocks_are_spread_evenly_and_last() -> None:
    for config in CONFIGS.values():
        wide = config.encoder_global_attn_indexes
        assert wide[-1] == config.encoder_depth - 1 and len(set(np.diff((-1, *wide)))) == 1
        assert len(wide) == (2 if config.name == "tiny" else 4)
        assert config.name == "tiny" or config.window_size == 14
    assert CONFIGS["tiny"].image_embedding_size % CONFIGS["tiny"].window_size == 0


def test_why_the_root() -> None:
    """Products of D random numbers deviate by √D; and float32 ends between e^88 and e^89."""
    q, k = np.random.default_rng(11).standard_normal((2, 400, 64))
    assert (q @ k.T).std() == pytest.approx(8, rel=0.05)
    with np.errstate(over="ignore"):
        assert np.isfinite(np.exp(np.float32(88))) and np.isinf(np.exp(np.float32(89)))


def test_filling_of_the_large_models() -> None:
    """64 tokens in windows of 14: 25 windows, 804 tokens of filling, 960 real tokens beside some."""
    windows = window_partition_numpy(np.ones((1, 64, 64, 1)), 14)
    assert windows.shape[0] == 25 and windows.size - windows.sum() == 804
    assert windows[(windows == 0).any(axis=(1, 2, 3))].sum() == 960


def test_kernels_of_the_chapter_agree() -> None:
    """Compiled = NumPy; and the filling as constants = zeros through the qkv map."""
    rng = np.random.default_rng(7)
    x, weight, bias = rng.standard_normal((1, 5, 7, 8)), rng.standard_normal((24, 8)), rng.standard_normal(24)
    qkv = x @ weight.T + bias
    np.testing.assert_allclose(attention(qkv, 2), attention_numpy(qkv, 2), atol=1e-4)
    np.testing.assert_allclose(softmax(qkv), softmax_numpy(qkv), atol=1e-6)
    np.testing.assert_array_equal(window_partition(qkv, 3), window_partition_numpy(qkv.astype(np.float32), 3))
    long_way = attention_numpy(window_partition_numpy(x, 3) @ weight.T + bias, 2)
    long_way = window_unpartition(long_way, 3, (5, 7))
    np.testing.assert_allclose(window_attention(qkv, bias, 2, 3), long_way, atol=1e-4)
    np.testing.assert_allclose(window_attention_numpy(qkv, bias, 2, 3), long_way, atol=1e-5)
