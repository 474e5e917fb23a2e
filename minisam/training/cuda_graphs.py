"""A step's forward and backward pass is recorded on a GPU (as a CUDA graph) and played again for every batch.

A step of the small model is some five thousand short operations, and a GPU that is told them one by one waits for the
processor that tells. Recorded, they are one. A recording has fixed shapes and fixed addresses in memory: every batch is
copied to where the first one was, and the gradients keep their addresses. Which rounds bring a new point is part of it
(``annotator.new_points``): eleven rounds have nine recordings, ten or fewer have one. Each holds a step's memory.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minisam.annotator import new_points
from minisam.training.prompts import Draws

WARM_UP = 3  # runs before a recording: libraries choose algorithms, compilers compile
CHANCES = ("box", "noise", "points")

Figures = dict[str, Tensor]
Result = tuple[Tensor, Figures]


def record(work: Callable[[], Result], device: torch.device) -> tuple[Result, Callable[[], object]]:
    """Record ``work``: return what it returned, and a function that plays it again into the same memory."""
    # warm up in a stream of its own, as torch asks for: what runs for the first time may allocate and synchronise
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream(device).wait_stream(side)
    # record: the operations are noted and not run, and their memory stays reserved for them
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # a loader's thread may pin memory meanwhile
        result = work()
    return result, graph.replay


@dataclasses.dataclass(frozen=True)
class Recording:
    """The memory that ``play`` reads and writes.

    A batch and its chances go into ``batch`` and ``draws``; ``loss``, ``figures`` and ``gradients`` hold the results.
    """

    batch: dict[str, Tensor]
    draws: Draws
    loss: Tensor
    figures: Figures
    gradients: list[tuple[nn.Parameter, Tensor]]
    play: Callable[[], object]


class Recorder:
    """Calls ``task`` (``rounds.Interaction``) through recordings.

    ``recorder(batch, draws)`` returns what ``task`` returns for a batch on the device and its chances, a scalar loss
    and scalar figures, and sets every parameter's ``grad``. Shapes must stay those of the first batch. ``prepare``
    makes the recording that a batch needs; it draws random numbers, so seed after it.
    """

    def __init__(self, task: nn.Module, record: Callable[..., Any] = record) -> None:
        self.task, self.record = task, record
        self.known: dict[tuple[bool, ...], Recording] = {}

    def prepare(self, batch: dict[str, Tensor], draws: Draws) -> Recording:
        """Return the recording for these rounds; make it when it is new."""
        rounds = tuple(new_points(draws.points.shape[1], draws.pause))
        if rounds not in self.known:
            self.known[rounds] = self._recording(batch, draws)
        return self.known[rounds]

    def __call__(self, batch: dict[str, Tensor], draws: Draws) -> Result:
        recording = self.prepare(batch, draws)
        # copy the batch and its chances to where the recording reads them
        for key, value in batch.items():
            recording.batch[key].copy_(value, non_blocking=True)
        for name in CHANCES:
            getattr(recording.draws, name).copy_(getattr(draws, name), non_blocking=True)
        recording.play()
        # hand out the gradients where the recording wrote them; loss and figures as copies, which a log may keep
        for parameter, gradient in recording.gradients:
            parameter.grad = gradient
        return recording.loss.clone(), {key: value.clone() for key, value in recording.figures.items()}

    def _recording(self, batch: dict[str, Tensor], draws: Draws) -> Recording:
        """Record the task on copies of a batch and its chances, whose memory the recording goes on using."""
        parameters = list(self.task.parameters())
        batch = {key: value.clone() for key, value in batch.items()}
        draws = dataclasses.replace(draws, **{name: getattr(draws, name).clone() for name in CHANCES})

        def work() -> Result:
            for parameter in parameters:
                parameter.grad = None  # what the backward pass then makes is the gradient, with nothing to add it to
            loss, figures = self.task(batch, draws)
            loss.backward()
            return loss.detach(), figures

        (loss, figures), play = self.record(work, parameters[0].device)
        gradients = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
        return Recording(batch, draws, loss, figures, gradients, play)
