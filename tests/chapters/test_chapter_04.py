"""Chapter 4: its solutions, its exercises' hints, its figures, and what its text says in numbers."""

from __future__ import annotations

import html
import re

import ipywidgets as widgets
import numpy as np
import pytest

import minisam
from chapter import printed, solutions
from minisam.exercises import verdict
from minisam.exercises.chapter_04 import brute_force
from minisam.figures import bias_map, bias_off
from minisam.figures.click import photos
from minisam.figures.shared import encoder_attention, tokens
from minisam_kernels import InputError
from minisam_kernels.attn.attention import attention
from minisam_kernels.attn.rel_pos import (
    decomposed_rel_pos,
    decomposed_rel_pos_numpy,
    get_rel_pos,
    get_rel_pos_numpy,
    resize_table,
)
from minisam_kernels.losses.iou import iou


@pytest.fixture(scope="module")
def sam() -> minisam.Sam:
    return minisam.load("tiny")


def captions(widget: widgets.Widget) -> list[str]:
    """The words under every image of a figure."""
    if isinstance(widget, widgets.HTML):
        return [html.unescape(words) for words in re.findall(r'role="status">(.*?)</div>', widget.value)]
    return [words for child in getattr(widget, "children", ()) for words in captions(child)]


# ------------------------------------------------------------------------------------------------------- exercises


@pytest.mark.parametrize("number", ["4.1", "4.2", "4.3", "4.4"])
def test_solutions_stand_alone(number: str) -> None:
    said = printed(solutions(4)[number])
    assert f"✓ {number}" in said and "✗" not in said


def bias(q, table_h, table_w, sign=1, scale=1.0, rows=1, columns=1, of_key=False, turn=False):
    H, W, _ = q.shape
    R_h = rows * table_h[sign * (np.arange(H)[:, None] - np.arange(H)) + H - 1]
    R_w = columns * table_w[sign * (np.arange(W)[:, None] - np.arange(W)) + W - 1]
    if of_key:
        return np.einsum("yxd,hyd->hyx", q, R_h)[:, None] + np.einsum("yxd,wxd->wyx", q, R_w)[None]
    y = np.einsum("hwd,hyd->hwy", q, R_h)[..., None] + np.einsum("hwd,wxd->hwx", q, R_w)[:, :, None]
    return scale * (np.swapaxes(y, 2, 3) if turn else y)


def converted(table, power=0.5, axis=1):
    return table * table.shape[axis] ** power


def in_place(table):
    table *= table.shape[1] ** 0.5
    return table


def read(table, length, half=0.5, aligned=False, nearest=False, beyond=False, cut=False):
    L = len(table)
    if cut:
        return table[np.minimum(np.arange(length), L - 1)]
    place = (np.arange(length) + half) * (L / length) - half
    if aligned:
        place = np.arange(length) * ((L - 1) / max(length - 1, 1))
    if not beyond:
        place = np.clip(place, 0, L - 1)
    if nearest:
        return table[np.rint(place).astype(int)]
    low = np.clip(np.floor(place).astype(int), 0, max(L - 2, 0))
    return table[low] + (place - low)[:, None] * (table[np.minimum(low + 1, L - 1)] - table[low])


def rows(terms, sign=1, back=False, first=False):
    H = terms.shape[0]
    index = sign * (np.arange(H)[:, None] - np.arange(H)) + H - 1
    if first:
        return terms[..., :H]
    y = np.stack([terms[h][:, index[h]] for h in range(H)])
    return y[..., ::-1] if back else y


@pytest.mark.parametrize(
    ("number", "answer", "says"),
    [
        ("4.1", lambda *a: bias(*a, sign=-1), "query minus key"),
        ("4.1", lambda *a: bias(*a, scale=a[0].shape[-1] ** -0.5), "as it is"),
        ("4.1", lambda *a: bias(*a, columns=0), "columns is missing"),
        ("4.1", lambda *a: bias(*a, rows=0), "rows is missing"),
        ("4.1", lambda *a: bias(*a, of_key=True), "its own bias"),
        ("4.1", lambda *a: bias(*a)[..., 0], "expected shape"),
        ("4.2", lambda table: table, "make up for it"),
        ("4.2", lambda table: converted(table, -0.5), "smaller still"),
        ("4.2", lambda table: converted(table, 1), "The scale is √D"),
        ("4.2", lambda table: converted(table, 0.5, 0), "width of a head"),
        ("4.2", in_place, "changes the table"),
        ("4.3", lambda *a: read(*a, aligned=True), "not aligned"),
        ("4.3", lambda *a: read(*a, half=0), "half is missing"),
        ("4.3", lambda *a: read(*a, nearest=True), "weighted mean"),
        ("4.3", lambda *a: read(*a, beyond=True), "stay at the end"),
        ("4.3", lambda *a: read(*a, cut=True), "cut off"),
        ("4.4", lambda a: rows(a, sign=-1), "h − h'"),
        ("4.4", lambda a: rows(a, back=True), "backwards"),
        ("4.4", lambda a: rows(a, first=True), "its own row"),
        ("4.4", lambda a: a, "expected shape"),
    ],
)
def test_wrong_answers_are_told_why(number: str, answer, says: str) -> None:
    assert says in verdict(number, answer)


def test_helpers_above_are_right_when_nothing_is_broken() -> None:
    """Otherwise a hint could be about something else."""
    for number, answer in {"4.1": bias, "4.2": converted, "4.3": read, "4.4": rows}.items():
        assert verdict(number, answer) == ""


# --------------------------------------------------------------------------------------------------------- figures


def test_what_is_set_to_zero(sam: minisam.Sam) -> None:
    usual, wide = sam.state_dict(), sam.config.encoder_global_attn_indexes
    for off in bias_off.OFF:
        for name, weight in bias_off.without(sam, off).state_dict().items():
            zero = not weight.any() and usual[name].any()
            block = int(name.split(".")[2]) if ".rel_pos_" in name else -1
            expected = {
                "nothing": False,
                "absolute positions": name == "image_encoder.pos_embed",
                "relative, windows": block >= 0 and block not in wide,
                "relative, global": block in wide,
                "all relative": block >= 0,
            }[off]
            assert zero == expected, f"{name} with {off}"
            assert zero or weight is usual[name]
    with pytest.raises(InputError, match="expected one of nothing, absolute positions"):
        bias_off.without(sam, "everything")


def test_figure_of_masks_without_positions(sam: minisam.Sam) -> None:
    said = captions(bias_off.bias_off(sam, ["chelsea"], ["nothing", "all relative"]))
    photo = photos(["chelsea"])[0]
    predictor = minisam.SamPredictor(sam)
    predictor.set_image(photo.image)
    usual, usual_scores, _ = predictor.predict(np.array([photo.point]), np.array([1]))
    tables = {k: 0 * v if ".rel_pos_" in k else v for k, v in sam.state_dict().items()}
    other = minisam.SamPredictor(minisam.Sam(sam.config, tables))
    other.set_image(photo.image)
    masks, scores, _ = other.predict(np.array([photo.point]), np.array([1]))
    assert "IoU of 1.00, 1.00, 1.00 with the usual" in said[0]
    assert f"IoU of {', '.join(f'{v:.2f}' for v in iou(masks, usual))} with the usual" in said[1]
    assert f"scores of {', '.join(f'{v:.2f}' for v in scores)}" in said[1]
    assert f"favourite is mask {usual_scores.argmax() + 1}." in said[1]
    with pytest.raises(InputError, match="expected photographs that each have a point"):
        bias_off.bias_off(sam, [])


def test_figure_of_the_bias(sam: minisam.Sam) -> None:
    said = captions(bias_map.bias_map(sam, "astronaut", {"face": (225, 110)}, blocks=[2, 3], heads=[1]))
    seen = tokens.see(sam, "astronaut")
    token = tokens.token_under(seen, (225, 110))
    inputs = encoder_attention.block_inputs(seen)
    q = encoder_attention.qkv_of(sam, 3, inputs[3])[:, :, 0, 1].astype(float)
    attn = sam.image_encoder.state / "blocks" / 3 / "attn"
    expected = bias(q, attn["rel_pos_h"].astype(float), attn["rel_pos_w"].astype(float))[token]
    seen_by = encoder_attention.look(sam, 3, inputs[3], token)
    np.testing.assert_allclose(seen_by.position[1], expected, atol=1e-4)
    assert f"those of position by {expected.std():.2f}" in said[1]
    assert f"moves {bias_map.moved(seen_by, 1):.0%} of the attention" in said[1]
    assert said[0].startswith("Block 2 (window), head 1, face:") and said[1].startswith("Block 3 (global)")
    with pytest.raises(InputError, match=r"expected heads from 0 to 2, got \[3\]"):
        bias_map.bias_map(sam, heads=[3])
    with pytest.raises(InputError, match="at least one point, one block and one head"):
        bias_map.bias_map(sam, blocks=[])


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ((2, 3), "at the query itself"),
        ((0, 3), "2 above"),
        ((4, 3), "2 below"),
        ((2, 5), "2 to the right"),
        ((3, 2), "1 below and 1 to the left"),
    ],
)
def test_places_in_words(at: tuple[int, int], says: str) -> None:
    values = np.zeros((6, 7))
    values[at] = 1
    assert bias_map.offset(values, (10, 20), (12, 23)) == says


def test_moved_is_the_share_of_attention_that_goes_elsewhere() -> None:
    zero = np.zeros((1, 1, 2))
    swap = encoder_attention.Look(np.array([[[90.0, 0.0]]]), np.array([[[-180.0, 0.0]]]), zero, (0, 0), 2)
    assert bias_map.moved(swap, 0) == pytest.approx(1)
    assert bias_map.moved(encoder_attention.Look(swap.content, 0 * swap.position, zero, (0, 0), 2), 0) == 0


# ------------------------------------------------------------------------------------------- what the chapter says


def test_sizes_in_the_text() -> None:
    for name in ("vit_b", "vit_l", "vit_h"):
        shapes = minisam.CONFIGS[name].shapes()
        wide = minisam.CONFIGS[name].encoder_global_attn_indexes
        for i in range(minisam.CONFIGS[name].encoder_depth):
            assert shapes[f"image_encoder.blocks.{i}.attn.rel_pos_h"][0] == (127 if i in wide else 27)
    assert 4 * 4096**2 == 64 * 2**20
    tiny = minisam.CONFIGS["tiny"]
    assert tiny.encoder_embed_dim // tiny.encoder_num_heads == 64


def test_scaling_the_query_first_is_smaller_tables(sam: minisam.Sam) -> None:
    rng = np.random.default_rng(12)
    qkv, tables = rng.standard_normal((1, 3, 3, 12)), rng.standard_normal((2, 5, 4))
    q, k, v = qkv.reshape(9, 3, 4).swapaxes(0, 1)
    scores = q @ k.T / 2 + brute_force(q.reshape(3, 3, 4) / 2, *tables).reshape(9, 9)
    p = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(
        attention(qkv, 1, *tables / 2)[0].reshape(9, 4), p / p.sum(1, keepdims=True) @ v, atol=1e-5
    )


def test_brute_force_is_the_kernels() -> None:
    rng = np.random.default_rng(8)
    q, table_h, table_w = (rng.standard_normal(s) for s in ((3, 4, 5), (5, 5), (7, 5)))
    by_row, by_column = decomposed_rel_pos(q[None, None], get_rel_pos(3, 3, table_h), get_rel_pos(4, 4, table_w))
    both = by_row[0, 0, ..., None] + by_column[0, 0, :, :, None]
    np.testing.assert_allclose(both, brute_force(q, table_h, table_w), atol=1e-5)
    plain = decomposed_rel_pos_numpy(q[None, None], get_rel_pos_numpy(3, 3, table_h), get_rel_pos_numpy(4, 4, table_w))
    np.testing.assert_allclose(plain[0], by_row, atol=1e-5)
    np.testing.assert_allclose(plain[1], by_column, atol=1e-5)


def test_a_bias_of_rows_plus_columns_has_no_corners() -> None:
    """b(1, 1) + b(−1, −1) = b(1, −1) + b(−1, 1), whatever the query and the tables."""
    rng = np.random.default_rng(9)
    b = brute_force(rng.standard_normal((5, 5, 4)), rng.standard_normal((9, 4)), rng.standard_normal((9, 4)))[2, 2]
    assert b[3, 3] + b[1, 1] == pytest.approx(b[3, 1] + b[1, 3])


def test_with_positions_attention_knows_order() -> None:
    rng = np.random.default_rng(10)
    qkv, tables = rng.standard_normal((1, 3, 3, 12)), rng.standard_normal((2, 5, 4))
    turned = attention(qkv[:, ::-1], 1, *tables)[:, ::-1]
    assert np.abs(turned - attention(qkv, 1, *tables)).max() > 0.01
    # and turning the image with its tables changes nothing: only distances count
    np.testing.assert_allclose(
        attention(qkv[:, ::-1], 1, tables[0][::-1], tables[1])[:, ::-1], attention(qkv, 1, *tables), atol=1e-5
    )


def test_a_resized_table_keeps_a_straight_line() -> None:
    line = np.arange(9.0)[:, None]
    middle = resize_table(line, 27)[2:-2, 0]
    np.testing.assert_allclose(np.diff(middle), 1 / 3)
    np.testing.assert_allclose(resize_table(line, 3)[:, 0], [1, 4, 7])
