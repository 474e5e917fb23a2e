"""Folders in SA-1B's schema, packed files, bare images, bad folders."""

from __future__ import annotations

import json
import pickle
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from minisam.files.images import read_image
from minisam.training.data import Bare, Pictures
from minisam.training.pack import pack
from minisam.training.sources import Folder, open_sources
from minisam.transfer.points import folder_cases
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from sa1b import sa1b_folder

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "runs column after column": ("minisam/training/pack.py", "mask.swapaxes(1, 2)", "mask"),
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
    "images as Pillow opens them": (
        "minisam/training/sources.py",
        "Image.fromarray(read_image(self.pictures[index], self.stretch))",
        'Image.open(self.pictures[index]).convert("RGB")',
    ),
    "masks that nobody checks": (
        "minisam/training/sources.py",
        "        read_all_counts(record.annotations, image_size(picture), path)\n",
        "",
    ),
    "what is left out goes unsaid": (
        "minisam/training/sources.py",
        "lines = [self.found.describe(), ",
        'lines = ["", ',
    ),
    "a larger file than allowed": ("minisam/training/pack.py", "if size > limit:", "if False:"),
    "a count over all files": (
        "minisam/training/sources.py",
        "return [number[path] for path, _ in pairs[::every] if path in number] if pairs else super().held_out(every)",
        "return super().held_out(every)",
    ),
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools, about NumPy 2


def test_a_packed_file_holds_what_the_folders_hold(tmp_path):
    """Masks to the pixel, images but for JPEG, sets apart; smaller images when asked; too large a file is none.

    Kills: runs column after column, masks in the order of the file, the image after the one asked for, a larger file
    than allowed.
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


# ------------------------------------------------------------------------------------- images as everywhere else

MASK = np.zeros((40, 60), bool)  # of the upright image
MASK[5:15, 10:50] = True


def write_record(path, file_name="", **code) -> None:
    """A JSON file of one mask; ``code`` replaces what is right about its run lengths."""
    whole = {"size": [40, 60], "counts": rle.to_string(rle.rle_numpy(MASK)).decode()} | code
    image = {"file_name": file_name, "width": 60, "height": 40}
    path.write_text(json.dumps({"image": image, "annotations": [{"segmentation": whole}]}))


def turned(values: np.ndarray, orientation: int) -> tuple[np.ndarray, Image.Exif]:
    """What a camera stores of an upright image that it held in another way."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(values)
    back = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    return stored if back[orientation] is None else stored.transpose(back[orientation]), exif


BRIGHT = np.where(MASK, 255, 0).astype(np.uint8)
KINDS = {
    "a.png": lambda path: Image.fromarray(BRIGHT).save(path),
    "deep.png": lambda path: Image.fromarray(BRIGHT.astype(np.uint16) * 200).save(path),
    "deep.tif": lambda path: Image.fromarray(BRIGHT.astype(np.uint16) * 257).save(path),
    "float.tiff": lambda path: Image.fromarray(BRIGHT.astype(np.float32) / 255).save(path),
    "bit.png": lambda path: Image.fromarray(MASK).save(path),
    "UPPER.JPG": lambda path: Image.fromarray(BRIGHT).save(path),
    "Mixed.Jpeg": lambda path: Image.fromarray(BRIGHT).save(path),
    "a.webp": lambda path: Image.fromarray(np.stack([BRIGHT] * 3, -1)).save(path, lossless=True),
    "A.BMP": lambda path: Image.fromarray(BRIGHT).save(path),
    "a.gif": lambda path: Image.fromarray(BRIGHT).save(path),
    "cmyk.jpg": lambda path: Image.fromarray(np.stack([BRIGHT] * 3, -1)).convert("CMYK").save(path),
    "clear.png": lambda path: Image.fromarray(np.stack([BRIGHT * 0, 255 - BRIGHT], -1)).save(
        path
    ),  # LA: clear is white
    "rgba.png": lambda path: Image.fromarray(np.stack([BRIGHT * 0] * 3 + [255 - BRIGHT], -1)).save(path),
    "palette.png": lambda path: Image.fromarray(1 - MASK.astype(np.uint8)).convert("P").save(path, transparency=0),
    "key.png": lambda path: Image.fromarray(MASK.astype(np.uint16) * 99).save(path, transparency=99),
    **{
        f"turned{o}.{kind}": lambda path, o=o: turned(BRIGHT, o)[0].save(path, exif=turned(BRIGHT, o)[1])
        for o in (3, 6, 8)
        for kind in ("jpg", "png", "tiff", "webp")
    },
}


@pytest.mark.parametrize("name", KINDS)
def test_training_sees_the_image_that_prediction_sees(tmp_path, name):
    """Whatever the kind, the mask lies on what is bright: in training, pretraining, a packed file and transfer.

    Kills: images as Pillow opens them.
    """
    KINDS[name](tmp_path / name)
    write_record(tmp_path / "masks.json", name)
    write_record(tmp_path / "nothing.json", "nothing.png")
    sources = [Folder(tmp_path), open_sources(tmp_path, bare=True)[0]]
    sources[0].check()
    pack([tmp_path], tmp_path / "packed", 60, 95, 10**6)
    for source in (*sources, *open_sources(tmp_path / "packed")):
        pixels = np.asarray(source.picture(0))
        assert pixels.shape == (40, 60, 3) and ((pixels[..., 1] > 100) ^ MASK).mean() < 0.01
    np.testing.assert_array_equal(np.asarray(sources[0].picture(0)), read_image(tmp_path / name))
    for source in (sources[0], *open_sources(tmp_path / "packed")):
        np.testing.assert_array_equal(source.masks(0, [0])[0], MASK)
    (case,) = folder_cases(tmp_path, None)
    np.testing.assert_array_equal(case.masks[0], MASK)
    np.testing.assert_array_equal(case.image, read_image(tmp_path / name))


BAD = {
    "too short": {"counts": [500]},
    "too long": {"counts": [2400, 5]},
    "negative": {"counts": [2500, -100]},
    "text too short": {"counts": "0"},
    "text outside the code": {"counts": "~~"},
    "no counts": {"counts": None},
    "polygons": {"counts": [[0, 0, 3, 0, 3, 3]]},
    "floats": {"counts": [2400.0]},
    "NaN": {"counts": [float("nan")]},
    "turned": {"size": [60, 40]},
    "another size": {"size": [40, 61]},
    "a gigantic size": {"size": [10**6, 10**6]},
    "no size": {"size": None},
}


@pytest.mark.parametrize("wrong", BAD.values(), ids=BAD)
def test_damaged_masks_are_found_before_step_1(tmp_path, wrong):
    """By the check, by packing, by transfer; the line names the file. Kills: masks that nobody checks."""
    Image.fromarray(BRIGHT).save(tmp_path / "a.png")
    write_record(tmp_path / "a.json", **wrong)
    for call in (
        Folder(tmp_path).check,
        lambda: Folder(tmp_path).masks(0, [0]),
        lambda: pack([tmp_path], tmp_path / "packed", 60, 95, 10**6),
        lambda: list(folder_cases(tmp_path, None)),
    ):
        with pytest.raises(InputError, match=r"^expected .* got .*a\.json") as error:
            call()
        assert "\n" not in str(error.value)
    assert not (tmp_path / "packed").exists()


def gigantic(path) -> None:
    """A PNG file's head that claims 10 gigapixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)))


@pytest.mark.parametrize(
    "spoil",
    [gigantic, lambda path: path.write_bytes(b"words"), lambda path: path.write_bytes(path.read_bytes()[:30])],
    ids=["gigantic", "no image", "cut"],
)
def test_damaged_images_are_found_before_step_1(tmp_path, spoil):
    """With masks and without."""
    for name in ("a.png", "b.png"):
        Image.fromarray(BRIGHT).save(tmp_path / name)
        write_record(tmp_path / f"{name[0]}.json")
    spoil(tmp_path / "b.png")
    for source in (Folder(tmp_path), open_sources(tmp_path, bare=True)[0]):
        with pytest.raises(InputError, match=r"^expected .*b\.png"):
            source.check()


def test_what_is_left_out_or_odd_is_said(tmp_path, capsys):
    """On stderr, before a training; nothing where all is well. Kills: what is left out goes unsaid."""
    folder = sa1b_folder(tmp_path / "set", 3)
    Folder(folder).check()
    open_sources(folder, bare=True)[0].check()
    assert capsys.readouterr() == ("", "")
    (folder / "annotations" / "0.json").write_text('{"annotations": []}')
    Image.new("RGB", (96, 64)).save(folder / "images" / "extra.png")
    renamed = json.loads((folder / "annotations" / "1.json").read_text())
    renamed["image"]["file_name"] = "2.jpg"
    (folder / "annotations" / "1.json").write_text(json.dumps(renamed))
    Folder(folder).check()
    assert capsys.readouterr().err == (
        f"{folder}: left out 1 images without a JSON file (extra.png)\n"
        f"{folder}: 1 images without a mask (0.jpg), "
        "1 images whose JSON file names another one that lies there (1.jpg)\n"
    )
    for path in (folder / "annotations").iterdir():
        path.write_text('{"annotations": []}')
    with pytest.raises(InputError, match=r"expected masks in the JSON files below .*set, got none"):
        Folder(folder).check()


def test_a_nearly_black_set(tmp_path, capsys):
    """It is said, and packing can stretch it."""
    deep = (np.random.default_rng(0).integers(0, 4096, (40, 60)) // 2 * (1 + MASK)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    write_record(tmp_path / "a.json")
    Folder(tmp_path).check()
    assert "the image is nearly black" in capsys.readouterr().err
    pack([tmp_path], tmp_path / "packed", 60, 95, 10**6, stretch="percentile")
    assert capsys.readouterr().err == "" and np.asarray(open_sources(tmp_path / "packed")[0].picture(0)).max() > 240
