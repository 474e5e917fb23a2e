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

import dataclasses
import io
import os
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
from minisam.model.inputs import as_image
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


Picture = Photo | str | os.PathLike[str] | Image.Image | np.ndarray


class ClickFigure(anywidget.AnyWidget):
    """Click on an image in a notebook, see what the model answers, and go on with the answer in Python.

    Parameters
    ----------
    sam : Sam
        A model from ``minisam.load``.
    pictures : image, or sequence of images
        Each the path of a file, a PIL image, an array as ``SamPredictor.set_image`` takes it, or a ``Photo``, which has
        words and a first point too.
    grid : int
        Above 0, the answers at ``grid`` × ``grid`` points of every image are computed now and travel with the figure,
        so that it also works on a page without Python.
    source : str
        The address of these lines, for the link below the figure.

    Attributes
    ----------
    masks : ndarray, shape (M, H, W), bool, or None
        The last answer: three masks, or one.
    iou_predictions : ndarray, shape (M,), float32, or None
        The model's own score of each.
    prompt : dict
        What was asked: the arguments of ``SamPredictor.predict``, in pixels of the image.

    Raises
    ------
    InputError
        If ``sam`` is no model, or there is no image, or one that cannot be read.

    Notes
    -----
    The three attributes are traits of Python's side: ``figure.observe(call, "masks")`` calls after every answer, when
    all three are set.

    Examples
    --------
    >>> figure = ClickFigure(minisam.load("tiny"), "photo.jpg")  # doctest: +SKIP
    >>> figure  # click, then in the next cell:  # doctest: +SKIP
    >>> best = figure.masks[figure.iou_predictions.argmax()]  # doctest: +SKIP
    """

    _esm = "".join((HERE / name).read_text(encoding="utf-8") for name in ("shared/canvas.js", "click.js"))
    _css = HERE / "click.css"

    pictures: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
    source = traitlets.Unicode().tag(sync=True)
    masks = traitlets.Instance(np.ndarray, allow_none=True)
    iou_predictions = traitlets.Instance(np.ndarray, allow_none=True)
    prompt = traitlets.Dict()

    def __init__(self, sam: Sam, pictures: Picture | Sequence[Picture], grid: int = 0, source: str = "") -> None:
        from minisam import SamPredictor

        SamPredictor(sam)  # or the error
        several = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
        self._photos = [
            dataclasses.replace(p, image=as_image(p.image))
            if isinstance(p, Photo)
            else Photo(f"Image {i + 1}", as_image(p), "An image of yours.")
            for i, p in enumerate(several)
        ]
        if not self._photos:
            raise InputError("expected at least one image, got none")
        self._new_predictor = lambda: SamPredictor(sam)
        self._predictors: dict[int, Any] = {}
        super().__init__(pictures=[self._packed(photo, grid) for photo in self._photos], source=source)
        self.on_msg(self._answer)

    def _packed(self, photo: Photo, grid: int) -> dict[str, Any]:
        """What the page gets: a JPEG to look at (the model sees the original), words, and the atlas if there is one."""
        jpeg = io.BytesIO()
        height, width = photo.image.shape[:2]
        if max(height, width) > 65500:  # a JPEG's limit
            raise InputError(f"expected an image of at most 65500 pixels a side, got {width} × {height}")
        Image.fromarray(photo.image).save(jpeg, "JPEG", quality=88)
        packed = {name: getattr(photo, name) for name in ("title", "alt", "question", "point")}
        first = [photo.point] if photo.point else []
        known = atlas(self._new_predictor(), photo.image, grid, first).pack() if grid else None
        return packed | {"width": width, "height": height, "jpeg": jpeg.getvalue(), "atlas": known}

    def _predictor(self, picture: int) -> Any:
        """The predictor that has seen ``picture``: each image is encoded once."""
        if picture not in self._predictors:
            text = "Encoding … The very first time numba also compiles the kernels: up to a minute."
            self.send({"kind": "status", "text": text})
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
                prompt = {
                    "point_coords": np.array(points, dtype=np.float32) if points else None,
                    "point_labels": np.array(content["labels"]) if points else None,
                    "box": np.array(box, dtype=np.float32) if box else None,
                    "multimask_output": bool(content["multimask"]),
                }
                start = time.perf_counter()
                masks, iou_predictions, _low_res = predictor.predict(**prompt)
                took = 1000 * (time.perf_counter() - start)
                self.send(
                    {"kind": "masks", "id": content["id"], "iou": iou_predictions.tolist(), "milliseconds": took},
                    [encode_mask(mask) for mask in masks],
                )
                with self.hold_trait_notifications():  # who observes one finds all of the same answer
                    self.masks, self.iou_predictions, self.prompt = masks, iou_predictions, prompt
        except Exception as error:  # whatever goes wrong, the reader sees it in the figure, not in a hidden log
            self.send({"kind": "error", "id": content.get("id"), "text": str(error) or type(error).__name__})
