"""``ClickFigure``: every kind of image, and the answer as traits of Python's side."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import minisam
from minisam_kernels import InputError
from small_models import SMALL, picture

pytest.importorskip("anywidget")
pytest.importorskip("skimage")
from minisam.figures.click import ClickFigure, Photo

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "an image that is only drawn": (
        "minisam/figures/click.py",
        'else Photo(f"Image {i + 1}", as_image(p)',
        'else Photo(f"Image {i + 1}", p',
    ),
    "traits one after the other": ("minisam/figures/click.py", "with self.hold_trait_notifications():", "if True:"),
}

SAM = minisam.build(SMALL, seed=1)
RGB = picture(40, 60)


class Heard(ClickFigure):
    """A figure whose messages to the page are kept."""

    def send(self, content: Any, buffers: Any = None) -> None:
        self.__dict__.setdefault("heard", []).append((content, buffers))


def click(figure: ClickFigure, **changed: Any) -> None:
    """What the page sends, as ipywidgets receives it."""
    asked = {"kind": "prompt", "id": 1, "picture": 0, "points": [[20, 10]], "labels": [1], "box": None} | changed
    data = {"method": "custom", "content": {"multimask": True} | asked}
    figure._handle_msg({"content": {"data": data}, "buffers": []})


@pytest.mark.parametrize(
    "kind", ["path", "text", "PIL", "PIL of 16 bits", "RGBA", "grey", "grey, one channel", "RGB", "Photo"]
)
def test_every_kind_of_image(kind: str, tmp_path: Path) -> None:
    """The figure shows, and the model sees, what ``set_image`` sees. Kills: an image that is only drawn."""
    Image.fromarray(RGB).save(tmp_path / "x.png")
    grey = RGB[..., 1]
    image: Any = {
        "path": tmp_path / "x.png", "text": str(tmp_path / "x.png"), "PIL": Image.fromarray(RGB),
        "PIL of 16 bits": Image.fromarray(grey.astype(np.uint16) * 257), "RGBA": np.dstack([RGB, grey]),
        "grey": grey, "grey, one channel": grey[..., None], "RGB": RGB, "Photo": Photo("x", grey, "x"),
    }[kind]  # fmt: skip
    figure = Heard(SAM, image)
    click(figure)
    predictor = minisam.SamPredictor(SAM)
    predictor.set_image(image.image if kind == "Photo" else image)
    masks, iou, _ = predictor.predict([[20, 10]], [1])
    np.testing.assert_array_equal(figure.masks, masks)
    np.testing.assert_array_equal(figure.iou_predictions, iou)
    with Image.open(io.BytesIO(figure.pictures[0]["jpeg"])) as drawn:
        assert drawn.size == (60, 40) and drawn.mode == "RGB"
    assert len(Heard(SAM, [image, RGB]).pictures) == 2


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (RGB / 255, "(255 * image).round().astype(np.uint8)"),
        (RGB > 5, "(255 * image).round().astype(np.uint8)"),
        (RGB.astype(np.uint16), "image.astype(np.uint8)"),
        (RGB.transpose(2, 0, 1), "channels come last"),
        (RGB * 1j, "got complex128"),
        (RGB[None], "one image at a time"),
        (RGB[:0], "got uint8 (0, 60, 3)"),
        (None, "got None"),
        (5, "got 5"),
        ("nowhere.jpg", "does not exist"),
        (np.zeros((1, 70000, 3), np.uint8), "at most 65500 pixels a side, got 70000 × 1"),
        (Photo("x", RGB / 255, "x"), "(255 * image).round().astype(np.uint8)"),
        ([], "at least one image"),
    ],
)
def test_what_is_no_image_is_one_line(image: Any, words: str) -> None:
    for pictures in (image, [RGB, image]) if not isinstance(image, list) else (image,):
        with pytest.raises(InputError) as error:
            ClickFigure(SAM, pictures)
        assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("model", [None, "tiny", minisam.SamPredictor(SAM)])
def test_what_is_no_model_is_one_line(model: Any) -> None:
    with pytest.raises(InputError, match=r"expected a model as minisam\.load gives it"):
        ClickFigure(model, RGB)


@pytest.mark.parametrize("trait", ["masks", "iou_predictions", "prompt"])
def test_the_answer_is_observed(trait: str) -> None:
    """Whoever observes one of the three finds all of the same answer. Kills: traits one after the other."""
    figure, seen = Heard(SAM, RGB), []
    assert figure.masks is figure.iou_predictions is None and figure.prompt == {}
    predictor = minisam.SamPredictor(SAM)
    predictor.set_image(RGB)

    def look(change: Any) -> None:
        assert change["name"] == trait
        masks, iou, _ = predictor.predict(**figure.prompt)
        seen.append(np.array_equal(masks, figure.masks) and np.array_equal(iou, figure.iou_predictions))

    figure.observe(look, trait)
    click(figure)
    click(figure, points=[[5, 5], [50, 30]], labels=[1, 0], id=2)
    click(figure, points=[], labels=[], box=[3, 4, 61, 40], multimask=False, id=3)
    assert seen == [True, True, True] and figure.masks.shape == (1, 40, 60)
    np.testing.assert_array_equal(figure.prompt["box"], [3, 4, 61, 40])
    answer = figure.masks
    click(figure, points=[], labels=[], id=4)  # no prompt at all: said in the figure, and the answer stays
    assert [content["kind"] for content, _ in figure.heard if "id" in content] == ["masks", "masks", "masks", "error"]
    assert figure.masks is answer and len(seen) == 3


def test_the_page_gets_nothing_more() -> None:
    """The answer is no part of the state that travels."""
    figure = Heard(SAM, RGB)
    click(figure)
    assert not {"masks", "iou_predictions", "prompt"} & set(figure.get_state())
    with pytest.raises(Exception, match="masks"):
        figure.masks = "no array"


@pytest.mark.slow
def test_in_a_notebook(tmp_path: Path) -> None:
    """In a kernel: shown, clicked, observed, and the masks are there in the next cell."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    Image.fromarray(RGB).save(tmp_path / "photo.png")
    cells = [
        "import minisam\nfrom minisam.figures.click import ClickFigure\n"
        f"figure = ClickFigure(minisam.load('tiny'), {str(tmp_path / 'photo.png')!r})\nseen = []\n"
        "figure.observe(lambda change: seen.append(change['new'].shape), 'masks')\nfigure",
        "content = dict(kind='prompt', id=1, picture=0, points=[[20, 10]], labels=[1], box=None, multimask=True)\n"
        "figure._handle_msg({'content': {'data': {'method': 'custom', 'content': content}}, 'buffers': []})",
        "import json\nprint(json.dumps([seen, list(figure.masks.shape), len(figure.iou_predictions)]))",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown, *_, printed = (
        output for cell in notebook.cells for output in cell.outputs if "text" in output or "data" in output
    )
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
    assert json.loads(printed["text"]) == [[[3, 40, 60]], [3, 40, 60], 3]
