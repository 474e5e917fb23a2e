"""ClickFigure: an image, a prompt, three masks. The figure of chapter 0.

Python holds the model and answers prompts; ``click.js`` draws and listens. What travels between them:

==========  ============================================================  ==========================================
message     content                                                       answer
==========  ============================================================  ==========================================
hello       image                                                       ready, then status…
prompt      id, image, points [[x, y]], labels [1|0],                   status…, then masks: id, iou, milliseconds,
            box [x0, y0, x1, y1], multimask                               and one encoded mask (see atlas.py) a
                                                                          buffer; or error: id, text
==========  ============================================================  ==========================================

Coordinates are (x, y) in pixels of the original image. On a page without Python nobody answers ``hello``, and the
figure shows the precomputed masks of its atlas instead and says so.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from minisam.figures.shared.atlas import atlas, encode_mask
from minisam_kernels.runtime.errors import InputError

if TYPE_CHECKING:
    from minisam.sam import Sam

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Photo:
    """An image for a figure: what it shows in words, and a question to answer before the masks are shown."""

    title: str
    image: np.ndarray
    """(H, W, 3) uint8, RGB"""
    alt: str
    point: tuple[int, int] | None = None
    """(x, y) in pixels: the first prompt, shown before its masks"""
    question: str = ""


def photos(names: Sequence[str] = ("chelsea", "coffee", "astronaut", "rocket")) -> list[Photo]:
    """Public-domain and CC0 photographs that come with scikit-image, each with a first point and a question."""
    import skimage.data

    known = {
        "chelsea": Photo(
            "A cat",
            skimage.data.chelsea(),
            "Photograph: the face of a tabby cat, looking past the camera.",
            (238, 164),
            "The point lies on the bridge of the cat's nose. Three masks will come. What will each hold?",
        ),
        "coffee": Photo(
            "A cup of coffee",
            skimage.data.coffee(),
            "Photograph: an espresso in a red cup with a white rim, on a red saucer with a spoon, on a wooden table.",
            (285, 140),
            "The point lies on the coffee. Will the three masks be coffee, cup, and cup with saucer?",
        ),
        "astronaut": Photo(
            "An astronaut",
            skimage.data.astronaut(),
            "Photograph: Eileen Collins in an orange space suit, between a flag and a model of a space shuttle.",
            (120, 430),
            "The point lies on the space suit. Which of the three masks will hold the head as well?",
        ),
        "rocket": Photo(
            "A rocket",
            skimage.data.rocket(),
            "Photograph: a rocket on its launch pad at dusk, between lightning towers, with floodlights below.",
            (322, 250),
            "The point lies on the rocket. It is slim, less than two patches wide. Will any mask keep to it?",
        ),
    }
    return [known[name] for name in names]


class ClickFigure(anywidget.AnyWidget):
    """Click on an image and see what the model answers.

    ``sam``: a model from ``minisam.load``. ``pictures``: a ``Photo``, a ``uint8`` array (H, W, 3), or a sequence of
    either. ``grid``: with ``grid > 0`` the answers at ``grid`` × ``grid`` points of every image are computed now and
    travel with the figure, so that it also works on a page without Python. ``source``: the address of these lines, for
    the link below the figure.

    In a live notebook ``masks``, ``iou_predictions`` and ``prompt`` hold the last answer.
    """

    _esm = "".join((HERE / name).read_text(encoding="utf-8") for name in ("shared/canvas.js", "click.js"))
    _css = HERE / "click.css"

    pictures: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, sam: Sam, pictures: Photo | np.ndarray | Sequence[Photo | np.ndarray], grid: int = 0, source: str = ""
    ) -> None:
        from minisam import SamPredictor

        several = [pictures] if isinstance(pictures, Photo | np.ndarray) else list(pictures)
        self._photos = [
            p if isinstance(p, Photo) else Photo(f"Image {i + 1}", p, "An image of yours.")
            for i, p in enumerate(several)
        ]
        if not self._photos:
            raise InputError("expected at least one image, got none")
        self._new_predictor = lambda: SamPredictor(sam)
        self._predictors: dict[int, Any] = {}
        self.masks: np.ndarray | None = None
        self.iou_predictions: np.ndarray | None = None
        self.prompt: dict[str, Any] = {}
        super().__init__(pictures=[self._packed(photo, grid) for photo in self._photos], source=source)
        self.on_msg(self._answer)

    def _packed(self, photo: Photo, grid: int) -> dict[str, Any]:
        """What the page gets: a JPEG to look at (the model sees the original), words, and the atlas if there is one."""
        jpeg = io.BytesIO()
        Image.fromarray(photo.image).save(jpeg, "JPEG", quality=88)
        height, width = photo.image.shape[:2]
        packed = {
            "title": photo.title,
            "alt": photo.alt,
            "question": photo.question,
            "point": photo.point,
            "width": width,
            "height": height,
        }
        first = [photo.point] if photo.point else []
        known = atlas(self._new_predictor(), photo.image, grid, first).pack() if grid else None
        return {**packed, "jpeg": jpeg.getvalue(), "atlas": known}

    def _predictor(self, picture: int) -> Any:
        """The predictor that has seen ``picture``: each image is encoded once."""
        if picture not in self._predictors:
            self.send(
                {
                    "kind": "status",
                    "text": "Encoding … The very first time numba also compiles the kernels: up to a minute.",
                }
            )
            predictor, start = self._new_predictor(), time.perf_counter()
            predictor.set_image(self._photos[picture].image)
            self._predictors[picture] = predictor
            self.send({"kind": "status", "text": f"Encoded in {1000 * (time.perf_counter() - start):.0f} ms."})
        return self._predictors[picture]

    def _answer(self, _: ClickFigure, content: Mapping[str, Any], buffers: Sequence[bytes]) -> None:
        try:
            if content["kind"] == "hello":
                self.send({"kind": "ready"})
            predictor = self._predictor(content["picture"])
            if content["kind"] == "prompt":
                points, box = content["points"], content["box"]
                self.prompt = {
                    "point_coords": np.array(points, dtype=np.float32) if points else None,
                    "point_labels": np.array(content["labels"]) if points else None,
                    "box": np.array(box, dtype=np.float32) if box else None,
                    "multimask_output": bool(content["multimask"]),
                }
                start = time.perf_counter()
                self.masks, self.iou_predictions, _low_res = predictor.predict(**self.prompt)
                took = 1000 * (time.perf_counter() - start)
                scores = [float(score) for score in self.iou_predictions]
                self.send(
                    {"kind": "masks", "id": content["id"], "iou": scores, "milliseconds": took},
                    [encode_mask(mask) for mask in self.masks],
                )
        except Exception as error:  # whatever goes wrong, the reader sees it in the figure, not in a hidden log
            self.send({"kind": "error", "id": content.get("id"), "text": str(error) or type(error).__name__})
