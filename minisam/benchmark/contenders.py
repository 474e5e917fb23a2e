"""The same work in four libraries. Each contender lives alone in a worker's process and loads the same weights.

All of them start from the same uint8 pixels and the same coordinates, and give logits of the decoder's size; what they
get ready before a measurement (weights, embedding, constants that depend on the model alone) is not counted. Each reads
the weights in the way that takes it the least memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minisam.benchmark.contender import Call, Contender, subset


class Minisam(Contender):
    """This library."""

    packages: tuple[str, ...] = ("numpy", "numba")

    def encode(self) -> Call:
        from minisam.predictor import SamPredictor

        predictor, picture = SamPredictor(self.sam), self.picture()
        return lambda: predictor.set_image(picture)

    def prompts(self, count: int) -> Call:
        from minisam_kernels.runtime.threads import blas_at_one_thread

        sam = self.sam
        terms = sam.fused_decoder.prepare(self.embedding(), sam.prompt_encoder.get_dense_pe())
        points = self.points(count)

        def call() -> Any:
            with blas_at_one_thread():
                return sam.fused_decoder.decode(terms, sam.prompt_encoder(points)[0], None, True)

        return call

    def predictor_of(self, picture: int) -> Any:
        """A predictor that has encoded an image of ``picture``² pixels: the one of ``setup``, thought larger."""
        from minisam.predictor import SamPredictor

        predictor, size = SamPredictor(self.sam), self.config.image_size
        predictor.features = np.moveaxis(np.load(self.folder / "embedding.npy"), -1, 1)
        predictor.original_size, predictor.input_size = (picture, picture), (size, size)
        return predictor

    def predict(self, picture: int) -> Call:
        predictor = self.predictor_of(picture)
        return lambda: predictor.predict(np.array([[picture / 2, picture / 3]]), np.array([1]))

    def everything(self, picture: int, every: int = 1, **options: Any) -> Call:
        from minisam.automatic.generator import SamAutomaticMaskGenerator

        options |= subset(options, every)
        generator = SamAutomaticMaskGenerator(self.sam, output_mode="coco_rle", **options)
        predictor = self.predictor_of(picture)
        return lambda: generator.generate_encoded(predictor)

    def setup(self, picture: int) -> Call:
        """Encode an image of the procedural world for "everything", and choose thresholds for it."""
        from minisam.predictor import SamPredictor
        from minisam.world import render

        def call() -> dict[str, float]:
            predictor = SamPredictor(self.sam)
            predictor.set_image(render(seed=7, size=picture).image)
            assert predictor.terms is not None
            np.save(self.folder / "embedding.npy", np.moveaxis(predictor.get_image_embedding(), 1, -1))
            sparse = self.sam.prompt_encoder(self.points(64))[0]
            _, iou = self.sam.fused_decoder.decode(predictor.terms, sparse, None, True)
            return {"pred_iou_thresh": float(np.quantile(iou, 2 / 3))}

        return call


class OnnxRuntime(Contender):
    """ONNX Runtime on what ``minisam export`` writes, all its optimisations on, its own memory arena."""

    packages: tuple[str, ...] = ("onnxruntime",)

    def __init__(self, weights: str, folder: str, threads: int) -> None:
        super().__init__(weights, folder, threads)
        del self.sam

    def math(self) -> list[str]:
        return ["MLAS, its own"]

    def session(self, name: str) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        return onnxruntime.InferenceSession(self.folder / name, options, providers=["CPUExecutionProvider"])

    def encode(self) -> Call:
        session, inputs = self.session("encoder.onnx"), {"image": self.picture()[None]}
        return lambda: session.run(None, inputs)

    def prompts(self, count: int) -> Call:
        session = self.session("decoder.onnx")
        coords, labels = self.points(count)
        side = self.config.low_res_size
        inputs = {
            "image_embeddings": np.ascontiguousarray(np.moveaxis(self.embedding(), -1, 1)),
            "point_coords": np.pad(coords, ((0, 0), (0, 1), (0, 0))),
            "point_labels": np.pad(labels, ((0, 0), (0, 1)), constant_values=-1),
            "mask_input": np.empty((0, 1, side, side), np.float32),
            "has_mask_input": np.zeros(1, np.float32),
        }
        return lambda: session.run(None, inputs)


TITLES = {
    "minisam": "minisam",
    "pinned": "minisam, BLAS as pinned",
    "reference": "torch eager",
    "hugging_face": "Hugging Face",
    "onnxruntime": "ONNX Runtime",
}
PEERS = ("reference", "hugging_face", "onnxruntime")


def contender(name: str) -> type[Contender]:
    """The class of a contender; that of torch's are imported here, in their own process."""
    if name in ("reference", "hugging_face"):
        from minisam.benchmark import torch_contenders

        return torch_contenders.Reference if name == "reference" else torch_contenders.HuggingFace
    return OnnxRuntime if name == "onnxruntime" else Minisam
