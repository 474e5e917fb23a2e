"""Our weights inside Hugging Face's ``SamModel``: an oracle that nobody here wrote. Needs transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from minisam.checkpoints.checkpoint import to_hugging_face
from minisam.model.config import SamConfig
from minisam.sam import Sam


def model_config(c: SamConfig) -> Any:
    """The same sizes in transformers' words."""
    from transformers import SamConfig as HuggingFaceConfig

    return HuggingFaceConfig(  # type: ignore[call-arg]
        vision_config={
            "hidden_size": c.encoder_embed_dim,
            "output_channels": c.prompt_embed_dim,
            "num_hidden_layers": c.encoder_depth,
            "num_attention_heads": c.encoder_num_heads,
            "image_size": c.image_size,
            "patch_size": c.patch_size,
            "window_size": c.window_size,
            "global_attn_indexes": list(c.encoder_global_attn_indexes),
            "mlp_dim": 4 * c.encoder_embed_dim,
            "num_pos_feats": c.prompt_embed_dim // 2,
        },
        prompt_encoder_config={
            "hidden_size": c.prompt_embed_dim,
            "image_size": c.image_size,
            "patch_size": c.patch_size,
            "mask_input_channels": c.mask_in_chans,
        },
        mask_decoder_config={
            "hidden_size": c.prompt_embed_dim,
            "mlp_dim": c.decoder_mlp_dim,
            "num_hidden_layers": c.decoder_depth,
            "num_attention_heads": c.decoder_num_heads,
            "num_multimask_outputs": c.num_multimask_outputs,
            "iou_head_depth": c.iou_head_depth,
            "iou_head_hidden_dim": c.iou_head_hidden_dim,
        },
        attn_implementation="eager",
    )


class HuggingFaceSam:
    """``encode`` and ``decode`` with our shapes, in the dtype of its weights."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def to(self, device: torch.device | str) -> HuggingFaceSam:
        self.model.to(device)
        return self

    def _tensor(self, array: np.ndarray) -> Tensor:
        parameter = next(self.model.parameters())
        return torch.from_numpy(np.ascontiguousarray(array)).to(parameter.device, parameter.dtype)

    @torch.no_grad()
    def encode(self, image: np.ndarray) -> Tensor:
        """Normalised image (1, S, S, 3) → (1, h, w, C)."""
        return self.model.get_image_embeddings(self._tensor(np.moveaxis(image, -1, 1))).movedim(1, -1)

    @torch.no_grad()
    def decode(
        self,
        features: Tensor,
        points: tuple[np.ndarray, np.ndarray] | None,
        boxes: np.ndarray | None,
        masks: np.ndarray | None,
    ) -> tuple[Tensor, Tensor]:
        """Prompts for one image as ``PromptEncoder`` takes them → logits (1, 3, 4h, 4w), predicted IoU (1, 3)."""
        prompt: dict[str, Any] = {}
        if points is not None:
            prompt["input_points"] = self._tensor(points[0])[None]  # (images, prompts, P, 2)
            prompt["input_labels"] = torch.from_numpy(points[1]).to(features.device)[None]
        if boxes is not None:
            prompt["input_boxes"] = self._tensor(boxes)[None]
        if masks is not None:
            prompt["input_masks"] = self._tensor(masks)
        answer = self.model(image_embeddings=features.movedim(-1, 1), multimask_output=True, **prompt)
        return answer.pred_masks[0], answer.iou_scores[0]


def build(sam: Sam, dtype: torch.dtype = torch.float64) -> HuggingFaceSam:
    """A ``SamModel`` in ``dtype`` that holds ``sam``'s weights under transformers' names."""
    from transformers import SamModel

    model: Any = SamModel(model_config(sam.config))
    state = {name: torch.from_numpy(np.array(value)) for name, value in to_hugging_face(sam.state_dict()).items()}
    model.load_state_dict(state, strict=True)
    return HuggingFaceSam(model.to(dtype).eval())
