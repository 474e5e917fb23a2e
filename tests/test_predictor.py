"""``SamPredictor`` and what stands before and after the model: sizes, coordinates, masks back to the image."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import minisam
from minisam.model.preprocess import apply_coords, input_size, normalise_and_pad, postprocess_masks, resize_image
from minisam_kernels import InputError
from small_models import SMALL
from strategies import seeds

# wrong version → (file, text in it, its replacement); names are quoted from docstrings
MUTANTS = {
    "an image that is forgotten once the next one is read": (
        "minisam/predictor.py",
        "        self.reset_image()\n        if image_format",
        "        if image_format",
    ),
    "features that stay when others are refused": (
        "minisam/predictor.py",
        "        self._image = _Encoded(**sizes)\n        if features is None:",
        "        if features is None:",
    ),
    "a size of the image before": ("minisam/predictor.py", "_image._replace(original_size=size)", "_image"),
    "the shorter side": (
        "minisam/model/preprocess.py",
        "image_size / max(height, width)",
        "image_size / min(height, width)",
    ),
    "rounding down": (
        "minisam/model/preprocess.py",
        "max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))",
        "max(1, int(height * scale)), max(1, int(width * scale))",
    ),
    "a side of no pixels": (
        "minisam/model/preprocess.py",
        "max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))",
        "int(height * scale + 0.5), int(width * scale + 0.5)",
    ),
    "one scale for both axes": (
        "minisam/model/preprocess.py",
        "(width / original_size[1], height / original_size[0])",
        "(width / original_size[1])",
    ),
    "(row, column)": (
        "minisam/model/preprocess.py",
        "(width / original_size[1], height / original_size[0])",
        "(height / original_size[0], width / original_size[1])",
    ),
    "zeros before normalising": (
        "minisam/model/preprocess.py",
        """= (image - MEAN) / STD
""",
        """= image
    out = (out - MEAN) / STD
""",
    ),
    "padding at the left or top": (
        "minisam/model/preprocess.py",
        "out[0, : image.shape[0], : image.shape[1]]",
        "out[0, -image.shape[0] :, -image.shape[1] :]",
    ),
    "a filter that samples points": (
        "minisam/model/preprocess.py",
        "Image.Resampling.BILINEAR",
        "Image.Resampling.NEAREST",
    ),
    "one resize": (
        "minisam/model/preprocess.py",
        "resize(resize(low_res, (image_size, image_size))[:, :height, :width], original_size)",
        "resize(low_res, original_size)",
    ),
    "a misplaced cut": ("minisam/model/preprocess.py", "[:, :height, :width]", "[:, -height:, -width:]"),
    "one that needs a prompt": ("minisam/model/mask_decoder.py", "if not len(sparse):", "if False:"),
}

SAM = minisam.build("tiny", seed=1)
SMALL_SAM = minisam.build(SMALL, seed=1)
LOW = SAM.config.low_res_size  # of the decoder's masks and of mask prompts


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictor() -> minisam.SamPredictor:
    predictor = minisam.SamPredictor(SAM)
    predictor.set_image(picture(60, 90))
    return predictor


@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([256, 1024]))
def test_the_longer_side_becomes_the_models_size(height, width, size):
    """Kills: the shorter side, rounding down, a side of no pixels (1 × 5000)."""
    h, w = input_size(height, width, size)
    assert max(h, w) == size and min(h, w) >= 1
    exact = min(height, width) * size / max(height, width)
    assert min(h, w) == max(1, int(exact + 0.5)) or abs(exact % 1 - 0.5) < 1e-6


@given(seeds, st.integers(1, 300), st.integers(1, 300))
def test_corners_go_to_corners(seed, height, width):
    """Coordinates: (0, 0) stays and (W, H) becomes (w', h'). Kills: one scale for both axes, (row, column)."""
    h, w = input_size(height, width, 256)
    moved = apply_coords(np.array([[0, 0], [width, height]]), (height, width), 256)
    np.testing.assert_allclose(moved, [[0, 0], [w, h]])


def test_padding_is_zero_after_normalising():
    """Kills: zeros before normalising (which become −mean/std), padding at the left or top."""
    out = normalise_and_pad(picture(3, 5), 8)
    assert out.shape == (1, 8, 8, 3)
    assert (out[0, 3:] == 0).all() and (out[0, :, 5:] == 0).all() and (out[0, :3, :5] != 0).any()
    expected = (picture(3, 5)[2, 4, 0] - 123.675) / 58.395
    np.testing.assert_allclose(out[0, 2, 4, 0], expected, rtol=1e-5)


def test_shrinking_averages_and_same_size_is_left_alone():
    """Pillow's filter is antialiased: a fine chequerboard becomes grey. Kills: a filter that samples points."""
    board = np.repeat((np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    assert resize_image(board, 256).min() > 100 and resize_image(board, 256).max() < 155
    assert resize_image(board, 512) is board


@given(seeds, st.integers(1, 40), st.integers(1, 40))
def test_masks_back_to_the_picture_are_torchs(seed, height, width):
    """Three steps as in the released code: to S × S, cut, to the image. Kills: one resize, a misplaced cut."""
    low = np.random.default_rng(seed).standard_normal((2, 16, 16)).astype(np.float32)
    h, w = input_size(height, width, 64)
    options = {"mode": "bilinear", "align_corners": False}
    square = F.interpolate(torch.from_numpy(low)[None].double(), (64, 64), **options)[..., :h, :w]
    expected = F.interpolate(square, (height, width), **options)[0].numpy()
    logits = postprocess_masks(low, (height, width), 64, None)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    masks = postprocess_masks(low, (height, width), 64, 0.0)
    clear = np.abs(expected) > 1e-5
    np.testing.assert_array_equal(masks[clear], (expected > 0)[clear])


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (37, 90)])
def test_any_shape_of_picture(size):
    predictor = minisam.SamPredictor(SAM)
    predictor.set_image(picture(*size))
    masks, iou, low = predictor.predict([[0, 0]], [1])
    assert masks.shape == (3, *size) and masks.dtype == bool
    assert iou.shape == (3,) and low.shape == (3, LOW, LOW)


def test_shapes_and_types_are_metas(predictor):
    masks, iou, low = predictor.predict(np.array([[10, 20], [40, 50]]), np.array([1, 0]), multimask_output=False)
    assert masks.shape == (1, 60, 90) and iou.shape == (1,) and low.shape == (1, LOW, LOW)
    logits, _, again = predictor.predict(
        np.array([[10, 20], [40, 50]]), np.array([1, 0]), multimask_output=False, return_logits=True
    )
    np.testing.assert_array_equal(low, again)
    assert logits.dtype == np.float32 and ((logits > 0) == masks).mean() > 0.999
    refined, _, _ = predictor.predict(box=np.array([5, 5, 80, 50]), mask_input=low)
    assert refined.shape == (3, 60, 90)


def test_a_batch_is_its_prompts_one_by_one(predictor):
    coords = np.array([[[10, 20]], [[50, 30]], [[80, 59]]])
    together = predictor.predict_batch(coords, np.ones((3, 1)))
    for i in range(3):
        alone = predictor.predict(coords[i], [1])
        np.testing.assert_allclose(together[2][i], alone[2], atol=1e-4 * np.abs(alone[2]).max())


def test_one_box_may_come_as_a_batch(predictor):
    """As in Meta's notebooks."""
    box = np.array([5, 5, 80, 50])
    for one, other in zip(predictor.predict(box=box), predictor.predict(box=box[None])):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("plain", [False, True])
def test_a_batch_of_no_prompts(plain):
    """Empty arrays, from both forms of the decoder. Kills: one that needs a prompt."""
    predictor = minisam.SamPredictor(SAM, plain=plain)
    predictor.set_image(picture(20, 30))
    low = predictor.model.config.low_res_size
    for prompt in (
        {"boxes": np.empty((0, 4))},
        {"point_coords": np.empty((0, 1, 2)), "point_labels": np.empty((0, 1))},
        {"mask_input": np.empty((0, 1, low, low), np.float32)},
    ):
        masks, iou, low_res = predictor.predict_batch(**prompt)
        assert masks.shape == (0, 3, 20, 30) and iou.shape == (0, 3) and low_res.shape == (0, 3, low, low)
        assert predictor.predict_batch(**prompt, multimask_output=False)[0].shape == (0, 1, 20, 30)


def test_bgr_is_rgb_turned_round():
    one, other = minisam.SamPredictor(SAM), minisam.SamPredictor(SAM)
    one.set_image(picture(20, 30))
    other.set_image(picture(20, 30)[..., ::-1], image_format="BGR")
    np.testing.assert_array_equal(one.get_image_embedding(), other.get_image_embedding())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected a prompt: points, a box or a mask, got none"),
        (
            {"point_coords": [[90, 3]], "point_labels": [1], "strict": True},
            r"inside the image of 90 × 60 pixels, got \(90, 3\)",
        ),
        (
            {"point_coords": [[3, -1]], "point_labels": [1], "strict": True},
            r"inside the image of 90 × 60 pixels, got \(3, -1\)",
        ),
        ({"point_coords": [[np.nan, 1]], "point_labels": [1]}, "expected point_coords to be finite, got nan"),
        ({"point_coords": [[1, 1]], "point_labels": [1, 0]}, r"a label for each of the 1 points, got \(2,\)"),
        ({"point_coords": [[1, 1]]}, "expected point_labels with point_coords, got points alone"),
        ({"point_labels": [1]}, "expected point_coords with point_labels, got labels alone"),
        ({"point_coords": [[1, 1]], "point_labels": [7]}, r"expected labels 1 \(foreground\) or 0 .*, got 7"),
        (
            {"point_coords": [1, 1], "point_labels": [1]},
            r"expected point_coords of shape \(P, 2\) per prompt, got \(2,",
        ),
        ({"point_coords": [["a", 1]], "point_labels": [1]}, "expected point_coords to hold numbers, got"),
        ({"point_coords": np.zeros((0, 2)), "point_labels": []}, "expected a prompt: points, a box"),
        ({"box": [10, 10, 5, 20]}, r"x0 < x1 and y0 < y1, got \(10, 10, 5, 20\)"),
        ({"box": [10, 10, 10, 20]}, r"x0 < x1 and y0 < y1, got \(10, 10, 10, 20\)"),
        (
            {"box": [10, 10, 95, 20], "strict": True},
            r"a box inside the image of 90 × 60 pixels, got \(10, 10, 95, 20\)",
        ),
        ({"box": [10, 10, 20]}, r"expected a box as \(x0, y0, x1, y1\), got shape \(3,\)"),
        ({"mask_input": np.zeros((1, 64, 64))}, rf"mask_input of shape \(1, {LOW}, {LOW}\), got \(1, 64, 64\)"),
        ({"mask_input": np.zeros((1, LOW, LOW), bool)}, "expected mask_input as logits, got bool"),
        ({"mask_input": np.full((1, LOW, LOW), np.inf)}, "expected mask_input to be finite, got inf"),
        ({"mask_input": np.full((1, LOW, LOW), 1e300)}, r"expected mask_input to hold numbers of float32, got 1e\+300"),
        ({"point_coords": [[1, 2], [3]], "point_labels": [1, 1]}, r"expected point_coords to hold numbers, got \[\[1"),
        ({"box": [[1, 2], [3]]}, "expected box to hold numbers, got"),
    ],
)
def test_bad_prompts_name_expected_and_received(predictor, arguments, message):
    with pytest.raises(InputError, match=message):
        predictor.predict(**arguments)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3)), r"uint8 and shape \(H, W, 3\), got float64 \(4, 4, 3\)"),
        (np.zeros((4, 4, 5), np.uint8), r"got uint8 \(4, 4, 5\)"),
        (np.zeros((0, 4, 3), np.uint8), r"got uint8 \(0, 4, 3\)"),
    ],
)
def test_bad_pictures_name_expected_and_received(image, message):
    predictor = minisam.SamPredictor(SAM)
    with pytest.raises(InputError, match=message):
        predictor.set_image(image)
    with pytest.raises(InputError, match="expected an image to be set"):
        predictor.predict([[1, 1]], [1])


def test_an_image_is_an_array_a_file_or_a_pil_image(tmp_path):
    """The three give the same masks. Kills: a file whose channels are turned for BGR."""
    pixels = picture(20, 30)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    embeddings = []
    for image in (pixels, tmp_path / "x.png", str(tmp_path / "x.png"), Image.fromarray(pixels)):
        predictor = minisam.SamPredictor(SAM)
        predictor.set_image(image)
        embeddings.append(predictor.get_image_embedding())
        np.testing.assert_array_equal(embeddings[-1], embeddings[0])
    with pytest.raises(InputError, match='expected image_format "RGB" with a file or a PIL image'):
        predictor.set_image(tmp_path / "x.png", image_format="BGR")
    with pytest.raises(InputError, match=r"expected an image, got nowhere\.jpg, which does not exist"):
        predictor.set_image("nowhere.jpg")


@pytest.mark.parametrize("plain", [False, True])
def test_features_can_be_kept_and_assigned(plain):
    """In the released layout, and the answer is the one of the new features. Kills: terms of the image before, a view
    that lets the caller change them, channels last."""
    first, second = minisam.SamPredictor(SAM, plain), minisam.SamPredictor(SAM, plain)
    first.set_image(picture(60, 90, seed=1))
    second.set_image(picture(60, 90, seed=2))
    kept = np.array(first.features)
    side = SAM.config.image_embedding_size
    assert kept.shape == (1, SAM.config.prompt_embed_dim, side, side) and not first.features.flags.writeable
    expected = first.predict([[10, 20]], [1], return_logits=True)
    assert (expected[2] != second.predict([[10, 20]], [1])[2]).any()
    second.features = kept
    third = minisam.SamPredictor(SAM, plain)
    third.features, third.is_image_set = kept.copy(), True
    with pytest.raises(InputError, match=r"expected original_size .* to be assigned with features, got None"):
        third.predict([[10, 20]], [1])
    third.original_size = [60, 90]
    kept[:] = 0
    for predictor in (second, third):
        for ours, theirs in zip(predictor.predict([[10, 20]], [1], return_logits=True), expected):
            np.testing.assert_array_equal(ours, theirs)
    third.input_size = (10, 10)
    with pytest.raises(
        InputError, match=r"expected input_size \(213, 320\) for original_size \(60, 90\), got \(10, 10\)"
    ):
        third.predict([[10, 20]], [1])
    with pytest.raises(InputError, match=r"expected features of float32 and shape .*, got float32 \(1, 40, 40, 128\)"):
        second.features = np.moveaxis(first.features, 1, -1)
    second.is_image_set = False
    assert second.features is None and second.terms is None and second.original_size is None
    third.features = None
    assert not third.is_image_set and third.terms is None


def test_corners_as_points_are_a_box(predictor):
    """Labels 2 and 3, with a point before them too. Kills: a pad point after corners, corners that may not lie on the
    image's edge, a batch in which some prompts have one."""
    box, corners = np.array([5, 6, 90, 60]), [[5, 6], [90, 60]]
    for ours, theirs in zip(predictor.predict(corners, [2, 3]), predictor.predict(box=box)):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(predictor.predict([[9, 9], *corners], [0, 2, 3]), predictor.predict([[9, 9]], [0], box)):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="in every prompt of a batch or in none"):
        predictor.predict_batch([corners, corners], [[2, 3], [1, 1]])
    with pytest.raises(InputError, match=r"expected points inside the image of 90 × 60 pixels, got \(91, 60\)"):
        predictor.predict([[5, 6], [91, 60]], [2, 3], strict=True)
    with pytest.raises(InputError, match=r"inside the image of 90 × 60 pixels, got \(90, 3\)"):
        predictor.predict([[90, 3], *corners], [1, 2, 3], strict=True)


def test_a_binary_mask_becomes_a_mask_prompt():
    """Inside +8, outside −8, between them on the edge; below a wide image, background."""
    mask = np.zeros((64, 128), bool)
    mask[16:48, 32:96] = True
    logits = minisam.binary_mask_to_logits(mask, SAM.config)
    assert logits.shape == (1, LOW, LOW) and logits.dtype == np.float32
    assert logits[0, LOW // 4, LOW // 2] == 8 and logits[0, 2, 2] == -8 and (logits[0, LOW // 2 :] == -8).all()
    with pytest.raises(InputError, match=r"expected a mask of shape \(H, W\), got \(1, 2, 2\)"):
        minisam.binary_mask_to_logits(np.zeros((1, 2, 2)), SAM.config)
    with pytest.raises(InputError, match="expected a mask of numbers, got <U1"):
        minisam.binary_mask_to_logits(np.array([["a", "b"]]), SAM.config)


def test_unknown_names_are_named():
    with pytest.raises(InputError, match="expected a model among tiny, vit_b, vit_l, vit_h, got 'vit_x'"):
        minisam.build("vit_x")
    with pytest.raises(InputError, match=r"expected a weight image_encoder.pos_embed .*, got nothing"):
        minisam.Sam(SAM.config, {})


@pytest.mark.parametrize("refused", [np.zeros((4, 4)), "missing.png"])
def test_a_refused_image_leaves_no_image(refused):
    """A server must not answer about the image before. Kills: an image that is forgotten once the next one is read."""
    predictor = minisam.SamPredictor(SAM)
    for set_image in (predictor.set_image, lambda image: predictor.set_torch_image(image, (4, 4))):
        predictor.set_image(np.zeros((20, 30, 3), np.uint8))
        with pytest.raises(InputError):
            set_image(refused)
        assert not predictor.is_image_set and predictor.terms is None


BAD_FEATURES = {
    "channels last": lambda good: np.moveaxis(good, 1, -1),
    "one axis less": lambda good: good[0],
    "two images": lambda good: np.concatenate([good, good]),
    "whole numbers": lambda good: good.astype(int),
    "complex": lambda good: good.astype(complex),
    "objects": lambda good: good.astype(object),
    "texts": lambda good: good.astype(str),
    "nan": lambda good: np.where(good == good.max(), np.nan, good),
    "infinity": lambda good: np.where(good == good.max(), np.inf, good),
    "beyond float32": lambda good: np.where(good == good.max(), 1e300, good.astype(float)),
    "a number": lambda good: 3.0,
    "a path": lambda good: "embedding.npy",
    "lists of several lengths": lambda good: [[1.0, 2.0], [3.0]],
    "bfloat16": lambda good: torch.tensor(good).bfloat16(),
    "a gradient": lambda good: torch.tensor(good).requires_grad_(),
}


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("name", BAD_FEATURES)
def test_refused_features_leave_no_image(name, plain):
    """Kills: features that stay when others are refused."""
    predictor = minisam.SamPredictor(SMALL_SAM, plain)
    predictor.set_image(picture(40, 60))
    with pytest.raises(InputError, match="expected features") as error:
        predictor.features = BAD_FEATURES[name](np.array(predictor.features))
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    assert not predictor.is_image_set and predictor.terms is None
    with pytest.raises(InputError, match="expected an image to be set"):
        predictor.predict([[1, 1]], [1])


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "Fortran's order", "a tensor", "lists"])
def test_features_of_every_layout(kind, plain):
    predictor = minisam.SamPredictor(SMALL_SAM, plain)
    predictor.set_image(picture(40, 60))
    kept = np.array(predictor.features)
    given = {"Fortran's order": np.asfortranarray(kept), "a tensor": torch.tensor(kept), "lists": kept.tolist()}
    array = given[kind] if kind in given else kept.astype(kind)
    predictor.set_image(picture(40, 60, seed=3))
    predictor.features = array
    np.testing.assert_array_equal(predictor.features, np.asarray(array, np.float32))
    other = minisam.SamPredictor(SMALL_SAM, not plain)
    other.original_size, other.features = (40, 60), array  # in this order too
    ours, theirs = (one.predict([[10, 20]], [1])[2] for one in (predictor, other))
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())


def test_sizes_follow_the_image():
    """Kills: a size of the image before."""
    predictor, low = minisam.SamPredictor(SMALL_SAM), SMALL_SAM.config.low_res_size
    predictor.original_size = (40, 60)
    assert predictor.input_size == (43, 64) and not predictor.is_image_set
    for ask in (lambda: predictor.predict([[1, 1]], [1]), predictor.get_original_size, predictor.get_image_embedding):
        with pytest.raises(InputError, match="expected an image to be set"):
            ask()
    predictor.set_image(picture(60, 40))
    kept = np.array(predictor.features)
    assert predictor.original_size == (60, 40) and predictor.input_size == (64, 43)
    predictor.original_size = (40, 60)  # and the embedding is one of another shape
    with pytest.raises(
        InputError, match=r"expected input_size \(43, 64\) for original_size \(40, 60\), got \(64, 43\)"
    ):
        predictor.predict([[1, 1]], [1])
    predictor.features = kept
    predictor.original_size = np.array([120, 80])
    assert predictor.input_size == (64, 43) and predictor.get_original_size() == (120, 80)
    assert predictor.predict(mask_input=np.full((1, low, low), -1.0))[0].shape == (3, 120, 80)
    for size in ((0, 3), (5.5, 3), "60", 10**400, None):
        predictor.original_size = size
        with pytest.raises(InputError, match="expected original_size"):
            predictor.predict([[1, 1]], [1])
    predictor.reset_image()
    assert predictor.original_size is predictor.input_size is predictor.features is predictor.terms is None


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (np.zeros((3, 43, 64)), (40, 60)),
        (np.zeros((2, 3, 43, 64)), (40, 60)),
        (np.zeros((1, 3, 64, 43)), (40, 60)),
        (np.zeros((1, 43, 64, 3)), (40, 60)),
        (np.zeros((1, 3, 43, 64)), (40,)),
        (np.zeros((1, 3, 43, 64)), None),
        (np.full((1, 3, 43, 64), np.nan), (40, 60)),
        (np.zeros((1, 3, 43, 64), complex), (40, 60)),
        ([[1, 2], [3]], (40, 60)),
        ("photo.jpg", (40, 60)),
        (None, (40, 60)),
        (torch.zeros(1, 3, 43, 64, requires_grad=True), (40, 60)),
        (torch.zeros(1, 3, 43, 64, dtype=torch.bfloat16), (40, 60)),
    ],
)
def test_a_refused_transformed_image_leaves_no_image(image, size):
    predictor = minisam.SamPredictor(SMALL_SAM)
    predictor.set_image(picture(40, 60))
    with pytest.raises(InputError, match=r"expected (a|an|transformed_image|original_size) ") as error:
        predictor.set_torch_image(image, size)
    assert "\n" not in str(error.value) and not predictor.is_image_set and predictor.original_size is None


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda predictor: pickle.loads(pickle.dumps(predictor))])
def test_copies_are_of_one_image(way, plain):
    """A copy keeps its image whatever becomes of the first, and the other way round."""
    first = minisam.SamPredictor(SMALL_SAM, plain)
    first.set_image(picture(40, 60))
    expected = first.predict([[10, 20]], [1])
    second = way(first)
    first.set_image(picture(20, 60, seed=2))
    other = first.predict([[10, 10]], [1])
    for ours, theirs in zip(second.predict([[10, 20]], [1]), expected):
        np.testing.assert_array_equal(ours, theirs)
    second.reset_image()
    for ours, theirs in zip(first.predict([[10, 10]], [1]), other):
        np.testing.assert_array_equal(ours, theirs)


def test_an_embedding_is_nobody_elses():
    """Two predictors of one model do not share memory, and what was handed out cannot be written to."""
    first, second = minisam.SamPredictor(SMALL_SAM), minisam.SamPredictor(SMALL_SAM)
    first.set_image(picture(40, 60))
    kept = first.get_image_embedding()
    before = kept.copy()
    second.set_image(picture(40, 60, seed=2))
    first.set_image(picture(40, 60, seed=3))
    np.testing.assert_array_equal(kept, before)
    with pytest.raises(ValueError, match="read-only"):
        first.features *= 2
