"""Several processes, one training: ``torchrun`` starts them, ``DistributedDataParallel`` averages their gradients.

Every process (rank) takes its share of each batch; pictures and chances are numbered, so the shares together are what
one process would have seen. Rank 0 alone writes and talks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from minisam_kernels import InputError


@dataclass(frozen=True)
class Team:
    """``rank`` of ``size`` processes, on ``device``."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> slice:
        """This process's part of ``count`` things in a row."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values / self.size

    def any(self, flag: bool) -> bool:
        """Does any process say so? (They have to stop together.)"""
        if self.size == 1:
            return flag
        said = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        return bool(said)

    def leave(self) -> None:
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join(device: str) -> Team:
    """The team that ``torchrun`` describes in the environment, or this process alone."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("expected a GPU for --device cuda, got none that torch can use")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team(torch.device(device))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", local) if device == "cuda" else torch.device("cpu")
    if place.type == "cuda":
        torch.cuda.set_device(place)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return Team(place, dist.get_rank(), dist.get_world_size())
