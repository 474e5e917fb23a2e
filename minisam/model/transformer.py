"""The two-way transformer: prompt tokens read the image, and the image reads the prompt tokens.

Source: paper, appendix A and figure 14. Every attention sees positions anew: they are added to queries and keys, never
to values, and for the tokens "position" means the prompt as it came in.
"""

from __future__ import annotations

import numpy as np

from minisam.model.config import SamConfig
from minisam.model.state import State
from minisam_kernels.attn.cross_attention import cross_attention

EPS = 1e-5  # of every LayerNorm in this file; the encoder's is 1e-6


class TwoWayTransformer:
    """image (1 or B, N, C), image_pe (N, C), tokens (B, T, C) → tokens (B, T, C), image (B, N, C)."""

    def __init__(self, config: SamConfig, state: State) -> None:
        self.config, self.state = config, state

    def __call__(self, image: np.ndarray, image_pe: np.ndarray, token_pe: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tokens = token_pe  # as they come in; that is also what is added as their position from here on
        for i in range(self.config.decoder_depth):
            tokens, image = self.block(i, tokens, image, token_pe, image_pe)
        # A last look of the tokens at the image.
        state = self.state / "final_attn_token_to_image"
        tokens = tokens + self.attend(state, tokens + token_pe, image + image_pe, image)
        return (self.state / "norm_final_attn").layer_norm(tokens, EPS), image

    def block(
        self, i: int, tokens: np.ndarray, image: np.ndarray, token_pe: np.ndarray, image_pe: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tokens → tokens, tokens → image, MLP on the tokens, image → tokens. An image with B = 1 is shared."""
        state = self.state / "layers" / i
        # 1. The tokens among themselves.
        if i == 0:  # the first self-attention adds no positions, and replaces the tokens instead of adding to them
            tokens = self.attend(state / "self_attn", tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.attend(state / "self_attn", q, q, tokens)
        tokens = (state / "norm1").layer_norm(tokens, EPS)

        # 2. The tokens read the image: positions in q and k, none in v.
        keys = image + image_pe
        attended = self.attend(state / "cross_attn_token_to_image", tokens + token_pe, keys, image)
        tokens = (state / "norm2").layer_norm(tokens + attended, EPS)

        # 3. Each token by itself.
        hidden = (state / "mlp" / "lin1").linear(tokens)
        np.maximum(hidden, 0, out=hidden)
        tokens = (state / "norm3").layer_norm(tokens + (state / "mlp" / "lin2").linear(hidden), EPS)

        # 4. The image reads the tokens: what were its keys are now its queries.
        attended = self.attend(state / "cross_attn_image_to_token", keys, tokens + token_pe, tokens)
        attended += image
        return tokens, (state / "norm4").layer_norm(attended, EPS)

    def attend(self, state: State, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Attention of q (B, Nq, C) to k, v (B, Nk, C), inside a width of C or C / 2, and back to C."""
        q, k, v = (state / "q_proj").linear(q), (state / "k_proj").linear(k), (state / "v_proj").linear(v)
        return (state / "out_proj").linear(cross_attention(q, k, v, self.config.decoder_num_heads))
