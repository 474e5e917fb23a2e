"""Masked autoencoding of the image encoder (He et al. 2021), on images without labels.

75 % of the patches are hidden; the encoder sees the rest, a light decoder draws the hidden ones, and the loss is the
squared error of their pixels, each patch normalised by its own mean and deviation.

One thing differs, because our encoder attends within windows. The original drops hidden tokens, which saves three
quarters of the encoder's work but leaves no grid to cut windows from. The paper's authors pretrained a plain ViT that
way and put windows in afterwards. Here a learned token stands for every hidden patch (as in SimMIM, Xie et al. 2021):
the encoder is trained in the very form in which it is used, positions and windows included, but its work is that of a
whole image; and it sees a token that never comes up later. Patches are hidden in squares of 2 × 2, since patches of
8 pixels are guessed from their neighbours too easily.

The decoder is one linear map to half the width, one block of global attention, and one linear map to pixels. Only the
encoder without its neck goes into the file; ``minisam train --init`` takes it and begins the rest anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minisam.files.atomic import atomic
from minisam.model.preprocess import PIXEL_MEAN, PIXEL_STD
from minisam.reference.model import Block, ImageEncoderViT
from minisam.training import initialisation
from minisam.training.data import Bare
from minisam.training.distributed import Processes
from minisam.training.rounds import Figures, autocast, normalise
from minisam.training.settings import PretrainSettings


def patches(images: Tensor, patch: int) -> Tensor:
    """Cut images (B, S, S, 3) into patches → (B, h, w, 3 · patch²)."""
    grid = images.unflatten(1, (-1, patch)).unflatten(3, (-1, patch))  # (B, h, p, w, p, 3)
    return grid.movedim(2, 3).flatten(3)


def unpatch(values: Tensor, patch: int) -> Tensor:
    """Invert ``patches``."""
    return values.unflatten(3, (patch, patch, 3)).movedim(3, 2).flatten(3, 4).flatten(1, 2)


class Model(nn.Module):
    """Holds the encoder, the token for hidden patches, and the decoder."""

    def __init__(self, s: PretrainSettings) -> None:
        super().__init__()
        config = s.config()
        dim, side, width = config.encoder_embed_dim, config.image_embedding_size, config.encoder_embed_dim // 2
        self.image_encoder = ImageEncoderViT(config)
        for parameter in self.image_encoder.neck.parameters():
            parameter.requires_grad_(False)
        self.hidden_embed = nn.Parameter(torch.zeros(dim))
        self.norm = nn.LayerNorm(dim)
        self.narrow = nn.Linear(dim, width)
        self.positions = nn.Parameter(torch.zeros(1, side, side, width))
        self.decode = Block(width, max(1, config.encoder_num_heads // 2), 0, side)
        self.pixels = nn.Linear(width, 3 * config.patch_size**2)

    def forward(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Draw the patches (B, h, w, 3 · p²) of normalised images (B, S, S, 3), some of them ``hidden`` (B, h, w)."""
        encoder = self.image_encoder
        x = encoder.patch_embed(images)
        x = torch.where(hidden[..., None], self.hidden_embed.to(x.dtype), x) + encoder.pos_embed
        for block in encoder.blocks:
            x = block(x)
        return self.pixels(self.decode(self.narrow(self.norm(x)) + self.positions))


class Autoencoder(nn.Module):
    """Makes of a batch and its chances loss and figures, as ``rounds.Interaction`` does for the other training."""

    name = "pretrain"

    def __init__(self, model: Model, settings: PretrainSettings) -> None:
        super().__init__()
        self.model, self.settings = model, settings

    @classmethod
    def begin(cls, settings: PretrainSettings) -> Autoencoder:
        model = Model(settings)
        initialisation.initialise(model)
        nn.init.normal_(model.hidden_embed, std=0.02)
        nn.init.trunc_normal_(model.positions, std=0.02)
        initialisation.add_drop_path(model, settings.drop_path)
        if settings.init:
            initialisation.load_weights(model, settings.init, settings.config())
        return cls(model, settings)

    def pictures(self) -> Bare:
        s = self.settings
        return Bare(s.size, s.data, s.world, s.seed, s.steps * s.batch, s.hold_out)

    def draw(self, step: int, processes: Processes) -> Tensor:
        """Draw this process's share of numbers in [0, 1) (B, h / unit, w / unit), one per square that may be hidden."""
        s = self.settings
        side = s.config().image_embedding_size // s.unit
        generator = torch.Generator().manual_seed(s.seed * 1_000_003 + step)
        return torch.rand(s.batch, side, side, generator=generator)[processes.share(s.batch)]

    def export(self, state: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], None, dict[str, str]]:
        """Return what a file of weights holds: the encoder without its neck."""
        kept = {k: v for k, v in state.items() if k.startswith("image_encoder.") and ".neck." not in k}
        return kept, None, {"holds": initialisation.ENCODER_ONLY}

    def compile_parts(self, **how: Any) -> None:
        self.model.compile(**how)

    def hidden(self, chance: Tensor) -> Tensor:
        """Hide the ``masked`` share of the squares with the lowest chances → tokens (B, h, w) bool."""
        count = max(1, round(self.settings.masked * chance[0].numel()))
        limit = chance.flatten(1).kthvalue(count, dim=1).values[:, None, None]
        unit = self.settings.unit
        return (chance <= limit).repeat_interleave(unit, 1).repeat_interleave(unit, 2)

    def forward(self, batch: dict[str, Tensor], chance: Tensor) -> tuple[Tensor, Figures]:
        images = normalise(batch["image"], batch["size"])
        hidden = self.hidden(chance)
        with autocast(images.device, self.settings.precision):
            drawn = self.model(images, hidden)
        truth = patches(images, self.settings.config().patch_size)
        truth = (truth - truth.mean(-1, keepdim=True)) / (truth.var(-1, keepdim=True) + 1e-6).sqrt()
        error = ((drawn.float() - truth) ** 2).mean(-1)
        return (error * hidden).sum() / hidden.sum(), {"seen": (error.detach() * ~hidden).sum() / (~hidden).sum()}

    @torch.no_grad()
    def reconstruct(self, batch: dict[str, Tensor], chance: Tensor) -> np.ndarray:
        """Return rows of (image, what is seen of it, what the model makes of it) as uint8 (B · S, 3 · S, 3).

        The model draws normalised patches; mean and deviation are taken from the true ones, as in the original figures.
        """
        patch = self.settings.config().patch_size
        images = normalise(batch["image"], batch["size"])
        hidden = self.hidden(chance)
        truth = patches(images, patch)
        drawn = self.model(images, hidden) * (truth.var(-1, keepdim=True) + 1e-6).sqrt() + truth.mean(-1, keepdim=True)
        seen = torch.where(hidden[..., None], truth.new_zeros(()), truth)
        filled = torch.where(hidden[..., None], drawn, truth)
        rows = torch.cat([unpatch(values, patch) for values in (truth, seen, filled)], dim=2).flatten(0, 1)
        pixels = rows.cpu().numpy() * np.array(PIXEL_STD) + np.array(PIXEL_MEAN)
        return np.rint(pixels.clip(0, 255)).astype(np.uint8)


def figure(trainer: Any, path: str | Path, count: int = 6) -> None:
    """Write the reconstruction of the first ``count`` images of another seed's stream as a PNG, from the average."""
    from PIL import Image

    task, s = trainer.task, trainer.settings
    stream = Bare(s.size, s.data, s.world, s.seed + 1, count)
    items = [stream[i] for i in range(count)]
    device = trainer.processes.device
    batch = {key: torch.from_numpy(np.stack([item[key] for item in items])).to(device) for key in items[0]}
    side = s.config().image_embedding_size // s.unit
    chance = torch.rand(count, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    with trainer.averaged():
        page = task.reconstruct(batch, chance)
    with atomic(path) as temporary:
        Image.fromarray(page).save(temporary, format="PNG")
