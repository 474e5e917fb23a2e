"""Train specialists of one group of domains, in the manner of a data set: one kind of annotation, boxes, one mask.

    python -m minisam.experiments.specialist benchmarks/transfer/models --work FOLDER

A specialist begins where the models that never see the group begin (the bases of ``minisam.experiments.left_out``,
among the models or in FOLDER) and is as large. It is then trained on scenes of that group alone, on whole objects as a
second annotator draws them (``minisam.world.annotators``), asked with one noisy box, graded on one mask. A control,
``exact``, differs in the masks alone: they are the world's own. So what a specialist owes to the group and what to the
annotator's habits can be told apart. ``minisam.transfer.specialist`` measures all of them.

A training lives in FOLDER/NAME, where the same command continues it; when it ends, its weights go to the models' folder
as float16. What is there already is not trained again. One training takes some minutes of one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from minisam.console import exit_code
from minisam.experiments.left_out import Run, lay_out_base, publish, train_to_end
from minisam.training.data import Pictures, smallest_mask
from minisam.training.distributed import Processes
from minisam.training.loop import Trainer
from minisam.training.prompts import Draws
from minisam.training.settings import Settings
from minisam.training.sources import resize_masks
from minisam.transfer.specialist import GROUP, SCALE, STYLES, whole_objects
from minisam.transfer.stored_models import GROUPS, SEEDS
from minisam.world import DOMAINS, HELD_OUT, render

STEPS = 300
OTHER_IMAGES = 20  # is added to the seed, so that no image of another training comes again


def settings(seed: int, work: Path, steps: int = STEPS) -> Settings:
    """The settings of a training: as those of ``left_out``, but for the images, one round, and one mask."""
    return Settings(
        depth=6, width=64, size=96, steps=steps, batch=16, masks=3, rounds=1, multimask="single", optimizer="muon",
        lr=2e-3, warmup=min(50, steps // 4), decay="cosine", average=0.99, seed=seed + OTHER_IMAGES,
        init=str(work / Run("sam", "", seed).name / "weights.safetensors"),
        leave_out=tuple(name for name in DOMAINS if name not in GROUPS[GROUP]),
    )  # fmt: skip


class Annotated(Pictures):
    """A training's stream: whole objects of the group's scenes, annotated at ``SCALE`` times the training's size."""

    def __init__(self, s: Settings, style: str) -> None:
        least = smallest_mask(s.config().patch_size)
        super().__init__(s.size, s.masks, (), 1.0, s.seed, s.steps * s.batch, least, domains=GROUPS[GROUP])
        self.style = style

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, index])
        side = (self.size, self.size)
        while True:
            scene = render(int(rng.integers(HELD_OUT)), SCALE * self.size, self.domains)
            masks = whole_objects(scene)
            if len(masks):
                some = masks[rng.permutation(len(masks))[: 2 * self.masks]]
                drawn = np.stack([STYLES[self.style](mask) for mask in some])
                image = np.asarray(Image.fromarray(scene.image).resize(side, Image.Resampling.BILINEAR))
                item = self._choose(image, resize_masks(drawn, (0, 0, *drawn.shape[:0:-1]), side), rng)
                if item is not None:
                    return item


def boxes_only(trainer: Trainer, style: str) -> None:
    """Let a trainer see annotated scenes, and ask with boxes alone."""
    s, draw = trainer.settings, trainer.task.draw
    assert isinstance(s, Settings)
    trainer.task.pictures = lambda: Annotated(s, style)

    def drawn(step: int, processes: Processes) -> Draws:
        draws: Draws = draw(step, processes)
        return dataclasses.replace(draws, box=torch.zeros_like(draws.box))  # below ½: a box

    trainer.task.draw = drawn


def train(style: str, seed: int, models: Path, work: Path, steps: int = STEPS) -> str:
    """Train one specialist to the end, from wherever it was stopped, and write its file; return a line."""
    name, s = f"specialist-{style}-{seed}", settings(seed, work, steps)
    lay_out_base(Run("sam", "", seed), models, work)
    trainer = Trainer(s, work / name)
    boxes_only(trainer, style)
    facts = train_to_end(trainer, {"kind": f"specialist, {style}", "group": GROUP, "seed": seed})
    publish(work / name / "weights.safetensors", models / f"{name}.safetensors", facts)
    return f"{name}: {s.steps} steps, {facts['processor_seconds']} processor seconds"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments; train what is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m minisam.experiments.specialist", description=__doc__.split("\n")[0]
    )
    parser.add_argument("models", type=Path, help="where the finished models go")
    parser.add_argument("--work", type=Path, required=True, help="where the trainings live")
    parser.add_argument("--seed", action="append", type=int, help=f"only these (default {SEEDS})")
    parser.add_argument("--style", action="append", choices=list(STYLES), help="only these")
    parser.add_argument("--steps", type=int, default=STEPS, help="fewer, for a trial")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for style in options.style or STYLES:
        for seed in options.seed or SEEDS:
            if not (options.models / f"specialist-{style}-{seed}.safetensors").is_file():
                print(train(style, seed, options.models, options.work, options.steps), flush=True)


if __name__ == "__main__":
    sys.exit(exit_code(main))
