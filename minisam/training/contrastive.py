"""The training of our CLIP: crops of the world's objects and phrases that are true of them are pulled together.

::

    loss = ½ (cross entropy of the crop's phrase among the batch's + cross entropy of the phrase's crop)

on logits exp(s) · e_image · e_text (Radford et al. 2021). In a batch, a phrase can be true of another crop than its
own: equal phrases, and "car" of a crop with the phrase "a red car". The world knows all such pairs, and they are left
out of both sums: they count neither as right nor as wrong.

Half of the crops keep their background; of those the class token sees in the last block what is inside of the object.
``SCENES`` scenes are kept; at each step a new one takes the place of the oldest. No scene from ``HELD_OUT`` on is used.

python -m minisam.training.contrastive OUT --steps 1200 --seed 0     # stopped, it goes on where it was
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from minisam.checkpoints.safetensors_file import write_safetensors
from minisam.clip.config import ClipConfig
from minisam.clip.model import patches_inside
from minisam.clip.pairs import Described, Pair
from minisam.clip.tokenisers import Words, words_of
from minisam.files.atomic import atomic, make_folder
from minisam.training.towers import Towers
from minisam.world.captions import COLOURS
from minisam.world.phrases import NOUNS
from minisam.world.scene import HELD_OUT
from minisam_kernels import InputError

BATCH = 128  # pairs of a step
SCENES = 400
RATE, WARMUP = 2e-3, 50  # the highest learning rate, of the blocks' matrices, and the steps until it is reached
OTHERS = 0.5  # times that rate: all other weights
AVERAGE = 0.99  # what the running average of the weights keeps at each step
EVERY = 50  # steps from one checkpoint to the next
LARGEST_SCALE = math.log(100)  # of the logits, as in CLIP


def vocabulary() -> list[str]:
    """Every word of the world's phrases, articles aside, in alphabetical order."""
    return sorted({word for text in (*NOUNS, *COLOURS, "row of pieces") for word in words_of(text)})


def small_config(words: int) -> ClipConfig:
    """Our towers: 1.3 million weights."""
    return ClipConfig(
        image_size=64, patch_size=8, vision_width=128, vision_layers=4, vision_heads=4,
        text_width=128, text_layers=2, text_heads=4, vocabulary=words + 3, context=16, embed_dim=128,
    )  # fmt: skip


class Pool:
    """The last ``count`` of an endless row of training scenes; number i is the same whenever it is made."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count, self.next = seed, count, 0
        self.scenes: deque[Described] = deque(maxlen=count)

    def advance(self, step: int) -> None:
        """Render what is missing of the scenes of ``step``: ``step`` to ``step + count - 1``."""
        self.next = max(self.next, step)
        while self.next < step + self.count:
            draw = np.random.default_rng([self.seed, self.next])
            described = Described(int(draw.integers(HELD_OUT)))
            while not described.of_noun:
                described = Described(int(draw.integers(HELD_OUT)))
            self.scenes.append(described)
            self.next += 1

    def batch(self, step: int, size: int, side: int) -> list[Pair]:
        """``size`` pairs for ``step``, each of a scene picked at random."""
        rng = np.random.default_rng([self.seed, step, 1])
        return [self.scenes[rng.integers(len(self.scenes))].draw(rng, side) for _ in range(size)]


def contrastive_loss(logits: Tensor, true: Tensor) -> Tensor:
    """The loss of the formula above. logits (B, B), crops × phrases; true (B, B) bool: which phrases are true."""
    own = torch.eye(len(logits), dtype=torch.bool)
    logits = logits.masked_fill(true & ~own, -math.inf)
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class Trainer:
    """Towers, their running average and two optimisers: Muon for the matrices of the blocks, AdamW for the rest."""

    def __init__(self, folder: Path, steps: int, seed: int, batch: int = BATCH, scenes: int = SCENES) -> None:
        self.folder, self.steps, self.size = folder, steps, batch
        self.settings = {"steps": steps, "seed": seed, "batch": batch, "scenes": scenes}
        self.words = Words(vocabulary())
        self.config = small_config(len(self.words.words))
        torch.manual_seed(seed)
        self.towers = Towers(self.config)
        self.average = {name: value.clone() for name, value in self.towers.state_dict().items()}
        named = list(self.towers.named_parameters())
        matrices = [value for name, value in named if "resblocks" in name and value.ndim == 2]
        others = [value for name, value in named if not ("resblocks" in name and value.ndim == 2)]
        self.optimisers: list[tuple[Any, float]] = [
            (torch.optim.Muon(matrices, lr=RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), 1.0),
            (torch.optim.AdamW(others, lr=RATE, weight_decay=0.0, betas=(0.9, 0.98)), OTHERS),
        ]
        self.pool = Pool(seed, scenes)
        self.step, self.seconds = 0, 0.0
        if (folder / "checkpoint.pt").exists():
            self._resume()

    def rate(self, step: int) -> float:
        """The learning rate: up in ``WARMUP`` steps, then down to 0 in half a cosine."""
        return RATE * min((step + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * step / self.steps))

    def loss(self, pairs: list[Pair]) -> tuple[Tensor, float]:
        """(Loss, share of crops whose own phrase comes first)."""
        crops = torch.from_numpy(np.stack([pair.crop.pixels for pair in pairs]))
        # without its background, the whole crop is inside
        inside = patches_inside(np.stack([pair.crop.inside for pair in pairs]), self.config.patch_size)
        inside[[not pair.crop.background for pair in pairs]] = True
        tokens = torch.tensor([self.words.encode(pair.phrase.text, self.config.context) for pair in pairs])
        true = torch.tensor([[other.phrase.text in pair.true for other in pairs] for pair in pairs])
        cosines = self.towers.visual(crops, torch.from_numpy(inside)) @ self.towers.embed_tokens(tokens).T
        logits = self.towers.logit_scale.exp() * cosines
        right = true[torch.arange(len(pairs)), logits.argmax(1)].float().mean()
        return contrastive_loss(logits, true), right.item()

    def run(self) -> None:
        """Train to the end, saving on the way, and write the average as float16."""
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
            while self.step < self.steps:
                began = time.process_time()
                self.pool.advance(self.step)
                loss, right = self.loss(self.pool.batch(self.step, self.size, self.config.image_size))
                for optimiser, share in self.optimisers:
                    optimiser.zero_grad()
                    for group in optimiser.param_groups:
                        group["lr"] = share * self.rate(self.step)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.towers.parameters(), 1.0)
                for optimiser, _ in self.optimisers:
                    optimiser.step()
                with torch.no_grad():
                    self.towers.logit_scale.clamp_(max=LARGEST_SCALE)
                    keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
                    for name, value in self.towers.state_dict().items():
                        self.average[name].lerp_(value, 1 - keep)
                self.step += 1
                self.seconds += time.process_time() - began
                figures = {"step": self.step, "loss": loss.item(), "right": right, "seconds": round(self.seconds, 1)}
                log.write(json.dumps(figures) + "\n")
                if self.step % EVERY == 0 or self.step == self.steps:
                    log.flush()
                    self.save()

    def save(self) -> None:
        """Write ``checkpoint.pt``, to go on from, and the average as ``clip.safetensors``."""
        state = {
            "settings": self.settings, "step": self.step, "seconds": self.seconds, "average": self.average,
            "towers": self.towers.state_dict(), "optimisers": [part.state_dict() for part, _ in self.optimisers],
        }  # fmt: skip
        with atomic(self.folder / "checkpoint.pt") as temporary:
            torch.save(state, temporary)
        arrays = {name: value.numpy().astype(np.float16) for name, value in self.average.items()}
        training = {**self.settings, "step": self.step, "processor_seconds": round(self.seconds)}
        metadata = {"config": json.dumps(asdict(self.config)), "words": " ".join(self.words.words)}
        write_safetensors(self.folder / "clip.safetensors", arrays, metadata | {"training": json.dumps(training)})

    def _resume(self) -> None:
        state = torch.load(self.folder / "checkpoint.pt", weights_only=True)
        # another number of steps is allowed: the learning rate goes on along the new curve
        if state["settings"] | {"steps": self.steps} != self.settings:
            raise InputError(f"expected the settings of {self.folder}, {state['settings']}, got {self.settings}")
        self.towers.load_state_dict(state["towers"])
        for (part, _), saved in zip(self.optimisers, state["optimisers"]):
            part.load_state_dict(saved)
        self.step, self.seconds, self.average = state["step"], state["seconds"], state["average"]


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(
        prog="python -m minisam.training.contrastive",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", help="folder of checkpoint.pt, clip.safetensors and log.jsonl")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=BATCH, help="pairs of a step")
    parser.add_argument("--scenes", type=int, default=SCENES, help="scenes that are kept")
    arguments = parser.parse_args()
    if min(arguments.steps, arguments.batch, arguments.scenes) < 1 or arguments.seed < 0:
        parser.error("expected steps, batch and scenes of at least 1 and a seed of at least 0")
    make_folder(arguments.out)
    torch.set_num_threads(1)
    Trainer(Path(arguments.out), arguments.steps, arguments.seed, arguments.batch, arguments.scenes).run()


if __name__ == "__main__":
    main()
