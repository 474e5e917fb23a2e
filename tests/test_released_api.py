"""Programs for the released code run here: the calls of its notebooks and of its scripts, and the page that compares
every name.

The calls are those of notebooks/predictor_example, automatic_mask_generator_example and onnx_model_example and of
scripts/amg.py of facebookresearch/segment-anything; images, checkpoints and sizes are small ones.
"""

from __future__ import annotations

import csv
import inspect
import io
import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import minisam
from minisam import ResizeLongestSide, SamAutomaticMaskGenerator, SamPredictor, sam_model_registry
from minisam.checkpoints import registry
from minisam_kernels import InputError
from small_models import SMALL

PAGE = Path(minisam.__file__).parents[1] / "chapters" / "coming_from.md"
KEEP_ALL = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
# Every public name of the released package, as its files define them
RELEASED = {
    "": "build_sam build_sam_vit_h build_sam_vit_l build_sam_vit_b sam_model_registry SamPredictor "
    "SamAutomaticMaskGenerator Sam ResizeLongestSide",
    "SamPredictor": "model transform device set_image set_torch_image predict predict_torch get_image_embedding "
    "features is_image_set original_size input_size reset_image",
    "SamAutomaticMaskGenerator": "generate predictor point_grids postprocess_small_regions",
    "Sam": "forward image_encoder prompt_encoder mask_decoder mask_threshold image_format device pixel_mean pixel_std "
    "preprocess postprocess_masks to eval state_dict load_state_dict parameters cuda",
    "ResizeLongestSide": "target_length apply_image apply_coords apply_boxes apply_image_torch apply_coords_torch "
    "apply_boxes_torch get_preprocess_shape",
    "modeling": "ImageEncoderViT PromptEncoder MaskDecoder TwoWayTransformer",
    "utils.amg": "MaskData batch_iterator is_box_near_crop_edge box_xyxy_to_xywh mask_to_rle_pytorch rle_to_mask "
    "area_from_rle coco_encode_rle calculate_stability_score build_point_grid build_all_layer_point_grids "
    "generate_crop_boxes uncrop_boxes_xyxy uncrop_points uncrop_masks remove_small_regions batched_mask_to_box",
    "utils.onnx": "SamOnnxModel",
    "scripts": "amg export_onnx_model",
}
# The arguments of what programs call, in the released order
ARGUMENTS = {
    "SamPredictor": "sam_model",
    "SamPredictor.set_image": "image image_format",
    "SamPredictor.set_torch_image": "transformed_image original_image_size",
    "SamPredictor.predict": "point_coords point_labels box mask_input multimask_output return_logits",
    "SamPredictor.predict_torch": "point_coords point_labels boxes mask_input multimask_output return_logits",
    "SamAutomaticMaskGenerator": "model points_per_side points_per_batch pred_iou_thresh stability_score_thresh "
    "stability_score_offset box_nms_thresh crop_n_layers crop_nms_thresh crop_overlap_ratio "
    "crop_n_points_downscale_factor point_grids min_mask_region_area output_mode",
    "SamAutomaticMaskGenerator.generate": "image",
    "Sam.__call__": "batched_input multimask_output",
    "ResizeLongestSide": "target_length",
    "ResizeLongestSide.apply_image": "image",
    "ResizeLongestSide.apply_coords": "coords original_size",
    "ResizeLongestSide.apply_boxes": "boxes original_size",
    "ResizeLongestSide.get_preprocess_shape": "oldh oldw long_side_length",
    "build_sam": "checkpoint",
    "build_sam_vit_b": "checkpoint",
    "build_sam_vit_h": "checkpoint",
    "build_sam_vit_l": "checkpoint",
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """Random weights of tiny's sizes in a file."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(minisam.build("tiny", seed=5).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def sam(checkpoint: Path) -> minisam.Sam:
    sam = sam_model_registry["tiny"](checkpoint=checkpoint)
    assert sam.to(device="cuda") is sam and sam.eval() is sam
    return sam


@pytest.fixture(scope="module")
def predictor(sam: minisam.Sam, image: np.ndarray) -> SamPredictor:
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    return predictor


# ---------------------------------------------------------------------------------------------- predictor_example


def test_points_boxes_and_masks(predictor: SamPredictor) -> None:
    input_point, input_label = np.array([[50, 37]]), np.array([1])
    masks, scores, logits = predictor.predict(point_coords=input_point, point_labels=input_label, multimask_output=True)
    assert masks.shape == (3, 60, 90) and masks.dtype == bool and scores.shape == (3,)
    mask_input = logits[np.argmax(scores), :, :]
    for labels in (np.array([1, 1]), np.array([1, 0])):
        masks, _, _ = predictor.predict(
            point_coords=np.array([[50, 37], [11, 6]]),
            point_labels=labels,
            mask_input=mask_input[None, :, :],
            multimask_output=False,
        )
        assert masks.shape == (1, 60, 90)
    input_box = np.array([42, 30, 70, 50])
    masks, _, _ = predictor.predict(
        point_coords=None, point_labels=None, box=input_box[None, :], multimask_output=False
    )
    assert masks[0].shape == (60, 90)
    masks, _, _ = predictor.predict(
        point_coords=np.array([[57, 35]]), point_labels=np.array([0]), box=input_box, multimask_output=False
    )
    assert masks[0].shape == (60, 90)


def test_batched_boxes(predictor: SamPredictor, image: np.ndarray) -> None:
    """Kills: coordinates that are transformed again."""
    torch = pytest.importorskip("torch")
    input_boxes = torch.tensor([[7, 5, 85, 55], [42, 30, 70, 50], [1, 1, 90, 60]], device=predictor.device)
    transformed_boxes = predictor.transform.apply_boxes_torch(input_boxes, image.shape[:2])
    answer = predictor.predict_torch(
        point_coords=None, point_labels=None, boxes=torch.as_tensor(transformed_boxes), multimask_output=False
    )
    assert answer[0].shape == (3, 1, 60, 90)
    for ours, theirs in zip(answer, predictor.predict_batch(boxes=input_boxes, multimask_output=False)):
        np.testing.assert_array_equal(ours, theirs)


def test_points_and_logits_in_the_models_pixels(predictor: SamPredictor, image: np.ndarray) -> None:
    """As the released mask generator asks; points may lie outside of the image. Kills: thresholds with
    return_logits, bounds of the image in the model's pixels."""
    coords = np.array([[10, 20], [88, 59]])
    inputs = predictor.transform.apply_coords(coords, image.shape[:2])
    ours = predictor.predict_torch(inputs[:, None, :], np.ones((2, 1)), multimask_output=True, return_logits=True)
    expected = predictor.predict_batch(coords[:, None], np.ones((2, 1)), return_logits=True)
    assert ours[0].dtype == np.float32
    for one, other in zip(ours, expected):
        np.testing.assert_array_equal(one, other)
    assert predictor.predict_torch([[[-3, 400]]], [[1]])[0].shape == (1, 3, 60, 90)
    with pytest.raises(InputError, match="an image to be set"):
        SamPredictor(predictor.model).predict_torch(inputs[:, None, :], np.ones((2, 1)))


def test_batches_of_images(sam: minisam.Sam, predictor: SamPredictor, image: np.ndarray) -> None:
    """Kills: channels last, masks of the resized image's size, one image's answer for all."""
    torch = pytest.importorskip("torch")
    resize_transform = ResizeLongestSide(sam.image_encoder.img_size)

    def prepare_image(image: np.ndarray, transform: ResizeLongestSide, device: Any) -> Any:
        tensor = torch.as_tensor(transform.apply_image(image), device=device.device)
        return tensor.permute(2, 0, 1).contiguous()

    other = np.ascontiguousarray(image[:, :33, ::-1])
    boxes = [torch.tensor([[42, 30, 70, 50], [1, 1, 90, 60]], device=sam.device), torch.tensor([[2, 2, 30, 50]])]
    batched_input = [
        {
            "image": prepare_image(pixels, resize_transform, sam),
            "boxes": resize_transform.apply_boxes_torch(of_image, pixels.shape[:2]),
            "original_size": pixels.shape[:2],
        }
        for pixels, of_image in zip((image, other), boxes)
    ]
    batched_output = sam(batched_input, multimask_output=False)
    assert list(batched_output[0]) == ["masks", "iou_predictions", "low_res_logits"]
    assert batched_output[0]["masks"].shape == (2, 1, 60, 90) and batched_output[1]["masks"].shape == (1, 1, 60, 33)
    expected = predictor.predict_batch(boxes=boxes[0], multimask_output=False)
    for ours, theirs in zip(batched_output[0].values(), expected):
        np.testing.assert_array_equal(ours, theirs)


def test_all_prompts_of_a_batched_input(sam: minisam.Sam, predictor: SamPredictor, image: np.ndarray) -> None:
    record = {"image": predictor.transform.apply_image(image).transpose(2, 0, 1), "original_size": (60, 90)}
    low_res = 3 * np.random.default_rng(1).standard_normal((2, 1, *2 * [sam.config.low_res_size]))
    prompts = {"point_coords": np.array([[[9, 8]], [[200, 100]]]), "point_labels": np.array([[1], [0]])}
    (ours,) = sam([record | prompts | {"mask_inputs": low_res}], multimask_output=True)
    expected = predictor.predict_torch(*prompts.values(), mask_input=low_res)
    for one, other in zip(ours.values(), expected):
        np.testing.assert_array_equal(one, other)
    for wrong, message in (
        ({"original_size": (60, 90)}, "expected a record with image and original_size, got original_size"),
        (
            record | {"original_size": (90, 60)},
            r"expected a transformed image of shape \(3, 320, 213\) for original_size",
        ),
        (record | {"original_size": 5}, r"expected original_size as \(H, W\) in pixels, got 5"),
        (record, "expected a prompt: points, a box or a mask, got none"),
    ):
        with pytest.raises(InputError, match=message):
            sam([wrong], multimask_output=True)


def test_set_torch_image(sam: minisam.Sam, predictor: SamPredictor, image: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    other = SamPredictor(sam)
    tensor = torch.as_tensor(other.transform.apply_image(image), device=other.device)
    other.set_torch_image(tensor.permute(2, 0, 1).contiguous()[None, :, :, :], image.shape[:2])
    np.testing.assert_array_equal(other.get_image_embedding(), predictor.get_image_embedding())
    assert other.original_size == (60, 90) and other.input_size == predictor.input_size
    with pytest.raises(InputError, match=r"of shape \(1, 3, h', w'\), got \(3, "):
        other.set_torch_image(tensor.permute(2, 0, 1), image.shape[:2])


# ---------------------------------------------------------------------------- automatic_mask_generator_example, amg.py


def test_automatic_masks(sam: minisam.Sam, image: np.ndarray, tmp_path: Path) -> None:
    """The notebook's second generator, and what the script writes."""
    generator = SamAutomaticMaskGenerator(
        model=sam,
        points_per_side=2,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        crop_n_layers=1,
        crop_n_points_downscale_factor=2,
        min_mask_region_area=100,
    )
    masks = generator.generate(image)
    keys = "segmentation area bbox predicted_iou point_coords stability_score crop_box"
    assert masks and list(masks[0]) == keys.split()
    for annotation in sorted(masks, key=lambda x: x["area"], reverse=True):
        assert annotation["segmentation"].sum() == annotation["area"]
    table = io.StringIO()
    for i, mask in enumerate(masks):
        row = [i, mask["area"], *mask["bbox"], *mask["point_coords"][0], mask["predicted_iou"]]
        csv.writer(table).writerow([*row, mask["stability_score"], *mask["crop_box"]])
    lines = table.getvalue().splitlines()
    assert len(lines) == len(masks) and all(line.count(",") == 13 for line in lines)
    rle = SamAutomaticMaskGenerator(sam, output_mode="coco_rle", points_per_side=2, **KEEP_ALL).generate(image)
    assert json.loads(json.dumps(rle)) == rle


def test_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is loaded, none gives random weights, tiny its own. Kills: a name with another's model."""
    monkeypatch.setattr(registry, "load", lambda name, checkpoint: ("loaded", name, checkpoint))
    monkeypatch.setattr(registry, "build", lambda name: ("built", name))
    for name, size in (("default", "vit_h"), ("vit_h", "vit_h"), ("vit_l", "vit_l"), ("vit_b", "vit_b")):
        assert sam_model_registry[name](checkpoint="x.pth") == ("loaded", size, "x.pth")
        assert sam_model_registry[name]() == ("built", size)
    assert sam_model_registry["tiny"]() == ("loaded", "tiny", None)
    assert minisam.build_sam is minisam.build_sam_vit_h is sam_model_registry["default"]


# --------------------------------------------------------------------------------------------- onnx_model_example


@pytest.mark.slow
def test_the_exported_decoder_takes_the_embedding(tmp_path: Path, image: np.ndarray) -> None:
    """As it is, with a box as two points; its masks are ours. Kills: channels last."""
    onnxruntime = pytest.importorskip("onnxruntime")
    export = pytest.importorskip("minisam.export.onnx")
    sam = minisam.build(SMALL, seed=3)
    export.export(sam, tmp_path / "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / export.DECODER)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    embed_dim, embed_size = sam.prompt_encoder.embed_dim, sam.prompt_encoder.image_embedding_size
    assert predictor.get_image_embedding().shape == (1, embed_dim, *embed_size)
    mask_input_size = [4 * x for x in embed_size]
    points = np.concatenate([np.array([[57, 35]]), np.array([42, 30, 70, 50]).reshape(2, 2)], axis=0)
    onnx_coord = predictor.transform.apply_coords(points[None, :, :], image.shape[:2]).astype(np.float32)
    inputs = {
        "image_embeddings": predictor.get_image_embedding(),
        "point_coords": onnx_coord,
        "point_labels": np.array([[0, 2, 3]], np.float32),
        "mask_input": np.zeros((1, 1, *mask_input_size), np.float32),
        "has_mask_input": np.zeros(1, np.float32),
    }
    low_res, _ = session.run(None, inputs)
    expected = predictor.predict(points, [0, 2, 3])[2]
    np.testing.assert_allclose(low_res[0, 1:], expected, atol=1e-4 * np.abs(expected).max())


# ------------------------------------------------------------------------------------------------------- the page


def rows() -> dict[str, str]:
    """Released name → what the page says is here."""
    table = re.findall(r"^\| `([\w.]+)` \| (.+?) \| .*\|$", PAGE.read_text(), re.MULTILINE)
    assert len(table) == len(dict(table)), "a name twice"
    return dict(table)


def test_the_page_has_every_released_name() -> None:
    names = {f"{module}.{name}".lstrip(".") for module, text in RELEASED.items() for name in text.split()}
    assert set(rows()) == names


def instances(sam: minisam.Sam) -> dict[str, Any]:
    return {
        "Sam": sam,
        "SamPredictor": SamPredictor(sam),
        "SamAutomaticMaskGenerator": SamAutomaticMaskGenerator(sam, points_per_side=1),
        "ResizeLongestSide": ResizeLongestSide(64),
    }


def exists(path: str, sam: minisam.Sam) -> bool:
    """Whether a dotted name can be imported, or is an attribute of a class's instance."""
    module, _, name = path.rpartition(".")
    owner = module.rpartition(".")[2]
    if owner in (objects := instances(sam)):
        return hasattr(objects[owner], name)
    try:
        return hasattr(import_module(module), name)
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("name", rows())
def test_the_page_is_right(name: str, sam: minisam.Sam) -> None:
    """What is "same" or named exists; what is absent does not."""
    entry = rows()[name]
    if entry in ("same", "absent"):
        assert exists(f"minisam.{name}", sam) == (entry == "same")
        return
    path = entry.strip("`")
    if path.startswith("minisam.export"):
        pytest.importorskip("onnx")
        pytest.importorskip("onnxscript")
    is_module = path.startswith("minisam.commands") and import_module(path)
    assert is_module or exists(path, sam)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_have_the_released_names_and_order(name: str) -> None:
    owner, _, method = name.partition(".")
    function = getattr(minisam, owner)
    function = getattr(function, method) if method else function
    parameters = [parameter for parameter in inspect.signature(function).parameters if parameter != "self"]
    assert parameters[: len(ARGUMENTS[name].split())] == ARGUMENTS[name].split()


def test_the_pages_code_runs(checkpoint: Path, image: np.ndarray, tmp_path: Path, monkeypatch) -> None:
    """One block after the other, with tiny in place of ViT-B."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sam_model_registry, "vit_b", lambda checkpoint: sam_model_registry["tiny"](path))
    path = checkpoint
    names: dict[str, Any] = {"image": image, "np": np, "minisam": minisam}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        exec(block, names)
    assert names["masks"].shape == (3, 60, 90) and names["outputs"][1]["masks"].shape == (2, 1, 60, 90)
