"""Images: every common kind comes in right, every bad file is one line of error, overlays show what they should."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from minisam.files import images
from minisam.files.images import ENDINGS, image_size, is_image_name, nearly_black, read_image, read_mask, save_png
from minisam.files.overlay import COLOURS, outline, overlay
from minisam_kernels import InputError
from refusals import refusal

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "dropping alpha": (
        "minisam/files/images.py",
        'strip.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in strip.info',
        "False",
    ),
    "clipping at 255": ("minisam/files/images.py", "low, high = 0.0, 65535.0", "low, high = 0.0, 255.0"),
    "keeping the low byte": (
        "minisam/files/images.py",
        "numbers = np.asarray(strip).astype(np.float64)",
        "numbers = np.asarray(strip).astype(np.float64) % 256",
    ),
    "deep grey without transparency": (
        "minisam/files/images.py",
        'grey[numbers == strip.info.get("transparency")] = 255',
        "pass",
    ),
    "transparent grey of few bits": (
        "minisam/files/images.py",
        'key * (85 if stored == "L;2" else 17)',
        "key",
    ),
    "a stretch of what is 8-bit already": (
        "minisam/files/images.py",
        "if deep and stretch:",
        "if False:",
    ),
    "a file by its name": (
        "minisam/files/images.py",
        "Image.open(file, formats=kinds)",
        "Image.open(path, formats=kinds)",
    ),
    "lines of libtiff": (
        "minisam/files/images.py",
        "_libtiff_errors(is_tiff: bool) -> Iterator[None]:",
        "_libtiff_errors(is_tiff: bool, off: bool = True) -> Iterator[None]:\n    is_tiff = False",
    ),
    "a size before the turn": (
        "minisam/files/images.py",
        "(width, height) if turned else (height, width)",
        "(height, width)",
    ),
    "a border that counts as an edge": ("minisam/files/overlay.py", "constant_values=True", "constant_values=False"),
    "a window that is one row short": (
        "minisam/files/overlay.py",
        "padded[padded.shape[0] - mask.shape[0] :]",
        "padded[padded.shape[0] - mask.shape[0] - 1 : -1]",
    ),
}


@pytest.fixture(autouse=True)
def no_warnings():
    """Nothing that Pillow has to say reaches the user as a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


# --------------------------------------------------------------------------------------------------- good images


@pytest.mark.parametrize("kind", ["png", "bmp", "ppm", "tiff", "webp", "tga"])
def test_lossless_formats(tmp_path, kind):
    Image.fromarray(noise(9, 13, 3)).save(tmp_path / f"x.{kind}", **({"lossless": True} if kind == "webp" else {}))
    image = read_image(tmp_path / f"x.{kind}")
    assert image.dtype == np.uint8 and image.flags.c_contiguous
    np.testing.assert_array_equal(image, noise(9, 13, 3))


def test_grey_and_one_bit(tmp_path):
    grey = noise(5, 6)
    Image.fromarray(grey).save(tmp_path / "l.png")
    np.testing.assert_array_equal(read_image(tmp_path / "l.png"), np.stack([grey] * 3, axis=-1))
    Image.fromarray(grey > 127).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read_image(tmp_path / "1.png")[..., 0], np.where(grey > 127, 255, 0))


def test_transparency_is_laid_over_white(tmp_path):
    """Kills: dropping alpha, which shows what an editor left under transparent pixels."""
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = (0, 128, 255)
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png")[0, :, 0], [255, 127, 0])
    Image.fromarray(rgba[..., 2:]).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png")[0, :, 0], [255, 127, 0])
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), [[[10, 20, 30], [40, 50, 60]]])
    palette.save(tmp_path / "pt.png", transparency=1)
    np.testing.assert_array_equal(read_image(tmp_path / "pt.png"), [[[10, 20, 30], [255, 255, 255]]])
    palette.save(tmp_path / "pt.gif", transparency=0)
    np.testing.assert_array_equal(read_image(tmp_path / "pt.gif"), [[[255, 255, 255], [40, 50, 60]]])
    Image.fromarray(noise(2, 2)).save(tmp_path / "key.png", transparency=int(noise(2, 2)[0, 0]))
    assert read_image(tmp_path / "key.png")[0, 0].tolist() == [255, 255, 255]


def write_png(path, depth, colour, row, transparent=b"", size=None) -> None:
    """A PNG file of one row, as the format's own description says it: Pillow writes few of its kinds."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width = size or 8 * len(row) // (depth * {0: 1, 2: 3, 4: 2, 6: 4}[colour])
    head = struct.pack(">IIBBBBB", width, size or 1, depth, colour, 0, 0, 0)
    key = chunk(b"tRNS", transparent) if transparent else b""
    pieces = chunk(b"IHDR", head) + key + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + pieces)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "transparent", "expected"),
    [
        (1, 0, "b0", "0001", [255, 0, 255, 255, 0, 0, 0, 0]),
        (1, 0, "b0", "0000", [255] * 8),
        (2, 0, "1b", "0002", [0, 85, 255, 255]),
        (4, 0, "3a", "0003", [255, 170]),
        (8, 0, "1020", "0010", [255, 32]),
        (16, 0, "012c9c40", "012c", [255, 156]),
        (16, 0, "012c9c40", "9c40", [1, 255]),
        (16, 0, "012c9c40", "9c41", [1, 156]),
        (16, 0, "0000ffff", "0000", [255, 255]),
        (8, 2, "101010202020", "001000100010", [255, 32]),
        (16, 2, "012c012c012c9c409c409c40", "012c012c012c", [255, 156]),
        (8, 4, "10002080", "", [255, 143]),
        (16, 4, "100000002000ffff", "", [255, 32]),
        (16, 6, "1000100010000000200020002000ffff", "", [255, 32]),
    ],
)
def test_transparency_of_every_depth(tmp_path, depth, colour, row, transparent, expected):
    """Kills: deep grey without transparency, transparent grey of few bits."""
    write_png(tmp_path / "x.png", depth, colour, bytes.fromhex(row), bytes.fromhex(transparent))
    assert read_image(tmp_path / "x.png")[0, :, 0].tolist() == expected


def faint(bits: int, dtype=np.uint16) -> np.ndarray:
    """A ramp (40, 50) that uses ``bits`` bits of its type."""
    return np.linspace(0, 2**bits - 1, 2000).astype(dtype).reshape(40, 50)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("png", faint(12)),
        ("tiff", faint(12)),
        ("png", faint(10)),
        ("png", faint(14)),
        ("png", faint(16)),
        ("png", 300 + faint(9)),
        ("tiff", faint(12, np.int32)),
        ("tiff", faint(12, np.float32)),
        ("tiff", faint(0, np.float32) + faint(12, np.float32) / 1e9),
        ("tiff", faint(20, np.int32) - 5000),
        ("png", faint(5, np.uint8)),
        ("png", np.stack([faint(5, np.uint8)] * 3, axis=-1)),
        ("tiff", np.where(faint(12) > 4000, np.nan, faint(12)).astype(np.float32)),
    ],
)
def test_stretch_uses_all_of_the_range(tmp_path, kind, values):
    """The 0.5th percentile is black, the 99.5th white, straight between: 0.5 % are at each end.

    Kills: a stretch of what is 8-bit already, which leaves 17 levels of 12 bits.
    """
    Image.fromarray(values).save(tmp_path / f"x.{kind}")
    image = read_image(tmp_path / f"x.{kind}", stretch="percentile")
    numbers = values.astype(np.float64)
    low, high = np.percentile(numbers[np.isfinite(numbers)], (0.5, 99.5))
    expected = np.nan_to_num(255 * ((numbers - low) / (high - low)).clip(0, 1))
    grey = image if values.ndim == 3 else image[..., 0]
    assert np.abs(grey - expected).max() <= 0.51
    assert nearly_black(image) is None
    if values.dtype != np.uint8:
        assert len(np.unique(image)) > 240


def test_stretch_leaves_out_what_is_transparent(tmp_path):
    numbers = np.append(faint(12).ravel()[::10], [60000] * 50).astype(">u2")
    write_png(tmp_path / "x.png", 16, 0, numbers.tobytes(), struct.pack(">H", 60000))
    grey = read_image(tmp_path / "x.png", stretch="percentile")[0, :, 0]
    assert (grey[200:] == 255).all() and len(np.unique(grey[:200])) > 150
    for values in (np.full((4, 5), 700, np.uint16), np.full((4, 5), 7, np.uint8), np.zeros((4, 5), np.float32)):
        Image.fromarray(values).save(tmp_path / "flat.tiff")
        np.testing.assert_array_equal(
            read_image(tmp_path / "flat.tiff", "percentile"), read_image(tmp_path / "flat.tiff")
        )
    with pytest.raises(InputError, match="expected stretch 'percentile' or None, got 'minmax'"):
        read_image(tmp_path / "x.png", stretch="minmax")


def test_a_few_bright_pixels_are_not_the_range(tmp_path):
    """Nor do they hide that an image is nearly black."""
    values = faint(12)
    values[0, 0] = 65535
    Image.fromarray(values).save(tmp_path / "x.png")
    assert "at most 16 of 255 (try --stretch percentile)" in nearly_black(read_image(tmp_path / "x.png"))
    assert read_image(tmp_path / "x.png", "percentile").mean() > 120


@pytest.mark.parametrize(
    ("values", "dark"),
    [
        (faint(8), True),
        (faint(10), True),
        (faint(12), True),
        (faint(14), True),
        (faint(15), False),
        (faint(16), False),
        (faint(8, np.uint8), False),
        (faint(6, np.uint8), True),
        (np.zeros((4, 5), np.uint16), False),
        (np.full((4, 5), 3000, np.uint16), False),
        (np.where(faint(12) > 4080, 60000, 100).astype(np.uint16), False),
    ],
)
def test_nearly_black(tmp_path, values, dark):
    """12 of 16 bits are; an image of one colour has nothing to stretch."""
    Image.fromarray(values).save(tmp_path / "x.png")
    line = nearly_black(read_image(tmp_path / "x.png"))
    assert (line is not None) == dark and (line is None or ("--stretch percentile" in line and "\n" not in line))


@pytest.mark.parametrize("kind", ["png", "tiff", "pgm"])
def test_sixteen_bits(tmp_path, kind):
    """The whole range becomes 0 … 255. Kills: clipping at 255, keeping the low byte."""
    numbers = np.array([[0, 257, 128 * 257, 65535, 300]], np.uint16)
    if kind == "pgm":
        (tmp_path / "x.pgm").write_bytes(b"P5 5 1 65535\n" + numbers.astype(">u2").tobytes())
    else:
        Image.fromarray(numbers).save(tmp_path / f"x.{kind}")
    np.testing.assert_array_equal(read_image(tmp_path / f"x.{kind}")[0, :, 1], [0, 1, 128, 255, 1])


def test_whole_numbers_and_floats(tmp_path):
    def read(values, dtype):
        Image.fromarray(np.array([values], dtype)).save(tmp_path / "x.tiff")
        return read_image(tmp_path / "x.tiff")[0, :, 2].tolist()

    assert read([-5, 0, 65535, 10**9], np.int32) == [0, 0, 255, 255]
    assert read([0, 0.5, 1, np.nan, -1], np.float32) == [0, 128, 255, 0, 0]
    assert read([0, 128, 255], np.float32) == [0, 128, 255]
    assert read([0, 32896, 65535], np.float32) == [0, 128, 255]
    assert read([0, 1, np.inf], np.float32) == [0, 255, 255]


def test_cmyk(tmp_path):
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[..., 0] = 255  # cyan only
    Image.frombytes("CMYK", (8, 8), ink.tobytes()).save(tmp_path / "c.jpg", quality=100)
    red, green, blue = read_image(tmp_path / "c.jpg")[4, 4].astype(int)
    assert red < 30 and green > 200 and blue > 200


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp", "mpo"])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation(tmp_path, kind, orientation):
    """As Pillow turns it, and its size before it is decoded. Kills: a size before the turn."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(5, 8, 3)).save(tmp_path / f"x.{kind}", exif=exif)
    with Image.open(tmp_path / f"x.{kind}") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    assert image_size(tmp_path / f"x.{kind}") == expected.shape[:2]
    image = read_image(tmp_path / f"x.{kind}")
    np.testing.assert_array_equal(image, expected)
    assert image.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "RGBA", "CMYK", "F"])
def test_every_mode_is_turned(tmp_path, mode, orientation):
    """Turning and conversion commute. Kills: an orientation that is lost with alpha, a palette, or 16 bits."""
    numbers = noise(5, 8)
    if mode in ("I;16", "F"):
        picture = Image.fromarray(numbers.astype(np.uint16 if mode == "I;16" else np.float32) * 250)
    else:
        picture = Image.fromarray(noise(5, 8, 3)).convert(mode)
    still = read_image(picture)
    picture.getexif()[0x0112] = orientation
    turned = read_image(picture)
    expected = np.asarray(ImageOps.exif_transpose(upright_with(Image.fromarray(still), orientation)))
    np.testing.assert_array_equal(turned, expected)


XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
def test_an_orientation_that_only_xmp_has(tmp_path, kind):
    """As an editor writes it."""
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP)
    more = {"png": {"pnginfo": text}, "tiff": {"tiffinfo": {700: XMP.encode()}}}.get(kind, {"xmp": XMP.encode()})
    Image.fromarray(noise(5, 8, 3)).save(tmp_path / f"x.{kind}", **more)
    assert read_image(tmp_path / f"x.{kind}").shape[:2] == image_size(tmp_path / f"x.{kind}") == (8, 5)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "RGB", "RGBA", "CMYK", "F"])
def test_turned_tiffs_of_every_mode(tmp_path, mode, compression, orientation):
    """Pillow maps some uncompressed files, and turns them wrongly then. Kills: a file by its name."""
    picture = (
        Image.fromarray(noise(5, 8).astype(np.uint16) * 250) if mode == "I;16" else Image.fromarray(noise(5, 8, 3))
    )
    picture = picture if mode == "I;16" else picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "x.tiff", compression=compression, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(upright_with(Image.fromarray(read_image(picture)), orientation)))
    np.testing.assert_array_equal(read_image(tmp_path / "x.tiff"), expected)
    assert image_size(tmp_path / "x.tiff") == expected.shape[:2]


def upright_with(picture: Image.Image, orientation: int) -> Image.Image:
    picture.getexif()[0x0112] = orientation
    return picture


def test_pil_images(tmp_path):
    """As from a file, and the caller's image is left as it was. Kills: turning in place, only RGB."""
    rgba = Image.fromarray(noise(5, 8, 4))
    rgba.getexif()[0x0112] = 6
    rgba.save(tmp_path / "x.png", exif=rgba.getexif())
    np.testing.assert_array_equal(read_image(rgba), read_image(tmp_path / "x.png"))
    assert rgba.size == (8, 5) and rgba.getexif()[0x0112] == 6
    (tmp_path / "cut.png").write_bytes((tmp_path / "x.png").read_bytes()[:90])
    with Image.open(tmp_path / "cut.png") as picture:
        assert "a PIL image of mode RGBA and size (8, 5)" in refusal(read_image, picture)


def test_damaged_exif_data_refuses_nothing(tmp_path, monkeypatch):
    """Kills: an error of Pillow's about a tag that reaches the reader."""
    Image.fromarray(noise(5, 8, 3)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image.Image, "getexif", lambda picture: 1 / 0)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), noise(5, 8, 3))


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "x.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_shapes(tmp_path, size):
    Image.fromarray(noise(*size, 3)).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), noise(*size, 3))


def test_strips_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("minisam.files.images.STRIP", 50)
    test_transparency_is_laid_over_white(tmp_path)
    test_orientation(tmp_path, "png", 6)
    image = noise(40, 30, 3)
    masks = np.stack([image[..., 0] > 100, image[..., 1] > 200])
    small_strips = overlay(image, masks)
    monkeypatch.undo()
    np.testing.assert_array_equal(small_strips, overlay(image, masks))


BIG = """
import resource, sys
import numpy as np
from minisam.files.images import read_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
image = read_image(sys.argv[1])
assert image.shape == (10000, 10000, 3) and image[5000, 5000].tolist() == [10, 200, 30]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3 - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kilobytes")
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_a_hundred_megapixels(tmp_path, kind):
    """7 bytes a pixel: what Pillow holds and the result. Kills: whole-picture copies on the way."""
    Image.new("RGB", (10000, 10000), (10, 200, 30)).save(tmp_path / f"x.{kind}", quality=100, subsampling=0, exif=b"")
    command = [sys.executable, "-W", "error", "-c", BIG, tmp_path / f"x.{kind}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 760


# ---------------------------------------------------------------------------------------------------- bad images


def test_what_is_no_picture(tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("not an image at all, just words\n")
    (tmp_path / "page.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    assert "does not exist" in refusal(read_image, tmp_path / "missing.png")
    assert "no file" in refusal(read_image, tmp_path)
    assert "empty" in refusal(read_image, tmp_path / "empty.png")
    assert "none" in refusal(read_image, tmp_path / "text.jpg")
    assert "none" in refusal(read_image, tmp_path / "page.eps"), "Pillow would start Ghostscript"


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "tiff", "webp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated(tmp_path, kind, share):
    path = tmp_path / f"x.{kind}"
    Image.fromarray(noise(40, 60, 3)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refusal(read_image, path)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "group4"])
def test_nothing_but_the_error_is_said_about_a_damaged_tiff(tmp_path, capfd, compression):
    """libtiff writes lines of its own, and leaves pixels as they are. Kills: lines of libtiff."""
    picture = Image.fromarray(noise(64, 64)).convert("1" if compression == "group4" else "L")
    picture.save(tmp_path / "x.tiff", compression=compression)
    content = bytearray((tmp_path / "x.tiff").read_bytes())
    for at in range(40, len(content) // 2, 7):
        content[at] ^= 0x5A
    (tmp_path / "x.tiff").write_bytes(content)
    assert "cannot be read" in refusal(read_image, tmp_path / "x.tiff")
    picture.save(tmp_path / "x.tiff", compression=compression)
    assert read_image(tmp_path / "x.tiff").shape == (64, 64, 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("tag", "value"), [(277, 9), (277, 60_000), (258, 77), (259, 60_000), (262, 99), (339, 9)])
def test_nothing_but_the_error_is_said_about_an_odd_tiff(tmp_path, tag, value):
    """Pillow writes to a log of its own about some, which is stderr where nobody asked for a log."""
    Image.fromarray(noise(9, 9)).save(tmp_path / "x.tiff", tiffinfo={277: 1, 339: 1})
    content = (tmp_path / "x.tiff").read_bytes()
    old = struct.pack("<HHI", tag, 3, 1)
    assert content.count(old) == 1
    at = content.index(old) + len(old)
    (tmp_path / "x.tiff").write_bytes(content[:at] + struct.pack("<H", value) + content[at + 2 :])
    code = "from minisam.files.images import read_image\ntry: read_image('x.tiff')\nexcept ValueError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout.startswith("expected") and done.stdout.count("\n") == 1


def test_tiffs_in_threads(tmp_path):
    """libtiff's handlers are one for the process: a damaged file is not blamed on its neighbour."""
    Image.fromarray(noise(64, 64)).save(tmp_path / "good.tiff", compression="tiff_lzw")
    content = bytearray((tmp_path / "good.tiff").read_bytes())
    content[60:900:7] = b"\x5a" * len(content[60:900:7])
    (tmp_path / "bad.tiff").write_bytes(content)
    results: list[bool] = []

    def read(name: str) -> None:
        for _ in range(20):
            try:
                read_image(tmp_path / name)
            except InputError:
                results.append(name == "bad.tiff")
            else:
                results.append(name == "good.tiff")

    threads = [threading.Thread(target=read, args=(name,)) for name in ("good.tiff", "bad.tiff") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 80


@pytest.mark.parametrize("side", [20_000, 60_000, 2**31 - 1])
def test_a_gigantic_head(tmp_path, side):
    """A few bytes that claim to be gigapixels are refused before anything is allocated."""
    write_png(tmp_path / "x.png", 8, 0, b"abcd", size=side)
    assert "x.png" in refusal(read_image, tmp_path / "x.png")
    with pytest.raises(InputError, match=r"x\.png"):
        image_size(tmp_path / "x.png")


def test_paths_that_cannot_be(tmp_path):
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    for path in ("x" * 5000, "null\0.png", tmp_path / "circle.png", tmp_path / "a.png" / "b.png"):
        with pytest.raises(InputError, match="expected an image, got"):
            read_image(path)


def test_names_of_images():
    """In any case, every format that is read; not a Mac's notes."""
    assert all(is_image_name(Path(f"x{ending}")) and is_image_name(Path(f"X{ending.upper()}")) for ending in ENDINGS)
    assert {
        ending
        for ending, kind in Image.registered_extensions().items()
        if kind in ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
    } - {".apng"} <= set(ENDINGS)
    assert not any(
        is_image_name(Path(name)) for name in ("._x.jpg", "x.json", "jpg", ".jpg", "x.jpg.json", "x.svg", "x")
    )


def test_the_size_of_a_png_needs_no_pixels(tmp_path, monkeypatch):
    """Unless something in it may turn it."""
    Image.fromarray(noise(5, 8, 3)).save(tmp_path / "x.png")
    monkeypatch.setattr(images, "_orientation", lambda picture: pytest.fail("decoded"))
    assert image_size(tmp_path / "x.png") == (5, 8)


def test_too_large(tmp_path, monkeypatch):
    """More than Pillow's limit is refused by size alone; a large one below it gives no warning."""
    Image.new("1", (300, 100)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 14_000)
    assert "28000" in refusal(read_image, tmp_path / "x.png") and "30000" in refusal(read_image, tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)
    assert read_image(tmp_path / "x.png").shape == (100, 300, 3)


@given(kind=st.sampled_from(["jpeg", "png", "gif", "tiff", "webp", "ppm"]), data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(tmp_path, kind, data):
    """Law: whatever a file's bytes, an image or an ``InputError``, and the size that ``image_size`` says."""
    path = tmp_path / f"x.{kind}"
    Image.fromarray(noise(16, 16, 3)).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        image = read_image(path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        assert image_size(path) == image.shape[:2]


# ------------------------------------------------------------------------------------------------ masks, overlays


def test_masks(tmp_path):
    mask = noise(6, 9) > 127
    for name, values in {"bool": mask, "ones": mask.astype(np.uint8), "full": mask * np.uint8(255)}.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.png", (6, 9)), mask)
    with pytest.raises(InputError, match=r"expected a mask of the image's size, 6 × 9, got .* of 9 × 6"):
        read_mask(tmp_path / "bool.png", (9, 6))
    save_png(tmp_path / "black.png", np.zeros((6, 9), bool))
    with pytest.raises(InputError, match="black"):
        read_mask(tmp_path / "black.png", (6, 9))


@pytest.mark.parametrize("image", [noise(4, 5, 3), noise(4, 5), noise(4, 5) > 127])
def test_saving(tmp_path, image):
    save_png(tmp_path / "x.png", image)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.format == "PNG"
    read = read_image(tmp_path / "x.png")
    np.testing.assert_array_equal(
        read if image.ndim == 3 else read[..., 0], image * (255 if image.dtype == bool else 1)
    )
    assert os.listdir(tmp_path) == ["x.png"]


@pytest.mark.parametrize("where", ["nowhere/x.png", "."])
def test_saving_where_it_cannot(tmp_path, where):
    with pytest.raises(InputError, match=r"expected .* got"):
        save_png(tmp_path / where, noise(4, 5, 3))
    assert not os.listdir(tmp_path)


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "x.png").write_bytes(b"old")

    def fail(self, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(InputError, match="No space left"):
        save_png(tmp_path / "x.png", noise(4, 5, 3))
    assert (tmp_path / "x.png").read_bytes() == b"old" and os.listdir(tmp_path) == ["x.png"]


@given(
    mask=arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    width=st.integers(1, 9),
)
def test_outline_by_its_definition(mask, width):
    """Kills: a border that counts as an edge; a window that is one row short."""
    expected = np.zeros_like(mask)
    for row, column in np.argwhere(mask):
        top, left = max(0, row - width), max(0, column - width)
        expected[row, column] = not mask[top : row + width + 1, left : column + width + 1].all()
    np.testing.assert_array_equal(outline(mask, width), expected)


def test_overlay():
    image = np.full((60, 80, 3), 100, np.uint8)
    masks = np.zeros((2, 60, 80), bool)
    masks[0, 10:30, 10:30] = masks[1, 40:50, 10:70] = True
    out = overlay(image, masks, [(20, 20)], [1], box=(5, 5, 35, 35))
    assert (image == 100).all(), "the image itself is not touched"
    assert (out[5, 20] == 255).all() and (out[34, 20] == 255).all() and (out[4, 20] == 100).all()
    assert tuple(out[10, 15]) == COLOURS[0] and tuple(out[40, 60]) == COLOURS[1]
    np.testing.assert_array_equal(out[45, 60], np.rint((100 + np.array(COLOURS[1])) / 2).astype(np.uint8))
    assert (out[20, 20] == 255).all(), "the plus of the point"
    assert (out[55, 75] == 100).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (3, 3)])
def test_overlay_of_extreme_shapes(shape):
    image = noise(*shape, 3)
    corner = (shape[1] - 0.5, shape[0] - 0.5)
    out = overlay(image, np.ones((1, *shape), bool), [(0, 0), corner], [1, 0], box=(0, 0, shape[1], shape[0]))
    assert out.shape == image.shape and out.dtype == np.uint8
    np.testing.assert_array_equal(overlay(image, np.zeros((0, *shape), bool)), image)


@pytest.mark.parametrize("source", [None, 3, io.BytesIO(b"x"), ["a.png"], b"a.png", np.zeros((2, 2, 3), np.uint8)])
def test_only_paths_and_pil_images_are_read(source):
    with pytest.raises(InputError, match="expected an image as a path or a PIL image, got"):
        read_image(source)
