"""Images in files: any common kind in as uint8 RGB, PNG out.

Memory: ``read_image`` holds what Pillow decodes (4 bytes per pixel for colour) and the result (3 bytes), so about
0.7 GB for 100 megapixels; conversions go strip by strip. An image that EXIF turns is held twice by Pillow for a moment:
0.8 GB.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from minisam.files.atomic import atomic
from minisam_kernels import InputError
from minisam_kernels.runtime.errors import reason

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors, which it raises too, are lines on stderr
# Formats that Pillow decodes itself. (It would start another program for some of the others.)
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
# What their files' names end in, in any case: a file in a folder that ends otherwise is taken for no image
ENDINGS: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".avif", ".dib", ".gif", ".j2k")
ENDINGS += (".jfif", ".jp2", ".jpe", ".mpo", ".pbm", ".pgm", ".pnm", ".ppm", ".tga")
STRIP = 1 << 22  # pixels converted at a time
SIDEWAYS = (5, 6, 7, 8)  # orientations whose height is the upright image's width
STRETCHES = (None, "percentile")
PERCENTILES = (0.5, 99.5)  # what --stretch percentile makes black and white
NEARLY_BLACK = 64  # of 255: 14 of 16 bits


def read_image(source: str | Path | Image.Image, stretch: str | None = None) -> np.ndarray:
    """An image from a file, or a PIL image, as RGB, turned upright as its EXIF orientation says.

    Grey, palette, CMYK and 1-bit images become RGB; what is transparent is laid over white; 16-bit grey is divided by
    257 (its whole range becomes 0 … 255); floating-point grey is taken as 0 … 1, or 0 … 255 or 0 … 65535 when it
    exceeds that. Of an animation, the first frame.

    Parameters
    ----------
    source : str, Path or PIL image
        Pillow's own limit holds, twice ``PIL.Image.MAX_IMAGE_PIXELS``: 178 megapixels unless a program moves it.
    stretch : {None, "percentile"}
        "percentile" makes the 0.5th percentile of the values black and the 99.5th white, for data that use little of
        their range, such as 12 bits in a 16-bit file. 16-bit grey is stretched before it becomes 8-bit.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
        Red, green, blue.

    Raises
    ------
    InputError
        For whatever is not a whole image.
    """
    if stretch not in STRETCHES:
        raise InputError(f"expected stretch 'percentile' or None, got {stretch!r}")
    if isinstance(source, Image.Image):
        with reading(f"a PIL image of mode {source.mode} and size {source.size}"):
            return _to_rgb(_upright(source, in_place=False), stretch)
    if not isinstance(source, (str, Path)):
        raise InputError(f"expected an image as a path or a PIL image, got {type(source).__name__}")
    with _opened(source) as picture, _libtiff_errors(picture.format == "TIFF"):
        _scale_transparency(picture)
        picture.load()
        return _to_rgb(_upright(picture, in_place=True), stretch)


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of the image that ``read_image`` would return, from the head of the file. Raises ``InputError`` alike."""
    with _opened(path) as picture:
        width, height = picture.size
        if not width * height:
            raise InputError(f"expected an image with pixels, got {path} of {width} × {height}")
        noted = picture.format != "PNG" or _png_has_notes(path)  # Pillow decodes a PNG to find its orientation
        turned = noted and _orientation(picture) in SIDEWAYS
        turned &= getattr(picture, "tag_v2", {}).get(0x0112) not in SIDEWAYS  # of a TIFF it is turned already
    return (width, height) if turned else (height, width)


def _png_has_notes(path: str | Path) -> bool:
    """Whether there is any piece in a PNG file that may hold an orientation."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            if head[4:] in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


def is_image_name(path: Path) -> bool:
    """Whether a file's name is an image's; those that begin with ``._`` are a Mac's notes about other files."""
    return path.suffix.lower() in ENDINGS and not path.name.startswith("._")


def nearly_black(image: np.ndarray) -> str | None:
    """A line of advice if an image, uint8 (H, W, 3), uses so little of 0 … 255 that it is nearly black, else None."""
    sample = _sample(image)
    brightest = np.percentile(sample, 99.9)
    if brightest > NEARLY_BLACK or sample.min() == sample.max():
        return None
    most = f"99.9 % of its values are at most {brightest:.0f} of 255"
    return f"the image is nearly black: {most} (try --stretch percentile)"


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """The image in a file, not decoded yet."""
    is_file = os.path.isfile(path)  # of any text: a name may be too long, or hold a null character
    if not is_file or not os.path.getsize(path):
        what = "is empty" if is_file else "is no file" if os.path.exists(path) else "does not exist"
        raise InputError(f"expected an image, got {str(path)[:200]}, which {what}")
    with reading(str(path)):
        Image.init()
        # as a file, not by name: Pillow would map an uncompressed TIFF as if it were turned already (13.0)
        kinds = [kind for kind in FORMATS if kind in Image.OPEN]
        with open(path, "rb") as file, Image.open(file, formats=kinds) as picture:
            yield picture


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Make every error of Pillow's an ``InputError`` that names the image, and keep its warnings quiet."""
    try:
        with warnings.catch_warnings():  # of large images, odd EXIF data, palettes: what cannot be read raises
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(f"expected an image ({', '.join(FORMATS)}), got {name}, which is none") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        size = (re.findall(r"\d+", str(error)) or ["more"])[0]
        raise InputError(f"expected an image of at most {limit} pixels, got {name} of {size}") from error
    except Exception as error:  # each of Pillow's decoders has its own ways to fail on a damaged file
        raise InputError(f"expected a whole image, got {name}, which cannot be read ({reason(error)})") from error


_libtiff_lock = threading.Lock()


@contextmanager
def _libtiff_errors(is_tiff: bool) -> Iterator[None]:
    """Raise where libtiff would only print a line to stderr and leave pixels as they are.

    libtiff has one handler of errors and one of warnings for the whole process; both are put back. Where Pillow's
    library does not show them, nothing is done.
    """
    try:
        library = ctypes.CDLL(Image.core.__file__) if is_tiff else None
        setters = [getattr(library, f"TIFFSet{kind}Handler") for kind in ("Error", "Warning")] if library else []
    except (OSError, AttributeError):
        setters = []
    if not setters:
        yield
        return
    kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
    errors: list[bytes] = []
    record = kind(lambda module, message, values: errors.append(module or b"libtiff"))
    with _libtiff_lock:
        for setter in setters:
            setter.restype, setter.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        before = [setter(handler) for setter, handler in zip(setters, (ctypes.cast(record, ctypes.c_void_p), None))]
        try:
            yield
        finally:
            for setter, handler in zip(setters, before):
                setter(handler)
    if errors:
        raise OSError(f"damaged: {errors[0].decode(errors='replace')}")


def _scale_transparency(picture: Image.Image) -> None:
    """Pillow widens grey of 2 and 4 bits and shortens colours of 16, but not the transparent one among them."""
    key, tile = picture.info.get("transparency"), getattr(picture, "tile", None)
    stored = tile[0][3] if tile else None
    if isinstance(key, int) and stored in ("L;2", "L;4"):
        picture.info["transparency"] = key * (85 if stored == "L;2" else 17)
    elif isinstance(key, tuple) and stored == "RGB;16B":
        picture.info["transparency"] = tuple(value >> 8 for value in key)


def _orientation(picture: Image.Image) -> int:
    try:
        return picture.getexif().get(0x0112, 1)
    except Exception:  # damaged EXIF data is no reason to refuse an image
        return 1


def _upright(picture: Image.Image, in_place: bool) -> Image.Image:
    try:
        if not in_place:
            return ImageOps.exif_transpose(picture)
        ImageOps.exif_transpose(picture, in_place=True)
    except Exception:  # as above
        pass
    return picture


def _to_rgb(picture: Image.Image, stretch: str | None) -> np.ndarray:
    width, height = picture.size
    if not width * height:
        raise InputError(f"expected an image with pixels, got one of {width} × {height}")
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP // width)
    strips = [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]
    deep = picture.mode == "F" or picture.mode.startswith("I")
    low, high = 0.0, 65535.0
    if deep and stretch:
        low, high = _limits(_opaque(np.asarray(picture), picture)) or (low, high)
    elif picture.mode == "F":
        peak = max(float(np.nan_to_num(np.asarray(picture.crop(strip)), posinf=0).max()) for strip in strips)
        high = next((top for top in (1.0, 255.0, 65535.0) if peak <= top), peak)
    for strip in strips:
        part = picture.crop(strip)
        rgb[strip[1] : strip[3]] = _deep_to_grey(part, low, high) if deep else _strip_to_rgb(part)
    limits = _limits(rgb) if stretch and not deep else None
    if limits:
        table = np.rint(255 * ((np.arange(256) - limits[0]) / (limits[1] - limits[0])).clip(0, 1)).astype(np.uint8)
        for _, top, _, bottom in strips:
            rgb[top:bottom] = table[rgb[top:bottom]]
    return rgb


def _sample(values: np.ndarray) -> np.ndarray:
    """Every so many rows and columns, so that about ``STRIP`` pixels are left of a large image."""
    step = math.ceil(math.sqrt(values.shape[0] * values.shape[1] / STRIP)) or 1
    return values[::step, ::step]


def _opaque(numbers: np.ndarray, picture: Image.Image) -> np.ndarray:
    """The finite values of a deep grey image, without those of its transparent colour, as a column."""
    numbers = _sample(numbers).astype(np.float64)
    return numbers[np.isfinite(numbers) & (numbers != picture.info.get("transparency"))][:, None]


def _limits(values: np.ndarray) -> tuple[float, float] | None:
    """What becomes black and white when values are stretched; None if they are all the same."""
    sample = _sample(values)
    if not sample.size:
        return None
    for low, high in (np.percentile(sample, PERCENTILES), (sample.min(), sample.max())):
        if low < high:
            return float(low), float(high)
    return None


def _deep_to_grey(strip: Image.Image, low: float, high: float) -> np.ndarray:
    """A strip of whole numbers or floats → uint8 (h, w, 1); ``low`` is black, ``high`` white, NaN black."""
    numbers = np.asarray(strip).astype(np.float64)
    grey = np.rint(255 * np.nan_to_num(((numbers - low) / (high - low)).clip(0, 1)))
    grey[numbers == strip.info.get("transparency")] = 255
    return grey.astype(np.uint8)[..., None]


def _strip_to_rgb(strip: Image.Image) -> np.ndarray:
    """A strip of an image in any mode of 8 bits or fewer → uint8 (h, w, 3)."""
    if strip.mode == "La":
        strip = strip.convert("LA")
    if strip.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in strip.info:
        strip = strip.convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        return np.asarray(Image.alpha_composite(white, strip).convert("RGB"))
    return np.asarray(strip.convert("RGB"))


def read_mask(path: str | Path, size: tuple[int, int]) -> np.ndarray:
    """A mask from an image file of ``size`` (H, W), bool (H, W): the pixels brighter than half of the brightest."""
    image = read_image(path).max(axis=2)
    if image.shape != size:
        (height, width), (h, w) = size, image.shape
        raise InputError(f"expected a mask of the image's size, {width} × {height}, got {path} of {w} × {h}")
    if not image.any():
        raise InputError(f"expected a mask with at least one bright pixel, got {path}, which is black")
    return image > image.max() // 2


def save_png(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 (H, W, 3), uint8 (H, W) or bool (H, W) as a PNG file, whole or not at all."""
    pixels = np.asarray(image)
    picture = Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels)
    with atomic(path) as temporary:
        picture.save(temporary, format="PNG", compress_level=3)  # measured: a third of the time of 6, files 12 % larger
