"""Properties of ``rle_text``. Each names the wrong versions that it kills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minisam_kernels import InputError
from minisam_kernels.masks.rle_text import from_string, to_string, to_string_numpy

coco = pytest.importorskip("pycocotools.mask")

# wrong version → (text in the kernel's file, its replacement)
MUTANTS = {
    "differences from the second on": ("counts[i] - (counts[i - 2] if i > 2", "counts[i] - (counts[i - 2] if i > 1"),
    "no differences": ("d = counts[i] - (counts[i - 2] if i > 2 else 0)", "d = counts[i]"),
    "drops the sign's group": (
        "more = d != (-1 if group & 16 else 0)\n            text[",
        "more = d not in (0, -1)\n            text[",
    ),
    "readable version drops the sign's group": (
        "(-1 if group & 16 else 0)\n            text.append",
        "0 and d != -1\n            text.append",
    ),
    "reads no sign": ("if group & 16:", "if False:"),
    "reads differences as counts": ("(counts[done - 2] if done > 2 else 0)", "0"),
    "takes any byte": ("0 <= group < 64 and groups < GROUPS", "groups < GROUPS"),
    "takes any length": ("0 <= group < 64 and groups < GROUPS", "0 <= group < 64"),
    "takes what is cut off": ("return -1 - text.size if groups else done", "return done"),
    "takes negative counts": ("if counts[done] < 0:", "if False:"),
    "takes any sum": ("if size is not None and", "if size is None and"),
    "takes sums beyond 64 bits": ("(counts > size[0] * size[1]).any() or ", ""),
    "writes behind the end": ("if (counts >= LARGEST).any()", "if False"),
    "writes negative counts": ("or (counts < 0).any()", ""),
}

edges = st.sampled_from([15, 16, 31, 32, 511, 512, 2**16, 2**31 - 1])
runs = st.one_of(st.integers(0, 40), st.integers(0, 2**20), edges)


@given(st.lists(runs, max_size=12))
def test_compiled_is_the_readable_version(counts):
    """And reading is the inverse. Kills: no differences, drops the sign's group (either), reads no sign, reads
    differences as counts."""
    text = to_string(np.array(counts, int))
    assert text == to_string_numpy(counts)
    assert from_string(text).tolist() == counts and from_string(text.decode()).tolist() == counts


@given(st.lists(st.one_of(st.integers(1, 40), st.integers(1, 2**16)), min_size=1, max_size=12))
def test_pycocotools_writes_and_reads_the_same(counts):
    """Kills: differences from the second on, no differences, drops the sign's group (either)."""
    total = sum(counts)
    theirs = coco.frPyObjects({"size": [total, 1], "counts": counts}, total, 1)["counts"]
    assert to_string(counts) == to_string_numpy(counts) == theirs
    assert from_string(theirs, (total, 1)).tolist() == counts


@given(st.binary(max_size=30))
def test_any_bytes_are_counts_or_an_input_error(text):
    """Law: nothing else, and counts that are read can be written and read again. Kills: takes any byte, takes any
    length, takes what is cut off, takes negative counts."""
    try:
        counts = from_string(text)
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert (counts >= 0).all()
    np.testing.assert_array_equal(from_string(to_string(counts)), counts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"5 5", "got byte 32 at 1"),
        (b"55p", "got byte 112 at 2"),
        (b"55P", "got a text that ends within a number"),
        (b"5O", "got byte 79 at 1"),  # −1
        (b"o" * 20, "got byte 111 at 12"),
        ("5é", "got byte 195 at 1"),
    ],
)
def test_bad_text_names_expected_and_received(text, message):
    """Kills: takes any byte, takes any length, takes what is cut off, takes negative counts."""
    with pytest.raises(InputError, match="expected run lengths in COCO's code, '0' to 'o', none below 0, " + message):
        from_string(text)


def test_counts_must_fill_the_image():
    """Kills: takes any sum."""
    assert from_string(b"13", (2, 2)).tolist() == [1, 3] and from_string(b"", (0, 3)).tolist() == []
    with pytest.raises(InputError, match="expected run lengths that sum to 2 · 3, got 4"):
        from_string(b"13", (2, 3))
    with pytest.raises(InputError, match=r"expected run lengths that sum to 2 · 2, got 184\d+"):
        from_string(to_string([2**58] * 64 + [4]), (2, 2))  # 2⁶⁴ + 4, which is 4 in 64 bits


def test_the_largest_counts_have_room():
    """Kills: a thirteenth group of bits, written behind the end."""
    for counts in ([2**59 - 1], [0, 0, 0, 2**59 - 1, 0, 0]):
        assert to_string(counts) == to_string_numpy(counts) and from_string(to_string(counts)).tolist() == counts
    with pytest.raises(InputError, match=f"expected counts below 2⁵⁹, got {2**59}"):
        to_string([2**59])


@pytest.mark.parametrize("counts", [[-1], [0.5], [[1]], ["a"]])
def test_bad_counts_name_expected_and_received(counts):
    """Kills: writes negative counts."""
    with pytest.raises(InputError, match="expected counts to be whole numbers >= 0, got"):
        to_string(counts)
