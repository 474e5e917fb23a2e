"""A training begins here: fresh or given weights, stochastic depth, groups of weights for the optimiser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minisam.checkpoints.loading import shipped_weights
from minisam.model.config import CONFIGS, SamConfig
from minisam.training.settings import Common
from minisam_kernels import InputError

UNDECAYED = ("pos_embed", "hidden_embed", "positions", "rel_pos", "point_embeddings", "a_point_embed", "mask_embed")
OUTPUT_TOKENS = ("iou_token", "mask_tokens")
ENCODER_ONLY = "encoder"  # what pretrained weights say of themselves under the key "holds"


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Begin from nothing: Xavier weights and zero biases for linear layers, small positions.

    A decoder that begins like this alone gives the same empty masks for every prompt in its first 200 to 300 steps, and
    focal loss is not why (with dice alone it fills the image for as long). 99.5 % of its first logits' variance is a
    chequerboard, the 4 × 4 different weights of the transposed convolutions, and most of the rest is common to all
    pixels; what depends on the pixel has to be found under that. So each transposed convolution begins with one weight
    for its 2 × 2 outputs, and the embedding of "no mask", which is added at every pixel, small. Measured (64 pixels,
    two blocks, one seed, the same images): the loss of step 350 at step 225.

    And a query of the decoder's cross-attention begins with its key's weights, so that what has the same position finds
    each other from the start: a click its pixel, a pixel its click. Measured (128 pixels, one seed, the same images):
    the loss of step 200 at step 140.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.ConvTranspose2d):
            module.weight.copy_(module.weight[:, :, :1, :1].expand_as(module.weight))
    for name, module in model.named_modules():
        if name.endswith(("cross_attn_token_to_image", "cross_attn_image_to_token", "final_attn_token_to_image")):
            module.k_proj.weight.copy_(module.q_proj.weight)
    for name, parameter in model.named_parameters():
        if name.endswith("pos_embed"):
            nn.init.trunc_normal_(parameter, std=0.02)
        elif name.endswith("no_mask_embed.weight"):
            parameter.mul_(0.1)


def stretch(state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Fit the tables of positions to another input size: ``pos_embed`` bilinearly, relative positions linearly."""
    fitted = dict(state)
    for key, value in state.items():
        shape = shapes.get(key)
        if shape is None or tuple(value.shape) == shape:
            continue
        if key.endswith("pos_embed") and value.shape[-1] == shape[-1]:
            grid = F.interpolate(value.movedim(-1, 1), shape[1:3], mode="bilinear", align_corners=False)
            fitted[key] = grid.movedim(1, -1).contiguous()
        elif "rel_pos" in key and value.shape[-1] == shape[-1]:
            fitted[key] = F.interpolate(value.T[None], shape[0], mode="linear")[0].T.contiguous()
        else:
            raise InputError(f"expected {key} of shape {shape}, as the model has it, got {tuple(value.shape)}")
    return fitted


def find_weights(path: str | Path, raw: bool = False) -> Path:
    """Return the file of weights that ``--init`` names: a model that comes with minisam, a file itself, or a
    training's folder, whose average (or ``raw``) weights are meant."""
    if str(path) in CONFIGS:
        return shipped_weights(str(path))
    path = Path(path)
    if path.is_dir():
        path /= "raw.safetensors" if raw else "weights.safetensors"
    if not path.is_file():
        raise InputError(f"expected weights to begin with, got {path}, which does not exist")
    return path


def load_weights(model: nn.Module, path: str | Path, config: SamConfig) -> None:
    """Fill the model from a file, with positions stretched; a pretrained encoder alone leaves the rest as it is."""
    from minisam.checkpoints.checkpoint import check_finite, read_checkpoint

    path = find_weights(path)
    arrays = read_checkpoint(path)
    shapes = config.shapes()
    partial = arrays.metadata.get("holds") == ENCODER_ONLY
    extra = [name for name in arrays if name not in shapes]
    missing = [name for name in shapes if name not in arrays]
    if partial:
        missing = [name for name in missing if name.startswith(("image_encoder.patch_embed", "image_encoder.blocks"))]
    if extra or missing:
        what, names = ("extra", extra) if extra else ("missing", missing)
        raise InputError(f"expected the {len(shapes)} weights of {config.name} in {path}, got {what}: {names[0]}, …")
    try:
        check_finite(arrays)
    except InputError as error:
        raise InputError(f"{error}, in {path}") from error
    state = {name: torch.from_numpy(array.astype("float32")) for name, array in arrays.items()}
    model.load_state_dict(stretch(state, shapes), strict=False)


class DropPath(nn.Module):
    """Stochastic depth: while training, an image's branch x (B, …) is left out with probability ``rate``, or else
    it is multiplied by 1 / (1 − rate)."""

    rate: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.drops = rate > 0
        self.register_buffer("rate", torch.tensor(rate), persistent=False)  # as a number, each block had its own code

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.drops:
            return x
        keep = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * (keep / (1 - self.rate))


def add_drop_path(model: Any, rate: float) -> None:
    """Give the encoder's blocks rates that grow linearly from 0 at the first to ``rate`` at the last."""
    blocks = list(model.image_encoder.blocks)
    for number, block in enumerate(blocks):
        block.drop_path = DropPath(rate * number / max(1, len(blocks) - 1)) if rate else nn.Identity()


def depth_of(name: str, depth: int) -> int:
    """A weight's depth is 0 for patches and positions, i + 1 for block i, depth + 1 for everything after the blocks."""
    parts = name.split(".")
    if "blocks" in parts:
        return int(parts[parts.index("blocks") + 1]) + 1
    return 0 if "patch_embed" in parts or "pos_embed" in parts else depth + 1


def parameter_groups(model: nn.Module, s: Common, depth: int) -> list[dict[str, Any]]:
    """Return the optimiser's groups.

    Each has the ``scale`` of its learning rate (layer-wise decay), its weight decay, and whether it holds ``matrices``,
    the weights of linear layers.

    Biases, norms, tables of positions and single embeddings are not decayed.
    """
    groups: dict[tuple[float, bool, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = s.layer_decay ** (depth + 1 - depth_of(name, depth))
        free = parameter.ndim <= 1 or any(part in name for part in UNDECAYED + OUTPUT_TOKENS)
        matrix = parameter.ndim == 2 and not free
        decay = 0.0 if free else s.weight_decay
        group = {"params": [], "scale": scale, "weight_decay": decay, "matrices": matrix}
        groups.setdefault((scale, free, matrix), group)["params"].append(parameter)
    return list(groups.values())


def note(settings: Common, step: int, **more: str) -> dict[str, str]:
    """Return what a file of weights says of its origin."""
    return {"settings": json.dumps(settings.plain()), "step": str(step), **more}
