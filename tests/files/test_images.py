"""Images: every common kind comes in right, every bad file is one line of error, overlays show what they should."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from minisam.files.images import COLOURS, outline, overlay, read_image, read_mask, save_png
from minisam_kernels import InputError

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
    "a border that counts as an edge": ("minisam/files/images.py", "constant_values=True", "constant_values=False"),
    "a window that is one row short": (
        "minisam/files/images.py",
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


def refusal(path) -> str:
    with pytest.raises(InputError) as error:
        read_image(path)
    text = str(error.value)
    assert text.startswith("expected") and "got" in text and "\n" not in text
    return text


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


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("orientation", range(9))
def test_orientation(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(5, 8, 3)).save(tmp_path / f"x.{kind}", exif=exif)
    with Image.open(tmp_path / f"x.{kind}") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
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
        assert "a PIL image of mode RGBA and size (8, 5)" in refusal(picture)


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
    assert "does not exist" in refusal(tmp_path / "missing.png")
    assert "no file" in refusal(tmp_path)
    assert "empty" in refusal(tmp_path / "empty.png")
    assert "none" in refusal(tmp_path / "text.jpg")
    assert "none" in refusal(tmp_path / "page.eps"), "Pillow would start Ghostscript"


@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "tiff", "webp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated(tmp_path, kind, share):
    path = tmp_path / f"x.{kind}"
    Image.fromarray(noise(40, 60, 3)).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refusal(path)


def test_too_large(tmp_path, monkeypatch):
    """More than Pillow's limit is refused by size alone; a large one below it gives no warning."""
    Image.new("1", (300, 100)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 14_000)
    assert "28000" in refusal(tmp_path / "x.png") and "30000" in refusal(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)
    assert read_image(tmp_path / "x.png").shape == (100, 300, 3)


@given(kind=st.sampled_from(["jpeg", "png", "gif", "tiff", "webp", "ppm"]), data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes(tmp_path, kind, data):
    """Law: whatever a file's bytes, an image or an ``InputError``."""
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
