"""Segment Anything in torch: the oracle of the NumPy model, the trainer, and the full ViT-H on a GPU.

Written to be read beside ``minisam/model/image_encoder.py``, ``prompt_encoder.py``, ``transformer.py`` and
``mask_decoder.py``: the same classes in the same order with the same shapes. The attributes carry the names of the
official checkpoints, so ``state_dict()`` has the official keys. Sources: Kirillov et al. 2023, section 3 and
appendix A; Li et al. 2022 (ViTDet) for the encoder.

Image tensors are channels-last, (B, H, W, C), except inside ``nn.Conv2d``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minisam.model.config import SamConfig
from minisam.reference import ops


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of x (B, C, H, W), the layout of ``nn.Conv2d``; ε = 1e-6."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


# ---------------------------------------------------------------------------------------------- image encoder


class Attention(nn.Module):
    """Multi-head self-attention on a grid, with decomposed relative positions. x (B, H, W, C) → (B, H, W, C).

    The score of query i and key j is q_i·k_j/√D + q_i·R^h[row i − row j] + q_i·R^w[column i − column j]; note that the
    positions see the query before it is scaled.
    """

    def __init__(self, dim: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.attend = heads, ops.attention  # or that of ``fast``
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, dim // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, dim // heads))

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.attend(self.qkv(x), self.heads, self.rel_pos_h, self.rel_pos_w))


class MLP(nn.Module):
    """Two linear layers with an activation between them: lin2(act(lin1(x)))."""

    def __init__(self, dim: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden)
        self.lin2 = nn.Linear(hidden, dim)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(self.activation(self.lin1(x)))


class Block(nn.Module):
    """A transformer block whose attention stays within windows, or sees everything when ``window`` is 0."""

    def __init__(self, dim: int, heads: int, window: int, size: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads, window or size)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, 4 * dim, nn.GELU())
        self.drop_path: nn.Module = nn.Identity()  # a training may put stochastic depth here

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[1], x.shape[2])
        y = self.norm1(x)
        if self.window:  # zeros fill the last windows after the norm, and nothing masks them: they are keys like others
            y = ops.window_unpartition(self.attn(ops.window_partition(y, self.window)), self.window, size)
        else:
            y = self.attn(y)
        x = x + self.drop_path(y)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    """image (B, H, W, 3) → (B, H/p, W/p, C): a convolution whose stride is its kernel."""

    def __init__(self, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        return self.proj(image.movedim(-1, 1)).movedim(1, -1)


class ImageEncoderViT(nn.Module):
    """Normalised image (B, S, S, 3) → image embedding (B, h, w, prompt_embed_dim). ``step`` may stand for a block's
    ``forward``: one that is compiled once for all blocks of a kind."""

    def __init__(self, c: SamConfig) -> None:
        super().__init__()
        size, dim, out = c.image_embedding_size, c.encoder_embed_dim, c.prompt_embed_dim
        self.patch_embed = PatchEmbed(c.patch_size, dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, size, size, dim))
        self.blocks = nn.ModuleList(
            Block(dim, c.encoder_num_heads, 0 if i in c.encoder_global_attn_indexes else c.window_size, size)
            for i in range(c.encoder_depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(dim, out, 1, bias=False),
            LayerNorm2d(out),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            LayerNorm2d(out),
        )

    def forward(self, image: Tensor, step: Callable[[nn.Module, Tensor], Tensor] | None = None) -> Tensor:
        x = self.patch_embed(image) + self.pos_embed
        for block in self.blocks:
            x = step(block, x) if step else block(x)
        return self.neck(x.movedim(-1, 1)).movedim(1, -1)


# ---------------------------------------------------------------------------------------------- prompt encoder


class PositionEmbeddingRandom(nn.Module):
    """Random Fourier features: coordinates (..., 2) in [0, 1] as (x, y) → (..., C), sines first, then cosines."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, features))

    def forward(self, coords: Tensor) -> Tensor:
        return ops.position_encoding(coords, self.positional_encoding_gaussian_matrix)

    def grid(self, size: int) -> Tensor:
        """(size, size, C): the features of the centres of a grid's cells."""
        return ops.position_grid((size, size), self.positional_encoding_gaussian_matrix)


class PromptEncoder(nn.Module):
    """Points, boxes and masks → sparse embeddings (B, T, C), one per point, and dense ones (B or 1, h, w, C)."""

    def __init__(self, c: SamConfig) -> None:
        super().__init__()
        dim, first, second = c.prompt_embed_dim, c.mask_in_chans // 4, c.mask_in_chans
        self.config = c
        self.pe_layer = PositionEmbeddingRandom(dim // 2)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, dim) for _ in range(4))  # label 0, 1, corner 2, 3
        self.not_a_point_embed = nn.Embedding(1, dim)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, first, 2, stride=2),
            LayerNorm2d(first),
            nn.GELU(),
            nn.Conv2d(first, second, 2, stride=2),
            LayerNorm2d(second),
            nn.GELU(),
            nn.Conv2d(second, dim, 1),
        )
        self.no_mask_embed = nn.Embedding(1, dim)

    def embed_points(self, coords: Tensor, labels: Tensor) -> Tensor:
        """coords (B, P, 2) in pixels, labels (B, P): −1 no point, 0 background, 1 foreground, 2 and 3 corners."""
        position = self.pe_layer((coords + 0.5) / self.config.image_size)
        position = torch.where((labels == -1)[..., None], 0.0, position)  # a padding point has no place
        kinds = torch.cat([e.weight for e in (self.not_a_point_embed, *self.point_embeddings)])
        return position + kinds[labels.long() + 1]

    def forward(
        self, points: tuple[Tensor, Tensor] | None = None, boxes: Tensor | None = None, masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """points: coords (B, P, 2) and labels (B, P); boxes (B, 4) xyxy; masks (B, 1, 4h, 4w) logits."""
        parts = []
        if points is not None:
            coords, labels = points
            if boxes is None:  # points alone are followed by one point that is none
                coords, labels = F.pad(coords, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=-1)
            parts.append(self.embed_points(coords, labels))
        if boxes is not None:
            corners = boxes.reshape(-1, 2, 2)
            parts.append(self.embed_points(corners, corners.new_tensor([2, 3]).expand(len(corners), 2)))
        batch = len(parts[0]) if parts else len(masks) if masks is not None else 1
        weight = self.no_mask_embed.weight
        sparse = torch.cat(parts, dim=1) if parts else weight.new_empty(batch, 0, weight.shape[1])
        if masks is not None:
            dense = self.mask_downscaling(masks).movedim(1, -1)
        else:
            dense = weight.view(1, 1, 1, -1)
        return sparse, dense

    def get_dense_pe(self) -> Tensor:
        """(h, w, C): the position of every image token."""
        return self.pe_layer.grid(self.config.image_embedding_size)


# ---------------------------------------------------------------------------------------------- two-way transformer


class DecoderAttention(nn.Module):
    """Attention from q (B, Nq, C) to k and v (B, Nk, C), at a width of C/``downsample``."""

    def __init__(self, dim: int, heads: int, downsample: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim // downsample)
        self.k_proj = nn.Linear(dim, dim // downsample)
        self.v_proj = nn.Linear(dim, dim // downsample)
        self.out_proj = nn.Linear(dim // downsample, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        projected = (self.q_proj(q), self.k_proj(k), self.v_proj(v))  # each (1 or B, N, C / downsample)
        return self.out_proj(ops.cross_attention(*projected, self.heads))


class TwoWayAttentionBlock(nn.Module):
    """Tokens attend to each other, then to the image; an MLP on the tokens; the image attends to the tokens.

    Positions are added anew to queries and keys before every attention, never to values. The first block's
    self-attention adds none and replaces the tokens instead of adding to them.
    """

    def __init__(self, dim: int, heads: int, hidden: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = DecoderAttention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = DecoderAttention(dim, heads, 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, hidden, nn.ReLU())
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = DecoderAttention(dim, heads, 2)

    def forward(self, tokens: Tensor, image: Tensor, token_pe: Tensor, image_pe: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pe
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        attended = self.cross_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        tokens = self.norm2(tokens + attended)
        tokens = self.norm3(tokens + self.mlp(tokens))
        attended = self.cross_attn_image_to_token(image + image_pe, tokens + token_pe, tokens)
        return tokens, self.norm4(image + attended)


class TwoWayTransformer(nn.Module):
    """tokens (B, T, C) and image (B, N, C) → both, after ``depth`` two-way blocks and a last token→image attention."""

    def __init__(self, c: SamConfig) -> None:
        super().__init__()
        dim, heads = c.prompt_embed_dim, c.decoder_num_heads
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(dim, heads, c.decoder_mlp_dim, first=i == 0) for i in range(c.decoder_depth)
        )
        self.final_attn_token_to_image = DecoderAttention(dim, heads, 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, image: Tensor, image_pe: Tensor, token_pe: Tensor) -> tuple[Tensor, Tensor]:
        tokens = token_pe
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_pe, image_pe)
        attended = self.final_attn_token_to_image(tokens + token_pe, image + image_pe, image)
        return self.norm_final_attn(tokens + attended), image


# ---------------------------------------------------------------------------------------------- mask decoder


class Layers(nn.Module):
    """A stack of linear layers with ReLU between them: the hypernetworks and the IoU head."""

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(dims, dims[1:]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class MaskDecoder(nn.Module):
    """Image embedding and prompt embeddings → mask logits (B, M, 4h, 4w) and predicted IoU (B, M)."""

    def __init__(self, c: SamConfig) -> None:
        super().__init__()
        dim, masks = c.prompt_embed_dim, c.num_multimask_outputs + 1
        self.transformer = TwoWayTransformer(c)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(masks, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, 2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Layers([dim, dim, dim, dim // 8]) for _ in range(masks))
        self.iou_prediction_head = Layers([dim, *[c.iou_head_hidden_dim] * (c.iou_head_depth - 1), masks])

    def predict_masks(self, image: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """All four masks. image (B or 1, h, w, C), image_pe (h, w, C), sparse (B, T, C), dense (B or 1, h, w, C)."""
        batch = len(sparse)
        output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([output_tokens.expand(batch, -1, -1), sparse], dim=1)
        source = (image + dense).expand(batch, -1, -1, -1)
        h, w = source.shape[1:3]
        tokens, source = self.transformer(source.flatten(1, 2), image_pe.flatten(0, 1), tokens)
        upscaled = self.output_upscaling(source.transpose(1, 2).unflatten(2, (h, w)))  # (B, C/8, 4h, 4w)
        vectors = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1)
        logits = torch.einsum("bmc,bchw->bmhw", vectors, upscaled)
        return logits, self.iou_prediction_head(tokens[:, 0])

    def forward(
        self, image: Tensor, image_pe: Tensor, sparse: Tensor, dense: Tensor, multimask_output: bool
    ) -> tuple[Tensor, Tensor]:
        """Masks 1–3 when ``multimask_output``, else mask 0; the caller says which (the released code's rule)."""
        logits, iou = self.predict_masks(image, image_pe, sparse, dense)
        chosen = slice(1, None) if multimask_output else slice(0, 1)
        return logits[:, chosen], iou[:, chosen]


class Sam(nn.Module):
    """The three parts. ``minisam.reference.build`` makes one."""

    def __init__(self, config: SamConfig) -> None:
        super().__init__()
        self.config = config
        self.image_encoder = ImageEncoderViT(config)
        self.prompt_encoder = PromptEncoder(config)
        self.mask_decoder = MaskDecoder(config)
