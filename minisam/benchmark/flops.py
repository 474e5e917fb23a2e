"""The arithmetic of a model, counted from its sizes: floating-point operations of its matrix products and convolutions.

A product of (m, k) and (k, n) is 2·m·k·n operations. Norms, activations, softmax and additions are left out, as is
usual; they are under 1 % here. The decoder is counted in its plain form, as the paper writes it and as the peers
compute it: minisam's fused form gives the same result with less, so its rate is one of *useful* operations.
"""

from __future__ import annotations

from minisam.model.config import SamConfig


def encoder(c: SamConfig, padded: bool = False) -> dict[str, int]:
    """Operations of one image by stage. ``padded``: with the linear layers of the rows that fill the last windows up,
    which most implementations compute although they are constants."""
    side, dim, window = c.image_embedding_size, c.encoder_embed_dim, c.window_size
    tokens = side * side
    across = -(-side // window)
    in_windows = (across * window) ** 2
    count = dict.fromkeys(("patch_embed", "qkv", "attention", "rel_pos", "proj", "mlp", "neck"), 0)
    count["patch_embed"] = 2 * tokens * 3 * c.patch_size**2 * dim
    for i in range(c.encoder_depth):
        everywhere = i in c.encoder_global_attn_indexes
        queries, reach = (tokens, side) if everywhere else (in_windows, window)
        rows = queries if padded else tokens
        count["qkv"] += 2 * rows * dim * 3 * dim
        count["attention"] += 2 * 2 * queries * reach**2 * dim  # scores, and the mean of the values
        count["rel_pos"] += 2 * queries * 2 * reach * dim
        count["proj"] += 2 * rows * dim * dim
        count["mlp"] += 2 * 2 * tokens * dim * 4 * dim
    out = c.prompt_embed_dim
    count["neck"] = 2 * tokens * (dim * out + 9 * out * out)
    return count


def decoder(c: SamConfig, prompts: int = 1, sparse: int = 2) -> dict[str, int]:
    """Operations of ``prompts`` prompts of ``sparse`` tokens each (a point alone: two), plain form, by stage."""
    pixels, dim = c.image_embedding_size**2, c.prompt_embed_dim
    masks = c.num_multimask_outputs + 1
    tokens = 1 + masks + sparse

    def attention(q: int, k: int, width: int) -> int:
        linear = (2 * q + 2 * k) * dim * width  # queries in and out; keys and values
        return 2 * (linear + 2 * q * k * width)

    head = [dim] + [c.iou_head_hidden_dim] * (c.iou_head_depth - 1) + [masks]
    count = {
        "tokens": c.decoder_depth * (attention(tokens, tokens, dim) + 2 * 2 * tokens * dim * c.decoder_mlp_dim),
        "tokens to image": (c.decoder_depth + 1) * attention(tokens, pixels, dim // 2),
        "image to tokens": c.decoder_depth * attention(pixels, tokens, dim // 2),
        "upscaling": 2 * pixels * dim * dim + 2 * 4 * pixels * (dim // 4) * (dim // 2),
        "masks": 2 * masks * (dim // 8) * 16 * pixels,
        "heads": 2 * (masks * (2 * dim * dim + dim * dim // 8) + sum(a * b for a, b in zip(head, head[1:]))),
    }
    return {name: prompts * value for name, value in count.items()}
