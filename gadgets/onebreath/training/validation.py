"""Validation: the loss of a network on fixed examples, and their images."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.data import Dataset

from onebreath.errors import TrainingError
from onebreath.training.data.examples import Example
from onebreath.training.pictures import Shown
from onebreath.training.tasks import Task

# Examples in the picture of a run.
_SHOWN = 3


def mean_loss(task: Task, network: nn.Module, examples: Dataset[Example], count: int, device: torch.device) -> float:
    """Mean validation loss of a network on the first `count` examples.

    Raises
    ------
    TrainingError
        If the loss of an example is not finite: no weights could be chosen by such a mean.
    """
    with torch.no_grad():
        losses = [float(task.validation_loss(network, one)) for one in _batches(examples, count, device)]
    for number, loss in enumerate(losses, 1):
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of validation example {number} is {loss}, so that no weights can be chosen; the last "
                "checkpoint is kept. Lower the learning rate, or look for damaged slices in validate_on"
            )
    return sum(losses) / len(losses)


def shown(task: Task, network: nn.Module, examples: Dataset[Example], device: torch.device) -> list[Shown]:
    """Images of the first examples for the picture of the run; none if the task has none."""
    with torch.no_grad():
        found = [task.shown(network, one) for one in _batches(examples, _SHOWN, device)]
    return [one for one in found if one is not None]


def _batches(examples: Dataset[Example], count: int, device: torch.device) -> Iterator[Example]:
    """Yield the first examples, each as a batch of one."""
    for index in range(count):
        yield {name: value[None].to(device) for name, value in examples[index].items()}
