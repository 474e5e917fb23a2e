"""Figures: an atlas is what the model answers, masks survive the journey to the page, Python's side of a click."""

from __future__ import annotations

import json
import shutil
import subprocess
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minisam
from book.tools import server as book_server
from minisam.figures.shared.atlas import Atlas, atlas, decode_mask, encode_mask, grid_points
from minisam.figures.shared.overlay import tint
from minisam_kernels.runtime.errors import InputError

pytest.importorskip("anywidget")
pytest.importorskip("skimage")
from minisam.figures.click import ClickFigure, Photo, photos

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "runs that start with ones": (
        "minisam/figures/shared/atlas.py",
        "np.concatenate([[False], changed",
        "np.concatenate([[True], changed",
    ),
    "a lost last run": (
        "minisam/figures/shared/atlas.py",
        "np.diff(np.concatenate([[0], edges]))",
        "np.diff(np.concatenate([[0], edges]))[:-1]",
    ),
    "LEB128 without its high bits": ("minisam/figures/shared/atlas.py", "(sevens > 0) |", "(sevens < 0) |"),
    "differences along x": (
        "minisam/figures/shared/atlas.py",
        "changed[1:] ^= mask[:-1]",
        "changed[:, 1:] ^= mask[:, :-1]",
    ),
    "x and y swapped": ("minisam/figures/shared/atlas.py", "for side in (shape[1], shape[0])", "for side in shape"),
    "points on the border or outside": (
        "minisam/figures/shared/atlas.py",
        "np.arange(grid) + 0.5",
        "np.arange(grid) + 1",
    ),
    "the mask darkened instead of the rest": (
        "minisam/figures/shared/overlay.py",
        "out[~mask] *= dim",
        "out[mask] *= dim",
    ),
    "all of the image darkened": ("minisam/figures/shared/overlay.py", "out[~mask] *= dim", "out *= dim"),
    "the mask's own share and the colour's exchanged": (
        "minisam/figures/shared/overlay.py",
        "(1 - amount) * out[mask] + amount * rgb(colour)",
        "amount * out[mask] + (1 - amount) * rgb(colour)",
    ),
}


@pytest.fixture(scope="module")
def sam() -> minisam.Sam:
    return minisam.load("tiny")


@pytest.fixture(scope="module")
def cat() -> Photo:
    return photos(["chelsea"])[0]


# ---- masks on their way to the page ----------------------------------------------------------------------


@st.composite
def some_masks(draw: st.DrawFn) -> np.ndarray:
    """Empty, full and noisy masks, blobs, single pixels; one row, one column; runs of one to three LEB128 bytes."""
    height, width = draw(st.sampled_from([(1, 1), (1, 300), (300, 1), (7, 5), (40, 60), (130, 129)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["empty", "full", "noise", "blob", "pixel"]))
    mask = np.full((height, width), kind == "full")
    if kind == "noise":
        mask = rng.random((height, width)) < draw(st.floats(0.01, 0.99))
    elif kind == "blob":
        y, x = np.mgrid[:height, :width]
        mask = (x - rng.integers(width)) ** 2 + (y - rng.integers(height)) ** 2 < rng.integers(1, 2500)
    elif kind == "pixel":
        mask[rng.integers(height), rng.integers(width)] = True
    return mask


@given(some_masks())
def test_codec_is_lossless(mask: np.ndarray) -> None:
    """Kills: runs that start with ones, a lost last run, LEB128 without its high bits, differences along x."""
    before = mask.copy()
    assert np.array_equal(decode_mask(encode_mask(mask), mask.shape), mask)
    assert np.array_equal(mask, before)


def test_codec_of_a_known_mask() -> None:
    """Row differences 010/000/011 -> runs 1, 1, 5, 2: the format of the docstring, not only its own inverse."""
    assert list(encode_mask(np.array([[0, 1, 0], [0, 1, 0], [0, 0, 1]], bool))) == [1, 1, 5, 2]
    assert list(encode_mask(np.eye(1, 301, 300, dtype=bool))) == [300 & 127 | 128, 300 >> 7, 1]


@pytest.mark.skipif(
    shutil.which("node") is None, reason="no node on this machine: the page's decoder is only tested in the browser"
)
def test_page_decodes_the_same_masks() -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((33, 200)) < p for p in (0, 0.002, 0.3, 1)]
    script = f"import {{ decodeMask }} from {json.dumps((book_server.ROOT / 'minisam/figures/click.js').as_uri())};"
    script += f"const codes = {json.dumps([list(encode_mask(mask)) for mask in masks])};"
    script += "console.log(JSON.stringify(codes.map((code) => [...decodeMask(Uint8Array.from(code), 200, 33)])));"
    done = subprocess.run(["node", "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    assert np.array_equal(np.array(json.loads(done.stdout), bool).reshape(4, 33, 200), np.stack(masks))


# ---- the atlas -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "grid"), [((300, 451), 16), ((1, 5), 3), ((2, 2), 4)])
def test_grid_points_lie_on_pixels_of_the_picture(shape: tuple[int, int], grid: int) -> None:
    """Kills: x and y swapped, points on the border or outside."""
    points = grid_points(shape, grid)
    assert points.shape == (grid**2, 2) and (points >= 0).all() and (points == points.round()).all()
    assert points[:, 0].max() < shape[1] and points[:, 1].max() < shape[0]
    assert points[1, 1] == points[0, 1], "x runs fastest"
    with pytest.raises(InputError, match="at least 1"):
        grid_points(shape, 0)


def test_atlas_is_what_the_model_answers(sam: minisam.Sam, cat: Photo) -> None:
    known = atlas(minisam.SamPredictor(sam), cat.image, grid=5, extra=[(238, 164)])
    live = minisam.SamPredictor(sam)
    live.set_image(cat.image)
    assert known.points.shape == (26, 2)
    for index in (0, 7, 13, 25):
        masks, scores, _ = live.predict(known.points[index][None], np.array([1]), multimask_output=True)
        assert np.array_equal(known.masks(index), masks)
        assert np.array_equal(known.iou_predictions[index], scores)


def test_atlas_nearest_and_pack() -> None:
    masks = [np.eye(4, 6, k, dtype=bool) for k in range(-1, 5)]
    known = Atlas(
        (4, 6),
        np.float32([[1, 2], [5, 0]]),
        np.float32([[0.1, 0.2, 0.3], [0.4, 0.5, 1.1]]),
        [encode_mask(m) for m in masks],
    )
    assert known.nearest(0, 3) == 0 and known.nearest(4, 1) == 1
    assert np.array_equal(known.masks(1), masks[3:])
    packed = known.pack()
    assert np.array_equal(np.frombuffer(packed["iou"], "<f4").reshape(2, 3), known.iou_predictions)
    codes = zlib.decompress(packed["codes"])
    ends = np.cumsum(np.frombuffer(packed["lengths"], "<u4"))
    assert codes[ends[3] : ends[4]] == known.codes[4]


# ---- masks on images -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("amount", "dim"), [(0.55, 1.0), (0.25, 0.5), (1.0, 0.0), (0.0, 0.75)])
def test_tint_mixes_the_mask_and_darkens_the_rest(amount: float, dim: float) -> None:
    """Kills: the mask darkened instead of the rest, all of the image darkened, the mask's own share and the colour's
    exchanged."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    mask = np.random.default_rng(1).random((5, 7)) < 0.5
    before, out = image.copy(), tint(image, mask, "#E69F00", amount, dim)
    mixed = (1 - amount) * image[mask] + amount * np.array([0xE6, 0x9F, 0x00])
    assert out.dtype == np.uint8 and np.array_equal(image, before)
    assert np.abs(out[mask] - mixed).max() <= 0.501 and np.abs(out[~mask] - dim * image[~mask]).max() <= 0.501


# ---- Python's side of a click ----------------------------------------------------------------------------


class Heard(ClickFigure):
    """A figure whose messages to the page are kept."""

    def send(self, content: Any, buffers: Any = None) -> None:
        self.__dict__.setdefault("heard", []).append((content, buffers))


def prompt(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "prompt",
        "id": 1,
        "picture": 0,
        "points": [[200, 100]],
        "labels": [1],
        "box": None,
        "multimask": True,
        **changed,
    }


def test_click_is_answered_by_the_predictor(sam: minisam.Sam, cat: Photo) -> None:
    figure = Heard(sam, cat)
    figure._answer(figure, {"kind": "hello", "picture": 0}, [])
    assert [content["kind"] for content, _ in figure.heard] == ["ready", "status", "status"]
    live = minisam.SamPredictor(sam)
    live.set_image(cat.image)
    for number, asked in enumerate([
        prompt(),
        prompt(points=[[200, 100], [20, 20]], labels=[1, 0]),
        prompt(points=[], labels=[], box=[100, 50, 300, 250]),
        prompt(box=[100, 50, 300, 250], multimask=False),
    ]):  # fmt: skip
        figure._answer(figure, {**asked, "id": number}, [])
        content, buffers = figure.heard[-1]
        masks, scores, _ = live.predict(
            np.float32(asked["points"]) if asked["points"] else None,
            np.array(asked["labels"]) if asked["points"] else None,
            np.float32(asked["box"]) if asked["box"] else None,
            multimask_output=asked["multimask"],
        )
        assert content["kind"] == "masks" and content["id"] == number and content["milliseconds"] > 0
        assert np.allclose(content["iou"], scores, rtol=0, atol=0)
        assert len(buffers) == len(masks) == (3 if asked["multimask"] else 1)
        assert all(
            np.array_equal(decode_mask(code, masks.shape[1:]), mask) for code, mask in zip(buffers, masks, strict=True)
        )
        assert np.array_equal(figure.masks, masks)
    assert sum(content["kind"] == "status" for content, _ in figure.heard) == 2, "an image is encoded once"


def test_what_goes_wrong_is_said_in_the_figure(sam: minisam.Sam, cat: Photo) -> None:
    figure = Heard(sam, cat)
    figure._answer(figure, prompt(box=[9, 9, 5, 5]), [])
    content, _ = figure.heard[-1]
    assert content["kind"] == "error" and content["id"] == 1 and content["text"]
    with pytest.raises(InputError, match="at least one image"):
        ClickFigure(sam, [])


def test_figure_carries_an_atlas_only_when_asked(sam: minisam.Sam, cat: Photo) -> None:
    plain, static = ClickFigure(sam, cat.image), ClickFigure(sam, [cat], grid=2)
    assert plain.pictures[0]["atlas"] is None and plain.pictures[0]["width"] == 451
    assert len(static.pictures[0]["atlas"]["points"]) == 5 * 2 * 4, "2 × 2 points and the photo's own"


# ---- the server -------------------------------------------------------------------------------


def test_lab_opens_chapters_as_notebooks(tmp_path: Any) -> None:
    environment = book_server.lab_settings(tmp_path)
    assert str(tmp_path) in environment["JUPYTER_CONFIG_PATH"] and "MINISAM_STATIC_PAGE" not in environment
    assert "Jupytext Notebook" in (tmp_path / "labconfig" / "default_setting_overrides.json").read_text()


def test_commands_outside_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(book_server, "BOOK", tmp_path)
    assert book_server.main(["build"]) == 2
    assert capsys.readouterr().err.startswith("minisam: error: expected a source checkout")
