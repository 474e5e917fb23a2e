"""The prompt encoder: points, boxes and masks as vectors of the decoder's width.

Source: paper, section 3 and appendix A; Tancik et al. 2020 (random Fourier features). A point is the encoding of its
position plus a learned vector for its kind; a box is its two corners; a mask is a small grid, added to the image.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from minisam.model.config import SamConfig
from minisam.model.state import State
from minisam_kernels import InputError
from minisam_kernels.layers.gelu import gelu
from minisam_kernels.layers.position_encoding import position_encoding, position_grid

NOT_A_POINT, BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT = -1, 0, 1, 2, 3


class PromptEncoder:
    """Prompts → sparse embeddings (B, T, C), one a point or corner, and a dense one (B or 1, h, w, C)."""

    def __init__(self, config: SamConfig, state: State) -> None:
        self.config, self.state = config, state
        side = config.image_embedding_size
        self.embed_dim, self.image_embedding_size = config.prompt_embed_dim, (side, side)  # the released code's names
        self.gaussian = state["pe_layer.positional_encoding_gaussian_matrix"]
        names = ["not_a_point_embed", *(f"point_embeddings.{i}" for i in range(4))]
        self.kinds = np.concatenate([state[f"{name}.weight"] for name in names])  # row label + 1

    def __call__(
        self,
        points: tuple[np.ndarray, np.ndarray] | None = None,
        boxes: np.ndarray | None = None,
        masks: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Embed B prompts at once; any of the three may be missing, all of them too (B = 1, no tokens).

        points: coords (B, P, 2) as (x, y) in pixels of the model's input and labels (B, P) in −1 … 3;
        boxes (B, 4) as x0, y0, x1, y1; masks (B, 1, 4h, 4w) logits, such as an earlier answer's ``low_res_logits``.
        """
        given = (points and points[0], boxes, masks)
        batch = next((len(part) for part in given if part is not None), 1)
        return self.embed_sparse(points, boxes, batch), self.no_mask() if masks is None else self.embed_masks(masks)

    def embed_sparse(
        self, points: tuple[np.ndarray, np.ndarray] | None, boxes: np.ndarray | None, batch: int
    ) -> np.ndarray:
        """The tokens of points and boxes, as above, (B, T, C); T may be 0."""
        parts = [np.zeros((batch, 0, self.config.prompt_embed_dim), np.float32)]
        if points is not None:
            coords, labels = points
            # Points without a box are followed by one point that is none. A box's corners may come as points too.
            if boxes is None and not (labels >= TOP_LEFT).any():
                coords = np.pad(coords, ((0, 0), (0, 1), (0, 0)))
                labels = np.pad(labels, ((0, 0), (0, 1)), constant_values=NOT_A_POINT)
            parts.append(self.embed_points(coords, labels))
        if boxes is not None:
            corners = boxes.reshape(-1, 2, 2)
            parts.append(self.embed_points(corners, np.tile([TOP_LEFT, BOTTOM_RIGHT], (len(corners), 1))))
        return np.concatenate(parts, axis=1)

    def embed_points(self, coords: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """coords (B, P, 2) in pixels, labels (B, P) in −1 … 3 → (B, P, C). The half pixel is added here."""
        # A pixel's centre lies half a pixel after its corner; the encoding wants [0, 1].
        embeddings = position_encoding((coords + 0.5) / self.config.image_size, self.gaussian)
        embeddings[labels == NOT_A_POINT] = 0  # a pad point has no position, only a kind
        embeddings += self.kinds[labels.astype(np.intp) + 1]  # row 0 of kinds is label −1
        return embeddings

    def embed_texts(self, embeddings: np.ndarray) -> np.ndarray:
        """Embeddings of texts or of crops by CLIP, (B, E), of length 1 → a token each, W e √E + b, (B, 1, C).

        b is the vector of their kind, as points have one. Source: paper, section 7.5 and appendix D.5. Only a model
        that was tuned for it has these weights.
        """
        projection = self.state / "text_projection"
        weight = projection.get("weight")
        if weight is None:
            raise InputError(f"expected a model that was tuned for text, got {self.config.name} without a projection")
        width = weight.shape[1]
        if embeddings.ndim != 2 or embeddings.shape[1] != width:
            raise InputError(f"expected text embeddings of shape (B, {width}), got {embeddings.shape}")
        return projection.linear(np.asarray(embeddings * width**0.5, np.float32, "C"))[:, None]

    def embed_masks(self, masks: np.ndarray) -> np.ndarray:
        """masks (B, 1, 4h, 4w) logits → (B, h, w, C): two convolutions of stride 2 with norm and GELU, then a 1×1."""
        return (self.state / "mask_downscaling" / 6).conv2d(self.mask_channels(masks))

    def mask_channels(self, masks: np.ndarray) -> np.ndarray:
        """The same without the 1×1 at the end: masks (B, 1, 4h, 4w) → (B, h, w, ``mask_in_chans``)."""
        size = self.config.low_res_size
        if masks.ndim != 4 or masks.shape[1:] != (1, size, size):
            raise InputError(f"expected mask logits of shape (B, 1, {size}, {size}), got {masks.shape}")
        down = self.state / "mask_downscaling"
        x = masks.reshape(-1, size, size, 1)  # one channel, last
        # (B, 4h, 4w, 1) → (B, 2h, 2w, mask_in_chans / 4) → (B, h, w, mask_in_chans)
        x = gelu((down / 1).layer_norm((down / 0).conv2d(x, stride=2), eps=1e-6))
        return gelu((down / 4).layer_norm((down / 3).conv2d(x, stride=2), eps=1e-6))

    def no_mask(self) -> np.ndarray:
        """(1, 1, 1, C): what stands everywhere when there is no mask prompt."""
        return self.state["no_mask_embed.weight"].reshape(1, 1, 1, -1)

    def get_dense_pe(self) -> np.ndarray:
        """(h, w, C): the encoded position of every image token; the same array at every call: do not write to it."""
        return self._dense_pe

    @cached_property
    def _dense_pe(self) -> np.ndarray:
        side = self.config.image_embedding_size
        positions = position_grid((side, side), self.gaussian)
        positions.flags.writeable = False
        return positions
