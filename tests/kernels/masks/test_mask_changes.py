"""Properties of ``mask_changes``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minisam_kernels.masks.mask_changes import STRIP, WORD, append_changes, append_changes_numpy, as_counts
from strategies import seeds, sizes

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "goes along the rows": ("start = (first + j) * height + WORD * b", "start = first + j + WORD * b"),
    "every strip is the first": ("(first + j) * height", "j * height"),
    "every column begins False": (
        "            rows = min(WORD, height - WORD * b)\n",
        "            rows = min(WORD, height - WORD * b)\n            last *= n != 0\n",
    ),
    "every strip begins False": ("np.uint64(state[0]), state[1]", "np.uint64(state[0]), 0"),
    "the last word is as long as any": ("rows = min(WORD, height - WORD * b)", "rows = WORD"),
    "the first words instead of the chosen": ("b = blocks[n]", "b = n"),
    "at most two changes in eight rows": ("range(2, _HOW_MANY[ones])", "range(2, 2)"),
    "never makes room": ("if most > changes.size:", "if False:"),
    "makes room and forgets": ("longer[: state[0]] = changes[: state[0]]", "longer[0] = 0"),
    "ends at the last change": ("changes[state[0]] = pixels", "changes[state[0]] = changes[state[0] - 1]"),
    "readable version goes along the rows": ("np.diff(bits.ravel()", "np.diff(bits.T.ravel()"),
}


@st.composite
def strips(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray]]:
    """A mask (H, W) of noise, stripes or plain blocks, and its words strip by strip; what is below H is leftovers."""
    height, width = draw(sizes(1, 100, edges=(8, 32, 64))), draw(sizes(1, 140, edges=(64, 128)))
    rng = np.random.default_rng(draw(seeds))
    padded = rng.random((height + -height % WORD, width + -width % STRIP)) < draw(st.sampled_from([0.02, 0.5]))
    kind = draw(st.sampled_from(["noise", "rows", "plain"]))
    if kind == "rows":
        padded[:height] = np.arange(height)[:, None] % 2 == 0
    elif kind == "plain":
        padded = np.repeat(rng.random((len(padded) // WORD, 1)) < 0.5, WORD, axis=0) ^ np.zeros_like(padded)
    bits = np.packbits(np.ascontiguousarray(padded.T), axis=1, bitorder="little").view("<u4").astype(np.uint32)
    return padded[:height, :width], np.split(bits, range(STRIP, len(bits), STRIP))


def appended(mask: np.ndarray, strips: list[np.ndarray], room: int) -> tuple[np.ndarray, np.ndarray]:
    """Changes and state after all strips; words that repeat a plain one above hold nonsense, and are not chosen."""
    height, width = mask.shape
    changes, state = np.zeros(room, np.int64), np.array([1, 0])
    for s, words in enumerate(strips):
        columns = min(STRIP, width - s * STRIP)
        used = words[:columns]
        plain = ((used == 0) | (used == 2**32 - 1)).all(axis=0)
        repeats = plain & np.append(False, plain[:-1] & (used[:, 1:] == used[:, :-1]).all(axis=0))
        words = np.where(repeats, np.uint32(0x0F0F0F0F), words)
        changes = append_changes(words, np.flatnonzero(~repeats), s * STRIP, columns, height, changes, state)
    return changes, state


@given(strips())
def test_numpy_is_the_definition(drawn):
    """Kills: readable version goes along the rows."""
    mask, strips = drawn
    last = 0
    for s, words in enumerate(strips):
        part = mask[:, s * STRIP : (s + 1) * STRIP]
        down = [last, *part.T.ravel().astype(int)]
        expected = [i for i in range(part.size) if down[i] != down[i + 1]]
        assert append_changes_numpy(words, part.shape[1], len(mask), last).tolist() == expected
        last = int(down[-1])


@given(strips(), st.sampled_from([16, 100_000]))
def test_compiled_is_the_readable_version(drawn, room):
    """Strip after strip. Kills: everything but the two of other functions."""
    mask, strips = drawn
    changes, state = appended(mask, strips, room)
    expected, last = [0], 0
    for s, words in enumerate(strips):
        changed = append_changes_numpy(words, min(STRIP, mask.shape[1] - s * STRIP), len(mask), last)
        expected += (changed + s * STRIP * len(mask)).tolist()
        last ^= len(changed) % 2
    assert changes[: state[0]].tolist() == expected and state.tolist() == [len(expected), last]


@given(strips())
def test_counts_tell_the_mask(drawn):
    """Law: there and back. Kills: ends at the last change."""
    mask, strips = drawn
    counts = as_counts(*appended(mask, strips, 16), mask.size)
    assert counts.sum() == mask.size
    down = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    np.testing.assert_array_equal(down.reshape(mask.shape[::-1]).T, mask)


def test_making_room_keeps_what_was_there():
    """Room for the first of three strips, of a pixel in two. Kills: makes room and forgets, never makes room."""
    mask = np.arange(64)[:, None] % 2 == np.zeros((1, 3 * STRIP))
    words = [np.full((STRIP, 2), 0x55555555, np.uint32)] * 3
    counts = as_counts(*appended(mask, words, 1 + 64 * STRIP + 9), mask.size)
    assert counts.tolist() == [0, *[1] * mask.size]
