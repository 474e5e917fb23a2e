"""Sets are read as their makers mean them; what is bad is named, and the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from masked_scene import scene
from minisam.files.images import save_png
from minisam.transfer.labelled import polygon_counts
from minisam.transfer.sets import VOC_CLASSES, read_set
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from sa1b import sa1b_folder

# wrong version → (file, text in it, its replacement)
MUTANTS = {
    "crowds to be found": ("minisam/transfer/labelled.py", "not (a.crowd or a.ignore) and", "not a.ignore and"),
    "empty masks to be found": (
        "minisam/transfer/labelled.py",
        "not (a.crowd or a.ignore) and rle.area(a.counts)]",
        "not (a.crowd or a.ignore)]",
    ),
    "polygons one by one": (
        "minisam/transfer/labelled.py",
        "[list(map(float, polygon)) for polygon in polygons]",
        "[list(map(float, polygon)) for polygon in polygons[:1]]",
    ),
    "two people's masks mixed": ("minisam/transfer/labelled.py", "people[annotation.annotator]", 'people[""]'),
    "an image of any size": ("minisam/transfer/labelled.py", "if image.shape[:2] != self.size:", "if False:"),
    "equal ids": ("minisam/transfer/coco.py", 'if entry["id"] in table:', "if False:"),
    "unlisted categories": ("minisam/transfer/coco.py", "(categories and category not in categories)", "False"),
    "a path that leads elsewhere": ("minisam/transfer/coco.py", '".." not in relative.parts', "True"),
    "pixels before stated areas": (
        "minisam/transfer/labelled.py",
        "if self.stated_area is None else self.stated_area",
        "if True else 0",
    ),
    "void is an object": ("minisam/transfer/sets.py", "ignore=value == void", "ignore=False"),
    "a grey 255 is void": ("minisam/transfer/sets.py", " and not (is_grey and values == [VOID])", ""),
    "a grey 255 of VOC's is an object": ("minisam/transfer/sets.py", "masks, number, VOID)", "masks, number)"),
    "text is a crowd": ("minisam/transfer/coco.py", "if mark not in (None, 0, 1):", "if False:"),
    "every one, then the first ones of all": (
        "minisam/transfer/sets.py",
        "found.entries[::every][:limit]",
        "found.entries[:limit][::every]",
    ),
}
SIZE = (60, 80)


def coco_set(folder: Path, change=lambda values: None) -> Path:
    """Three images with: an RLE and a crowd; two polygons; nothing. ``change`` may edit the file's values."""
    image, masks = scene()
    (folder / "val2017").mkdir()
    (folder / "annotations").mkdir()
    pictures = []
    for number in range(3):
        save_png(folder / "val2017" / f"{number}.png", image)
        pictures.append({"id": number, "file_name": f"{number}.png", "height": 60, "width": 80})
    codes = [{"size": [60, 80], "counts": rle.to_string(rle.encode(mask[None])[0]).decode()} for mask in masks]
    triangles = [[1, 1, 20.5, 1, 10, 30], [50, 5, 70, 5, 60, 25.25]]
    annotations = [
        {"id": 0, "image_id": 0, "category_id": 3, "segmentation": codes[0], "area": 300, "iscrowd": 0},
        {"id": 1, "image_id": 0, "category_id": 3, "segmentation": codes[1], "area": 0, "iscrowd": 1},
        {"id": 2, "image_id": 1, "category_id": 0, "segmentation": triangles, "bbox": [1, 1, 0, 0]},
    ]
    categories = [{"id": 0, "name": "triangle"}, {"id": 3, "name": "square"}]
    values = {"images": pictures, "annotations": annotations, "categories": categories}
    change(values)
    path = folder / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(values))
    return path


def test_coco(tmp_path):
    """Kills: crowds to be found, pixels before stated areas, every one, then the first ones of all."""
    labelled = read_set(coco_set(tmp_path))
    first, second, third = labelled
    assert [a.id for a in first.objects()] == [0] and [a.id for a in first.regions()] == [1]
    np.testing.assert_array_equal(first.objects()[0].mask(), scene()[1][0])
    assert (first.objects()[0].area, first.regions()[0].area) == (300, scene()[1][1].sum())  # 0 says nothing
    assert first.read().shape == (60, 80, 3) and first.judged is None
    assert labelled.categories == {0: "triangle", 3: "square"} and second.objects()[0].category == 0
    assert third.annotations == [] and labelled.describe() == "" and len(labelled) == 3
    assert [image.id for image in read_set(tmp_path / "annotations" / "instances_val2017.json", every=2)] == [0, 2]
    some = read_set(tmp_path / "annotations" / "instances_val2017.json", tmp_path / "val2017", limit=2, every=2)
    assert [image.id for image in some] == [0, 2]


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6))
def test_polygons_are_pycocotools_own(seed):
    """As ``COCO.annToMask`` draws them, out of the image too. Kills: polygons one by one."""
    coco = COCO()
    rng = np.random.default_rng(seed)
    polygons = [rng.uniform(-20, 90, 2 * rng.integers(3, 8)).round(2).tolist() for _ in range(rng.integers(1, 4))]
    coco.imgs = {1: {"height": 60, "width": 80}}
    theirs = coco.annToMask({"image_id": 1, "segmentation": polygons})
    np.testing.assert_array_equal(rle.decode(polygon_counts(polygons, SIZE), SIZE), theirs.astype(bool))


@pytest.mark.parametrize(
    "polygons", [[[1, 2, 3, 4]], [[1, 2, 3]], [[1, 2, 3, 4, 5]], [["a"] * 6], [[0, 0, 1, 1, 1e9, 0]], [[np.nan] * 6],
                 [[[1, 2], [3, 4], [5, 6]]], [7]],
)  # fmt: skip
def test_what_is_no_polygon(polygons):
    with pytest.raises(InputError, match="expected a polygon"):
        polygon_counts(polygons, SIZE)


def test_lvis(tmp_path):
    """Addresses instead of names, federated lists (an empty one too), frequencies."""

    def change(values):
        for number, picture in enumerate(values["images"]):
            del picture["file_name"]
            picture["coco_url"] = f"http://images.cocodataset.org/val2017/{number}.png"
            picture |= {"neg_category_ids": [5] if number else [], "not_exhaustive_category_ids": [3]}
        for category, frequency in zip(values["categories"], "rf"):
            category["frequency"] = frequency

    labelled = read_set(coco_set(tmp_path, change))
    images = list(labelled)
    assert [image.judged for image in images] == [{3}, {0, 5}, {5}] and images[0].incomplete == {3}
    assert labelled.groups == {0: "r", 3: "f"} and labelled.describe() == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("annotations"), "without a list 'annotations'"),
        (lambda v: v.update(images={}), "without a list 'images'"),
        (lambda v: v["images"].append(dict(v["images"][0])), "ids of images that differ, got 0 twice"),
        (lambda v: v["annotations"][1].update(id=0), "ids of annotations that differ, got 0 twice"),
        (lambda v: v["categories"][1].update(id=0), "ids of categories that differ, got 0 twice"),
        (lambda v: v["images"][0].update(id="one"), r"images\[0\] has no whole number as id"),
        (lambda v: v["annotations"].clear(), "at least one image and one annotation"),
        (lambda v: [i.update(file_name="no.png") for i in v["images"]], "got none of 3"),
        (lambda v: v["images"].clear(), "at least one image"),
    ],
)
def test_json_that_is_not_cocos(tmp_path, change, message):
    """One line. Kills: equal ids."""
    with pytest.raises(InputError, match=message):
        read_set(coco_set(tmp_path, change))


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "null", '"text"', "[" * 100_000, "\x00"])
def test_files_that_are_no_json_of_cocos(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="expected a JSON file in COCO's schema"):
        read_set(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v["images"][0].update(file_name="no.png"), "got no file"),
        (lambda v: v["images"][0].update(height=0), "height and width of an image above 0"),
        (lambda v: v["images"][0].update(height=61), r"expected a mask of \[61, 80\]"),
        (lambda v: v["annotations"][0].update(category_id=7), "category that is listed, got 7"),
        (lambda v: v["annotations"][0].update(category_id=None), "category that is listed, got None"),
        (lambda v: v["annotations"][0].update(segmentation=[]), "run lengths or polygons as segmentation"),
        (lambda v: v["annotations"][0].pop("segmentation"), "run lengths or polygons as segmentation"),
        (lambda v: v["annotations"][0]["segmentation"].update(size=[80, 60]), r"expected a mask of \[60, 80\]"),
        (lambda v: v["annotations"][0]["segmentation"].update(counts="~~"), "expected run lengths in COCO's code"),
        (lambda v: v["annotations"][0]["segmentation"].update(counts=[4]), "that sum to 60 · 80"),
        (lambda v: v["annotations"][0].update(segmentation=[[1, 2]]), "expected a polygon"),
        (lambda v: v["images"][0].update(neg_category_ids=3), "expected neg_category_ids to be a list"),
        (lambda v: v["images"][0].update(neg_category_ids=[[]]), "expected neg_category_ids to be a list"),
        (lambda v: v["images"][0].update(neg_category_ids=[1 << 63]), "expected neg_category_ids to be a list"),
        (lambda v: v["images"][0].update(file_name="a" * 5000), "got no file .{1,200}$"),
        (lambda v: v["images"][0].update(file_name="a\0b.png"), "got no file"),
        (lambda v: v["annotations"][0].update(iscrowd="0"), "expected iscrowd to be 0 or 1, got '0' in annotation 0"),
        (lambda v: v["annotations"][0].update(ignore=2), "expected ignore to be 0 or 1, got 2"),
        (lambda v: v["annotations"][0].update(segmentation=[[0, 0, 9, 10**400, 9, 9]]), "expected a polygon"),
        (
            lambda v: (v["categories"].append({"id": 1 << 63}), v["annotations"][0].update(category_id=1 << 63)),
            "category that is listed",
        ),
    ],
)
def test_a_bad_image_is_left_out_alone(tmp_path, change, message):
    """The others go on, and the reason is kept. Kills: unlisted categories, text is a crowd."""
    labelled = read_set(coco_set(tmp_path, change))
    read = []
    for image in labelled:
        with labelled.skipping(image):
            image.objects()
            image.read()
            read.append(image.id)
    assert read == [1, 2] and len(labelled.left_out) == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(labelled.describe())


def test_an_image_of_another_size(tmp_path):
    """Without masks, too. Kills: an image of any size."""
    last = list(read_set(coco_set(tmp_path, lambda v: v["images"][2].update(height=61))))[2]
    with pytest.raises(InputError, match=r"expected an image of \(61, 80\) like its masks, got .* of \(60, 80\)"):
        last.read()


def test_annotations_of_unknown_images(tmp_path):
    labelled = read_set(coco_set(tmp_path, lambda v: v["annotations"][2].update(image_id=9)))
    assert len([*labelled]) == 3 and "annotations of images that are not listed: 1 in" in labelled.describe()


def test_a_name_that_leads_elsewhere(tmp_path):
    """Kills: a path that leads elsewhere."""
    (tmp_path / "outside.png").write_bytes(b"not to be read")
    (tmp_path / "set").mkdir()
    labelled = read_set(coco_set(tmp_path / "set", lambda v: v["images"][0].update(file_name="../../outside.png")))
    assert len([*labelled]) == 2 and "outside.png" in labelled.describe()


def test_zero_area_is_nothing_to_find(tmp_path):
    """A mask without pixels. Kills: empty masks to be found."""
    labelled = read_set(coco_set(tmp_path, lambda v: v["annotations"][0]["segmentation"].update(counts=[4800])))
    found = []
    for image in labelled:
        with labelled.skipping(image):
            found.append(len(image.objects()))
    assert found == [0, 1, 0] and labelled.describe() == "left out annotations without a pixel: 1"


@pytest.mark.parametrize("area", [10**400, float("nan"), float("inf"), -1, 0, "9", None])
def test_an_area_that_is_none(tmp_path, area):
    """The pixels count where a file states no area that arrays can hold: 40 × 40."""
    image = next(iter(read_set(coco_set(tmp_path, lambda v: v["annotations"][0].update(area=area)))))
    assert image.objects()[0].area == image.objects()[0].mask().sum()


def palette(path: Path, indices: np.ndarray, mode: str = "P") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(indices.astype(np.uint8), "L")
    if mode == "P":
        picture = picture.copy()
        picture.putpalette(bytes(range(255, -1, -1)) * 3)
    picture.convert(mode).save(path) if mode == "RGB" else picture.save(path)


def test_voc(tmp_path):
    """Indices, whatever their colours; classes; void. Kills: void is an object."""
    image, (square, disc) = scene()
    (tmp_path / "JPEGImages").mkdir()
    for name in ("2007_1", "2007_2", "2007_3"):
        Image.fromarray(image).save(tmp_path / "JPEGImages" / f"{name}.jpg")
    indices = np.where(square, 1, np.where(disc, 2, 0))
    indices[0] = 255
    palette(tmp_path / "SegmentationObject" / "2007_1.png", indices)
    palette(tmp_path / "SegmentationClass" / "2007_1.png", np.where(square, 15, np.where(disc, 7, 0)))
    palette(tmp_path / "SegmentationObject" / "2007_2.png", indices, "RGB")
    palette(tmp_path / "SegmentationObject" / "2007_3.png", indices[:50])
    palette(tmp_path / "SegmentationObject" / "2007_4.png", indices)
    labelled = read_set(tmp_path)
    first, third = labelled
    assert [a.id for a in first.objects()] == [1, 2] and [a.id for a in first.regions()] == [255]
    assert [labelled.categories[a.category] for a in first.objects()] == ["person", "car"]
    np.testing.assert_array_equal(first.objects()[1].mask(), disc)
    with labelled.skipping(third):
        third.read()
    assert [Path(what).stem for what in labelled.left_out] == ["2007_2", "2007_4", "2007_3"]
    assert len(VOC_CLASSES.split()) == 21
    with pytest.raises(InputError, match="expected the split"):
        read_set(tmp_path, split="val")
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_1\n")
    assert len(read_set(tmp_path, split="val")) == 1


def test_void_alone(tmp_path):
    """Void is void in VOC's layout, in a palette and in grey. Kills: a grey 255 of VOC's is an object."""
    image, (square, _) = scene()
    (tmp_path / "JPEGImages").mkdir()
    for mode in ("P", "L"):
        Image.fromarray(image).save(tmp_path / "JPEGImages" / f"{mode}.jpg")
        palette(tmp_path / "SegmentationObject" / f"{mode}.png", 255 * square, mode)
    assert [(len(image.objects()), len(image.regions())) for image in read_set(tmp_path)] == [(0, 1), (0, 1)]


def test_davis(tmp_path):
    """Sequences; grey masks of DAVIS 2016. Kills: a grey 255 is void."""
    image, (square, disc) = scene()
    for sequence in ("bear", "cows"):
        (tmp_path / "JPEGImages" / "480p" / sequence).mkdir(parents=True)
        for frame in ("00000", "00001"):
            Image.fromarray(image).save(tmp_path / "JPEGImages" / "480p" / sequence / f"{frame}.jpg")
    both = np.where(square, 1, np.where(disc, 2, 0))
    palette(tmp_path / "Annotations" / "480p" / "bear" / "00000.png", both)
    palette(tmp_path / "Annotations" / "480p" / "bear" / "00001.png", 255 * square, "L")
    palette(tmp_path / "Annotations" / "480p" / "cows" / "00000.png", np.where(square, 255, both))
    images = list(read_set(tmp_path))
    assert [[a.id for a in image.objects()] for image in images] == [[1, 2], [255], [2]]
    assert [image.path.parent.name for image in images] == ["bear", "bear", "cows"] and images[2].read().any()
    (tmp_path / "ImageSets" / "2017").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("cows\n")
    assert read_set(tmp_path).describe() == "left out frames without a mask: 1"
    assert len(read_set(tmp_path, split="val")) == 1
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("cows\nsheep\n")
    assert read_set(tmp_path, split="val").left_out["sequences without a mask"] == "1 (sheep)"
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("sheep\n")
    with pytest.raises(InputError, match="of the sequences in the split val"):
        read_set(tmp_path, split="val")
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="expected a list of names in UTF-8"):
        read_set(tmp_path, split="val")


def test_masks_and_records(tmp_path, folder):
    """A folder of masks, and SA-1B's schema with two people's masks. Kills: two people's masks mixed."""
    images = list(read_set(folder))
    assert [len(image.objects()) for image in images] == [2, 1]
    np.testing.assert_array_equal(images[0].objects()[1].mask(), scene()[1][1])
    sa1b_folder(tmp_path / "sa1b")
    record = tmp_path / "sa1b" / "annotations" / "0.json"
    values = json.loads(record.read_text())
    values["annotations"][0]["annotator"] = "1105"
    record.write_text(json.dumps(values))
    image = next(iter(read_set(tmp_path / "sa1b")))
    people = image.by_annotator()
    assert len(people["1105"]) == 1 and len(people[""]) == len(values["annotations"]) - 1
    assert image.size == image.read().shape[:2]
    assert [len(one.annotations) for one in image.per_annotator()] == [len(some) for some in people.values()]


def test_what_is_no_set(tmp_path):
    for source, images in ((tmp_path, None), (tmp_path, tmp_path), (tmp_path / "no.json", None)):
        with pytest.raises(InputError, match="expected"):
            read_set(source, images)
