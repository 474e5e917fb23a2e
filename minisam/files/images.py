"""Images in files: any common kind in as uint8 RGB, PNG out, and masks drawn over an image.

Memory: ``read_image`` holds what Pillow decodes (4 bytes per pixel for colour) and the result (3 bytes), so about
0.7 GB for 100 megapixels; conversions go strip by strip. An image that EXIF turns is held twice by Pillow for a moment:
0.8 GB.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from minisam.files.atomic import atomic
from minisam_kernels import InputError

# Formats that Pillow decodes itself. (It would start another program for some of the others.)
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP")
STRIP = 1 << 22  # pixels converted at a time
# Okabe and Ito's colours, which people with any kind of colour vision can tell apart
COLOURS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66))
FOREGROUND, BACKGROUND = (0, 158, 115), (213, 94, 0)


def read_image(source: str | Path | Image.Image) -> np.ndarray:
    """An image from a file, or a PIL image, as RGB, turned upright as its EXIF orientation says.

    Grey, palette, CMYK and 1-bit images become RGB; what is transparent is laid over white; 16-bit grey is divided by
    257 (its whole range becomes 0 … 255); floating-point grey is taken as 0 … 1, or 0 … 255 or 0 … 65535 when it
    exceeds that. Of an animation, the first frame.

    Parameters
    ----------
    source : str, Path or PIL image
        Pillow's own limit holds, twice ``PIL.Image.MAX_IMAGE_PIXELS``: 178 megapixels unless a program moves it.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
        Red, green, blue.

    Raises
    ------
    InputError
        For whatever is not a whole image.
    """
    name = str(source)
    if isinstance(source, Image.Image):
        name = f"a PIL image of mode {source.mode} and size {source.size}"
    else:
        path = Path(source)
        if not path.is_file():
            message = "is no file" if path.exists() else "does not exist"
            raise InputError(f"expected an image, got {name}, which {message}")
        if path.stat().st_size == 0:
            raise InputError(f"expected an image, got {name}, which is empty")
        Image.init()
    try:
        with warnings.catch_warnings():  # of large images, odd EXIF data, palettes: what cannot be read raises
            warnings.simplefilter("ignore")
            if isinstance(source, Image.Image):
                return _to_rgb(_upright(source, in_place=False))
            with Image.open(source, formats=[kind for kind in FORMATS if kind in Image.OPEN]) as picture:
                picture.load()
                return _to_rgb(_upright(picture, in_place=True))
    except InputError:
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(f"expected an image ({', '.join(FORMATS)}), got {name}, which is none") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        size = (re.findall(r"\d+", str(error)) or ["more"])[0]
        raise InputError(f"expected an image of at most {limit} pixels, got {name} of {size}") from error
    except Exception as error:  # each of Pillow's decoders has its own ways to fail on a damaged file
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"expected a whole image, got {name}, which cannot be read ({reason})") from error


def _upright(picture: Image.Image, in_place: bool) -> Image.Image:
    try:
        if not in_place:
            return ImageOps.exif_transpose(picture)
        ImageOps.exif_transpose(picture, in_place=True)
    except Exception:  # damaged EXIF data is no reason to refuse an image
        pass
    return picture


def _to_rgb(picture: Image.Image) -> np.ndarray:
    width, height = picture.size
    if not width * height:
        raise InputError(f"expected an image with pixels, got one of {width} × {height}")
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP // width)
    strips = [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]
    highest = 1.0
    if picture.mode == "F":
        peak = max(float(np.nan_to_num(np.asarray(picture.crop(strip)), posinf=0).max()) for strip in strips)
        highest = next((top for top in (1.0, 255.0, 65535.0) if peak <= top), peak)
    for strip in strips:
        rgb[strip[1] : strip[3]] = _strip_to_rgb(picture.crop(strip), highest)
    return rgb


def _strip_to_rgb(strip: Image.Image, highest: float) -> np.ndarray:
    """A strip of an image in any mode → uint8 (h, w, 3), or (h, w, 1) for grey. ``highest`` is white in mode F."""
    if strip.mode == "F":
        shares = np.nan_to_num(np.asarray(strip, np.float32) / np.float32(highest), nan=0)
        return np.rint(255 * shares.clip(0, 1)).astype(np.uint8)[..., None]
    if strip.mode.startswith("I"):
        numbers = np.asarray(strip).astype(np.int64).clip(0, 65535)
        return ((numbers + 128) // 257).astype(np.uint8)[..., None]
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


# ------------------------------------------------------------------------------------------------------- overlays


def _erode_columns(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels whose ``width`` neighbours above and below are all in the mask (H, W); the border counts as mask.

    A run of 2·width + 1 rows is the meeting of two runs that are a power of two long, and those are made by doubling.
    """
    padded = np.pad(mask, ((width, width), (0, 0)), constant_values=True)
    length = 1
    while 2 * length <= 2 * width + 1:
        padded = padded[:-length] & padded[length:]
        length *= 2
    return padded[: mask.shape[0]] & padded[padded.shape[0] - mask.shape[0] :]


def outline(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a mask (H, W) bool that lie within ``width`` rows and columns of its outside."""
    return mask & ~_erode_columns(_erode_columns(mask, width).T, width).T


def overlay(
    image: np.ndarray,
    masks: np.ndarray,
    points: Sequence[tuple[float, float]] | np.ndarray = (),
    labels: Sequence[int] | np.ndarray = (),
    box: Sequence[float] | np.ndarray | None = None,
    strength: float = 0.5,
) -> np.ndarray:
    """A copy of the image, uint8 (H, W, 3), with masks (M, H, W) bool in colours of their own and the prompts on top.

    points (P, 2) as (x, y) in pixels with labels (P,): a green disc with a plus is foreground, a red one with a minus
    background; ``box`` is x0, y0, x1, y1. Where masks overlap, the later one is on top.
    """
    out = image.copy()
    height, width = out.shape[:2]
    line = max(1, round(max(height, width) / 400))
    rows = max(1, STRIP // width)
    for number, mask in enumerate(masks):
        colour = np.array(COLOURS[number % len(COLOURS)], np.float32)
        edge = outline(mask, line)
        for top in range(0, height, rows):
            part, inside = out[top : top + rows], mask[top : top + rows]
            part[inside] = np.rint(part[inside] * np.float32(1 - strength) + colour * np.float32(strength)).astype(
                np.uint8
            )
            part[edge[top : top + rows]] = colour.astype(np.uint8)
    if box is not None:
        x0, y0, x1, y1 = (round(float(value)) for value in box)
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        frame = np.zeros((height, width), bool)
        frame[y0:y1, x0:x1] = True
        frame[y0 + line : y1 - line, x0 + line : x1 - line] = False
        out[frame] = (255, 255, 255)
    for (x, y), label in zip(points, labels):
        _mark(out, float(x), float(y), bool(label))
    return out


def _mark(image: np.ndarray, x: float, y: float, foreground: bool) -> None:
    """Draw a prompt point into the image: only the patch around it goes through Pillow."""
    height, width = image.shape[:2]
    radius = max(4, round(max(height, width) / 90))
    left, top = max(0, int(x) - 2 * radius), max(0, int(y) - 2 * radius)
    patch = image[top : int(y) + 2 * radius, left : int(x) + 2 * radius]
    if not patch.size:
        return
    picture = Image.fromarray(patch)
    draw = ImageDraw.Draw(picture)
    x, y, line = x - left, y - top, max(1, radius // 4)
    disc = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(disc, fill=FOREGROUND if foreground else BACKGROUND, outline="white", width=line)
    draw.line((x - radius / 2, y, x + radius / 2, y), fill="white", width=line)
    if foreground:
        draw.line((x, y - radius / 2, x, y + radius / 2), fill="white", width=line)
    patch[...] = np.asarray(picture)
