"""The sizes of the model. One code, four sets of numbers: ``tiny`` is ours, the other three are the paper's.

``SamConfig.shapes()`` lists every weight of a configuration under its name in the official checkpoints. It is the one
place that says what a checkpoint must hold: building random weights, loading and checking all read it.
"""

from __future__ import annotations

from dataclasses import dataclass

from minisam_kernels import InputError


@dataclass(frozen=True)
class SamConfig:
    """Sizes of one model, with Meta's parameter names.

    Parameters
    ----------
    name : str
        What error messages and cards call it.
    image_size : int
        Pixels: the longest side of an image is resized to this.
    patch_size : int
        Pixels along a side of the square that becomes one image token.
    encoder_embed_dim, encoder_depth, encoder_num_heads : int
        Width, number of blocks and number of attention heads of the image encoder.
    encoder_global_attn_indexes : tuple of int
        The blocks in which every token attends to all others; in the other blocks it attends within its window.
    window_size : int
        Tokens along a side of a window.
    prompt_embed_dim : int
        C, the width of the decoder and of the image embedding.
    decoder_depth, decoder_num_heads, decoder_mlp_dim : int
        Blocks, attention heads and hidden width of the two-way transformer.
    mask_in_chans : int
        Channels of a mask prompt before it gets the decoder's width.
    num_multimask_outputs : int
        Masks for an ambiguous prompt; the decoder has one more for prompts that are not.
    iou_head_depth, iou_head_hidden_dim : int
        Layers and hidden width of the head that predicts the IoU.

    Notes
    -----
    The relations that hold for every configuration: the encoder makes a grid of ``image_embedding_size``² tokens, the
    decoder's masks are four times as fine (``low_res_size``), and mask prompts have that size too.
    """

    name: str
    image_size: int
    patch_size: int
    encoder_embed_dim: int
    encoder_depth: int
    encoder_num_heads: int
    encoder_global_attn_indexes: tuple[int, ...]
    window_size: int = 14
    prompt_embed_dim: int = 256
    decoder_depth: int = 2
    decoder_num_heads: int = 8
    decoder_mlp_dim: int = 2048
    mask_in_chans: int = 16
    num_multimask_outputs: int = 3
    iou_head_depth: int = 3
    iou_head_hidden_dim: int = 256

    @property
    def image_embedding_size(self) -> int:
        """Tokens along a side: 64 in the official models."""
        return self.image_size // self.patch_size

    @property
    def low_res_size(self) -> int:
        """Side of the decoder's masks and of mask prompts, in pixels: 256 in the official models."""
        return 4 * self.image_embedding_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight's official name → its shape, in the order in which the model uses them."""
        return {**_image_encoder_shapes(self), **_prompt_encoder_shapes(self), **_mask_decoder_shapes(self)}


def _linear(name: str, out_features: int, in_features: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out_features, in_features), f"{name}.bias": (out_features,)}


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def _image_encoder_shapes(c: SamConfig) -> dict[str, tuple[int, ...]]:
    root, dim, side = "image_encoder", c.encoder_embed_dim, c.image_embedding_size
    shapes: dict[str, tuple[int, ...]] = {
        f"{root}.pos_embed": (1, side, side, dim),
        f"{root}.patch_embed.proj.weight": (dim, 3, c.patch_size, c.patch_size),
        f"{root}.patch_embed.proj.bias": (dim,),
    }
    for i in range(c.encoder_depth):
        block = f"{root}.blocks.{i}"
        reach = side if i in c.encoder_global_attn_indexes else c.window_size
        shapes |= _norm(f"{block}.norm1", dim)
        shapes[f"{block}.attn.rel_pos_h"] = (2 * reach - 1, dim // c.encoder_num_heads)
        shapes[f"{block}.attn.rel_pos_w"] = (2 * reach - 1, dim // c.encoder_num_heads)
        shapes |= _linear(f"{block}.attn.qkv", 3 * dim, dim) | _linear(f"{block}.attn.proj", dim, dim)
        shapes |= _norm(f"{block}.norm2", dim)
        shapes |= _linear(f"{block}.mlp.lin1", 4 * dim, dim) | _linear(f"{block}.mlp.lin2", dim, 4 * dim)
    out = c.prompt_embed_dim
    shapes[f"{root}.neck.0.weight"] = (out, dim, 1, 1)
    shapes |= _norm(f"{root}.neck.1", out)
    shapes[f"{root}.neck.2.weight"] = (out, out, 3, 3)
    shapes |= _norm(f"{root}.neck.3", out)
    return shapes


def _prompt_encoder_shapes(c: SamConfig) -> dict[str, tuple[int, ...]]:
    root, dim, first, second = "prompt_encoder", c.prompt_embed_dim, c.mask_in_chans // 4, c.mask_in_chans
    shapes: dict[str, tuple[int, ...]] = {f"{root}.pe_layer.positional_encoding_gaussian_matrix": (2, dim // 2)}
    shapes |= {f"{root}.point_embeddings.{i}.weight": (1, dim) for i in range(4)}
    shapes |= {f"{root}.not_a_point_embed.weight": (1, dim)}
    down = f"{root}.mask_downscaling"
    shapes |= {f"{down}.0.weight": (first, 1, 2, 2), f"{down}.0.bias": (first,)} | _norm(f"{down}.1", first)
    shapes |= {f"{down}.3.weight": (second, first, 2, 2), f"{down}.3.bias": (second,)} | _norm(f"{down}.4", second)
    shapes |= {f"{down}.6.weight": (dim, second, 1, 1), f"{down}.6.bias": (dim,)}
    return shapes | {f"{root}.no_mask_embed.weight": (1, dim)}


def _attention_shapes(name: str, dim: int, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for projection in ("q_proj", "k_proj", "v_proj"):
        shapes |= _linear(f"{name}.{projection}", width, dim)
    return shapes | _linear(f"{name}.out_proj", dim, width)


def _mlp_shapes(name: str, dims: list[int]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (in_features, out_features) in enumerate(zip(dims, dims[1:])):
        shapes |= _linear(f"{name}.layers.{i}", out_features, in_features)
    return shapes


def _mask_decoder_shapes(c: SamConfig) -> dict[str, tuple[int, ...]]:
    root, dim, masks = "mask_decoder", c.prompt_embed_dim, c.num_multimask_outputs + 1
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(c.decoder_depth):
        layer = f"{root}.transformer.layers.{i}"
        shapes |= _attention_shapes(f"{layer}.self_attn", dim, dim) | _norm(f"{layer}.norm1", dim)
        shapes |= _attention_shapes(f"{layer}.cross_attn_token_to_image", dim, dim // 2) | _norm(f"{layer}.norm2", dim)
        shapes |= _linear(f"{layer}.mlp.lin1", c.decoder_mlp_dim, dim)
        shapes |= _linear(f"{layer}.mlp.lin2", dim, c.decoder_mlp_dim)
        shapes |= _norm(f"{layer}.norm3", dim) | _norm(f"{layer}.norm4", dim)
        shapes |= _attention_shapes(f"{layer}.cross_attn_image_to_token", dim, dim // 2)
    shapes |= _attention_shapes(f"{root}.transformer.final_attn_token_to_image", dim, dim // 2)
    shapes |= _norm(f"{root}.transformer.norm_final_attn", dim)
    shapes |= {f"{root}.iou_token.weight": (1, dim), f"{root}.mask_tokens.weight": (masks, dim)}
    up = f"{root}.output_upscaling"
    shapes |= {f"{up}.0.weight": (dim, dim // 4, 2, 2), f"{up}.0.bias": (dim // 4,)} | _norm(f"{up}.1", dim // 4)
    shapes |= {f"{up}.3.weight": (dim // 4, dim // 8, 2, 2), f"{up}.3.bias": (dim // 8,)}
    for i in range(masks):
        shapes |= _mlp_shapes(f"{root}.output_hypernetworks_mlps.{i}", [dim, dim, dim, dim // 8])
    hidden = [c.iou_head_hidden_dim] * (c.iou_head_depth - 1)
    return shapes | _mlp_shapes(f"{root}.iou_prediction_head", [dim, *hidden, masks])


def _official(name: str, dim: int, depth: int, heads: int, global_attn_indexes: tuple[int, ...]) -> SamConfig:
    """The paper's models (and the released code's ``build_sam_vit_*``): 1024² pixels, patches of 16, windows of 14."""
    return SamConfig(name, 1024, 16, dim, depth, heads, global_attn_indexes)


CONFIGS: dict[str, SamConfig] = {
    config.name: config
    for config in (
        SamConfig(
            name="tiny",
            image_size=320,
            patch_size=8,
            encoder_embed_dim=192,
            encoder_depth=8,
            encoder_num_heads=3,
            encoder_global_attn_indexes=(3, 7),
            window_size=8,
            prompt_embed_dim=128,
            decoder_num_heads=4,
            decoder_mlp_dim=512,
            iou_head_hidden_dim=128,
        ),
        _official("vit_b", 768, 12, 12, (2, 5, 8, 11)),
        _official("vit_l", 1024, 24, 16, (5, 11, 17, 23)),
        _official("vit_h", 1280, 32, 16, (7, 15, 23, 31)),
    )
}


def get_config(name: str) -> SamConfig:
    """The configuration called ``name``: tiny, vit_b, vit_l or vit_h."""
    if name not in CONFIGS:
        raise InputError(f"expected a model among {', '.join(CONFIGS)}, got {name!r}")
    return CONFIGS[name]
