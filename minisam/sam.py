"""Segment Anything: the three parts of the model around one dict of weights. ``minisam.load`` makes one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minisam.fused.decoder import FusedDecoder
from minisam.model.config import SamConfig, get_config
from minisam.model.image_encoder import ImageEncoderViT
from minisam.model.mask_decoder import MaskDecoder
from minisam.model.prompt_encoder import PromptEncoder
from minisam.model.state import State
from minisam_kernels import InputError


class Sam:
    """A model of ``config``'s sizes. ``state`` holds float32 arrays under the names and with the shapes of
    ``config.shapes()``, which are the official checkpoints'; it is used as it is, not copied."""

    mask_threshold = 0.0

    def __init__(self, config: SamConfig, state: Mapping[str, np.ndarray]) -> None:
        for name, shape in config.shapes().items():
            if name not in state or state[name].shape != shape:
                got = state[name].shape if name in state else "nothing"
                raise InputError(f"expected a weight {name} of shape {shape}, got {got}")
        self.config = config
        self._state = dict(state)
        self.image_encoder = ImageEncoderViT(config, State(self._state, "image_encoder."))
        self.prompt_encoder = PromptEncoder(config, State(self._state, "prompt_encoder."))
        self.mask_decoder = MaskDecoder(config, State(self._state, "mask_decoder."))
        self.fused_decoder = FusedDecoder(self.mask_decoder, self.prompt_encoder)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Every weight under its official name. The arrays are the model's own: treat them as read-only."""
        return dict(self._state)


def random_state(config: SamConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of a trained model's scale: every layer keeps the size of what it gets, norms are near 1."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}
    for name, shape in config.shapes().items():
        value = rng.standard_normal(shape, dtype=np.float32)
        norm = ".norm" in name or "neck.1" in name or "neck.3" in name or "downscaling.1" in name
        norm = norm or "downscaling.4" in name or "output_upscaling.1" in name
        if norm and name.endswith("weight"):
            value = 1 + 0.1 * value
        elif name.endswith("bias") or "rel_pos" in name or "pos_embed" in name:
            value *= 0.1
        elif "output_upscaling" in name:  # (C_in, C_out, 2, 2): every output pixel sees one tap
            value /= np.sqrt(shape[0])
        elif len(shape) > 1 and shape[0] > 1 and "gaussian" not in name and "tokens" not in name:
            value /= np.sqrt(np.prod(shape[1:]))
        state[name] = value
    return state


def build(config: str | SamConfig, seed: int = 0) -> Sam:
    """A model with random weights, for tests and benchmarks: ``build("vit_b", seed=0)``."""
    config = get_config(config) if isinstance(config, str) else config
    return Sam(config, random_state(config, seed))
