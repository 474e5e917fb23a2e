"""Folders in SA-1B's schema, packed files, bare images, bad folders."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from minisam.training.data import Bare, Pictures
from minisam.training.pack import pack, run_lengths
from minisam.training.sources import Folder, open_sources
from minisam_kernels import InputError
from sa1b import sa1b_folder

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "runs that begin with what the first pixel is": (
        "minisam/training/pack.py",
        "[0] if not flat[0] else [0, 0]",
        "[0]",
    ),
    "masks in the order of the file": (
        "minisam/training/packed.py",
        "for mask, i in zip(masks, chosen):",
        "for mask, i in zip(masks, sorted(chosen)):",
    ),
    "the image after the one asked for": (
        "minisam/training/packed.py",
        "int(ends[at - 1]) if at else 0 : int(ends[at])",
        "int(ends[at]) if at else 0 : int(ends[min(at + 1, len(ends) - 1)])",
    ),
    "a larger file than allowed": ("minisam/training/pack.py", "if size > limit:", "if False:"),
    "a count over all files": (
        "minisam/training/sources.py",
        "return [number[path] for path, _ in pairs[::every] if path in number] if pairs else super().held_out(every)",
        "return super().held_out(every)",
    ),
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy 2


@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_run_lengths(mask):
    """Kills: runs that begin with what the first pixel is."""
    runs = run_lengths(mask)
    np.testing.assert_array_equal(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(mask.shape), mask)
    assert (runs[1:] > 0).all()


def test_a_packed_file_holds_what_the_folders_hold(tmp_path):
    """Masks to the pixel, images but for JPEG, sets apart; smaller images when asked; too large a file is none.

    Kills: masks in the order of the file, the image after the one asked for, a larger file than allowed.
    """
    folders = [sa1b_folder(tmp_path / name, count) for name, count in (("one", 2), ("two", 1))]
    path = tmp_path / "packed.safetensors"
    report = pack(folders, path, 512, 95, 10**7)
    assert report["pictures"] == 3 and [entry["terms"] for entry in report["sets"]] == ["made up"] * 2
    sources = open_sources(path)
    assert [(source.name, len(source)) for source in sources] == [("one", 2), ("two", 1)]
    for source, folder in zip(pickle.loads(pickle.dumps(sources)), map(Folder, folders), strict=True):
        for i in range(len(source)):
            assert source.count(i) == folder.count(i)
            chosen = list(range(source.count(i)))[::-1]
            np.testing.assert_array_equal(source.masks(i, chosen), folder.masks(i, chosen))
            apart = np.asarray(source.picture(i)).astype(int) - np.asarray(folder.picture(i))
            assert abs(apart).mean() < 4
    assert Pictures(64, 3, (str(path),), 0.0, 0, 10)[3]["masks"].shape == (3, 64, 64)
    assert Bare(64, (str(path),), 0.0, 0, 10)[3]["image"].shape == (64, 64, 3)
    pack(folders, path, 48, 75, 10**7)
    assert max(open_sources(path)[0].picture(0).size) == 48
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"expected a file of at most 0.001 MB .*, got 0.0 MB"):
        pack(folders, path, 48, 75, 1000)
    assert path.read_bytes() == before


def test_what_is_wrong_with_a_folder_is_one_line(tmp_path):
    folder = sa1b_folder(tmp_path / "set")
    record = folder / "annotations" / "0.json"
    good = json.loads(record.read_text())
    for text in ("{", "[]", '{"annotations": [{"bbox": [1, 2, 3, 4]}]}', '{"annotations": 3}'):
        record.write_text(text)
        with pytest.raises(InputError, match=r"expected a JSON file in SA-1B's schema, got .*0.json"):
            Folder(folder).check()
    record.write_text(json.dumps({"annotations": [{"segmentation": {"size": [64, 96], "counts": [1, 2]}}]}))
    with pytest.raises(
        InputError, match=r"expected whole numbers >= 0 that sum to 64 · 96, got \[1, 2\] \(annotation 0 of .*0.json\)"
    ):
        Folder(folder).check()
    good["annotations"][0]["segmentation"]["size"] = [96, 64]
    record.write_text(json.dumps(good))
    with pytest.raises(InputError, match=r"a mask of \[64, 96\], the upright image's size, got \[96, 64\]"):
        Folder(folder).check()
    with pytest.raises(InputError, match=r"got \[96, 64\] \(annotation 0 of .*0.json\)"):
        Folder(folder).masks(0, [0])
    (folder / "images" / "0.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0\.jpg, which is none"):
        Folder(folder).picture(0)
    (tmp_path / "photo.bin").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="expected"):
        open_sources(tmp_path / "photo.bin")


def test_pictures_without_masks_do_not_move_the_held_out(tmp_path):
    """Pretraining holds out what training does; mask files are no images. Kills: a count over all files."""
    folder = sa1b_folder(tmp_path / "set", 4)
    (folder / "masks").mkdir()
    for path in (folder / "images" / "00.jpg", folder / "masks" / "0.png"):
        Image.new("RGB", (8, 8)).save(path)
    source = open_sources(folder, bare=True)[0]
    assert [source.pictures[i].name for i in source.held_out(2)] == ["0.jpg", "2.jpg"]
    assert sorted(path.name for path in source.pictures) == ["0.jpg", "00.jpg", "1.jpg", "2.jpg", "3.jpg"]
    for path in (folder / "annotations").iterdir():
        path.unlink()
    (folder / "other.json").write_text("[]")  # of no image
    source = open_sources(folder, bare=True)[0]
    assert [source.pictures[i].name for i in source.held_out(2)] == ["0.jpg", "1.jpg", "3.jpg"]
