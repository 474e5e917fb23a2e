"""A step's forward and backward pass on a GPU as one recording (a CUDA graph), played again for every batch.

A step of the small model is some five thousand short operations; told one by one, the GPU waits for the processor that
tells them. Recorded, they are one. A recording has fixed shapes and fixed places in memory: a batch is copied to where
the first one was, and the gradients lie where they lay. The order of points and pauses is part of it, so there is one
recording for each place of the pause (``prompts.new_points``).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from minisam.training.prompts import Draws

WARM_UP = 3  # steps before a recording: libraries choose algorithms, compilers compile


class Recorder:
    """Gives for a batch and its chances what ``task`` gives, the loss without its graph; gradients are in place."""

    def __init__(self, task: nn.Module) -> None:
        self.task = task
        self.known: dict[int, tuple[Any, dict[str, Tensor], Draws, Tensor, dict[str, Tensor]]] = {}
        self.gradients: dict[int, list[tuple[nn.Parameter, Tensor]]] = {}

    def __call__(self, batch: dict[str, Tensor], draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        if draws.pause not in self.known:
            self._record(batch, draws)
        graph, images, chances, loss, figures = self.known[draws.pause]
        for key, value in batch.items():
            images[key].copy_(value, non_blocking=True)
        for name in ("box", "noise", "points"):
            getattr(chances, name).copy_(getattr(draws, name), non_blocking=True)
        graph.replay()
        for parameter, gradient in self.gradients[draws.pause]:
            parameter.grad = gradient
        return loss.clone(), {key: value.clone() for key, value in figures.items()}

    def _run(self, batch: dict[str, Tensor], draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        for parameter in self.task.parameters():
            parameter.grad = None
        loss, figures = self.task(batch, draws)
        loss.backward()
        return loss.detach(), figures

    def _record(self, batch: dict[str, Tensor], draws: Draws) -> None:
        device = next(self.task.parameters()).device
        images = {key: value.to(device, copy=True) for key, value in batch.items()}
        parts = {name: getattr(draws, name).to(device, copy=True) for name in ("box", "noise", "points")}
        chances = dataclasses.replace(draws, **parts)
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._run(images, chances)
        torch.cuda.current_stream(device).wait_stream(side)
        for parameter in self.task.parameters():
            parameter.grad = None
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # a loader's thread may pin memory meanwhile
            loss, figures = self._run(images, chances)
        self.known[draws.pause] = (graph, images, chances, loss, figures)
        self.gradients[draws.pause] = [(p, p.grad) for p in self.task.parameters() if p.grad is not None]
