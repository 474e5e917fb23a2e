"""The mask decoder: image embedding and prompt embeddings → four masks and how good each is thought to be.

Source: paper, section 3 and appendix A. Five learned tokens go through the two-way transformer with the prompt. Each of
the four mask tokens then writes a small linear classifier (a hypernetwork), and a mask is that classifier applied to
every pixel of the upscaled image features (chapter 7, eq-mask-logits). The fifth token holds the predicted IoU.
"""

from __future__ import annotations

import numpy as np

from minisam.model.config import SamConfig
from minisam.model.state import State
from minisam.model.transformer import TwoWayTransformer
from minisam_kernels.layers.gelu import gelu


class MaskDecoder:
    """To be read: ``__call__`` gives the masks that a caller asked for, ``predict_masks`` all four.

    ``minisam.fused.decoder`` is the same function in another order, for speed.
    """

    def __init__(self, config: SamConfig, state: State) -> None:
        self.config, self.state = config, state
        self.transformer = TwoWayTransformer(config, state / "transformer")

    def __call__(
        self, image: np.ndarray, image_pe: np.ndarray, sparse: np.ndarray, dense: np.ndarray, multimask_output: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Masks 1–3 when ``multimask_output``, else mask 0. Which, the caller says: the released code's rule.

        image (1, h, w, C), image_pe (h, w, C), sparse (B, T, C), dense (B or 1, h, w, C)
        → logits (B, M, 4h, 4w), iou_predictions (B, M).
        """
        return self.predict_masks(image, image_pe, sparse, dense, slice(1, None) if multimask_output else slice(0, 1))

    def predict_masks(
        self,
        image: np.ndarray,
        image_pe: np.ndarray,
        sparse: np.ndarray,
        dense: np.ndarray,
        chosen: slice = slice(None),
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ``chosen`` ones among the four masks: logits (B, M, 4h, 4w) and predicted IoU (B, M)."""
        output_tokens = np.concatenate([self.state["iou_token.weight"], self.state["mask_tokens.weight"]])  # (5, C)
        if not len(sparse):
            h, w = image.shape[1:3]
            count = len(range(len(output_tokens) - 1)[chosen])
            return np.empty((0, count, 4 * h, 4 * w), np.float32), np.empty((0, count), np.float32)
        # Tokens (B, 5 + T, C): the five learned ones first, the same for every prompt, then the prompt's.
        batch = max(len(sparse), len(dense))
        tokens = np.concatenate([np.broadcast_to(output_tokens, (batch, *output_tokens.shape)), sparse], axis=1)
        # The image (1, h, w, C) plus the mask prompt of each; without one B stays 1, and the transformer shares it.
        source = image + dense
        b, h, w, channels = source.shape
        # Rows of pixels become one list of h · w image tokens, and a grid again.
        tokens, source = self.transformer(source.reshape(b, h * w, channels), image_pe.reshape(h * w, -1), tokens)
        upscaled = self.upscale(source.reshape(-1, h, w, channels))  # (B, 4h, 4w, C/8)
        # Token 0 is the IoU token; a mask's logit at a pixel is its vector · the pixel's C/8 features.
        vectors = self.classifiers(tokens[:, 1 : len(output_tokens)], chosen)  # (B, M, C/8)
        flat = upscaled.reshape(batch, -1, upscaled.shape[3])
        logits = (vectors @ flat.swapaxes(1, 2)).reshape(batch, -1, 4 * h, 4 * w)
        return logits, self.mlp("iou_prediction_head", tokens[:, 0])[:, chosen]

    def upscale(self, source: np.ndarray) -> np.ndarray:
        """source (B, h, w, C) → (B, 4h, 4w, C/8): two transposed convolutions, each doubling both sides."""
        up = self.state / "output_upscaling"
        x = gelu((up / 1).layer_norm((up / 0).conv_transpose2d(source), eps=1e-6))
        return gelu((up / 3).conv_transpose2d(x))

    def classifiers(self, mask_tokens: np.ndarray, chosen: slice) -> np.ndarray:
        """mask_tokens (B, 4, C) → (B, M, C/8): each token through a hypernetwork of its own."""
        numbers = range(mask_tokens.shape[1])[chosen]
        return np.stack([self.mlp(f"output_hypernetworks_mlps.{i}", mask_tokens[:, i]) for i in numbers], axis=1)

    def mlp(self, name: str, x: np.ndarray) -> np.ndarray:
        """Three linear layers with ReLU between them (``iou_head_depth`` of them for the IoU head)."""
        layers = self.state / name / "layers"
        depth = self.config.iou_head_depth if name == "iou_prediction_head" else 3
        for i in range(depth):
            x = (layers / i).linear(x)
            if i < depth - 1:
                np.maximum(x, 0, out=x)
        return x
