"""Optimiser: AdamW in groups, learning rate schedule, and moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from onebreath.errors import ModelError
from onebreath.training.recipe import Optimiser

_TINY = 1e-9


def make_optimiser(network: nn.Module, settings: Optimiser) -> torch.optim.AdamW:
    """AdamW (I. Loshchilov and F. Hutter, ICLR 2019) with weight decay on kernels only."""
    parameters = list(network.parameters())
    kernels = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim == 1]
    scalars = [parameter for parameter in parameters if parameter.ndim == 0]
    settings_of = ((kernels, settings.weight_decay, 1.0), (vectors, 0.0, 1.0), (scalars, 0.0, settings.scalar_factor))
    groups = [
        {"params": found, "weight_decay": decay, "factor": factor} for found, decay, factor in settings_of if found
    ]
    # On a CPU torch's default goes through memory six times for each parameter.
    fused = all(parameter.device.type == "cpu" for parameter in parameters)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=fused or None)


def learning_rate(step: int, progress: float, settings: Optimiser, warm: float) -> float:
    """Learning rate of a step: linear warm-up from above 0, then a cosine to the smallest rate.

    Parameters
    ----------
    step
        Number of the step, from 0, for the warm-up.
    progress
        Fraction of the training done before the step, 0 to 1.
    settings
        The rates.
    warm
        Fraction of the training at which the warm-up ends at the latest and the cosine begins.
    """
    if step < settings.warm_up and progress < warm:
        return settings.learning_rate * max((step + 1) / settings.warm_up, progress / warm)
    done = max(progress - warm, 0.0) / max(1 - warm, _TINY)
    high, low = settings.learning_rate, min(settings.smallest_rate, settings.learning_rate)
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def set_learning_rate(optimiser: torch.optim.AdamW, rate: float) -> None:
    """Set the rate of every group to `rate` times its factor.

    PyTorch's schedulers count steps, while here the remaining time may determine the rate.
    """
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]


def moments_of(optimiser: torch.optim.AdamW, network: nn.Module) -> dict[str, Tensor]:
    """State of the optimiser by ``PARAMETER/NAME``."""
    return {
        f"{name}/{key}": torch.as_tensor(value).clone()
        for name, parameter in network.named_parameters()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def restore_moments(optimiser: torch.optim.AdamW, network: nn.Module, moments: Mapping[str, Tensor]) -> None:
    """Restore a state from `moments_of`.

    Raises
    ------
    ModelError
        If the state does not fit the network's parameters.
    """
    parameters = dict(network.named_parameters())
    for key, value in moments.items():
        name, _, entry = key.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None or (value.ndim and value.shape != parameter.shape):
            raise ModelError(f"the checkpoint's optimiser state '{key}' does not fit the network")
        optimiser.state[parameter][entry] = value.clone()


class MovingAverage:
    """Exponential moving average of the weights.

    Parameters
    ----------
    network
        Network with initial parameters.
    decay
        Weight of the old average in a step; smaller in the first steps, where the initial parameters would dominate.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        """Update the average with the weights after `step` steps."""
        update = get_ema_multi_avg_fn(min(self.decay, (1 + step) / (10 + step)))
        state = network.state_dict()
        update([self.weights[name] for name in state], list(state.values()), step)

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[nn.Module]:
        """Context in which a network has the averaged weights."""
        current = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.weights)
        try:
            yield network
        finally:
            network.load_state_dict(current)
