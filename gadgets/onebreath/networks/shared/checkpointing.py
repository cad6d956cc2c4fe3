"""Gradient checkpointing: less memory for more time in training."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

Out = TypeVar("Out")


def run_step(step: Callable[..., Out], *arguments: Any, checkpointing: bool) -> Out:
    """Result of ``step(*arguments)``.

    With `checkpointing` only the arguments are kept for the backward pass, which computes the step again (Chen et al.
    2016). It has no effect without gradients.
    """
    if checkpointing and torch.is_grad_enabled():
        result: Out = checkpoint(step, *arguments, use_reentrant=False)
        return result
    return step(*arguments)
