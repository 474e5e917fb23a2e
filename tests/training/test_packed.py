"""Packed files: what is damaged is one line that names the file, on opening or for the image that is asked for."""

from __future__ import annotations

import io
import json
import os
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save_file

from minisam.training import packed
from minisam.training.packed import inflate_runs, read_pack
from minisam.training.sources import open_sources
from minisam_kernels import InputError
from sa1b import sa1b_folder

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "offsets that fall": ("minisam/training/packed.py", "(ends[1:] > ends[:-1]).all() and ", ""),
    "offsets beyond the end": ("minisam/training/packed.py", " and ends[-1] == arrays[kind].size", ""),
    "a set without images": ("minisam/training/packed.py", "if numbers != list(range(len(names))):", "if False:"),
    "masks of another size than the image": ("minisam/training/packed.py", "head[:2] != [*size] or ", ""),
    "runs that do not fill the image": ("minisam/training/packed.py", "lengths.sum() != pixels or ", ""),
    "inflated without a limit": (
        "minisam/training/packed.py",
        "len(counts) != head[2] or total > MAX_RUNS",
        "len(counts) != head[2]",
    ),
    "bytes behind the runs": ("minisam/training/packed.py", "or not inflater.eof or inflater.unused_data", ""),
}

SIZE = (8, 12)  # of every image here
RUNS = [[20, 30, 46], [0, 96]]  # of its two masks


def jpeg(size=SIZE) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size[::-1], "teal").save(file, "JPEG")
    return file.getvalue()


def runs(masks=RUNS, size=SIZE, counts=None, count=None, more=b"") -> bytes:
    """Masks as ``pack`` stores them; the other arguments replace what is right about the head."""
    counts = [len(mask) for mask in masks] if counts is None else counts
    numbers = [*size, len(masks) if count is None else count, *counts, *(run for mask in masks for run in mask)]
    return zlib.compress(np.array(numbers, np.int64).astype("<u4").tobytes() + more)


def packed_file(path: Path, images=None, pieces=None, notes=None, **arrays) -> Path:
    """A packed file of three images in two sets; ``arrays`` replace its own, None leaves one out."""
    images, pieces = images or [jpeg()] * 3, pieces or [runs()] * 3
    whole = {"sets": np.array([0, 0, 1])}
    for name, parts in (("jpegs", images), ("runs", pieces)):
        whole[name] = np.frombuffer(b"".join(parts), np.uint8)
        whole[f"{name}_ends"] = np.cumsum([len(part) for part in parts])
    whole = {name: array for name, array in (whole | arrays).items() if array is not None}
    notes = json.dumps([{"name": "one"}, {"name": "two"}]) if notes is None else notes
    save_file(whole, path, metadata={"minisam_pack": notes})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as error:
        for source in open_sources(path):
            for index in range(len(source)):
                source.picture(index)
    text = str(error.value)
    assert text.startswith("expected") and path.name in text and "\n" not in text and len(text) < 700
    return text


def test_a_whole_file(tmp_path):
    """Masks, images, sets, and again in a process of its own."""
    sources = open_sources(packed_file(tmp_path / "p"))
    assert [(source.name, len(source)) for source in pickle.loads(pickle.dumps(sources))] == [("one", 2), ("two", 1)]
    for source in sources:
        masks = source.masks(0, [1, 0])
        assert masks.shape == (2, *SIZE) and masks[0].all() and masks[1].sum() == 30 and masks[1].ravel()[20:50].all()
        assert source.picture(0).size == SIZE[::-1] and source.count(0) == 2


SMALL = np.array([1, 2, 3])
ARRAYS = {
    "no sets": {"sets": None},
    "no runs": {"runs": None},
    "no ends": {"jpegs_ends": None},
    "a set that is not there": {"sets": np.array([0, 1, 2])},
    "a set below 0": {"sets": np.array([0, -1, 1])},
    "a set without images": {"sets": np.array([0, 0, 0])},
    "sets as floats": {"sets": np.array([0.0, 0, 1])},
    "sets of 32 bits": {"sets": np.array([0, 0, 1], np.int32)},
    "sets with two axes": {"sets": np.array([[0, 0, 1]])},
    "fewer sets than images": {"sets": np.array([0, 1])},
    "no images": {name: np.zeros(0, np.int64) for name in ("sets", "jpegs_ends", "runs_ends")},
    "more ends than images": {"runs_ends": np.array([1, 2, 3, 4])},
    "ends that fall": {"runs_ends": np.array([20, 10, 3 * len(runs())])},
    "ends that stay": {"runs_ends": np.array([20, 20, 3 * len(runs())])},
    "ends beyond the file": {"jpegs_ends": np.array([10, 20, 10**12])},
    "ends short of the file": {"jpegs_ends": SMALL},
    "ends below 0": {"jpegs_ends": np.array([-5, 20, 3 * len(jpeg())])},
    "an end at 0": {"jpegs_ends": np.array([0, 20, 3 * len(jpeg())])},
    "ends that wrap": {"runs_ends": np.array([2**63 - 1, -(2**63), 3 * len(runs())])},
    "ends that wrap twice": {"runs_ends": np.array([-(2**63), -1, 3 * len(runs())])},
    "ends as floats": {"runs_ends": np.array([1.0, np.nan, 3])},
    "runs as numbers": {"runs": np.arange(3 * len(runs()))},
    "jpegs as bool": {"jpegs": np.ones(3 * len(jpeg()), bool)},
    "no bytes": {"runs": np.zeros(0, np.uint8)},
}


@pytest.mark.parametrize("arrays", ARRAYS.values(), ids=ARRAYS)
def test_damaged_arrays(tmp_path, arrays):
    """Kills: offsets that fall, offsets beyond the end, a set without images."""
    path = packed_file(tmp_path / "p", **arrays)
    assert "that minisam pack wrote" in refusal(path)
    with pytest.raises(InputError):
        read_pack(path)


NOTES = ["", "[]", "{}", "null", "3", "[1]", "[null]", '[{"name": 1}, {"name": 2}]', '[{"title": "a"}]', "[" * 100_000]
NOTES += [
    '[{"name": "one"}]',
    '[{"name": "a"}, {"name": "b"}, {"name": "c"}]',
    '{"name": "one"}',
    '[{"name": null}]',
    "x",
]


@pytest.mark.parametrize("notes", NOTES)
def test_damaged_notes(tmp_path, notes):
    assert "that minisam pack wrote" in refusal(packed_file(tmp_path / "p", notes=notes))


PIECES = {
    "no zlib": b"abcdefgh",
    "cut off": runs()[:-5],
    "cut off early": runs()[:9],
    "a wrong sum of bytes": runs()[:-1] + bytes([runs()[-1] ^ 1]),
    "bytes behind": runs() + b"abc",
    "numbers behind": runs(more=b"\0" * 4),
    "half a number behind": runs(more=b"\0"),
    "nothing in it": zlib.compress(b""),
    "no head": zlib.compress(b"\x08\0\0\0"),
    "turned": runs(size=SIZE[::-1]),
    "a larger size": runs([[20, 30, 46 + 96]], (16, 12)),
    "a smaller size": runs([[20, 28]], (4, 12)),
    "size 0": runs([], (0, 0)),
    "a size beyond memory": runs(size=(2**31, 2**31)),
    "more masks than there are": runs(count=7),
    "billions of masks": runs(count=2**32 - 1),
    "fewer masks than there are": runs(count=1),
    "more runs than there are": runs(counts=[3, 9]),
    "billions of runs": runs(counts=[3, 2**32 - 1]),
    "no runs": runs(counts=[3, 0]),
    "runs too short": runs([[20, 30, 45], [0, 96]]),
    "runs too long": runs([[20, 30, 46], [0, 97]]),
    "runs that wrap": runs([[20, 30, 46], [2**32 - 1, 97]]),
    "runs of 0": runs([[20, 30, 0, 0, 46]]),
    "mostly zeros": zlib.compress(bytes(10**7)),
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("at", [0, 2])
def test_damaged_masks(tmp_path, piece, at):
    """The line says which image; nothing is opened.

    Kills: masks of another size than the image, runs that do not fill the image, bytes behind the runs.
    """
    path = packed_file(tmp_path / "p", pieces=[piece if i == at else runs() for i in range(3)])
    assert f"image {at} of" in refusal(path)
    with pytest.raises(InputError):
        open_sources(path)


@pytest.mark.parametrize(
    ("claim", "line"),
    [
        ({"count": packed.MAX_RUNS + 1}, "at most 33554432, got"),
        ({"counts": [3, packed.MAX_RUNS]}, "^runs of 2 masks, got"),
    ],
)
def test_nothing_is_inflated_beyond_the_limit(claim, line):
    """What the head claims is compared first. Kills: inflated without a limit."""
    with pytest.raises(ValueError, match=line):
        inflate_runs(runs(**claim), SIZE)


IMAGES = {
    "no image": b"abcdefgh",
    "a cut head": jpeg()[:20],
    "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(60),
    "another size": jpeg((9, 12)),
    "turned": jpeg(SIZE[::-1]),
    "cut": jpeg()[:-150],
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_damaged_images(tmp_path, image):
    """Kills: masks of another size than the image."""
    assert "image 1 of" in refusal(packed_file(tmp_path / "p", images=[jpeg(), image, jpeg()]))


def test_what_is_no_packed_file(tmp_path):
    """Other files are not mistaken for one, and none of them is a traceback."""
    save_file({"a": np.zeros(3)}, tmp_path / "weights")
    for name, content in {
        "empty": b"",
        "text": b"words",
        "short": b"\1\0\0\0\0\0\0\0",
        "zip": b"PK\x03\x04" * 9,
    }.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "deep").write_bytes((100_000).to_bytes(8, "little") + b"[" * 100_000)
    for name in ("weights", "empty", "text", "short", "zip", "deep"):
        assert "that minisam pack wrote" in refusal(tmp_path / name)
    (tmp_path / "photo").write_bytes(jpeg())
    assert "which is an image" in refusal(tmp_path / "photo")
    for name in ("nowhere", "x" * 300, "null\0"):
        with pytest.raises(InputError, match="expected a folder or a packed file, got"):
            open_sources(tmp_path / name)
    path = packed_file(tmp_path / "p", pieces=[runs([])] * 3)
    assert "expected masks in the set one of" in refusal(path)
    assert len(open_sources(path, bare=True)) == 2


def test_a_changed_file_is_checked_again(tmp_path):
    path = packed_file(tmp_path / "p")
    open_sources(path)
    packed_file(path, pieces=[runs(), PIECES["runs too short"], runs()])
    os.utime(path, (1, 1))  # both may be written in one tick of the system's clock
    assert "image 1 of" in refusal(path)


@given(edits=st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=4), cut=st.booleans())
@settings(max_examples=60)
def test_any_bytes(tmp_path_factory, edits, cut):
    """Law: whatever bytes are changed, the whole file's masks or an ``InputError``."""
    path = packed_file(tmp_path_factory.mktemp("any") / "p")
    masks = [source.masks(i, [0, 1]) for source in open_sources(path) for i in range(len(source))]
    content = bytearray(path.read_bytes())
    for at, byte in edits:
        content[at % len(content)] = byte
    path.write_bytes(content[: edits[0][0]] if cut else content)
    try:
        sources = open_sources(path)
        pairs = [(source.picture(i), source.masks(i, [0, 1])) for source in sources for i in range(len(source))]
    except InputError as error:
        assert "\n" not in str(error) and path.name in str(error)
    else:
        assert len(pairs) == 3
        for (image, found), expected in zip(pairs, masks):
            assert image.size == SIZE[::-1]
            np.testing.assert_array_equal(found, expected)


def test_load_file_reads_what_we_write(tmp_path):
    """The file is safetensors: its own library reads it too."""
    assert set(load_file(packed_file(tmp_path / "p"))) == {"sets", "jpegs", "jpegs_ends", "runs", "runs_ends"}


def test_the_writer_keeps_the_readers_limit(tmp_path, monkeypatch):
    """What could not be read again is not written."""
    from minisam.training import pack

    folder = sa1b_folder(tmp_path / "set", 1)
    monkeypatch.setattr(pack, "MAX_RUNS", 50)
    with pytest.raises(InputError, match=r"expected at most 50 runs .*, got \d+ of .*0\.jpg"):
        pack.pack([folder], tmp_path / "p", 96, 75, 10**7)
    assert not (tmp_path / "p").exists()
