"""Best of three, mean of three, one alone: trainings that differ in nothing else, asked about ambiguous points.

    python -m minisam.experiments.ambiguity benchmarks/training/multimask.json

trains a very small model (64 pixels, two blocks, width 64) with each of the three ways to grade a first round, from the
same first weights on the same images in the same order; then asks each about points in parts of held-out scenes,
whose whole, part and subpart are known, and writes logs and answers as JSON. Chapter 9 draws the file. One thread, some
eleven minutes of processor time.

All images are house fronts, one domain of the world: doors in fronts and panes in windows are nested, and a few
hundred steps are enough to learn something. What a training is beyond that: ``minisam.training.Trainer`` with the
settings that stand in the file, and the log that it wrote.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minisam.console import exit_code
from minisam.files.atomic import write_text
from minisam.reports.environment import commit
from minisam.training.data import Pictures, smallest_mask
from minisam.training.log import read_log
from minisam.training.loop import Trainer
from minisam.training.rounds import normalise, true_iou, upsample
from minisam.training.settings import MULTIMASK, Settings
from minisam.world import HELD_OUT, render
from minisam.world.nested import questions

STEPS, SEEDS, POINTS, DOMAIN = 500, (0, 1), 150, "facade"


def settings(multimask: str, seed: int, steps: int = STEPS) -> Settings:
    """Return what all trainings share, with the two things in which they differ."""
    return Settings(
        depth=2, width=64, size=64, steps=steps, batch=8, masks=4, rounds=1, lr=2e-3, warmup=min(100, steps // 2),
        average=0.98, multimask=multimask, seed=seed,
    )  # fmt: skip


class OneDomain(Pictures):
    """A training's stream in which all scenes are from one domain."""

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, index])
        while True:
            scene = render(int(rng.integers(HELD_OUT)), self.size, DOMAIN)
            item = self._choose(scene.image, np.array([m.segmentation for m in scene.masks]), rng)
            if item is not None:
                return item


@torch.no_grad()
def ask(trainer: Trainer, count: int) -> list[dict[str, Any]]:
    """Ask the model as it is: a token alone with ``multimask="single"``, else the three.

    Each: ``areas`` of the truths from the inside out, ``iou`` of each mask (row) with each truth, ``predicted`` IoU,
    ``alike``: the IoU of the masks with each other (1-2, 1-3, 2-3), and ``undecided``: the share of the largest truth's
    pixels that a mask gives a probability between ¼ and ¾.
    """
    assert isinstance(trainer.settings, Settings)
    s = trainer.settings
    model: Any = trainer.model
    tokens = slice(0, 1) if s.multimask == "single" else slice(1, None)
    least = smallest_mask(s.config().patch_size) / s.size**2
    answers = []
    for asked in questions(count, s.size, least=least, domain=DOMAIN):
        image = torch.from_numpy(asked.scene.image)[None]
        embedding = model.image_encoder(normalise(image, torch.tensor([[s.size, s.size]])))
        coords, labels = torch.tensor([[asked.point, (0, 0)]], dtype=torch.float32), torch.tensor([[1, -1]])
        sparse, (_, dense) = model.prompt_encoder.embed_points(coords, labels), model.prompt_encoder()
        image_pe = model.prompt_encoder.get_dense_pe()
        low_res, predicted = model.mask_decoder.predict_masks(embedding, image_pe, sparse, dense)
        truths = torch.from_numpy(asked.truths)
        logits = upsample(low_res, truths[:1])[:, tokens]  # (1, 1 or 3, S, S)
        masks, p = logits[0] > 0, logits[0].sigmoid()
        iou = torch.cat([true_iou(logits, truth[None]) for truth in truths])  # (K, 1 or 3)
        pairs = [true_iou(logits[:, [a]], masks[[b]]) for a, b in ((0, 1), (0, 2), (1, 2)) if len(masks) > b]
        undecided = ((p > 0.25) & (p < 0.75) & truths[-1]).sum((1, 2)) / truths[-1].sum()
        answers.append(
            {
                "areas": [int(truth.sum()) for truth in truths],
                "iou": plain(iou.T),
                "predicted": plain(predicted[0, tokens]),
                "alike": plain(torch.cat([pair.flatten() for pair in pairs])) if pairs else [],
                "undecided": plain(undecided),
            }
        )
    return answers


def plain(values: torch.Tensor) -> Any:
    """Round numbers for JSON: three digits, None for what is not one (the IoU of two empty masks)."""
    return [plain(v) if v.ndim else round(float(v), 3) if math.isfinite(v) else None for v in values]


def train(seed: int, steps: int, points: int) -> Iterator[dict[str, Any]]:
    """Yield the three trainings of one seed."""
    pictures: list[dict[str, np.ndarray]] = []
    for multimask in MULTIMASK:
        s, began = settings(multimask, seed, steps), time.process_time()
        if not pictures:  # they depend on the seed alone: made once for all three
            stream = OneDomain(s.size, s.masks, (), 1.0, seed, steps * s.batch, smallest_mask(s.config().patch_size))
            pictures = [stream[i] for i in range(len(stream))]
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(s, folder)
            trainer.task.pictures = lambda made=pictures: made
            if trainer.run(workers=0, save_every=math.inf):  # stopped: what is half trained is no result
                raise KeyboardInterrupt
            log = [{k: line[k] for k in ("step", "loss", "iou_1", "oracle_1", "lr")} for line in read_log(folder)]
        took = round(time.process_time() - began)
        with trainer.averaged():
            answers = ask(trainer, points)
        yield {"settings": s.plain(), "processor_seconds": took, "log": log, "answers": answers}


def main() -> None:
    """Read the arguments, train, write the file."""
    parser = argparse.ArgumentParser(prog="python -m minisam.experiments.ambiguity", description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--points", type=int, default=POINTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = [run for seed in SEEDS for run in train(seed, options.steps, options.points)]
    report = {"domain": DOMAIN, "commit": commit(), "torch": torch.__version__, "runs": runs}
    write_text(options.output, json.dumps(report).replace('{"settings"', '\n{"settings"') + "\n")


if __name__ == "__main__":
    sys.exit(exit_code(main))
