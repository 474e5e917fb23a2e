"""Masks in other tools' formats, read back by those tools: every pixel, or the error that the table states."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from minisam import InputError
from minisam.files import formats
from minisam.files.formats import as_geojson, as_labelme, as_sa1b, as_yolo, label_image, mask_of, read_report, write
from minisam.files.polygons import INSET, joined, outline, rings
from minisam_kernels.masks import rle

shapely = pytest.importorskip("shapely")
shapely_geometry = pytest.importorskip("shapely.geometry")
cv2 = pytest.importorskip("cv2")
coco = pytest.importorskip("pycocotools.mask")
COCO = pytest.importorskip("pycocotools.coco").COCO
COCOeval = pytest.importorskip("pycocotools.cocoeval").COCOeval

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "ids from 0": ("minisam/files/formats.py", "enumerate(records, 1)", "enumerate(records)"),
    "the released code's box": ("minisam/files/formats.py", "[x, y, width + 1, height + 1]", "[x, y, width, height]"),
    "COCO's ids from 0": ("minisam/files/formats.py", '{"id": number + 1,', '{"id": number,'),
    "ids anew in every image": (
        "minisam/files/formats.py",
        "            number += 1\n",
        "            number += 1\n        number = 0\n",
    ),
    "holes as parts": ("minisam/files/polygons.py", "        if mask[int(y), int(x)]:", "        if True:"),
    "no inset": ("minisam/files/polygons.py", "INSET = 0.01", "INSET = 0.0"),
    "outer rings the other way round": (
        "minisam/files/polygons.py",
        "shapely.orient_polygons(shapely.MultiPolygon(kept))",
        "shapely.orient_polygons(shapely.MultiPolygon(kept), exterior_cw=True)",
    ),
    "bridges one way only": (
        "minisam/files/polygons.py",
        "after += [after[v], after[u]]",
        "after += [after[u], after[u]]",
    ),
    "the largest on top": (
        "minisam/files/formats.py",
        'annotation: -annotation["area"]',
        'annotation: annotation["area"]',
    ),
}


def ring() -> np.ndarray:
    """A mask with two holes, one of them with an island, and a part of its own."""
    mask = np.zeros((40, 50), bool)
    mask[5:30, 5:40] = True
    mask[10:20, 10:20] = mask[25:27, 30:31] = False
    mask[13:16, 12:18] = mask[34:38, 44:50] = True
    return mask


def blobs(size: tuple[int, int], sigma: float, seed: int = 0) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(size), sigma) > 0


MASKS = {
    "a square": np.ones((11, 11), bool),
    "a pixel": np.pad(np.ones((1, 1), bool), 2),
    "the last pixel": np.eye(9, 7, dtype=bool)[::-1, ::-1] & (np.arange(63).reshape(9, 7) == 62),
    "a row": np.arange(8)[:, None] * np.ones((1, 13)) == 3,
    "a column": np.arange(13)[None] * np.ones((8, 1)) == 12,
    "a diagonal": np.eye(7, dtype=bool),
    "a board": np.indices((6, 9)).sum(0) % 2 == 0,
    "a frame one pixel wide": np.pad(np.zeros((5, 8), bool), 1, constant_values=True),
    "holes, an island, two parts": ring(),
    "a hole that touches the outside over a corner": ~np.eye(6, 8, k=1, dtype=bool),
    "blobs": blobs((97, 131), 4),
    "noise": blobs((31, 40), 0.1),
    "one wide row of an odd size": np.ones((1, 999), bool),
    "nothing": np.zeros((4, 5), bool),
}
each_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


def record(mask: np.ndarray, score: float = 0.9) -> dict:
    """A record as the generator makes it."""
    counts = rle.encode(mask[None])[0]
    x0, y0, x1, y1 = rle.box(counts, mask.shape).tolist()
    return {
        "segmentation": {"size": list(mask.shape), "counts": rle.to_string(counts).decode()},
        "area": int(mask.sum()),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "predicted_iou": score,
        "point_coords": [[1.0, 2.0]],
        "stability_score": 0.8,
        "crop_box": [0, 0, mask.shape[1], mask.shape[0]],
    }


def report(*masks: np.ndarray, name: str = "a.png") -> dict:
    return as_sa1b(name, masks[0].shape, [record(mask) for mask in masks])


def shoelace(points: np.ndarray) -> float:
    x, y = np.asarray(points, float).T
    return abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2


def perimeter(mask: np.ndarray) -> int:
    padded = np.pad(mask, 1)
    return int((padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum())


def labelmes_mask(shape: tuple[int, int], points: list) -> np.ndarray:
    """``labelme.utils.shape_to_mask`` of a polygon, in its own lines (labelme 5 and 6)."""
    mask = Image.fromarray(np.zeros(shape, dtype=np.uint8))
    ImageDraw.Draw(mask).polygon(xy=[tuple(point) for point in points], outline=1, fill=1)
    return np.array(mask, dtype=bool)


# ------------------------------------------------------------------------------------------------------------ SA-1B


@each_mask
def test_annotations_have_cocos_keys(mask):
    """ids from 1, the image's own id, a box of columns and rows. Kills: ids from 0, the released code's box."""
    written = report(mask, mask)
    image, annotations = written["image"], written["annotations"]
    assert [annotation["id"] for annotation in annotations] == [1, 2]
    for annotation in annotations:
        assert annotation["image_id"] == image["image_id"] == "a" and annotation["category_id"] == 1
        assert annotation["iscrowd"] == 0 and annotation["score"] == annotation["predicted_iou"] == 0.9
        box = coco.toBbox(annotation["segmentation"]) if mask.any() else np.zeros(4)
        assert annotation["bbox"] == box.tolist() and annotation["area"] == mask.sum()
        np.testing.assert_array_equal(coco.decode(annotation["segmentation"]).astype(bool), mask)
        np.testing.assert_array_equal(mask_of(annotation), mask)


# ------------------------------------------------------------------------------------------------------------- COCO


def write_and_load(path, reports) -> COCO:
    with open(path, "w") as file:
        formats.write_coco(file, reports)
    return COCO(str(path))


def test_coco_evaluates_to_one(tmp_path):
    """Two images, masks compared with themselves: AP and AR 1, and sizes are the masks'. Kills: COCO's ids from
    0, ids anew in every image."""
    first, second = blobs((97, 131), 6), ring()
    large = np.zeros_like(first)
    large[:, 20:] = True  # one mask alone would be found by the wrong id 0 as well
    data = write_and_load(tmp_path / "c.json", [report(first, large, ~first), report(second, ~second, name="x/b.jpg")])
    assert {image["id"]: image["file_name"] for image in data.dataset["images"]} == {1: "a.png", 2: "b.jpg"}
    assert sorted(data.anns) == [1, 2, 3, 4, 5] and {a["image_id"] for a in data.anns.values()} == {1, 2}
    assert data.annToMask(data.anns[4]).sum() == second.sum()
    results = [{key: value for key, value in a.items() if key != "bbox"} for a in data.dataset["annotations"]]
    found = data.loadRes(results)
    assert [a["area"] for a in found.dataset["annotations"]] == [a["area"] for a in data.dataset["annotations"]]
    evaluation = COCOeval(data, found, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == evaluation.stats[1] == evaluation.stats[8] == 1.0


def test_coco_of_nothing(tmp_path):
    data = write_and_load(tmp_path / "c.json", [])
    assert data.dataset["images"] == data.dataset["annotations"] == [] and data.getCatIds() == [1]
    empty = write_and_load(tmp_path / "e.json", [as_sa1b("sub/x.tif", (3, 4), [], "sub/x")])
    assert empty.dataset["images"] == [{"id": 1, "file_name": "sub/x.tif", "width": 4, "height": 3}]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"annotations": []}', '{"image": 1, "annotations": []}', "{", "NaN"])
def test_what_is_no_report(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"expected a JSON file .*a\.json"):
        read_report(tmp_path / "a.json")


def test_a_report_comes_back(tmp_path):
    written = report(ring(), ~ring())
    write(tmp_path / "a.json", "sa1b", written, "a.png")
    assert read_report(tmp_path / "a.json") == written


# --------------------------------------------------------------------------------------------------------- polygons


@each_mask
def test_geojson_is_exact(mask):
    """shapely reads a valid shape of the mask's area, with its holes, that covers the middle of its pixels and no
    other. Kills: holes as parts, outer rings the other way round."""
    collection = json.loads(json.dumps(as_geojson(report(mask)), allow_nan=False))
    (feature,) = collection["features"]
    assert collection["type"] == "FeatureCollection" and feature["id"] == 1 and feature["properties"]["score"] == 0.9
    if not mask.any():
        assert feature["geometry"] is None
        return
    shape = shapely_geometry.shape(feature["geometry"])
    assert shape.is_valid and shape.area == mask.sum() and shape.length == perimeter(mask)
    for polygon in shapely.get_parts(shape):
        assert polygon.exterior.is_ccw and not any(hole.is_ccw for hole in polygon.interiors)
    y, x = np.indices(mask.shape) + 0.5
    np.testing.assert_array_equal(shapely.contains_xy(shape, x, y), mask)


@each_mask
def test_labelme_paints_the_mask(mask):
    """Pieces without holes, of one group; their area is the mask's but for the inset. Kills: holes as parts, no
    inset."""
    written = json.loads(json.dumps(as_labelme(report(mask, mask), "../a.png"), allow_nan=False))
    assert (written["imagePath"], written["imageData"]) == ("../a.png", None)
    assert (written["imageHeight"], written["imageWidth"]) == mask.shape
    for number in (1, 2):
        shapes = [shape for shape in written["shapes"] if shape["group_id"] == number]
        painted = np.zeros(mask.shape, bool)
        for shape in shapes:
            assert shape["shape_type"] == "polygon" and len(shape["points"]) >= 4
            painted |= labelmes_mask(mask.shape, shape["points"])
        np.testing.assert_array_equal(painted, mask)
        area = sum(shoelace(shape["points"]) for shape in shapes)
        assert area == pytest.approx(mask.sum() - INSET * perimeter(mask), abs=4 * INSET**2 * perimeter(mask) + 1e-3)


@each_mask
def test_opencv_paints_yolos_mask(mask):
    """One line, one ring; area as labelme's. Painted as Ultralytics does, no pixel is lost, and what is painted beside
    it are bridges between parts. Kills: no inset, bridges one way only."""
    text = as_yolo(report(mask))
    if not mask.any():
        assert text == ""
        return
    (line,) = text.splitlines()
    number, *values = line.split()
    points = np.array(values, np.float32).reshape(-1, 2) * np.float32(mask.shape[::-1])
    assert number == "0" and all(0 <= float(value) <= 1 for value in values)
    painted = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(painted, [points.astype(np.int32)], 1)
    assert painted[mask].all()
    if ndimage.label(mask)[1] == 1:
        np.testing.assert_array_equal(painted.astype(bool), mask)
    slack = 4 * INSET**2 * perimeter(mask) + 1e-3 * len(points)
    assert shoelace(points) == pytest.approx(mask.sum() - INSET * perimeter(mask), abs=slack)


def test_the_areas_that_are_stated():
    """121, 120.56, 120.56; an outline through the middles of pixels would have 100."""
    square = MASKS["a square"]
    (part,) = rings(outline(square))
    assert outline(square).area == 121 and shoelace(part) == pytest.approx(120.56, abs=0.005)
    assert shoelace(cv2.findContours(square.astype(np.uint8), cv2.RETR_LIST, 1)[0][0][:, 0]) == 100


def test_joining_rings_that_touch_or_lie_apart():
    """The area is the sum; a bridge goes there and back. Kills: bridges one way only."""
    square = np.array([[0, 0], [0, 2], [2, 2], [2, 0]], float)
    parts = [square + offset for offset in ((0, 0), (2, 0), (9, 9), (0, 5))]
    ring = joined(parts)
    assert len(ring) == 16 + 6 and shoelace(ring) == 16
    np.testing.assert_array_equal(joined(parts[:1]), square)
    edges = sorted(tuple(sorted(map(tuple, edge))) for edge in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist()))
    bridges = {edge for edge in edges if edges.count(edge) > 1}
    lengths = sorted(float(np.hypot(*np.subtract(*bridge))) for bridge in bridges)
    assert lengths[-1] == pytest.approx(np.hypot(7, 2)) and 3 in lengths  # the shortest ones


# --------------------------------------------------------------------------------------------------------------- PNG


def test_the_label_image(tmp_path):
    """16 bits, ids, small masks on top. Kills: the largest on top."""
    mask = ring()
    everything, small = np.ones_like(mask), np.zeros_like(mask)
    small[:2, :3] = True
    write(tmp_path / "a.png", "png", report(small, everything, mask), "x")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode.startswith("I;16")
        labels = np.asarray(picture)
    np.testing.assert_array_equal(labels, np.where(small, 1, np.where(mask, 3, 2)))
    assert label_image(as_sa1b("a", (2, 3), [])).tolist() == [[0] * 3] * 2


def test_more_masks_than_a_label_image_has_numbers():
    many = {"image": {"height": 1, "width": 1}, "annotations": [{}] * 65536}
    with pytest.raises(InputError, match="at most 65535 masks in a label image, got 65536"):
        label_image(many)


@pytest.mark.parametrize("kind", formats.FORMATS)
@pytest.mark.parametrize("masks", [(), (ring(),), (ring(), ~ring())])
def test_every_format_is_written(tmp_path, kind, masks):
    write(tmp_path / "f.png", kind, as_sa1b("a.png", (40, 50), [record(mask) for mask in masks]), "a.png")
    content = (tmp_path / "f.png").read_bytes()
    if kind == "png":
        assert Image.open(io.BytesIO(content)).size == (50, 40)
    elif kind == "yolo":
        assert content.count(b"\n") == len(masks)
    else:
        json.loads(content)
