"""Learning the weights of a RAKI network from calibration lines."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from onebreath.cancellation import checkpoint
from onebreath.networks.raki.raki import Raki, clrelu
from onebreath.networks.raki.stack import RakiStack

HEAD_START_CUTOFF = 0.1
"""Of the singular values of the features, relative to the largest: directions with less signal are left to training.

With 1e-3 the same loss comes from larger weights, which pass on more noise: on a brain slice at R = 4 the error of the
image is then 6 % larger."""
_RISE = 20
"""Iterations over which a fading learning rate rises first."""
_TRIAL = 5
"""Iterations after which the speed is known well enough to see whether the rest will end in time."""


@dataclass
class Training:
    """Training of a network, or of several in parallel, that can continue with other calibration lines.

    Parameters
    ----------
    network
        Whose weights are learned, in place.
    learning_rate
        Of Adam; may be changed between runs.

    Attributes
    ----------
    losses
        Mean squared error of the real plus that of the imaginary part, in units of the mean |acs|^2, per iteration;
        of several networks the mean.
    latest
        The last of these for each network.
    """

    network: Raki | RakiStack
    learning_rate: float = 5e-4
    losses: list[float] = field(default_factory=list)
    latest: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._optimiser = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate)

    def run(self, acs: Tensor, iterations: int, deadline: float | None = None, fade: bool = False) -> bool:
        """Train on all examples at once.

        The network has no bias and its activation is positively homogeneous, so scaled data give the same weights as
        long as gradients are large against the epsilon of Adam; dividing by the root mean square ensures that.

        Parameters
        ----------
        acs : (coil, ya, x) complex, or (slice, coil, ya, x) for several networks
            Neighbouring lines.
        iterations
            How many steps.
        deadline
            Time of `time.monotonic` at which to be done.
        fade
            Whether the learning rate rises over a few iterations and then falls to 0 along a cosine.

        Returns
        -------
        bool
            Whether all iterations were done; False as soon as it is plain that they would end after the deadline.
        """
        sources, wanted = self.network.examples(acs / _root_mean_square(acs))
        begun, done = time.monotonic(), 0
        while done < iterations:
            checkpoint()
            # Adam's first steps are as large as the rate in every weight, which would undo a good start.
            factor = min(1, (done + 1) / _RISE) * (1 + math.cos(math.pi * done / iterations)) / 2 if fade else 1.0
            self.losses.append(self._step(sources, wanted, factor))
            done += 1
            now = time.monotonic()
            needed = (now - begun) / done * (iterations - done)
            if deadline is not None and done >= min(_TRIAL, iterations) and now + needed > deadline:
                return False
        return True

    def _step(self, sources: Tensor, wanted: Tensor, factor: float) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = factor * self.learning_rate
        self._optimiser.zero_grad()
        predicted = self.network(sources, self.network.acceleration)[:, :, :, : wanted.shape[3]]
        each = 2 * torch.view_as_real(predicted - wanted).square().flatten(1).mean(1)
        each.sum().backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self.latest = each.detach().tolist()
        return sum(self.latest) / len(self.latest)


@dataclass(frozen=True)
class Schedule:
    """Training schedule of the weights.

    Attributes
    ----------
    iterations, learning_rate
        Steps of Adam, and its rate.
    head_start
        Whether the last layer starts from its least-squares solution and the rate fades.
    """

    iterations: int
    learning_rate: float
    head_start: bool


def calibrate(network: Raki, acs: Tensor, schedule: Schedule, deadline: float | None = None) -> list[float]:
    """Learn the weights of `network` in place.

    Parameters
    ----------
    network
        With the weights to start from.
    acs : (coil, ya, x) complex
        Neighbouring lines.
    schedule
        How.
    deadline
        Time of `time.monotonic` at which to be done.

    Returns
    -------
    list
        Losses as `Training.losses`; empty if the deadline would not be kept.
    """
    if schedule.head_start:
        solve_last_layer(network, acs, HEAD_START_CUTOFF)
    training = Training(network, schedule.learning_rate)
    done = training.run(acs, schedule.iterations, deadline, fade=schedule.head_start)
    return training.losses if done else []


def calibrate_together(
    networks: Sequence[Raki], acs: Tensor, schedule: Schedule, deadline: float | None = None
) -> list[float]:
    """Learn the weights of several slices' networks in parallel, in place.

    The same as `calibrate` for one after the other: no slice's weights depend on another's lines.

    Parameters
    ----------
    networks
        Of one size.
    acs : (slice, coil, ya, x) complex
        Neighbouring lines of each slice.
    schedule, deadline
        As of `calibrate`.

    Returns
    -------
    list
        The last loss of each slice; empty if the deadline would not be kept.
    """
    if schedule.head_start:
        for network, lines in zip(networks, acs, strict=True):
            solve_last_layer(network, lines, HEAD_START_CUTOFF)
    stack = RakiStack(networks)
    training = Training(stack, schedule.learning_rate)
    if not training.run(acs, schedule.iterations, deadline, fade=schedule.head_start):
        return []
    stack.copy_back()
    return training.latest


@torch.no_grad()
def solve_last_layer(network: Raki, acs: Tensor, cutoff: float) -> None:
    """Set the last layer to the least-squares solution for the features of the other layers, in place.

    Of a network with one layer this is the calibration of GRAPPA.

    Parameters
    ----------
    network
        Whose last layer is set.
    acs : (coil, ya, x) complex
        Neighbouring lines.
    cutoff
        Singular values below this part of the largest one count as zero.
    """
    sources, wanted = network.examples(acs / _root_mean_square(acs))
    last, spacing = network.weights[-1], network.acceleration
    features = sources if len(network.weights) == 1 else clrelu(network.layers(sources, spacing)[-2], network.slope)
    ky, kx = last.shape[2:]
    positions = wanted.shape[3]
    windows = features[0].unfold(2, kx, 1)  # feature, line, position, sample
    lines = torch.stack([windows[:, j * spacing : j * spacing + positions] for j in range(ky)], 1)
    matrix = lines.permute(2, 3, 0, 1, 4).reshape(-1, last[0].numel())
    right = wanted[0].flatten(0, 1).permute(1, 2, 0).reshape(len(matrix), -1)
    solution = torch.linalg.pinv(matrix, rtol=cutoff) @ right
    last.copy_(solution.T.reshape(last.shape))


def _root_mean_square(acs: Tensor) -> Tensor:
    """Return the root mean square of each slice, for normalisation."""
    return acs.abs().square().mean((-3, -2, -1), keepdim=True).sqrt()
