"""Training in several processes started by PyTorch's ``torchrun``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

# Time limit of the other processes while the first one prepares the data.
_PREPARATION = timedelta(hours=12)


class Launch(BaseSettings):
    """Launch parameters of this process, set by ``torchrun``."""

    world_size: int = Field(1, ge=1, description="number of processes; set by torchrun")
    local_rank: int = Field(0, ge=0, description="index of this process on its machine; set by torchrun")


@dataclass(frozen=True)
class Group:
    """The processes of a training.

    Attributes
    ----------
    rank, size
        Index of this process, and number of processes.
    device
        Device of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and the log."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """Indices of this process's examples in the batch of a step.

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
        """Network whose gradients are averaged over the processes."""
        if self.size == 1:
            return network
        ids = [self.device.index] if self.device.type == "cuda" else None
        # Weights for features of earlier cascades have no gradient in the first cascade.
        return nn.parallel.DistributedDataParallel(network, device_ids=ids, find_unused_parameters=True)

    def follow(self, numbers: Sequence[float]) -> list[float]:
        """Numbers of the first process, which all go by."""
        if self.size == 1:
            return list(numbers)
        values = torch.tensor(list(numbers), dtype=torch.float64, device=self.device)
        dist.broadcast(values, 0)
        return [float(value) for value in values.tolist()]

    def any(self, asked: bool) -> bool:
        """Whether it holds in any of the processes; the same answer in all."""
        if self.size == 1:
            return asked
        value = torch.tensor(int(asked), device=self.device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value.item())

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            dist.barrier()


def _usable(name: str) -> torch.device:
    """Device of a name; ConfigError if it cannot be used here."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"device {name} cannot be used: {reason}; choose cpu, or leave --device out") from error
    return device


@contextmanager
def join(device: str = "auto") -> Iterator[Group]:
    """Join the process group of ``torchrun``; yields it, or a group of this process alone.

    Parameters
    ----------
    device
        Name of a torch device; auto: the GPU with this process's index if there is one, else the CPU; cuda: that GPU.

    Raises
    ------
    ConfigError
        If the device cannot be used.
    """
    launch = read_settings(Launch)
    size, local = launch.world_size, launch.local_rank
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = _usable(f"cuda:{local}" if device == "cuda" else device)
    if size == 1:
        yield Group(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PREPARATION)
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        dist.destroy_process_group()
