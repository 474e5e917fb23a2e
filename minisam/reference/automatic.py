"""Every object in an image, step by step in torch: what the fast generator is compared with, and timed against.

The steps are the released code's, each done in the plainest way: prompts in batches, all three masks of every prompt
upscaled to full size as float32, scored, thresholded, cut down to boxes and run lengths, and duplicates removed by
boxes. Nothing is skipped, fused or reordered. ``MaskData`` is a dict of columns with a row for each mask.

    records = straightforward(model, image, points_per_side=32)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from minisam.model.preprocess import apply_coords, input_size, normalise_and_pad, resize_image
from minisam.reference.model import Sam

MaskData = dict[str, Any]
Decode = Callable[[Tensor], tuple[Tensor, Tensor]]  # points (B, 2) in pixels of a crop → low_res_logits, iou


@torch.no_grad()
def straightforward(
    model: Sam,
    image: np.ndarray,
    points_per_side: int | None = 32,
    points_per_batch: int = 64,
    pred_iou_thresh: float = 0.88,
    stability_score_thresh: float = 0.95,
    stability_score_offset: float = 1.0,
    box_nms_thresh: float = 0.7,
    crop_n_layers: int = 0,
    crop_nms_thresh: float = 0.7,
    crop_overlap_ratio: float = 512 / 1500,
    crop_n_points_downscale_factor: int = 1,
    point_grids: list[np.ndarray] | None = None,
    min_mask_region_area: int = 0,
    embedding: Tensor | None = None,
    decoder: Callable[[tuple[int, int, int, int]], Decode] | None = None,
) -> list[dict[str, Any]]:
    """Records as ``SamAutomaticMaskGenerator.generate`` makes them, ``segmentation`` an uncompressed run-length code.

    ``embedding`` (1, h, w, C) of the whole image spares its encoding (to time what comes after it); ``decoder``, crop
    box → decode, takes the place of the model's encoder and decoder (to test what comes after them).
    """
    size = model.config.image_size
    height, width = image.shape[:2]
    grids = point_grids if points_per_side is None else [
        point_grid(int(points_per_side / crop_n_points_downscale_factor**layer)) for layer in range(crop_n_layers + 1)
    ]  # fmt: skip
    assert grids is not None

    data: MaskData = {}
    crops = crop_boxes((height, width), crop_n_layers, crop_overlap_ratio)
    for crop, layer in crops:
        x0, y0, x1, y1 = crop
        crop_size = (y1 - y0, x1 - x0)
        if decoder is not None:
            decode = decoder(crop)
        elif embedding is not None and layer == 0:
            decode = decode_with(model, embedding, crop_size)
        else:
            decode = decode_with(model, encode(model, image[y0:y1, x0:x1]), crop_size)
        points = torch.from_numpy(grids[layer] * np.array([x1 - x0, y1 - y0]))
        crop_data: MaskData = {}
        for batch in points.split(points_per_batch):
            low_res, iou = decode(batch)
            logits = full_size(low_res, crop_size, size)  # (B, M, H, W) float32: the memory that this costs
            batch_data: MaskData = {
                "logits": logits.flatten(0, 1),
                "iou": iou.flatten(),
                "points": batch.repeat_interleave(iou.shape[1], dim=0),
            }
            if pred_iou_thresh > 0:
                batch_data = chosen(batch_data, batch_data["iou"] > pred_iou_thresh)
            batch_data["stability"] = stability_score(batch_data["logits"], 0.0, stability_score_offset)
            if stability_score_thresh > 0:
                batch_data = chosen(batch_data, batch_data["stability"] >= stability_score_thresh)
            batch_data["masks"] = batch_data.pop("logits") > 0
            batch_data["boxes"] = mask_to_box(batch_data["masks"])
            batch_data = chosen(batch_data, ~near_crop_edge(batch_data["boxes"], crop, (0, 0, width, height)))
            masks = F.pad(batch_data.pop("masks"), (x0, width - x1, y0, height - y1))  # to the image's size
            batch_data["counts"] = run_lengths(masks)
            crop_data = joined(crop_data, batch_data)
        crop_data = chosen(crop_data, nms(crop_data["boxes"], crop_data["iou"], box_nms_thresh))
        crop_data["boxes"] = crop_data["boxes"] + torch.tensor([x0, y0, x0, y0])
        crop_data["points"] = crop_data["points"] + torch.tensor([x0, y0])
        crop_data["crops"] = torch.tensor(crop).expand(len(crop_data["counts"]), 4)
        data = joined(data, crop_data)

    if len(crops) > 1:  # the most zoomed in wins
        sides = data["crops"][:, 2:] - data["crops"][:, :2]
        data = chosen(data, nms(data["boxes"], 1 / sides.prod(dim=1), crop_nms_thresh))
    if min_mask_region_area > 0:
        data = without_small_regions(data, (height, width), min_mask_region_area, max(box_nms_thresh, crop_nms_thresh))
    return [
        {
            "segmentation": {"size": [height, width], "counts": data["counts"][i]},
            "area": sum(data["counts"][i][1::2]),
            "bbox": xywh(data["boxes"][i]),
            "predicted_iou": data["iou"][i].item(),
            "point_coords": [data["points"][i].tolist()],
            "stability_score": data["stability"][i].item(),
            "crop_box": xywh(data["crops"][i]),
        }
        for i in range(len(data["counts"]))
    ]


# ------------------------------------------------------------------------------------------------------ the model


def encode(model: Sam, image: np.ndarray) -> Tensor:
    """An image or a crop of one, uint8 (H, W, 3) → image embedding (1, h, w, C)."""
    size = model.config.image_size
    pixels = normalise_and_pad(resize_image(np.ascontiguousarray(image), size), size)
    return model.image_encoder(torch.from_numpy(pixels))


def decode_with(model: Sam, embedding: Tensor, size: tuple[int, int]) -> Decode:
    """The decoder for points in an image of ``size`` (H, W), each a foreground point, three masks for each."""
    pe = model.prompt_encoder.get_dense_pe()

    def decode(points: Tensor) -> tuple[Tensor, Tensor]:
        coords = apply_coords(points.numpy(), size, model.config.image_size)
        labels = torch.ones(len(points), 1)
        sparse, dense = model.prompt_encoder((torch.from_numpy(coords).float()[:, None], labels))
        return model.mask_decoder(embedding, pe, sparse, dense, True)

    return decode


def full_size(low_res: Tensor, size: tuple[int, int], image_size: int) -> Tensor:
    """low_res (B, M, L, L) → logits (B, M, H, W): up to the model's square, cut, to the image's ``size`` (H, W)."""
    height, width = input_size(*size, image_size)
    square = F.interpolate(low_res, (image_size, image_size), mode="bilinear", align_corners=False)
    return F.interpolate(square[..., :height, :width], size, mode="bilinear", align_corners=False)


# ------------------------------------------------------------------------------------------------ points and crops


def point_grid(side: int) -> np.ndarray:
    """(side², 2): points (x, y) in [0, 1] at the middles of side × side equal cells, row after row."""
    middles = np.linspace(0.5 / side, 1 - 0.5 / side, side)
    return np.array([(x, y) for y in middles for x in middles])


def crop_boxes(size: tuple[int, int], layers: int, overlap_ratio: float) -> list[tuple[tuple[int, int, int, int], int]]:
    """The image and its crops as ((x0, y0, x1, y1), layer): layer i has 2ⁱ × 2ⁱ crops that overlap."""
    height, width = size
    crops = [((0, 0, width, height), 0)]
    for layer in range(1, layers + 1):
        n = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / n))
        crop_width = math.ceil((overlap * (n - 1) + width) / n)
        crop_height = math.ceil((overlap * (n - 1) + height) / n)
        for i, j in itertools.product(range(n), range(n)):  # a column of crops after the other
            x0, y0 = i * (crop_width - overlap), j * (crop_height - overlap)
            crops.append(((x0, y0, min(x0 + crop_width, width), min(y0 + crop_height, height)), layer))
    return [crop for crop in crops if crop[0][0] < crop[0][2] and crop[0][1] < crop[0][3]]


# ---------------------------------------------------------------------------------------------------------- masks


def stability_score(logits: Tensor, threshold: float, offset: float) -> Tensor:
    """logits (N, H, W) → (N,): pixels above the stricter threshold over those above the laxer one; 0/0 is NaN."""
    inner = (logits > threshold + offset).sum(dim=(1, 2), dtype=torch.int32)
    outer = (logits > threshold - offset).sum(dim=(1, 2), dtype=torch.int32)
    return inner / outer


def mask_to_box(masks: Tensor) -> Tensor:
    """masks (N, H, W) bool → (N, 4) int64: the first and the last column and row, x0, y0, x1, y1; zeros if empty."""
    height, width = masks.shape[1:]
    columns, rows = masks.any(dim=1), masks.any(dim=2)  # (N, W), (N, H)
    x, y = torch.arange(width), torch.arange(height)
    boxes = torch.stack(
        [
            torch.where(columns, x, width).amin(dim=1),
            torch.where(rows, y, height).amin(dim=1),
            torch.where(columns, x, -1).amax(dim=1),
            torch.where(rows, y, -1).amax(dim=1),
        ],
        dim=1,
    )
    return boxes * columns.any(dim=1)[:, None]


def near_crop_edge(
    boxes: Tensor, crop: tuple[int, int, int, int], picture: tuple[int, int, int, int], tolerance: float = 20.0
) -> Tensor:
    """boxes (N, 4) in pixels of the crop → (N,): whether a side lies within 20 pixels of the crop's same side that is
    not within 20 pixels of the image's: such a mask is cut off, and another crop has it whole."""
    boxes = boxes + torch.tensor([crop[0], crop[1], crop[0], crop[1]])
    near_crop = (boxes - torch.tensor(crop)).abs() <= tolerance
    near_picture = (boxes - torch.tensor(picture)).abs() <= tolerance
    return (near_crop & ~near_picture).any(dim=1)


def run_lengths(masks: Tensor) -> list[list[int]]:
    """masks (N, H, W) bool → for each its runs, column by column, beginning with a run (perhaps of none) of zeros."""
    flat = masks.transpose(1, 2).flatten(1)
    mask, changes = (flat[:, 1:] ^ flat[:, :-1]).nonzero().unbind(1)
    counts = []
    for i in range(len(flat)):
        ends = torch.cat([torch.tensor([0]), changes[mask == i] + 1, torch.tensor([flat.shape[1]])])
        counts.append(([0] if flat[i, 0] else []) + ends.diff().tolist())
    return counts


def mask_from_run_lengths(counts: list[int], size: tuple[int, int]) -> np.ndarray:
    """The reverse, for one mask: bool (H, W)."""
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(size[::-1]).T


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes (N, 4) that stay, best score first: each removes those whose IoU with it is above
    ``threshold``. Equal scores keep their order."""
    boxes = boxes.float()
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = scores.sort(descending=True, stable=True).indices
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        overlap = (
            torch.minimum(boxes[best, 2:], boxes[order, 2:]) - torch.maximum(boxes[best, :2], boxes[order, :2])
        ).clamp(min=0)
        inter = overlap.prod(dim=1)
        iou = inter / (areas[best] + areas[order] - inter)
        order = order[~(iou.double() > threshold)]
    return torch.tensor(kept, dtype=torch.int64)


def without_small_regions(data: MaskData, size: tuple[int, int], min_area: int, nms_thresh: float) -> MaskData:
    """Fill the small holes and remove the small islands of every mask, then remove duplicates once more; among those a
    mask that needed no change wins."""
    if not data["counts"]:
        return data
    masks, scores = [], []
    for counts in data["counts"]:
        mask = mask_from_run_lengths(counts, size)
        mask, filled = remove_small_regions(mask, min_area, "holes")
        mask, removed = remove_small_regions(mask, min_area, "islands")
        masks.append(torch.from_numpy(mask))
        scores.append(0.0 if filled or removed else 1.0)
    stack = torch.stack(masks)
    boxes, counts = mask_to_box(stack), run_lengths(stack)
    for i in range(len(masks)):
        if scores[i] == 0:
            data["boxes"][i], data["counts"][i] = boxes[i], counts[i]
    return chosen(data, nms(boxes, torch.tensor(scores), nms_thresh))


def remove_small_regions(mask: np.ndarray, min_area: int, mode: str) -> tuple[np.ndarray, bool]:
    """mask bool (H, W) without its "holes" or "islands" of fewer than ``min_area`` pixels, and whether it had any.

    Regions hang together over corners too. When every island is small, the largest stays; of equal ones the one that
    comes first where the mask is read in blocks of 2 × 2 pixels, as OpenCV reads it.
    """
    from scipy import ndimage

    regions, _ = ndimage.label(~mask if mode == "holes" else mask, np.ones((3, 3)))
    sizes = np.bincount(regions.ravel())[1:]  # of region 1, 2, …
    small = np.flatnonzero(sizes < min_area)
    if not len(small):
        return mask, False
    if mode == "islands" and len(small) == len(sizes):
        h, w = (-(-side // 2) for side in mask.shape)
        blocks = np.pad(regions, [(0, side % 2) for side in mask.shape]).reshape(h, 2, w, 2).max(axis=(1, 3)).ravel()
        first = next(label for label in blocks if label and sizes[label - 1] == sizes.max())
        small = np.delete(small, first - 1)
    changed = np.isin(regions, small + 1)
    return mask ^ changed, True


# ---------------------------------------------------------------------------------------------------- columns of data


def chosen(data: MaskData, rows: Tensor) -> MaskData:
    """The rows that a yes/no column or a list of indices names."""
    indices = rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows
    return {key: [column[i] for i in indices] if isinstance(column, list) else column[indices]
            for key, column in data.items()}  # fmt: skip


def joined(first: MaskData, second: MaskData) -> MaskData:
    """The rows of the one, then those of the other."""
    if not first:
        return second
    return {key: column + second[key] if isinstance(column, list) else torch.cat([column, second[key]])
            for key, column in first.items()}  # fmt: skip


def xywh(box: Tensor) -> list[int]:
    """x0, y0, x1, y1 → x0, y0, x1 − x0, y1 − y0."""
    x0, y0, x1, y1 = box.tolist()
    return [x0, y0, x1 - x0, y1 - y0]
