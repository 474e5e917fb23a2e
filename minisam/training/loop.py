"""The steps of a training: rounds of prompts, the loss of equation 1, AdamW, checkpoints, a log.

One step: encode B pictures once, play several rounds for K masks of each, and take the gradient of all rounds
together. Round 1 is one point or one noisy box and all three masks are graded by their own best (20·focal + dice of the
closest one); later rounds add a click where the best mask is wrong and feed that mask's logits back; with more
than one prompt only the single-mask token is graded. Predicted IoU is regressed on the true IoU in every round.

One thing differs from the paper: a first round from a box grades the single-mask token as well, because callers
ask for that token with a box (``multimask_output=False``).
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from minisam.config import SamConfig, get_config
from minisam.preprocess import PIXEL_MEAN, PIXEL_STD
from minisam.reference import ops
from minisam.reference.model import Sam
from minisam.training import prompts
from minisam.training.data import Pictures
from minisam_kernels import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides a training's result. ``data`` are folders in SA-1B's schema; ``world`` is the share of
    procedural pictures; ``size`` the input's side in pixels (weights are stretched when it is not the model's own)."""

    model: str = "tiny"
    size: int = 256
    steps: int = 1000
    batch: int = 16
    masks: int = 4
    rounds: int = 3
    lr: float = 8e-4
    final_lr: float = 0.0
    warmup: int = 250
    weight_decay: float = 0.1
    average: float = 0.999
    world: float = 1.0
    data: tuple[str, ...] = ()
    init: str = ""
    seed: int = 0

    def config(self) -> SamConfig:
        """The model's configuration at the training's size."""
        config = get_config(self.model)
        if self.size % config.patch_size:
            raise InputError(f"expected --size to be a multiple of the patch, {config.patch_size}, got {self.size}")
        return dataclasses.replace(config, image_size=self.size)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a straight line from ``lr`` to ``final_lr`` at the last step."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.lr + (self.final_lr - self.lr) * done


def initialise(model: nn.Module) -> None:
    """Xavier weights and zero biases for linear layers, small positions: the start of a training from nothing."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for name, parameter in model.named_parameters():
        if name.endswith("pos_embed"):
            nn.init.trunc_normal_(parameter, std=0.02)


def stretch(state: dict[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Fit the tables of positions to another input size: ``pos_embed`` bilinearly, relative positions linearly."""
    fitted = dict(state)
    for key, shape in shapes.items():
        value = state[key]
        if tuple(value.shape) == shape:
            continue
        if key.endswith("pos_embed"):
            grid = F.interpolate(value.movedim(-1, 1), shape[1:3], mode="bilinear", align_corners=False)
            fitted[key] = grid.movedim(1, -1).contiguous()
        elif "rel_pos" in key:
            fitted[key] = F.interpolate(value.T[None], shape[0], mode="linear")[0].T.contiguous()
        else:
            raise InputError(f"expected {key} of shape {shape}, got {tuple(value.shape)}")
    return fitted


def normalise(images: Tensor, sizes: Tensor) -> Tensor:
    """images uint8 (B, S, S, 3) → normalised float32, zeros where a picture ends (after normalising, as SAM does)."""
    x = (images.float() - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    rows, columns = torch.arange(x.shape[1])[None, :, None], torch.arange(x.shape[2])[None, None, :]
    inside = (rows < sizes[:, 0, None, None]) & (columns < sizes[:, 1, None, None])
    return x * inside[..., None]


def grade(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """20·focal + dice and the true IoU of each mask: logits (M, k, S, S), truth (M, S, S) → (M, k), (M, k)."""
    count = logits.shape[1]
    flat, target = logits.flatten(0, 1), truth.repeat_interleave(count, dim=0)
    loss = 20 * ops.focal_loss(flat, target) + ops.dice_loss(flat, target)
    return loss.view(-1, count), ops.iou(flat > 0, target).float().view(-1, count)


def interact(
    model: Sam, batch: dict[str, Tensor], rounds: int, generator: torch.Generator
) -> tuple[Tensor, dict[str, float]]:
    """Play all rounds on a batch and return the loss (a scalar to differentiate) and figures for the log."""
    truth = batch["masks"].flatten(0, 1)  # (M, S, S), M = B · K
    embedding = model.image_encoder(normalise(batch["image"], batch["size"]))
    embedding = embedding.repeat_interleave(batch["masks"].shape[1], dim=0)
    image_pe = model.prompt_encoder.get_dense_pe()
    coords, labels, is_box = prompts.initial_prompts(truth, generator)
    total, figures, feedback = torch.zeros(()), {}, None
    for number in range(rounds):
        sparse = model.prompt_encoder.embed_points(coords, labels)
        _, dense = model.prompt_encoder(masks=feedback)
        low_res, predicted_iou = model.mask_decoder.predict_masks(embedding, image_pe, sparse, dense)
        chosen = slice(1, None) if number == 0 else slice(0, 1)
        graded = slice(0, None) if number == 0 else slice(0, 1)
        logits = F.interpolate(low_res[:, graded], truth.shape[1:], mode="bilinear", align_corners=False)
        loss, true_iou = grade(logits, truth)
        iou_loss = (predicted_iou[:, graded] - true_iou) ** 2
        if number == 0:
            mask_loss = loss[:, 1:].amin(dim=1) + is_box * loss[:, 0]
            total = total + mask_loss.mean() + iou_loss[:, 1:].mean() + (is_box * iou_loss[:, 0]).mean()
        else:
            total = total + loss.mean() + iou_loss.mean()
        with torch.no_grad():
            best = predicted_iou[:, chosen].argmax(dim=1)
            pick = torch.arange(len(best))
            figures[f"iou_{number + 1}"] = float(true_iou[:, chosen][pick, best].mean())
            if number == 0:
                figures["oracle_1"] = float(true_iou[:, 1:].amax(dim=1).mean())
            if number + 1 < rounds:
                feedback = low_res[:, chosen][pick, best][:, None]
                coord, label = prompts.correction(logits[:, chosen][pick, best] > 0, truth, generator)
                coords, labels = torch.cat([coords, coord], dim=1), torch.cat([labels, label], dim=1)
    return total / rounds, figures


class Trainer:
    """A training that can stop at any step and go on: model, optimiser, running average, step number, log."""

    def __init__(self, settings: Settings, folder: str | Path) -> None:
        self.settings, self.folder, self.step = settings, Path(folder), 0
        torch.manual_seed(settings.seed)
        self.model = Sam(settings.config())
        initialise(self.model)
        if settings.init:
            from safetensors.torch import load_file

            self.model.load_state_dict(stretch(load_file(settings.init), settings.config().shapes()))
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        rest = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.999))
        self.average = {key: value.clone() for key, value in self.model.state_dict().items()}
        if (self.folder / "checkpoint.pt").exists():
            self._resume()

    def _resume(self) -> None:
        saved = torch.load(self.folder / "checkpoint.pt", weights_only=True)
        wanted = json.loads(json.dumps(dataclasses.asdict(self.settings)))
        differ = {k: (saved["settings"].get(k), v) for k, v in wanted.items() if saved["settings"].get(k) != v}
        if differ:
            raise InputError(f"expected the settings that {self.folder} was begun with, got (old, new): {differ}")
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.average, self.step = saved["average"], saved["step"]

    def save(self) -> None:
        """Write ``checkpoint.pt`` (to go on) and ``weights.safetensors`` (the average), each whole or not at all."""
        from safetensors.torch import save_file

        self.folder.mkdir(parents=True, exist_ok=True)
        settings = json.loads(json.dumps(dataclasses.asdict(self.settings)))
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "average": self.average}
        torch.save({**state, "step": self.step, "settings": settings}, self.folder / "checkpoint.tmp")
        os.replace(self.folder / "checkpoint.tmp", self.folder / "checkpoint.pt")
        note = {"settings": json.dumps(settings), "step": str(self.step)}
        save_file(self.average, self.folder / "weights.tmp", metadata=note)
        os.replace(self.folder / "weights.tmp", self.folder / "weights.safetensors")

    def train_step(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One step of AdamW, then one of the running average (which starts as the plain mean of the steps so far)."""
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate(self.step)
        loss, figures = interact(self.model, batch, self.settings.rounds, generator)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        keep = min(self.settings.average, self.step / (self.step + 10))
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                self.average[key].lerp_(value, 1 - keep)
        return {"loss": float(loss.detach()), "norm": float(norm), **figures}

    def batches(self, workers: int) -> Iterator[dict[str, Tensor]]:
        """The batches that are still to come."""
        s = self.settings
        pictures = Pictures(s.size, s.masks, s.data, s.world, s.seed, s.steps * s.batch)
        context: dict[str, Any] = {"multiprocessing_context": "spawn", "prefetch_factor": 4} if workers else {}
        numbers = range(self.step * s.batch, s.steps * s.batch)
        return iter(DataLoader(pictures, s.batch, sampler=numbers, num_workers=workers, drop_last=True, **context))

    def run(self, workers: int = 1, save_every: float = 180.0) -> None:
        """Train to the last step. Saves every ``save_every`` seconds, at the end and at Ctrl-C; logs every 20 steps."""
        self.save()
        s, saved, count = self.settings, time.monotonic(), 0
        sums: dict[str, float] = {}
        bar = tqdm(total=s.steps, initial=self.step, unit="step", desc="train", disable=None)
        try:
            with open(self.folder / "log.jsonl", "a") as log:
                for batch in self.batches(workers):
                    for key, value in self.train_step(batch).items():
                        sums[key] = sums.get(key, 0.0) + value
                    count += 1
                    bar.update()
                    if count == 20 or self.step == s.steps:
                        means = {key: round(value / count, 5) for key, value in sums.items()}
                        log.write(json.dumps({"step": self.step, "time": round(time.time(), 1), **means}) + "\n")
                        log.flush()
                        bar.set_postfix(
                            loss=means["loss"],
                            iou=means["iou_1"],
                            pictures_s=round((bar.format_dict["rate"] or 0) * s.batch, 1),
                        )
                        sums, count = {}, 0
                    if time.monotonic() - saved > save_every:
                        self.save()
                        saved = time.monotonic()
        finally:
            self.save()
            bar.close()
