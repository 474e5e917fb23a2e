"""The README's image: ``minisam segment`` on six photographs of scikit-image, one click each, shown as they come.

    python book/six_photos.py          # writes book/six-photos.jpg

The points are fixed, on the thing that a person would name first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import skimage.data
from PIL import Image, ImageDraw, ImageFont

POINTS = {
    "chelsea": (238, 164),
    "astronaut": (220, 300),
    "coffee": (285, 140),
    "rocket": (322, 200),
    "coins": (213, 120),
    "camera": (120, 260),
}
HEIGHT, GAP, CAPTION = 240, 12, 26


def result(name: str, folder: Path) -> Image.Image:
    """The overlay that the command line makes, with the score below."""
    photo, overlay = folder / f"{name}.png", folder / f"{name}-overlay.png"
    Image.fromarray(getattr(skimage.data, name)()).save(photo)
    x, y = POINTS[name]
    command = ["segment", str(photo), "--point", f"{x},{y}", "-o", str(overlay), "--json"]
    run = subprocess.run([sys.executable, "-m", "minisam", *command], check=True, capture_output=True, text=True)
    report = json.loads(run.stdout)
    best = report["masks"][report["best"]]
    picture = Image.open(overlay).convert("RGB")
    picture = picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)
    card = Image.new("RGB", (picture.width, HEIGHT + CAPTION), "white")
    card.paste(picture)
    text = f"{name}: predicted IoU {best['predicted_iou']:.2f}"
    ImageDraw.Draw(card).text((0, HEIGHT + 5), text, "black", ImageFont.load_default(14))
    return card


def main() -> None:
    """Two rows of three."""
    with TemporaryDirectory() as folder:
        cards = [result(name, Path(folder)) for name in POINTS]
    rows = [cards[:3], cards[3:]]
    width = max(sum(card.width for card in row) + GAP * (len(row) - 1) for row in rows)
    sheet = Image.new("RGB", (width, 2 * (HEIGHT + CAPTION) + GAP), "white")
    for i, row in enumerate(rows):
        x = 0
        for card in row:
            sheet.paste(card, (x, i * (HEIGHT + CAPTION + GAP)))
            x += card.width + GAP
    sheet.save(Path(__file__).parent / "six-photos.jpg", quality=88)


if __name__ == "__main__":
    main()
