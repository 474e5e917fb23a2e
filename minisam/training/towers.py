"""CLIP's two towers in torch, with the weights' names of ``minisam.clip``: what ``contrastive`` trains."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minisam.clip.config import ClipConfig
from minisam.clip.model import MEAN, STD


class QuickGELU(nn.Module):
    """x · σ(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Attention(nn.Module):
    """``nn.MultiheadAttention``'s weights and names, without its other ways."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None, queries: int | None) -> Tensor:
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (N, heads, T, D)
        q = q[:, :, :queries]
        y = F.scaled_dot_product_attention(q, k, v, mask)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x ← x + attention(LN x);  x ← x + W₂ f(W₁ LN x)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), Attention(width, heads), nn.LayerNorm(width)
        layers = {"c_fc": nn.Linear(width, 4 * width), "gelu": QuickGELU(), "c_proj": nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor, mask: Tensor | None = None, queries: int | None = None) -> Tensor:
        """x (N, T, C), mask of what each query may see → (N, T, C), or the first ``queries`` tokens alone."""
        x = x[:, :queries] + self.attn(self.ln_1(x), mask, queries)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Blocks under the name ``resblocks``, initialised as OpenAI does."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        inner = width**-0.5 * (2 * layers) ** -0.5
        block: Any
        for block in self.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=inner)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=inner)


class VisionTower(nn.Module):
    """Crops and, where a crop keeps its background, the patches inside of the object → vectors."""

    mean: Tensor
    std: Tensor

    def __init__(self, c: ClipConfig) -> None:
        super().__init__()
        width, scale = c.vision_width, c.vision_width**-0.5
        self.conv1 = nn.Conv2d(3, width, c.patch_size, c.patch_size, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn((c.image_size // c.patch_size) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, c.vision_layers, c.vision_heads)
        self.proj = nn.Parameter(scale * torch.randn(width, c.embed_dim))
        self.register_buffer("mean", torch.from_numpy(MEAN), persistent=False)
        self.register_buffer("std", torch.from_numpy(STD), persistent=False)

    def forward(self, crops: Tensor, inside: Tensor | None = None) -> Tensor:
        """crops (N, S, S, 3) uint8, inside (N, n) bool → (N, E), of length 1."""
        x = ((crops / 255 - self.mean) / self.std).permute(0, 3, 1, 2)
        x = self.conv1(x).flatten(2).transpose(1, 2)  # (N, n, C)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        x = self.ln_pre(x)
        *blocks, last = self.transformer.resblocks
        for block in blocks:
            x = block(x)
        # of the last block the class token alone is used: it sees itself and what is inside
        mask = None if inside is None else F.pad(inside, (1, 0), value=True)[:, None, None]  # (N, 1, 1, 1 + n)
        x = last(x, mask, queries=1)
        return F.normalize(self.ln_post(x[:, 0]) @ self.proj, dim=-1)


class Towers(nn.Module):
    """Both towers and the logarithm of the logits' scale."""

    def __init__(self, c: ClipConfig) -> None:
        super().__init__()
        self.config = c
        self.visual = VisionTower(c)
        self.token_embedding = nn.Embedding(c.vocabulary, c.text_width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(c.context, c.text_width))
        self.transformer = Transformer(c.text_width, c.text_layers, c.text_heads)
        self.ln_final = nn.LayerNorm(c.text_width)
        self.text_projection = nn.Parameter(c.text_width**-0.5 * torch.randn(c.text_width, c.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """tokens (N, context) → (N, E), of length 1."""
        end = (tokens == self.config.vocabulary - 1).int().argmax(1)
        length = int(end.max()) + 1
        x = self.token_embedding(tokens[:, :length]) + self.positional_embedding[:length]
        earlier = torch.ones(length, length, dtype=torch.bool).tril()
        for block in self.transformer.resblocks:
            x = block(x, earlier)
        x = self.ln_final(x)[torch.arange(len(x)), end]
        return F.normalize(x @ self.text_projection, dim=-1)
