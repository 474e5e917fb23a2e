"""Several processes share one training: ``torchrun`` starts them, ``DistributedDataParallel`` averages their gradients.

Every process (rank) takes its share of each batch; images and chances are numbered, so the shares together are what
one process would have seen. Only rank 0 writes files and shows progress.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from minisam_kernels import InputError


@dataclass(frozen=True)
class Processes:
    """The processes of a training, seen from one of them: ``rank`` of ``size``, which computes on ``device``."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Is this the process that writes?"""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Return this process's part of a row of ``count`` things."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over all processes; the sum is taken in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values / self.size

    def any(self, flag: bool) -> bool:
        """Is the flag set in any process? (They have to stop together.)"""
        if self.size == 1:
            return flag
        # the largest of the flags, each 0 or 1
        largest = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return bool(largest)

    def leave(self) -> None:
        """Leave the group of processes."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join(device: str) -> Processes:
    """Join the processes that ``torchrun`` describes in the environment; without it, this process is alone."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("expected a GPU for --device cuda, got none that torch can use")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Processes(torch.device(device))
    # on a machine with several GPUs each process has its own
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    own_device = torch.device("cuda", local_rank) if device == "cuda" else torch.device("cpu")
    if own_device.type == "cuda":
        torch.cuda.set_device(own_device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if own_device.type == "cuda" else "gloo")
    return Processes(own_device, dist.get_rank(), dist.get_world_size())
