"""The contenders of ``minisam bench`` that need torch: the reference itself, and Hugging Face's model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from minisam.benchmark.contender import Call, Contender, subset
from minisam.checkpoints.hugging_face import to_hugging_face
from minisam.model.preprocess import MEAN, STD
from minisam.reference.automatic import straightforward
from minisam.reference.model import Sam


class Reference(Contender):
    """``minisam.reference``: the same model in torch, eager, float32."""

    packages: tuple[str, ...] = ("torch",)
    model: Any

    def __init__(self, weights: str, folder: str, threads: int) -> None:
        super().__init__(weights, folder, threads)
        del self.sam
        torch.set_num_threads(threads)
        with torch.device("meta"):
            model = Sam(self.config)
        model.load_state_dict(load_file(weights), assign=True)
        self.model = model.eval()

    def prepare(self, kind: str, options: dict[str, Any]) -> Call:
        """As above, without a trace for gradients."""
        with torch.inference_mode():
            call = super().prepare(kind, options)
        return torch.inference_mode()(call)

    def encode(self) -> Call:
        picture = torch.from_numpy(self.picture())
        mean, std = torch.from_numpy(MEAN), torch.from_numpy(STD)
        return lambda: self.model.image_encoder(((picture - mean) / std)[None])

    def prompts(self, count: int) -> Call:
        embedding, pe = torch.from_numpy(self.embedding()), self.model.prompt_encoder.get_dense_pe()
        points = tuple(torch.from_numpy(part) for part in self.points(count))
        return lambda: self.model.mask_decoder(embedding, pe, *self.model.prompt_encoder(points), True)

    def everything(self, picture: int, every: int = 1, **options: Any) -> Call:
        embedding = torch.from_numpy(np.load(self.folder / "embedding.npy"))
        image, options = np.zeros((picture, picture, 3), np.uint8), options | subset(options, every)
        return lambda: straightforward(self.model, image, embedding=embedding, **options)

    def sgemm(self, size: int) -> Call:
        a, b = torch.ones(2, size, size)
        return lambda: a @ b

    def math(self) -> list[str]:
        built = torch.__config__.show().splitlines()
        lines = [line.strip(" -") for line in built if "Math Kernel Library" in line or "MKL-DNN" in line]
        return [" ".join(line.split(" (")[0].split()[:8]) for line in lines] or ["as built into torch"]


class HuggingFace(Reference):
    """``transformers.SamModel`` with its default attention, eager, float32."""

    packages: tuple[str, ...] = ("torch", "transformers")

    def __init__(self, weights: str, folder: str, threads: int) -> None:
        from transformers import SamModel  # not above: it would count as memory of torch alone

        from minisam.reference.hugging_face import model_config

        Contender.__init__(self, weights, folder, threads)
        del self.sam
        torch.set_num_threads(threads)
        config = model_config(self.config)
        for part in (config, config.vision_config, config.mask_decoder_config):
            part._attn_implementation = None  # its own choice, as from_pretrained makes it
        self.model = SamModel(config)
        self.model.load_state_dict(to_hugging_face(load_file(weights)), strict=True, assign=True)
        self.model.eval()

    def encode(self) -> Call:
        picture = torch.from_numpy(self.picture())
        mean, std = torch.from_numpy(MEAN), torch.from_numpy(STD)
        return lambda: self.model.get_image_embeddings(((picture - mean) / std)[None].movedim(-1, 1))

    def prompts(self, count: int) -> Call:
        coords, labels = self.points(count)
        embedding = torch.from_numpy(self.embedding()).movedim(-1, 1).contiguous()
        inputs = {
            "image_embeddings": embedding,
            "input_points": torch.from_numpy(coords)[None],
            "input_labels": torch.from_numpy(labels)[None],
        }
        return lambda: self.model(**inputs, multimask_output=True)

    def math(self) -> list[str]:
        return [*super().math(), f"attention: {self.model.config._attn_implementation}"]
