"""Training in several processes, as PyTorch's ``torchrun`` starts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from pydantic import Field
from pydantic_settings import BaseSettings
from torch import nn

from onebreath.errors import ConfigError
from onebreath.settings import read_settings

# The other processes wait for the first one to prepare the data.
_PREPARATION = timedelta(hours=12)


class Launch(BaseSettings):
    """Launch parameters of this process, as ``torchrun`` sets them."""

    world_size: int = Field(1, ge=1, description="how many processes there are; torchrun sets it")
    local_rank: int = Field(0, ge=0, description="number of this process on its machine; torchrun sets it")


@dataclass(frozen=True)
class Group:
    """The processes of a training.

    Attributes
    ----------
    rank, size
        Number of this process, and how many there are.
    device
        Where this process trains.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and the log."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """Positions in the batch of a step that this process has.

        Raises
        ------
        ConfigError
            If the batch cannot be divided by the number of processes.
        """
        if batch % self.size:
            raise ConfigError(f"a batch of {batch} cannot be divided among {self.size} processes")
        part = batch // self.size
        return range(self.rank * part, (self.rank + 1) * part)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Let gradients be averaged over the processes."""
        if self.size == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Weights that only later cascades use have no gradient in the first one.
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)

    def agree(self, decision: bool) -> bool:
        """Return the first process's decision, so that all do the same."""
        if self.size == 1:
            return decision
        told = torch.tensor(int(decision), device=self.device)
        dist.broadcast(told, 0)
        return bool(told.item())

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join(device: str = "auto") -> Iterator[Group]:
    """Join the processes that ``torchrun`` started, or be the only one.

    Parameters
    ----------
    device
        As torch names it; auto: the GPU of this process's number where there is one.
    """
    launch = read_settings(Launch)
    size, local = launch.world_size, launch.local_rank
    if device == "auto":
        device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if size == 1:
        yield Group(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PREPARATION)
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        dist.destroy_process_group()
