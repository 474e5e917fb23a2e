"""The fused decoder is the plain one: every kind of prompt, several configurations, the same bits in any company."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minisam
from minisam.fused import decoder as fused_decoder
from minisam.fused import prompts as fused_prompts
from minisam.fused import terms as fused_terms
from minisam.model.config import CONFIGS
from minisam.sam import Sam, build
from minisam_kernels import InputError
from strategies import seeds

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "a term that is left out": (
        "minisam/fused/prompts.py",
        "bias.reshape(self.batch, -1) + lifted @ self.shift",
        "bias.reshape(self.batch, -1)",
    ),
    "a wrong layer's": ("minisam/fused/prompts.py", "self.weights.ways_out[i]", "self.weights.ways_out[0]"),
    "room shared by two prompts": (
        "minisam/fused/decoder.py",
        'scratch(*[(len(masks), 4 * h, 4 * w)] * len(prompts), name="masks")',
        '[*scratch((len(masks), 4 * h, 4 * w), name="masks")] * len(prompts)',
    ),
    "sums over the batch": (
        "minisam/fused/prompts.py",
        "weights.sum(axis=3, keepdims=True)",
        "weights.sum(axis=(0, 3), keepdims=True)",
    ),
    "masks or trust of another prompt": (
        "minisam/fused/decoder.py",
        "space(int(b), len(made[b]))[...]",
        "space(0, len(made[b]))[...]",
    ),
    "a last part left out": ("minisam/fused/decoder.py", "-(-count // size))", "count // size)"),
    "an image_pe of its own for every predictor": (
        "minisam/model/prompt_encoder.py",
        """return self._dense_pe
""",
        """return self._dense_pe.copy()
""",
    ),
    "masks of the wrong token": (
        "minisam/fused/decoder.py",
        "logits[b][: len(indices)])",
        "logits[b][-len(indices) :])",
    ),
    "all or none": (
        "minisam/fused/decoder.py",
        """                if len(indices):
""",
        """                if len(indices) == len(masks):
""",
    ),
    "a guard nobody asks": (
        "minisam/fused/decoder.py",
        "trusted = prompts.trusted()",
        "trusted = np.ones(len(sparse), bool)",
    ),
    "of one mask the other is given": (
        "minisam/fused/decoder.py",
        "dense, masks.start > 0)",
        "dense, len(masks) > 1)",
    ),
}

# Both forms are within STAGE_TOLERANCE (1e-4, ``minisam verify``) of float64. Each of some twenty steps adds a few eps
# of the numbers it meets, relative: 20 · 8 · 1.2e-7 = 2e-5. Measured: 2e-6.
TOLERANCE = 3e-5


def small(name: str, side: int, **changes: int) -> Sam:
    """A configuration's widths and heads on a grid of side² tokens; the encoder is not used."""
    config = CONFIGS[name]
    changes = {"image_size": side * config.patch_size, "encoder_depth": 1, **changes}
    return build(dataclasses.replace(config, encoder_global_attn_indexes=(), window_size=4, **changes), seed=3)


# 1 token; less than a tile; one tile, of 256; two tiles of 200; a last tile that is short; other numbers of everything
MODELS = {
    "1 token": small("tiny", 1),
    "25 tokens": small("tiny", 5),
    "256 tokens": small("tiny", 16),
    "400 tokens": small("tiny", 20),
    "441 tokens": small("tiny", 21),
    "one layer": small("tiny", 9, decoder_depth=1),
    "three layers": small("tiny", 9, decoder_depth=3),
    "one mask": small("tiny", 5, num_multimask_outputs=1),
    "heads of 4": small("tiny", 9, prompt_embed_dim=32, decoder_num_heads=4, mask_in_chans=8, num_multimask_outputs=2),
    "vit_b": small("vit_b", 18),
}


def prompts(sam: Sam, rng: np.random.Generator, batch: int, points: int, box: bool, mask: bool):
    """(features, sparse, mask_input, dense) of ``batch`` random prompts about a random image."""
    config, encoder = sam.config, sam.prompt_encoder
    side, size = config.image_embedding_size, config.image_size
    features = rng.standard_normal((1, side, side, config.prompt_embed_dim)).astype(np.float32)
    coords = (rng.uniform(0, size, (batch, points, 2)), rng.integers(-1, 2, (batch, points))) if points else None
    boxes = rng.uniform(0, size, (batch, 4)) if box else None
    low = config.low_res_size
    masks = (5 * rng.standard_normal((batch, 1, low, low))).astype(np.float32) if mask else None
    sparse = encoder.embed_sparse(coords, boxes, batch)
    return features, sparse, masks, encoder.no_mask() if masks is None else encoder.embed_masks(masks)


def assert_near(actual, expected, tolerance: float = TOLERANCE) -> None:
    """Logits and IoU, relative to the largest number of each."""
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape and one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * max(1, np.abs(other).max()))


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=12)
@given(seeds, st.integers(1, 3), st.integers(0, 8), st.booleans(), st.booleans(), st.booleans())
def test_fused_is_plain(name, seed, batch, points, box, mask, multimask_output):
    """Any number of tokens (5 to 15), mask prompts, both outputs. Kills: a term that is left out, a wrong layer's."""
    sam, rng = MODELS[name], np.random.default_rng(seed)
    decoder, pe = sam.fused_decoder, sam.prompt_encoder.get_dense_pe()
    features, sparse, masks, dense = prompts(sam, rng, batch, points, box, mask)
    actual = decoder.decode(decoder.prepare(features, pe), sparse, masks, multimask_output)
    assert_near(actual, sam.mask_decoder(features, pe, sparse, dense, multimask_output))


@settings(max_examples=8)
@given(seeds, st.integers(1, 6), st.booleans())
def test_a_prompt_has_the_same_bits_in_any_batch(seed, points, mask):
    """Law: alone, among others, in another place. Kills: room shared by two prompts."""
    sam, rng = MODELS["25 tokens" if points % 2 else "441 tokens"], np.random.default_rng(seed)
    decoder = sam.fused_decoder
    features, sparse, masks, _ = prompts(sam, rng, 4, points, False, mask)
    terms = decoder.prepare(features, sam.prompt_encoder.get_dense_pe())
    together = decoder.decode(terms, sparse, masks, True)
    order = rng.permutation(4)
    shuffled = decoder.decode(terms, sparse[order], None if masks is None else masks[order], True)
    for b in range(4):
        alone = decoder.decode(terms, sparse[b : b + 1], None if masks is None else masks[b : b + 1], True)
        for i in range(2):
            np.testing.assert_array_equal(alone[i][0], together[i][b])
            np.testing.assert_array_equal(shuffled[i][b], together[i][order[b]])


@settings(max_examples=6)
@given(seeds, st.booleans(), st.booleans())
def test_prompts_that_a_thread_takes_together(seed, box, multimask_output):
    """Law: four at once, and one that is left over, have the bits of each alone; so has what the plain form answers
    among them. Kills: room shared by two prompts, sums over the batch, masks or trust of another prompt, a last part
    left out."""
    sam, rng = MODELS["441 tokens" if box else "three layers"], np.random.default_rng(seed)
    decoder = sam.fused_decoder
    features, sparse, _, _ = prompts(sam, rng, 9, 1, box, False)
    terms = decoder.prepare(features, sam.prompt_encoder.get_dense_pe())
    alone = [decoder.decode(terms, sparse[b : b + 1], None, multimask_output) for b in range(9)]
    choice, got = rng.random((9, 3 if multimask_output else 1)) < 0.4, {}
    with mock.patch.object(fused_decoder, "num_threads", lambda: 1):
        together = decoder.decode(terms, sparse, None, multimask_output)
        decoder.decode_each(
            terms, sparse, multimask_output, lambda b, _: choice[b], lambda b, *made: got.update({b: made[1].copy()})
        )
        with mock.patch.object(fused_prompts.FusedPrompts, "trusted", lambda self: np.arange(self.batch) % 2 == 0):
            mixed = decoder.decode(terms, sparse, None, multimask_output)
    for b in range(9):
        for one, other in zip(alone[b], together):
            np.testing.assert_array_equal(one[0], other[b])
        dense = sam.prompt_encoder.no_mask()
        odd = b in (1, 3, 5, 7)  # parts of four
        expected = (
            sam.mask_decoder(features, terms.image_pe, sparse[b : b + 1], dense, multimask_output) if odd else alone[b]
        )
        for one, other in zip(expected, mixed):
            np.testing.assert_array_equal(one[0], other[b])
    assert sorted(got) == np.flatnonzero(choice.any(axis=1)).tolist()
    for b, masks in got.items():
        np.testing.assert_array_equal(masks, together[0][b, choice[b]])


def test_positions_are_worked_out_once():
    """A second predictor of a model finds the first one's. Kills: an image_pe of its own for every predictor."""
    sam = MODELS["25 tokens"]
    one, other = minisam.SamPredictor(sam), minisam.SamPredictor(sam)
    features = prompts(sam, np.random.default_rng(0), 1, 1, False, False)[0]
    first, second = (sam.fused_decoder.prepare(features, p.image_pe) for p in (one, other))
    assert first.position is second.position and not one.image_pe.flags.writeable


@settings(max_examples=8)
@given(seeds, st.booleans())
def test_decode_each_hands_on_what_is_wanted(seed, multimask_output):
    """The wanted masks of decode, bit by bit, and nothing else. Kills: masks of the wrong token, all or none."""
    sam, rng = MODELS["400 tokens"], np.random.default_rng(seed)
    decoder = sam.fused_decoder
    features, sparse, _, _ = prompts(sam, rng, 5, 1, False, False)
    terms = decoder.prepare(features, sam.prompt_encoder.get_dense_pe())
    logits, iou = decoder.decode(terms, sparse, None, multimask_output)
    choice, got = rng.random(iou.shape) < 0.4, {}

    def wanted(b, values):
        np.testing.assert_array_equal(values, iou[b])
        return choice[b]

    def consume(b, indices, masks):
        got[b] = (indices.copy(), masks.copy())

    decoder.decode_each(terms, sparse, multimask_output, wanted, consume)
    assert sorted(got) == np.flatnonzero(choice.any(axis=1)).tolist()
    for b, (indices, masks) in got.items():
        np.testing.assert_array_equal(indices, np.flatnonzero(choice[b]))
        np.testing.assert_array_equal(masks, logits[b, indices])


def test_where_a_variance_cancels_the_plain_form_answers():
    """With no trust at all every answer is the plain form's, also through decode_each. Kills: a guard nobody asks."""
    sam = MODELS["25 tokens"]
    decoder, pe = sam.fused_decoder, sam.prompt_encoder.get_dense_pe()
    features, sparse, masks, _ = prompts(sam, np.random.default_rng(0), 2, 2, False, True)
    terms = decoder.prepare(features, pe)
    fused = decoder.decode(terms, sparse, masks, True)
    got = {}
    with mock.patch.object(fused_prompts, "RATIO", 0.0):
        answers = decoder.decode(terms, sparse, masks, True)
        for b in range(2):
            dense = sam.prompt_encoder.embed_masks(masks[b : b + 1])
            for one, other in zip(answers, sam.mask_decoder(features, pe, sparse[b : b + 1], dense, True)):
                np.testing.assert_array_equal(one[b], other[0])
        assert (answers[0] != fused[0]).any()
        decoder.decode_each(
            terms,
            sparse,
            True,
            lambda b, iou: np.array([False, b == 1, False]),
            lambda *args: got.update({args[0]: args}),
        )
    plain = sam.mask_decoder(features, pe, sparse[1:], sam.prompt_encoder.no_mask(), True)
    assert list(got) == [1] and got[1][1].tolist() == [1]
    np.testing.assert_array_equal(got[1][2][0], plain[0][0, 1])


def test_the_ratio_is_measured():
    """A mask prompt that takes the image away, and an update that does, are noticed; ordinary ones are near 1."""
    sam = MODELS["25 tokens"]
    decoder, encoder, rng = sam.fused_decoder, sam.prompt_encoder, np.random.default_rng(1)
    features, sparse, _, _ = prompts(sam, rng, 1, 1, False, False)
    masks = np.zeros((1, 1, sam.config.low_res_size, sam.config.low_res_size), np.float32)
    pe = encoder.get_dense_pe()
    terms = decoder.prepare(features, pe)
    prompt = fused_prompts.FusedPrompts(decoder.plain, decoder.weights, terms, sparse)
    prompt.tokens(range(1))
    assert prompt.ratios.max() < 4 and prompt.trusted().all()
    gone = decoder.prepare(1e-3 * features - encoder.embed_masks(masks), pe)  # what a mask prompt of zeros adds
    taken = fused_terms.with_mask(decoder.weights, gone, encoder.mask_channels(masks))
    assert taken.ratio > fused_prompts.RATIO
    expected = sam.mask_decoder(gone.image, pe, sparse, encoder.embed_masks(masks), False)
    np.testing.assert_equal(decoder.decode(gone, sparse, masks, False), expected)


@settings(max_examples=8)
@given(seeds, st.integers(0, 2), st.booleans())
def test_nan_comes_through(seed, points, box):
    """An image of NaN gives NaN, as in the plain form, and no error."""
    sam = MODELS["25 tokens"]
    features, sparse, _, _ = prompts(sam, np.random.default_rng(seed), 1, points, box, False)
    features[:] = np.nan
    terms = sam.fused_decoder.prepare(features, sam.prompt_encoder.get_dense_pe())
    assert np.isnan(sam.fused_decoder.decode(terms, sparse, None, True)[0]).all()


@pytest.mark.parametrize("name", ["25 tokens", "one mask"])
@pytest.mark.parametrize("mask", [False, True])
def test_many_points_are_answered_by_the_plain_form(mask, name):
    """From ``MANY`` embeddings on: its bits, in a batch too. Kills: of one mask the other is given."""
    sam, rng = MODELS[name], np.random.default_rng(5)
    features, sparse, masks, dense = prompts(sam, rng, 2, fused_decoder.MANY, False, mask)
    decoder, image_pe = sam.fused_decoder, sam.prompt_encoder.get_dense_pe()
    logits, iou = decoder.decode(decoder.prepare(features, image_pe), sparse, masks, True)
    for b in range(2):
        here = dense if masks is None else dense[b : b + 1]
        expected = sam.mask_decoder(features, image_pe, sparse[b : b + 1], here, True)
        assert np.array_equal(logits[b], expected[0][0]) and np.array_equal(iou[b], expected[1][0])
    with mock.patch.object(fused_decoder, "MANY", 999):
        close, _ = decoder.decode(decoder.prepare(features, image_pe), sparse, masks, True)
    assert np.abs(close - logits).max() <= TOLERANCE * np.abs(logits).max()
    assert not np.array_equal(close, logits)


def test_no_prompt_at_all_in_a_batch():
    """B = 0 gives empty arrays."""
    sam = MODELS["25 tokens"]
    features, sparse, _, _ = prompts(sam, np.random.default_rng(0), 1, 1, False, False)
    terms = sam.fused_decoder.prepare(features, sam.prompt_encoder.get_dense_pe())
    logits, iou = sam.fused_decoder.decode(terms, sparse[:0], None, True)
    assert logits.shape == (0, 3, 20, 20) and iou.shape == (0, 3)


def test_an_exception_of_a_caller_arrives():
    """What ``consume`` raises is raised, whichever thread it ran in."""
    sam = MODELS["25 tokens"]
    features, sparse, _, _ = prompts(sam, np.random.default_rng(0), 3, 1, False, False)
    terms = sam.fused_decoder.prepare(features, sam.prompt_encoder.get_dense_pe())

    def consume(b, indices, masks):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sam.fused_decoder.decode_each(terms, sparse, True, lambda b, iou: iou == iou, consume)


def test_predictor_plain_and_fused_agree():
    """``plain=True`` is the switch; both answer alike, with a mask prompt too."""
    sam = build("tiny", seed=1)
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    fused, plain = minisam.SamPredictor(sam), minisam.SamPredictor(sam, plain=True)
    for predictor in (fused, plain):
        predictor.set_image(image)
    assert fused.terms is not None and plain.terms is None
    for prompt in (
        {"point_coords": [[30, 20]], "point_labels": [1]},
        {"box": [5, 5, 80, 50]},
        {"mask_input": 3 * np.random.default_rng(1).standard_normal((1, *2 * [fused.model.config.low_res_size]))},
    ):
        answers = [predictor.predict(**prompt, return_logits=True) for predictor in (fused, plain)]
        assert_near(*(answer[1:] for answer in answers))


def test_any_number_of_threads_gives_the_same_bits(tmp_path):
    """One prompt on tiles, three prompts side by side, a mask prompt: 1, 2 and 3 threads."""
    program = (
        "import sys, numpy as np; sys.path[:0] = sys.argv[2:]; import test_fused_decoder as t;"
        "sam = t.MODELS['441 tokens']; d = sam.fused_decoder; r = np.random.default_rng(0); out = []\n"
        "for batch in (1, 3):\n"
        "  f, s, m, _ = t.prompts(sam, r, batch, 2, False, batch == 3)\n"
        "  out += d.decode(d.prepare(f, sam.prompt_encoder.get_dense_pe()), s, m, True)\n"
        "np.savez(sys.argv[1], *out)"
    )
    results = []
    for threads in ("1", "2", "3"):
        path, tests = tmp_path / f"{threads}.npz", Path(__file__).parent
        environment = {**os.environ, "MINISAM_THREADS": threads}
        subprocess.run([sys.executable, "-c", program, path, tests, tests.parent], check=True, env=environment)
        results.append(np.load(path))
    for other in results[1:]:
        assert other.files == results[0].files
        for name in other.files:
            np.testing.assert_array_equal(other[name], results[0][name])


def test_prompts_can_be_checked_before_anything_else():
    """Needs an image's size only. Kills: a check that wants a model."""
    from minisam.model.inputs import check_prompts

    coords, labels, boxes = check_prompts((60, 90), [[[1, 2]]], [[1]], [[1, 2, 3, 4]])
    assert coords.shape == (1, 1, 2) and labels.shape == (1, 1) and boxes.shape == (1, 4)
    assert check_prompts((60, 90)) == (None, None, None)
    with pytest.raises(InputError, match=r"inside the image of 90 × 60 pixels, got \(90, 3\)"):
        check_prompts((60, 90), [[[90, 3]]], [[1]], strict=True)
