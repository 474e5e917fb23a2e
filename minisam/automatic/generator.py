"""Every object in an image: a grid of points asks the model, and the good answers stay, each once.

Source: SAM, section 4 and appendix B, and the released code's ``SamAutomaticMaskGenerator``, whose arguments, records
and order of records these are.

    thresholds = {"pred_iou_thresh": 0.5, "stability_score_thresh": 0.5}    # tiny's; the defaults suit large models
    generator = minisam.SamAutomaticMaskGenerator(minisam.load("tiny"), **thresholds)
    records = generator.generate(image)                             # uint8 (H, W, 3)
    largest = max(records, key=lambda record: record["area"])["segmentation"]   # bool (H, W)

Why it is quick, exactly: the predicted IoU is known before a mask is upscaled, so answers under the threshold are never
upscaled; and one pass (``minisam_kernels.masks.mask_runs``) leads from the decoder's small logits to run lengths,
stability and box, so there is no float mask of the image's size at all. Masks stay run lengths, in COCO's compressed
form, until they are handed out: a mask of a megapixel takes some kilobytes, and memory grows with the masks that pass
the filters, not with the batch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from minisam.automatic.crops import PRESETS, Crop, checked, crop_boxes, cut_off
from minisam.automatic.funnel import STEPS, Funnel
from minisam.automatic.regions import remove_small_regions
from minisam.automatic.run import Mask, Progress, Run, record
from minisam.model.inputs import as_image
from minisam.model.preprocess import apply_coords, input_size
from minisam.predictor import SamPredictor
from minisam.sam import Sam
from minisam_kernels import InputError
from minisam_kernels.masks import rle
from minisam_kernels.masks.box_from_mask import box_from_mask
from minisam_kernels.masks.mask_runs import mask_runs
from minisam_kernels.runtime.threads import blas_at_one_thread, parallel_for

MAX_COVERAGE = 0.95  # of the image: the paper drops masks that cover as much or more


class SamAutomaticMaskGenerator:
    """Masks for a grid of points on the image and, if asked, on crops of it.

    Parameters
    ----------
    model : Sam
        As ``minisam.load`` gives it.
    points_per_side : int or None
        Points along a side of the grid. Each is asked for three masks.
    points_per_batch : int
        Points that are embedded, and reported to ``progress``, together. In the released code it also sets the memory;
        here a prompt is decoded and reduced to run lengths on its own, so neither memory nor results depend on it.
    pred_iou_thresh : float
        Keep masks whose predicted IoU is above it; 0 or less keeps all. (A predicted IoU may exceed 1.)
    stability_score_thresh, stability_score_offset : float
        Keep masks whose IoU between the thresholds +offset and −offset (logits) is at least this; a
        threshold of 0 or less keeps all, one above 1 none.
    box_nms_thresh : float
        Of masks of a crop whose boxes' IoU is above it, the one of the higher predicted IoU stays; 1 or more keeps
        all, a negative one the best alone.
    crop_n_layers : int
        Layer i adds 2ⁱ × 2ⁱ crops of the image, each encoded on its own.
    crop_nms_thresh : float
        As ``box_nms_thresh``, between crops; the smaller crop wins.
    crop_overlap_ratio : float
        The part of the image's shorter side that crops of the first layer share; in the next layer half of it.
    crop_n_points_downscale_factor : int
        Layer i has ``points_per_side`` divided by the i-th power of this.
    point_grids : sequence of array_like, shape (N, 2), or None
        Instead of ``points_per_side``: for each layer, points (x, y) in [0, 1].
    min_mask_region_area : int
        Pixels: fill smaller holes and remove smaller islands, then remove duplicates anew; 0 or less leaves them.
    output_mode : {"binary_mask", "uncompressed_rle", "coco_rle"}
        A record's segmentation: bool (H, W), or run lengths as in COCO.
    paper_rules : bool
        Follow the paper where it differs from the released code; see ``sa1b``. All other arguments are as in that code.

    Attributes
    ----------
    predictor : SamPredictor
        As in the released code. An image is set in a copy of it.
    funnel : Funnel or None
        What became of every candidate of the last image.

    Raises
    ------
    InputError
        If a value is out of its range. Thresholds may be any number but NaN, as in the released code.
    """

    def __init__(
        self,
        model: Sam,
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
        point_grids: Sequence[npt.ArrayLike] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
        *,
        paper_rules: bool = False,
    ) -> None:
        settings = checked(
            points_per_side=points_per_side, points_per_batch=points_per_batch, pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh, stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh, crop_n_layers=crop_n_layers, crop_nms_thresh=crop_nms_thresh,
            crop_overlap_ratio=crop_overlap_ratio, crop_n_points_downscale_factor=crop_n_points_downscale_factor,
            point_grids=point_grids, min_mask_region_area=min_mask_region_area, output_mode=output_mode,
            paper_rules=paper_rules,
        )  # fmt: skip
        self.predictor = SamPredictor(model)
        self.funnel: Funnel | None = None
        self.point_grids: list[np.ndarray] = settings["point_grids"]
        self.points_per_batch: int = settings["points_per_batch"]
        self.pred_iou_thresh: float = settings["pred_iou_thresh"]
        self.stability_score_thresh: float = settings["stability_score_thresh"]
        self.stability_score_offset: float = settings["stability_score_offset"]
        self.box_nms_thresh: float = settings["box_nms_thresh"]
        self.crop_n_layers: int = settings["crop_n_layers"]
        self.crop_nms_thresh: float = settings["crop_nms_thresh"]
        self.crop_overlap_ratio: float = settings["crop_overlap_ratio"]
        self.crop_n_points_downscale_factor: int = settings["crop_n_points_downscale_factor"]
        self.min_mask_region_area: int = settings["min_mask_region_area"]
        self.output_mode: str = settings["output_mode"]
        self.paper_rules: bool = settings["paper_rules"]

    @classmethod
    def sa1b(cls, model: Sam, **changes: Any) -> SamAutomaticMaskGenerator:
        """The settings with which SA-1B was made, as the paper tells.

        Parameters
        ----------
        model : Sam
        **changes
            Arguments of the class that should have another value.

        Notes
        -----
        ============================  ===========================  ===============================
        rule                          the paper, and here          the released code
        ============================  ===========================  ===============================
        crops                         2 layers, 2 × 2 and 4 × 4    none unless asked for
        points per side               32, in crops 16 and 8        32 everywhere unless asked for
        predicted IoU                 at least .88                 above .88
        masks of ≥ 95 % of an image   dropped                      kept
        holes, islands < 100 pixels   filled, removed              left unless asked for
        all islands < 100 pixels      the mask is dropped          the largest island stays
        ============================  ===========================  ===============================

        Both take a stability of at least .95 at ±1 and NMS of boxes at .7. Where the paper leaves something open, the
        code's way is taken: a mask "touches" a crop's inner edge when its box comes within 20 pixels of it; crops are
        ranked by their area; holes are filled before islands are removed, and duplicates are removed once more after.
        """
        return cls(model, **(PRESETS["sa1b"] | changes))

    def generate(
        self, image: npt.ArrayLike | str | os.PathLike[str] | Image.Image, progress: Progress | None = None
    ) -> list[dict[str, Any]]:
        """The masks of an image.

        Parameters
        ----------
        image : array_like, shape (H, W, 3), uint8; or str, Path or PIL image
            Red, green, blue; or whatever else ``SamPredictor.set_image`` takes.
        progress : callable, optional
            ``progress(done, total)`` is called with numbers of points, first before the encoder runs.

        Returns
        -------
        list of dict
            Sorted by falling predicted IoU; with crops, by crop, the smallest first. Empty when no mask passes.

            segmentation
                The mask, as ``output_mode`` says.
            area
                Its pixels.
            bbox
                x, y, width, height, from the centre of the first pixel to that of the last, so that width and height
                are one less than the columns and rows (the released code's way). Files that minisam writes hold the
                columns and rows themselves, as COCO and SA-1B do.
            predicted_iou
                The model's own guess, which may exceed 1.
            stability_score
                IoU of the masks at the two thresholds.
            point_coords
                [[x, y]], the prompt.
            crop_box
                x, y, width, height.

        Raises
        ------
        InputError
            If the image is not of that kind.
        """
        pixels = as_image(image)
        size = (pixels.shape[0], pixels.shape[1])
        crops = crop_boxes(size, self.crop_n_layers, self.crop_overlap_ratio)
        run = self._begin(crops, progress)
        predictor = copy(self.predictor)
        masks: list[Mask] = []
        for crop, layer in crops:
            x0, y0, x1, y1 = crop
            predictor.set_image(np.ascontiguousarray(pixels[y0:y1, x0:x1]))
            masks += self._masks_of_crop(predictor, crop, layer, size, run)
        if len(crops) > 1:
            areas = np.array([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (mask.crop for mask in masks)])
            masks = run.without_duplicates(masks, 1 / areas.astype(np.float32), self.crop_nms_thresh, "crop_nms")
        return self._records(masks, size, run)

    def generate_encoded(
        self, predictor: SamPredictor | None = None, progress: Progress | None = None
    ) -> list[dict[str, Any]]:
        """As ``generate`` for an image that is encoded already; without crops.

        Parameters
        ----------
        predictor : SamPredictor, optional
            Of the generator's model, with an image set, by ``features`` or ``load_embedding`` too. Without one, the
            generator's own ``predictor``.
        progress : callable, optional
            As in ``generate``.

        Returns
        -------
        list of dict
            As from ``generate``.
        """
        if self.crop_n_layers:
            raise InputError(f"expected crop_n_layers 0 for an image that is encoded, got {self.crop_n_layers}")
        predictor = copy(self.predictor if predictor is None else predictor)  # another thread may set the next image
        if not isinstance(predictor, SamPredictor):
            raise InputError(f"expected a SamPredictor with an image set, got {type(predictor).__name__}")
        size = predictor.get_original_size()
        if predictor.model is not self.predictor.model:
            raise InputError("expected a predictor of the generator's own model, got one of another")
        if predictor.terms is None:
            raise InputError("expected a predictor with the fused decoder, got one with plain=True")
        crop = (0, 0, size[1], size[0])
        run = self._begin([(crop, 0)], progress)
        return self._records(self._masks_of_crop(predictor, crop, 0, size, run), size, run)

    def _begin(self, crops: list[tuple[Crop, int]], progress: Progress | None) -> Run:
        """All points that will be asked, in pixels of the image, none of them yet."""
        points = [self.point_grids[layer] * (x1 - x0, y1 - y0) + (x0, y0) for (x0, y0, x1, y1), layer in crops]
        masks = self.predictor.model.config.num_multimask_outputs
        return Run(Funnel.of(np.concatenate(points), masks), progress)

    def _masks_of_crop(
        self, predictor: SamPredictor, crop: Crop, layer: int, size: tuple[int, int], run: Run
    ) -> list[Mask]:
        """Ask about every point of a crop that is set in the predictor; what passes the filters, duplicates removed."""
        x0, y0, x1, y1 = crop
        crop_size = (y1 - y0, x1 - x0)
        points = self.point_grids[layer] * (x1 - x0, y1 - y0)
        inputs = apply_coords(points, crop_size, predictor.model.config.image_size)
        passed: list[Mask] = []
        for start in range(0, len(points), self.points_per_batch):
            batch = inputs[start : start + self.points_per_batch]
            with blas_at_one_thread():
                masks_of_points = self._decode(predictor, batch, run, crop, size)
            passed += [mask for masks in masks_of_points for mask in masks]
            run.step(len(batch))
        scores = np.array([mask.iou for mask in passed])
        kept = run.without_duplicates(passed, scores, self.box_nms_thresh, "box_nms")
        if crop_size == size:
            return kept
        return [mask._replace(runs=rle.to_string(rle.uncrop(rle.from_string(mask.runs), crop, size))) for mask in kept]

    def _decode(
        self, predictor: SamPredictor, inputs: np.ndarray, run: Run, crop: Crop, size: tuple[int, int]
    ) -> list[list[Mask]]:
        """For each of the run's next points, inputs (B, 2) in pixels of the model's input, the masks that pass the
        filters; what they measured goes into the funnel."""
        sam, (x0, y0, x1, y1), first, funnel = predictor.model, crop, run.done, run.funnel
        assert predictor.terms is not None
        sparse, _ = sam.prompt_encoder((inputs[:, None], np.ones((len(inputs), 1), np.int64)))
        passed: list[list[Mask]] = [[] for _ in inputs]
        whole = (y1 - y0, x1 - x0) == size
        crop_size = (y1 - y0, x1 - x0)
        shapes = (input_size(*crop_size, sam.config.image_size), sam.config.image_size, crop_size)
        # Scores are float32, and so are the thresholds that they are compared with. For three masks per prompt plain
        # numbers are quicker than arrays (measured: ``consume``'s own share fell from 76 to 43 µs per prompt).
        with np.errstate(over="ignore"):  # 1e300 is infinite then
            thresholds = np.array([self.pred_iou_thresh, self.stability_score_thresh], np.float32)
        least_iou, least_stability = thresholds.tolist()
        most_area = MAX_COVERAGE * size[0] * size[1] if self.paper_rules else np.inf

        def wanted(b: int, iou: np.ndarray) -> np.ndarray:
            funnel.predicted_iou[first + b] = iou
            values = iou.tolist()
            if least_iou <= 0:
                return np.array([value == value for value in values])  # all but NaN
            if self.paper_rules:
                return np.array([value >= least_iou for value in values])
            return np.array([value > least_iou for value in values])

        def consume(b: int, indices: np.ndarray, logits: np.ndarray) -> None:
            measured = mask_runs(logits, *shapes, sam.mask_threshold, self.stability_score_offset)
            boxes = measured.boxes if whole else measured.boxes + (x0, y0, x0, y0)
            cut = [False] * len(boxes) if whole else cut_off(boxes, crop, size).tolist()
            point = first + b
            funnel.stability[point, indices] = measured.stability
            ious = funnel.predicted_iou[point].tolist()
            columns = (measured.counts, measured.areas.tolist(), boxes.tolist(), measured.stability.tolist(), cut)
            for index, counts, area, box, stability, is_cut in zip(indices.tolist(), *columns):
                stable = least_stability <= 0 or stability >= least_stability  # NaN is not: empty at both thresholds
                if not stable or is_cut or not area < most_area:
                    step = "stability" if not stable else "crop_edge" if is_cut else "coverage"
                    funnel.fates[point, index] = STEPS.index(step)
                    continue
                candidate = len(ious) * point + index
                passed[b].append(Mask(rle.to_string(counts), area, box, ious[index], stability, candidate, crop))

        sam.fused_decoder.decode_each(predictor.terms, sparse, True, wanted, consume)
        return passed

    def _without_small_regions(self, masks: list[Mask], size: tuple[int, int], run: Run) -> list[Mask]:
        """Every mask with its small holes filled and its small islands removed. Of duplicates that this makes, a mask
        that needed no change stays."""
        cleaned: list[Mask] = list(masks)
        changed = np.zeros(len(masks), bool)

        def clean(i: int) -> None:
            before = rle.decode(rle.from_string(masks[i].runs), size)
            after, changed[i] = remove_small_regions(before, self.min_mask_region_area, not self.paper_rules)
            if changed[i]:
                box, runs = box_from_mask(after[None])[0].tolist(), rle.to_string(rle.encode(after[None])[0])
                cleaned[i] = masks[i]._replace(runs=runs, area=int(after.sum()), box=box)

        parallel_for(clean, len(masks))
        if self.paper_rules:
            left = [i for i, mask in enumerate(cleaned) if mask.area > 0]
            run.drop(cleaned, "regions")
            cleaned, changed = [cleaned[i] for i in left], changed[left]
        return run.without_duplicates(cleaned, 1.0 - changed, max(self.box_nms_thresh, self.crop_nms_thresh), "regions")

    def _records(self, masks: list[Mask], size: tuple[int, int], run: Run) -> list[dict[str, Any]]:
        """The masks as they are handed out. They leave the list on the way, so that no mask is held twice."""
        if self.min_mask_region_area > 0:
            masks = self._without_small_regions(masks, size, run)
        records = []
        points, per_point = run.funnel.points, run.funnel.fates.shape[1]
        masks.reverse()
        while masks:
            mask = masks.pop()
            records.append(record(mask, points[mask.candidate // per_point], size, self.output_mode))
        self.funnel = run.funnel
        return records
