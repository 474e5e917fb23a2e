"""Tuning SAM's decoder to take an embedding of CLIP as a prompt (paper, section 7.5 and appendix D.5).

    python -m minisam.training.text_prompts OUT --steps 3000

A mask's prompt is the embedding of its *crop* by CLIP's image tower: no text is needed. The image encoder is tiny's,
frozen, so its embeddings are read from disk; a linear projection of CLIP's vectors, the prompt encoder and the decoder
learn. Of the five masks of an image

- three are asked for by the embedding alone: of three masks the one that learns is the closest, as for a point;
- one by the embedding and a point: the single-mask token learns, as for every later prompt;
- one by a point or a box, without the embedding: the decoder is not to forget what it could before.

Two things differ from the paper. A crop seldom says *which* car: every mask of the scene whose crops lie near enough in
CLIP's space (``alike``) is a right answer too, and the one that is closest to the answer counts. And the single-mask
token learns from the embedding alone as well. ``noise`` moves embeddings at random, so that texts, which lie beside the
images, are not too far from what was seen.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minisam.checkpoints.loading import load
from minisam.checkpoints.safetensors_file import read_safetensors
from minisam.console import exit_code
from minisam.model.config import SamConfig
from minisam.reference.model import MaskDecoder, PromptEncoder
from minisam.training import prompts
from minisam.training.distributed import Processes
from minisam.training.prompts import FOREGROUND, NO_POINT
from minisam.training.rounds import Figures, autocast, first_loss, grade, later_loss, take, true_iou
from minisam.training.settings import Settings, TextSettings
from minisam.training.text_data import CROPS, TextPrompts


@dataclasses.dataclass(frozen=True)
class TextDraws:
    """The chances of a step: what points and boxes need, one per image, ``noise`` (B, K, E), and ``OneTap``'s tap."""

    prompts: prompts.Draws
    noise: Tensor
    tap: tuple[int, int]

    def to(self, device: torch.device) -> TextDraws:
        """Copy the numbers to a device."""
        return TextDraws(self.prompts.to(device), self.noise.to(device), self.tap)


class OneTap(nn.ConvTranspose2d):
    """A transposed convolution of stride 2 that computes only one of the 2 × 2 outputs of each pixel, ``tap``.

    It is the decoder's last layer. Picked at random in every step, a quarter of a mask's pixels has the same expected
    loss, and a step takes half the time.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 2, stride=2)
        self.tap = 0, 0

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.conv2d(x, self.weight[:, :, self.tap[0], self.tap[1], None, None].transpose(0, 1), self.bias)


class TextPromptEncoder(PromptEncoder):
    """SAM's prompt encoder with a projection of CLIP's vectors."""

    def __init__(self, config: SamConfig, embed_dim: int) -> None:
        super().__init__(config)
        self.text_projection = nn.Linear(embed_dim, config.prompt_embed_dim)

    def embed_texts(self, vectors: Tensor) -> Tensor:
        """vectors (…, E) of length 1 → tokens (…, C); √E makes their numbers as large as a point's."""
        return self.text_projection(vectors * vectors.shape[-1] ** 0.5)

    @torch.no_grad()
    def fit(self, vectors: Tensor, tokens: Tensor) -> None:
        """Make the projection the best one, by least squares, from vectors (N, E) to tokens (N, C)."""
        inputs = F.pad(vectors * vectors.shape[1] ** 0.5, (0, 1), value=1.0)
        solution = torch.linalg.lstsq(inputs, tokens).solution  # (E + 1, C)
        self.text_projection.weight.copy_(solution[:-1].T)
        self.text_projection.bias.copy_(solution[-1])


class Heads(nn.Module):
    """What learns: the prompt encoder and the mask decoder."""

    def __init__(self, config: SamConfig, embed_dim: int) -> None:
        super().__init__()
        self.prompt_encoder = TextPromptEncoder(config, embed_dim)
        self.mask_decoder = MaskDecoder(config)
        self.mask_decoder.output_upscaling[3] = OneTap(config.prompt_embed_dim // 4, config.prompt_embed_dim // 8)


class TextTask(nn.Module):
    """Makes of a batch and its chances loss and figures, as ``rounds.Interaction`` does for the whole model."""

    name = "minisam.training.text_prompts"

    def __init__(self, settings: TextSettings) -> None:
        super().__init__()
        self.settings, self.grading = settings, Settings()
        self.stream = TextPrompts(settings)
        sam = load(settings.init or "tiny")
        self.tuned_from = sam.weights_hash
        self.model = Heads(sam.config, self.stream.table["crops"].shape[2])
        state = {name: torch.tensor(value) for name, value in sam.state_dict().items() if "image_encoder" not in name}
        self.model.load_state_dict(state, strict=False)
        # a token begins as what the encoder makes of the inside of such masks, as far as a linear map knows
        self.fit(np.repeat(self.stream.table["inside"], CROPS, axis=0))
        if settings.start:
            self._go_on_from(Path(settings.start) / "weights.safetensors")

    def _go_on_from(self, path: Path) -> None:
        """Take the heads of an earlier training; fit the projection to the towers of this one."""
        arrays, notes = read_safetensors(path)
        self.model.load_state_dict({name: torch.tensor(arrays[name]).float() for name in self.model.state_dict()})
        if notes["towers"] != self.stream.towers:
            crops = torch.tensor(self.stream.other_crops(notes["towers"])).float().flatten(0, 1)
            self.fit(self.model.prompt_encoder.embed_texts(crops).detach().numpy())

    def fit(self, tokens: np.ndarray) -> None:
        """Fit the projection so that the crops have these tokens (N · CROPS, C)."""
        crops = torch.tensor(self.stream.table["crops"]).float().flatten(0, 1)
        self.model.prompt_encoder.fit(crops, torch.tensor(tokens).float())

    def pictures(self) -> TextPrompts:
        return self.stream

    def draw(self, step: int, processes: Processes) -> TextDraws:
        """Draw the chances of a step."""
        s = self.settings
        generator = torch.Generator().manual_seed(s.seed * 1_000_003 + step)
        noise = torch.randn(s.batch, s.masks, self.stream.table["crops"].shape[2], generator=generator)
        row, column = torch.randint(2, (2,), generator=generator).tolist()
        return TextDraws(prompts.draw(s.seed, step, s.batch, 1), noise, (row, column))

    def export(self, state: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], None, dict[str, str]]:
        """Return what a file of weights holds: the heads as float16, and the prior, which leads from texts to crops."""
        prior = self.stream.table["prior"]
        kept = state | {"text_prior.weight": prior[:-1].T, "text_prior.bias": prior[-1]}
        notes = {"tuned_from": self.tuned_from, "towers": self.stream.towers}
        return {name: value.astype(np.float16) for name, value in kept.items()}, None, notes

    def compile_parts(self, **how: Any) -> None:
        """Nothing is compiled."""

    def forward(self, batch: dict[str, Tensor], draws: TextDraws) -> tuple[Tensor, Figures]:
        s, grading, texts = self.settings, self.grading, self.settings.masks - 2
        truth, points, embedding = batch["answers"][:, :, 0], draws.prompts, batch["embedding"].float()
        last, (row, column) = self.model.mask_decoder.output_upscaling[3], draws.tap
        assert isinstance(last, OneTap)
        last.tap = row, column
        right = batch["answers"].flatten(0, 1).float()  # (B · K, G, L, L)
        if s.pool > 1:
            embedding = F.avg_pool2d(embedding.movedim(-1, 1), s.pool).movedim(1, -1)
            right = F.max_pool2d(right, s.pool)
        # as the decoder answers now; what is thin enough to fall between its pixels is made thicker
        seen = right[..., row::2, column::2]
        right = torch.where(seen.any(3, True).any(2, True), seen, F.max_pool2d(right, 2)).bool()
        right = right.unflatten(0, truth.shape[:2])
        vectors = F.normalize(batch["crops"], dim=2) + s.noise * F.normalize(draws.noise, dim=2)
        tokens = self.model.prompt_encoder.embed_texts(F.normalize(vectors, dim=2))[:, :, None]  # (B, K, 1, C)
        # the embedding alone
        answer = self.decode(embedding, tokens[:, :texts].flatten(0, 1))
        loss, figures = text_loss(
            *answer, right[:, :texts].flatten(0, 1), batch["known"][:, :texts].flatten(0, 1), grading
        )
        loss = loss * texts
        # with a point of the mask
        point = prompts.sample_pixels(truth[:, texts], points.points[:, 0])
        coords = torch.stack([point, torch.zeros_like(point)], dim=1)
        both = torch.cat([tokens[:, texts], self.embed(coords, torch.tensor([FOREGROUND, NO_POINT]))], dim=1)
        low_res, confidence = self.decode(embedding, both)
        several, _, _, more = later_loss(low_res, confidence, right[:, texts, 0], grading)
        loss, figures["with_point"] = loss + several, more["iou"]
        # a point or a box alone
        coords, labels, is_box = prompts.initial_prompts(truth[:, texts + 1], points)
        answer = self.decode(embedding, self.embed(coords, labels))
        several, _, _, more = first_loss(*answer, right[:, texts + 1, 0], is_box, grading)
        return (loss + several) / s.masks, figures | {"no_text": more["iou"]}

    def embed(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Embed points or corners, coords (B, P, 2) in pixels of the decoder's masks, labels (P,) or (B, P)."""
        return self.model.prompt_encoder.embed_points(self.enlarged(coords), labels.expand(coords.shape[:2]))

    def decode(self, embedding: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Answer with four masks: embedding (B, h, w, C), tokens (B · n, T, C), those of an image together."""
        encoder = self.model.prompt_encoder
        with autocast(tokens.device, self.settings.precision):
            shared = embedding.repeat_interleave(len(tokens) // len(embedding), dim=0)
            no_mask = encoder.no_mask_embed.weight.view(1, 1, 1, -1)
            positions = encoder.pe_layer.grid(embedding.shape[1])
            low_res, confidence = self.model.mask_decoder.predict_masks(shared, positions, tokens, no_mask)
        return low_res.float(), confidence.float()

    def enlarged(self, coords: Tensor) -> Tensor:
        """Pixels of the decoder's masks → pixels of the model's input, middle to middle."""
        ratio = self.model.prompt_encoder.config.image_size / self.stream.side
        return (coords + 0.5) * ratio - 0.5


def text_loss(
    low_res: Tensor, confidence: Tensor, answers: Tensor, known: Tensor, s: Settings
) -> tuple[Tensor, Figures]:
    """Grade the answer to an embedding alone: low_res (M, 4, L, L), answers (M, G, L, L), known (M, G).

    Of every mask and right answer the closest pair learns, among masks 1–3 and for the single mask 0; a mask's true IoU
    is that with the answer it fits best.
    """
    with torch.no_grad():
        parts = [(grade(low_res, answer, s), true_iou(low_res, answer)) for answer in answers.unbind(1)]
        losses, iou = (torch.stack(values, dim=2) for values in zip(*parts))  # (M, 4, G)
        losses = losses.masked_fill(~known[:, None], torch.inf)
        iou = iou.masked_fill(~known[:, None], 0).amax(2)
        nearest, answer = losses.min(2)  # (M, 4)
        closest = 1 + nearest[:, 1:].argmin(1)
    loss = ((confidence - iou) ** 2).mean()
    for chosen in (closest, torch.zeros_like(closest)):
        loss = loss + grade(take(low_res, chosen)[:, None], take(answers, take(answer, chosen)), s).mean()
    surest = 1 + confidence[:, 1:].argmax(1)
    return loss, {"iou": take(iou, surest).mean(), "oracle": iou[:, 1:].amax(1).mean(), "single": iou[:, 0].mean()}


def main(arguments: list[str] | None = None) -> int:
    """Train in a folder; the same command goes on."""
    from minisam.training.loop import Trainer

    parser = argparse.ArgumentParser(prog="python -m minisam.training.text_prompts", description=main.__doc__)
    parser.add_argument("folder", metavar="OUT", help="where the training lives")
    defaults = TextSettings()
    names = "scenes count steps batch masks lr warmup seed alike noise pool precision towers start"
    for name in names.split():
        value = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long, saved")
    options = vars(parser.parse_args(arguments))
    folder, minutes = options.pop("folder"), options.pop("minutes")
    torch.set_num_threads(1)
    trainer = Trainer(TextSettings(**options), folder)
    reason = trainer.run(workers=0, minutes=minutes)
    print(f"step {trainer.step} of {trainer.settings.steps}{f' ({reason})' if reason else ''}: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
