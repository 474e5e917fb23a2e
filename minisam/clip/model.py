"""CLIP: two towers that map an image and a text to nearby vectors if the text is about the image (Radford et al. 2021).

::

    image  x₀ = LN(class token, patches · Wₚ; + positions)      text   x₀ = token embedding + positions
    block  x ← x + attention(LN x);  x ← x + W₂ f(W₁ LN x)      (text: each token sees those before it alone)
    image  e = LN(x_class) · W                                  text   e = LN(x)_end · W
    both   e / ‖e‖;   logit of a pair: exp(logit_scale) · e_image · e_text

with f(x) = x · σ(1.702 x). State-dict keys are OpenAI's, so that this code runs their ViT-L/14 as well as our towers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import expit

from minisam.clip.config import ClipConfig, check
from minisam.clip.tokenisers import Tokeniser
from minisam_kernels import InputError
from minisam_kernels.layers.gelu import gelu
from minisam_kernels.layers.layer_norm import layer_norm
from minisam_kernels.layers.linear import linear
from minisam_kernels.layers.softmax import softmax

MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)  # of CLIP's training images, of 1
STD = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)
EPS = 1e-5
BATCH = 64  # crops, or texts, that go through a tower together


class Clip:
    """The two towers with their weights and their tokeniser.

    Attributes
    ----------
    config : ClipConfig
    state : dict of str to ndarray, float32
        OpenAI's names.
    tokeniser : Tokeniser or None
        None: ``embed_tokens`` alone works.
    """

    def __init__(self, config: ClipConfig, state: Mapping[str, np.ndarray], tokeniser: Tokeniser | None = None) -> None:
        check(config, state)
        self.config = config
        self.state = {name: np.asarray(array, np.float32) for name, array in state.items()}
        self.tokeniser = tokeniser
        if tokeniser is not None and tokeniser.size != config.vocabulary:
            raise InputError(f"expected a tokeniser of {config.vocabulary} tokens, got one of {tokeniser.size}")

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by before the softmax over texts or over images."""
        return float(np.exp(self.state["logit_scale"]))

    def embed_image(self, crops: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
        """The vectors of images.

        Parameters
        ----------
        crops : ndarray, shape (N, S, S, 3), uint8
            S is ``config.image_size``; ``clip.crops`` makes such.
        inside : ndarray, shape (N, S, S), bool, optional
            The object's pixels in each crop. In the last block the class token then attends to itself and to the
            patches inside (SAM, appendix D.5): those that the object covers by half, or by as much as any.

        Returns
        -------
        ndarray, shape (N, embed_dim), float32
            Of length 1.

        Raises
        ------
        InputError
            If shapes or types differ from these, or an object has no pixel.
        """
        crops, S = np.asarray(crops), self.config.image_size
        if crops.ndim != 4 or crops.shape[1:] != (S, S, 3) or crops.dtype != np.uint8:
            raise InputError(f"expected crops of shape (N, {S}, {S}, 3), uint8, got {crops.shape}, {crops.dtype}")
        seen = None
        if inside is not None:
            inside = np.asarray(inside)
            if inside.shape != crops.shape[:3] or inside.dtype != np.bool_:
                raise InputError(
                    f"expected inside of shape {crops.shape[:3]}, bool, got {inside.shape}, {inside.dtype}"
                )
            seen = patches_inside(inside, self.config.patch_size)
        parts = [slice(i, i + BATCH) for i in range(0, len(crops), BATCH)]
        vectors = [self._image_tower(crops[part], None if seen is None else seen[part]) for part in parts]
        return np.concatenate(vectors) if vectors else np.zeros((0, self.config.embed_dim), np.float32)

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of texts → (N, embed_dim) float32, of length 1.

        Raises
        ------
        InputError
            If a text has no words, too many, or words that the tokeniser does not know.
        """
        if self.tokeniser is None:
            raise InputError("expected a tokeniser (vocab.json and merges.txt beside the weights), got none")
        texts = [texts] if isinstance(texts, str) else list(texts)
        tokens = [self.tokeniser.encode(text, self.config.context) for text in texts]
        return self.embed_tokens(np.array(tokens, np.int64).reshape(len(texts), self.config.context))

    def embed_tokens(self, tokens: np.ndarray) -> np.ndarray:
        """The vectors of texts as tokens (N, context), whole numbers → (N, embed_dim) float32, of length 1.

        A text ends at its first end token, the last of the vocabulary; what stands behind does not count.
        """
        tokens, end = np.asarray(tokens), self.config.vocabulary - 1
        if tokens.ndim != 2 or tokens.shape[1] != self.config.context or tokens.dtype.kind not in "iu":
            raise InputError(f"expected tokens of shape (N, {self.config.context}), whole numbers, got {tokens.shape}")
        if tokens.size and (tokens.min() < 0 or tokens.max() > end or not (tokens == end).any(1).all()):
            raise InputError(f"expected tokens of 0 to {end}, the last of them in each text, got others")
        vectors = [self._text_tower(tokens[i : i + BATCH]) for i in range(0, len(tokens), BATCH)]
        return np.concatenate(vectors) if vectors else np.zeros((0, self.config.embed_dim), np.float32)

    def _image_tower(self, crops: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
        """Crops (N, S, S, 3) and which patches are inside (N, n) → (N, embed_dim)."""
        c, s = self.config, self.state
        x = _cut((crops / np.float32(255) - MEAN) / STD, c.patch_size)  # (N, n, 3 · p²)
        x = linear(x, s["visual.conv1.weight"].reshape(c.vision_width, -1))  # (N, n, C)
        first = np.broadcast_to(s["visual.class_embedding"], (len(x), 1, c.vision_width))
        x = np.concatenate([first, x], 1) + s["visual.positional_embedding"]  # (N, 1 + n, C)
        x = self._norm(x, "visual.ln_pre")
        for i in range(c.vision_layers):
            mask = None
            if inside is not None and i == c.vision_layers - 1:
                mask = np.zeros((len(x), 1, x.shape[1], x.shape[1]), np.float32)  # (N, 1, query, key)
                mask[:, 0, 0, 1:][~inside] = -np.inf
            x = self._block(x, f"visual.transformer.resblocks.{i}", c.vision_heads, mask)
        return _unit(self._norm(x[:, 0], "visual.ln_post") @ s["visual.proj"])

    def _text_tower(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens (N, context) → (N, embed_dim)."""
        c, s = self.config, self.state
        end = (tokens == c.vocabulary - 1).argmax(1)
        longest = int(end.max()) + 1  # what stands behind the ends changes nothing before them
        x = s["token_embedding.weight"][tokens[:, :longest]] + s["positional_embedding"][:longest]  # (N, T, C)
        mask = np.triu(np.full((longest, longest), -np.inf, np.float32), 1)  # a token does not see those after it
        for i in range(c.text_layers):
            x = self._block(x, f"transformer.resblocks.{i}", c.text_heads, mask)
        return _unit(self._norm(x[np.arange(len(x)), end], "ln_final") @ s["text_projection"])

    def _block(self, x: np.ndarray, name: str, heads: int, mask: np.ndarray | None) -> np.ndarray:
        """x (N, T, C) → (N, T, C); ``mask`` is added to the scores (N, heads, T, T)."""
        s, (N, T, C) = self.state, x.shape
        y = linear(self._norm(x, f"{name}.ln_1"), s[f"{name}.attn.in_proj_weight"], s[f"{name}.attn.in_proj_bias"])
        q, k, v = y.reshape(N, T, 3, heads, C // heads).transpose(2, 0, 3, 1, 4)  # each (N, heads, T, D)
        scores = (q * np.float32((C // heads) ** -0.5)) @ k.swapaxes(2, 3)
        y = softmax(scores if mask is None else scores + mask) @ v
        y = y.transpose(0, 2, 1, 3).reshape(N, T, C)
        x = linear(y, s[f"{name}.attn.out_proj.weight"], s[f"{name}.attn.out_proj.bias"], x)
        y = linear(self._norm(x, f"{name}.ln_2"), s[f"{name}.mlp.c_fc.weight"], s[f"{name}.mlp.c_fc.bias"])
        y = y * expit(np.float32(1.702) * y) if self.config.activation == "quick_gelu" else gelu(y)
        return linear(y, s[f"{name}.mlp.c_proj.weight"], s[f"{name}.mlp.c_proj.bias"], x)

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        return layer_norm(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], EPS)


def patches_inside(inside: np.ndarray, patch: int) -> np.ndarray:
    """Which patches belong to the object: bool (N, n) from its pixels (N, S, S) bool.

    Those that it covers by half, or by as much as any; ``InputError`` for an object without a pixel.
    """
    if not inside.any((1, 2)).all():
        raise InputError("expected a pixel inside of each crop, got a crop without one")
    share = _cut(inside[..., None].astype(np.float32), patch).mean(2)
    return share >= np.minimum(0.5, share.max(1, keepdims=True))


def _cut(images: np.ndarray, patch: int) -> np.ndarray:
    """Images (N, S, S, C) → patches (N, n, C · p²), row by row, each in the order (C, y, x) of conv1's weights."""
    N, S, _, C = images.shape
    grid = images.reshape(N, S // patch, patch, S // patch, patch, C).transpose(0, 1, 3, 5, 2, 4)
    return np.ascontiguousarray(grid).reshape(N, (S // patch) ** 2, C * patch * patch)


def _unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
