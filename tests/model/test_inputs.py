"""What callers give: images, points, boxes and masks as other programs hand them over, and everything that is none."""

from __future__ import annotations

import datetime
import warnings
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import minisam
from minisam.model.inputs import as_image, check_masks, check_prompts
from minisam.model.numbers import as_numbers, as_size, shown
from minisam_kernels import InputError
from small_models import SMALL, picture

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "boxes that are not cut": (
        "minisam/model/inputs.py",
        "return np.clip(boxes, 0, np.tile(edge, 2))",
        "return boxes",
    ),
    "a box elsewhere cut to nothing": ("minisam/model/inputs.py", "if elsewhere.any():", "if False:"),
    "points that stay outside": ("minisam/model/inputs.py", "np.where(beyond, np.clip(", "np.where(False, np.clip("),
    "pad points that are moved": (
        "minisam/model/inputs.py",
        "beyond &= (labels != NOT_A_POINT)",
        "beyond &= (labels != 9)",
    ),
    "a warning within a pixel": ("minisam/model/inputs.py", "np.abs(moved - coords) > 1", "np.abs(moved - coords) > 0"),
    "masks of 0 and 255 as logits": ("minisam/model/inputs.py", "np.isin(highest, (1, 255))", "np.isin(highest, (1,))"),
    "transparency over black": (
        "minisam/model/inputs.py",
        "read_image(Image.fromarray(array)) if array.shape[2] == 4",
        "array[..., :3] if array.shape[2] == 4",
    ),
    "complex numbers cut to real ones": (
        "minisam/model/numbers.py",
        "array.dtype.kind not in kinds",
        "array.dtype.kind in 'OUSV'",
    ),
}

SAM = minisam.build(SMALL, seed=1)
LOW = SMALL.low_res_size
HEIGHT, WIDTH = 40, 60
RGB = picture(12, 10)
NO_NUMBERS: dict[str, Any] = {
    "complex": 1 + 2j,
    "complex without an imaginary part": np.complex64(3),
    "a date": np.datetime64("2020-01-01"),
    "Python's date": datetime.date(2020, 1, 1),
    "a time": np.timedelta64(3, "s"),
    "beyond float64": 10**400,
    "beyond what Python writes": 10**5000,
    "beyond 64 bits": 2**64,
    "beyond float32": 1e39,
    "nan": float("nan"),
    "infinity": -np.inf,
    "a longer type's number": np.longdouble("1e4000"),
    "text": "3",
    "bytes": b"3",
    "None": None,
    "a decimal": Decimal(3),
    "a fraction": Fraction(1, 3),
    "an object": object(),
    "a dict": {"x": 1},
    "a list": [1, 2],
}


@pytest.fixture(scope="module")
def predictor() -> minisam.SamPredictor:
    predictor = minisam.SamPredictor(SAM)
    predictor.set_image(picture(HEIGHT, WIDTH))
    return predictor


# --------------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("name", NO_NUMBERS)
def test_what_is_no_number_is_one_line_everywhere(predictor, name):
    """In points, labels, boxes, masks, sizes and strengths. Kills: complex numbers cut to real ones."""
    value = NO_NUMBERS[name]
    calls = [
        lambda: predictor.predict([[value, 2]], [1]),
        lambda: predictor.predict([[1, 2]], [value]),
        lambda: predictor.predict(box=[1, 2, value, 30]),
        lambda: predictor.predict(mask_input=[[[value] * LOW] * LOW]),
        lambda: predictor.predict_batch(boxes=[[1, 2, 30, value]]),
        lambda: predictor.predict_torch(None, None, boxes=[[1, 2, value, 30]]),
        lambda: as_size((value, 3)),
        lambda: minisam.SamPredictor(SAM).set_torch_image(np.zeros((1, 3, 43, 64)), (value, 60)),
        lambda: minisam.binary_mask_to_logits([[value, 0], [0, 0]], SMALL) if name in OF_MASKS else as_size(value),
        lambda: minisam.binary_mask_to_logits(np.ones((4, 4), bool), SMALL, strength=value),
        lambda: minisam.ResizeLongestSide(64).apply_coords([[value, 2]], (40, 60)),
        lambda: minisam.ResizeLongestSide(64).apply_boxes([[1, 2, 3, value]], (40, 60)),
    ]
    for call in calls:
        with pytest.raises(InputError) as error:
            call()
        message = str(error.value)
        assert message.startswith("expected ") and ", got " in message and "\n" not in message and len(message) < 400


OF_MASKS = [name for name in NO_NUMBERS if "beyond" not in name and name not in ("infinity", "a longer type's number")]


@pytest.mark.parametrize(
    "values",
    [3, [3, 4], (3.0, 4), range(3), np.float16([1]), np.longdouble([2]), np.uint64([2**63]), [], np.zeros((0, 4), "O")],
)
def test_numbers_of_every_type(values):
    np.testing.assert_array_equal(as_numbers("x", values), np.asarray(values, np.float64))


def test_tensors(predictor):
    """Tensors are numbers; what NumPy cannot read of one is said."""
    torch = pytest.importorskip("torch")
    ours = predictor.predict(torch.tensor([[5, 6]]), torch.tensor([True]))
    np.testing.assert_array_equal(ours[0], predictor.predict([[5, 6]], [1])[0])
    for tensor in (torch.ones(1, 2, requires_grad=True), torch.ones(1, 2, dtype=torch.bfloat16)):
        with pytest.raises(InputError, match="expected point_coords to hold numbers, got tensor"):
            predictor.predict(tensor, [1])
        with pytest.raises(InputError, match=r"expected an image of uint8 .* to hold numbers"):
            predictor.set_image(tensor)
        predictor.set_image(picture(HEIGHT, WIDTH))


def test_values_are_shown_in_few_words():
    for value in (*NO_NUMBERS.values(), "long " * 99, list(range(999)), "\n\0", [[[1]] * 9] * 9, RGB):
        assert len(shown(value)) <= 60 and "\n" not in shown(value)
    assert shown([10**5000]) == "list"


@pytest.mark.parametrize(
    "size",
    [None, 5, (5,), (5, 6, 7), (0, 5), (-1, 5), (5.5, 6), "56", ("5", "6"), (2**20, 2**20), [[5, 6]], (np.nan, 5)],
)
def test_sizes(size):
    with pytest.raises(InputError, match="expected original_size"):
        as_size(size)
    assert as_size(np.array([5.0, 6.0])) == (5, 6)


# ---------------------------------------------------------------------------------------------------------- images


GREY = RGB[..., 0]
OPACITY = np.tile(np.uint8([0, 128, 255, 77, 3]), (12, 2))


def test_grey_and_transparent_arrays_are_images():
    """Kills: transparency over black."""
    three = np.repeat(GREY[..., None], 3, axis=2)
    np.testing.assert_array_equal(as_image(GREY), three)
    np.testing.assert_array_equal(as_image(GREY[..., None]), three)
    over = as_image(np.dstack([RGB, OPACITY]))
    share = OPACITY[..., None] / 255
    np.testing.assert_allclose(over, share * RGB + (1 - share) * 255, atol=1)
    assert as_image(RGB) is RGB and (over[OPACITY == 0] == 255).all()
    np.testing.assert_array_equal(as_image(RGB[::-1, ::2]), RGB[::-1, ::2])
    np.testing.assert_array_equal(as_image(RGB.tolist() and np.asfortranarray(RGB)), RGB)


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        (RGB / 255, "(255 * image).round().astype(np.uint8)"),
        ((RGB / 255).astype(np.float16), "(255 * image).round().astype(np.uint8)"),
        (GREY > 5, "(255 * image).round().astype(np.uint8)"),
        (RGB.astype(np.float32), "from 0 to 255, image.astype(np.uint8)"),
        (RGB.astype(int), "from 0 to 255, image.astype(np.uint8)"),
        (RGB.tolist(), "got int64 (12, 10, 3)"),
        (RGB.astype(np.uint16) * 257, "from 0 to 65535, (image / 257).round().astype(np.uint8)"),
        (RGB.astype(np.int32) - 300, "scale it to 0 … 255 first"),
        (np.where(RGB > 5, RGB / 255, np.nan), "scale it to 0 … 255 first"),
        (RGB.transpose(2, 0, 1), "channels come last: image.transpose(1, 2, 0)"),
        (RGB.transpose(2, 0, 1) / 255, "channels come last: image.transpose(1, 2, 0)"),
        (GREY[None], "channels come last: image.transpose(1, 2, 0)"),
        (RGB[None], "one image at a time: image[0]"),
        (np.stack([RGB, RGB]), "got uint8 (2, 12, 10, 3)"),
        (np.dstack([RGB, RGB]), "got uint8 (12, 10, 6)"),
        (RGB[:0], "got uint8 (0, 10, 3)"),
        (RGB * (1 + 2j), "got complex128"),
        (RGB.astype("M8[s]"), "got datetime64[s]"),
        (RGB.astype(object), "got object"),
        (None, "got None"),
        (7, "got 7"),
        (b"\x89PNG", "got b'"),
        ([[1, 2], [3]], "(H, W, 3) to hold numbers, got [[1, 2], [3]]"),
        ([], "got float64 (0,)"),
        (Path("nowhere.png"), "does not exist"),
        ("nowhere.png", "does not exist"),
    ],
)
def test_what_is_no_image_is_told_how_to_become_one(image, advice):
    """In set_image, generate and everything else that takes an image."""
    generator = minisam.SamAutomaticMaskGenerator(SAM, points_per_side=1)
    for call in (as_image, minisam.SamPredictor(SAM).set_image, generator.generate):
        with pytest.raises(InputError) as error:
            call(image)
        assert advice in str(error.value) and "\n" not in str(error.value)


def test_set_image_and_generate_take_the_same_images(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    images = [GREY, GREY[..., None], np.repeat(GREY[..., None], 3, 2), Image.fromarray(GREY), tmp_path / "grey.png"]
    images += [np.dstack([GREY, GREY, GREY, np.full_like(GREY, 255)]), str(tmp_path / "grey.png")]
    generator = minisam.SamAutomaticMaskGenerator(
        SAM, points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0, output_mode="coco_rle"
    )
    expected, first = generator.generate(images[0]), None
    assert expected
    for image in images:
        predictor = minisam.SamPredictor(SAM)
        predictor.set_image(image)
        first = predictor.get_image_embedding() if first is None else first
        np.testing.assert_array_equal(predictor.get_image_embedding(), first)
        assert generator.generate(image) == expected
    predictor.set_image(np.dstack([RGB[..., ::-1], OPACITY]), image_format="BGR")
    turned = predictor.get_image_embedding()
    predictor.set_image(np.dstack([RGB, OPACITY]))
    np.testing.assert_array_equal(turned, predictor.get_image_embedding())


# --------------------------------------------------------------------------------------------------- points, boxes


CUT = [
    ([-0.4, 2, 30, 30], [0, 2, 30, 30], False),
    ([0, 0, 60.5, 40.5], [0, 0, 60, 40], False),
    ([3, 4, 61, 41], [3, 4, 60, 40], False),
    ([-1, -1, 61, 41], [0, 0, 60, 40], False),
    ([3, 4, 62, 30], [3, 4, 60, 30], True),
    ([-50, 4, 20, 30], [0, 4, 20, 30], True),
    ([-1e6, -1e6, 1e6, 1e6], [0, 0, 60, 40], True),
    ([59.5, 39.5, 70, 70], [59.5, 39.5, 60, 40], True),
    ([5, -3, 20, 0.01], [5, 0, 20, 0.01], True),
    ([5, 6, 60.0000001, 40], [5, 6, 60, 40], False),
]


@pytest.mark.parametrize(("box", "cut", "says"), CUT)
def test_boxes_are_cut_at_the_edge(predictor, box, cut, says):
    """Beyond a pixel a warning says so, at the caller's line. Kills: boxes that are not cut."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        answer = predictor.predict(box=box)
        batch = predictor.predict_batch(boxes=[box, cut])
    assert len(said) == 2 * says and all(warning.filename == __file__ for warning in said)
    assert all("box inside the image of 60 × 40 pixels" in str(warning.message) for warning in said)
    for ours, both, theirs in zip(answer, batch, predictor.predict(box=cut, strict=True)):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(both[0], both[1])
    for call in (
        lambda: predictor.predict(box=box, strict=True),
        lambda: predictor.predict_batch(boxes=[box], strict=True),
    ):
        with pytest.raises(InputError, match="expected a box inside the image of 60 × 40 pixels, got"):
            call()


@pytest.mark.parametrize(
    "box",
    [[60, 0, 70, 5], [0, 40, 5, 50], [-5, 3, 0, 9], [3, -9, 9, 0], [100, 100, 200, 200], [-2, -2, -1, -1],
     [60.0001, 3, 61, 9], [-1e9, 3, -1, 9], [3, 40.5, 9, 41], [1e30, 1, 2e30, 3]],
)  # fmt: skip
@pytest.mark.parametrize("strict", [False, True])
def test_a_box_elsewhere_is_an_error(predictor, box, strict):
    """Kills: a box elsewhere cut to nothing."""
    match = "box inside the image" if strict else "box with a part inside the image of 60 × 40 pixels, got"
    with pytest.raises(InputError, match=match):
        predictor.predict(box=box, strict=strict)
    with pytest.raises(InputError, match=match):
        predictor.predict_batch(boxes=[[1, 1, 5, 5], box], strict=strict)


@pytest.mark.parametrize(
    ("point", "moved", "says"),
    [
        ([60, 10], [60, 10], False),
        ([60, 40], [60, 40], False),
        ([59.99, 40], [59.99, 40], False),
        ([-0.5, 3], [0, 3], False),
        ([60.7, 10], [60, 10], False),
        ([61, 41], [60, 40], False),
        ([-1, 40.2], [0, 40], False),
        ([-2, 3], [0, 3], True),
        ([63, 39], [60, 39], True),
        ([10, 1e9], [10, 40], True),
        ([-1e30, -1e30], [0, 0], True),
    ],
)
def test_points_are_moved_to_the_edge(predictor, point, moved, says):
    """Kills: points that stay outside, a warning within a pixel."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        answer = predictor.predict([[5, 5], point], [0, 1])
        predictor.predict_batch([[[5, 5], point]], [[0, 1]])
    assert len(said) == 2 * says and all(warning.filename == __file__ for warning in said)
    for ours, theirs in zip(answer, predictor.predict([[5, 5], moved], [0, 1])):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="expected points inside the image of 60 × 40 pixels, got"):
        predictor.predict([[5, 5], point], [0, 1], strict=True)


def test_pad_points_may_lie_anywhere():
    """Kills: pad points that are moved."""
    coords, _, _ = check_prompts((40, 60), [[[5, 6], [-10, 99]]], [[1, -1]], strict=True)
    np.testing.assert_array_equal(coords, [[[5, 6], [-10, 99]]])


EMPTY: list[Any] = [[], np.zeros((0, 2)), np.zeros(0), (), np.zeros((0, 2), object), [[]], np.zeros((0, 2), np.float32)]


@pytest.mark.parametrize("points", EMPTY)
@pytest.mark.parametrize("labels", [None, [], np.zeros(0), np.zeros(0, int), ()])
def test_no_points_beside_a_box_or_a_mask(predictor, points, labels):
    box, logits = [5, 5, 30, 30], np.random.default_rng(0).standard_normal((1, LOW, LOW))
    for prompt in ({"box": box}, {"mask_input": logits}):
        for ours, theirs in zip(predictor.predict(points, labels, **prompt), predictor.predict(**prompt)):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="expected a prompt: points, a box or a mask, got none"):
        predictor.predict(points, labels)
    with pytest.raises(InputError, match="expected point_coords with point_labels"):
        predictor.predict(points, [1], box=box)
    batch = predictor.predict_batch(np.zeros((2, 0, 2)), np.zeros((2, 0)), boxes=[box, box])
    np.testing.assert_array_equal(batch[0][1], predictor.predict(box=box)[0])


@pytest.mark.parametrize(
    "box", [[5, 6, 30, 31], [[5, 6, 30, 31]], [[[5, 6, 30, 31]]], [[5, 6], [30, 31]], (5.0, 6, 30, 31)]
)
def test_one_box_in_every_shape(predictor, box):
    np.testing.assert_array_equal(predictor.predict(box=box)[0], predictor.predict(box=np.array([5, 6, 30, 31]))[0])


def test_several_boxes(predictor):
    """``predict`` names ``predict_batch``, which takes one image's list of boxes in every shape."""
    boxes = np.array([[5, 6, 30, 31], [1, 2, 50, 20], [9, 3, 60.4, 40]])
    for several in (boxes, boxes[None], boxes.reshape(3, 2, 2), boxes.tolist()):
        with pytest.raises(InputError, match=r"expected one box, got 3 \(predict_batch\(boxes=…\) answers several\)"):
            predictor.predict(box=several)
    expected = [predictor.predict(box=box)[2] for box in boxes]
    for several in (boxes, boxes[None], boxes[:, None], boxes.reshape(3, 2, 2), boxes.tolist(), list(boxes)):
        low_res = predictor.predict_batch(boxes=several)[2]
        np.testing.assert_allclose(low_res, expected, atol=1e-4 * np.abs(expected).max())
    for none in ([], np.zeros((0, 4)), np.zeros((1, 0, 4)), np.zeros((0, 2, 2))):
        assert predictor.predict_batch(boxes=none)[0].shape == (0, 3, HEIGHT, WIDTH)
        np.testing.assert_array_equal(predictor.predict([[5, 5]], [1], none)[0], predictor.predict([[5, 5]], [1])[0])
        with pytest.raises(InputError, match="expected a prompt"):
            predictor.predict(box=none)


@pytest.mark.parametrize(
    "boxes", [[1, 2, 3, 4], 5, [[1, 2, 3]], np.ones((2, 3, 4)), np.ones((2, 2)), [[1, 2, 3, 4, 5]]]
)
def test_boxes_of_other_shapes(predictor, boxes):
    with pytest.raises(InputError, match=r"expected boxes of shape \(B, 4\), got \("):
        predictor.predict_batch(boxes=boxes)


@pytest.mark.parametrize("labels", [[True, False], [1.0, 0.0], np.array([1, 0], np.uint8), np.array([True, False])])
def test_labels_of_every_type(predictor, labels):
    ours, theirs = (predictor.predict([[5, 5], [30, 30]], given)[0] for given in (labels, [1, 0]))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "labels", [["1", "0"], ["fg", "bg"], [0.5, 1], [4, 0], [-2, 1], [1], 1, [[1, 0]], [b"1", b"0"]]
)
def test_labels_that_are_none(predictor, labels):
    with pytest.raises(InputError, match="expected"):
        predictor.predict([[5, 5], [30, 30]], labels)


# ----------------------------------------------------------------------------------------------------------- masks


def test_a_mask_prompt_may_lack_its_axis(predictor):
    low_res = predictor.predict([[5, 5]], [1])[2]
    np.testing.assert_array_equal(
        predictor.predict(mask_input=low_res[0])[0], predictor.predict(mask_input=low_res[:1])[0]
    )
    np.testing.assert_array_equal(
        predictor.predict_batch(mask_input=low_res)[0], predictor.predict_batch(mask_input=low_res[:, None])[0]
    )


HALF = np.zeros((LOW, LOW))
HALF[: LOW // 2] = 1


@pytest.mark.parametrize(
    "mask",
    [HALF, HALF.astype(np.float32), HALF.astype(np.uint8), 255 * HALF, (255 * HALF).astype(np.uint8), HALF.astype(int),
     HALF.astype(np.float16), HALF > 0, np.ones((LOW, LOW)), np.full((LOW, LOW), 255), np.zeros((LOW, LOW), np.uint8),
     HALF.astype(int).tolist()],
)  # fmt: skip
def test_yes_or_no_masks_are_no_logits(predictor, mask):
    """Kills: masks of 0 and 255 as logits."""
    match = r"expected mask_input as logits, got .*\(minisam.binary_mask_to_logits makes logits of a mask\)"
    with pytest.raises(InputError, match=match):
        predictor.predict(mask_input=np.array(mask)[None])
    with pytest.raises(InputError, match=match):
        predictor.predict(mask_input=mask)
    batch = np.stack([np.random.default_rng(0).standard_normal((LOW, LOW)), mask]).astype(np.asarray(mask).dtype)
    with pytest.raises(InputError, match=match):
        predictor.predict_batch(mask_input=batch)
    with pytest.raises(InputError, match="binary_mask_to_logits"):
        predictor.predict(mask_input=np.ones((HEIGHT, WIDTH), np.uint8))


@pytest.mark.parametrize("logits", [16 * HALF - 8, 2 * HALF - 1, 2 * HALF, 0.9 * HALF, 0 * HALF, HALF + 0.1, -HALF])
def test_other_masks_are_logits(logits):
    np.testing.assert_array_equal(check_masks(logits[None, None], LOW), np.float32(logits)[None, None])
