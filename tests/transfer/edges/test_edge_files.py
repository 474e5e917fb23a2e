"""BSDS500's files, SA-1B's schema with annotators, scenes of the world; and what is none of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from minisam.files.images import save_png
from minisam.transfer.edges import bsds
from minisam.transfer.edges.bsds import boundaries, find, labels_of, read_ground_truth, world
from minisam_kernels import InputError
from minisam_kernels.masks import rle

MUTANTS = {
    "one annotator for all": (
        "minisam/transfer/edges/bsds.py",
        'if annotation["annotator"] == annotator]',
        "]",
    ),
    "neighbours to the right alone": (
        "minisam/transfer/edges/bsds.py",
        "thin((own != padded[:-1, 1:]) | (own != padded[1:, :-1]) | (own != padded[1:, 1:]))",
        "thin(own != padded[:-1, 1:])",
    ),
    "the frame is a boundary": ("minisam/transfer/edges/bsds.py", 'mode="edge"', 'mode="constant"'),
    "the training split": ("minisam/transfer/edges/bsds.py", '("test", "val", "train")', '("train", "val", "test")'),
}  # fmt: skip
SIZE = 12, 16


def quarters() -> np.ndarray:
    """Labels 1 … 4."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return 1 + (rows >= 5) + 2 * (columns >= 7)


def test_boundaries():
    """Two lines that cross; never along the frame. Kills: neighbours to the right alone, the frame is a boundary."""
    expected = np.zeros(SIZE, bool)
    expected[4], expected[:, 6] = True, True
    np.testing.assert_array_equal(boundaries(quarters()), expected)
    assert not boundaries(np.zeros(SIZE, int)).any()


def test_labels_tell_sets_of_masks_apart():
    rng = np.random.default_rng(0)
    masks = rng.random((7, 20, 20)) < 0.5
    labels, codes = labels_of(masks), np.tensordot(1 << np.arange(7), masks, 1)
    np.testing.assert_array_equal(labels[:, None] == labels, codes[:, None] == codes)


def write_bsds(folder, split: str, names: tuple[str, ...], shape: tuple[int, int] = SIZE) -> None:
    """As BSDS500's files: a row of cells, each a structure with Segmentation and Boundaries, uint16 and uint8."""
    (folder / "images" / split).mkdir(parents=True)
    (folder / "groundTruth" / split).mkdir(parents=True)
    for name in names:
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "images" / split / f"{name}.jpg")
        cells = np.empty((1, 2), object)
        for n in range(2):
            labels = np.full(shape, 1, np.uint16) if n else np.resize(quarters(), shape).astype(np.uint16)
            cells[0, n] = {"Segmentation": labels, "Boundaries": boundaries(labels).astype(np.uint8)}
        savemat(folder / "groundTruth" / split / f"{name}.mat", {"groundTruth": cells})


def test_bsds500(tmp_path):
    """The test split, by name. Kills: the training split."""
    write_bsds(tmp_path, "test", ("3", "1", "2"))
    write_bsds(tmp_path, "train", ("4",))
    pictures = [read() for read in find(tmp_path)]
    assert [picture.name for picture in pictures] == ["1", "2", "3"]
    for picture in pictures:
        assert picture.image.shape == (*SIZE, 3)
        np.testing.assert_array_equal(picture.drawn, [boundaries(quarters()), np.zeros(SIZE, bool)])
    assert [read().name for read in find(tmp_path, every=2)] == ["1", "3"] and len(find(tmp_path, limit=1)) == 1


def write_record(folder, name: str, annotations: list[dict]) -> None:
    folder.mkdir(exist_ok=True)
    save_png(folder / f"{name}.png", np.full((*SIZE, 3), int(name), np.uint8))
    (folder / f"{name}.json").write_text(json.dumps({"image": {"file_name": ""}, "annotations": annotations}))


def region(mask: np.ndarray, **more: object) -> dict:
    return {"segmentation": {"size": [*SIZE], "counts": rle.encode(mask[None])[0].tolist()}, **more}


def test_annotators(tmp_path):
    """Of SA-1B's schema; pixels that an annotator left out are a region. Kills: one annotator for all."""
    labels = quarters()
    annotations = [region(labels == label, annotator=7) for label in (4, 1, 2)]
    annotations += [region(labels <= 2, annotator=3), region(labels > 2, annotator=3)]
    write_record(tmp_path / "set", "1", annotations)
    (picture,) = [read() for read in find(tmp_path / "set")]
    np.testing.assert_array_equal(picture.drawn, [boundaries(labels > 2), boundaries(labels)])


def test_world():
    (first, second) = [read() for read in world(2, 64)]
    assert first.image.shape == (64, 64, 3) and len(first.drawn) == 1 and first.drawn[0].any()
    assert first.name != second.name and (first.image != second.image).any()


def refused(call) -> str:
    with pytest.raises(InputError) as error:
        call()
    message = str(error.value)
    assert message.startswith("expected ") and ", got " in message and "\n" not in message
    return message


def test_bad_files(tmp_path):
    path = tmp_path / "1.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    assert "BSDS500" in refused(lambda: read_ground_truth(path, SIZE))
    savemat(path, {"other": np.zeros(3)})
    assert "BSDS500" in refused(lambda: read_ground_truth(path, SIZE))
    savemat(path, {"groundTruth": np.zeros((3, 4))})
    assert "BSDS500" in refused(lambda: read_ground_truth(path, SIZE))
    savemat(path, {"groundTruth": np.empty((1, 0), object)})
    assert "at least one annotator" in refused(lambda: read_ground_truth(path, SIZE))
    assert "BSDS500" in refused(lambda: read_ground_truth(tmp_path / "none.mat", SIZE))
    write_bsds(tmp_path / "other size", "test", ("1",), (4, 5))
    assert "(4, 5)" in refused(find(tmp_path / "other size")[0])
    write_bsds(tmp_path / "no image", "test", ("1",))
    (tmp_path / "no image" / "images" / "test" / "1.jpg").unlink()
    assert "1.jpg" in refused(find(tmp_path / "no image")[0])
    (tmp_path / "empty" / "groundTruth").mkdir(parents=True)
    assert ".mat" in refused(lambda: find(tmp_path / "empty"))
    refused(lambda: find(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("more", "words"),
    [({}, "none"), ({"annotator": "x"}, "'x'"), ({"annotator": True}, "True"), (None, "at least one")],
)
def test_bad_annotators(tmp_path, more, words):
    write_record(tmp_path / "set", "1", [] if more is None else [region(quarters() > 2, **more)])
    assert words in refused(find(tmp_path / "set")[0])


def test_masks_in_files_are_no_regions(folder):
    assert "SA-1B" in refused(lambda: bsds.find(folder))
