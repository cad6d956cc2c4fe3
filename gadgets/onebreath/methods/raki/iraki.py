"""iRAKI: RAKI trained in rounds on calibration lines enlarged by its own reconstruction.

P. Dawood et al., "Iterative training of robust k-space interpolation networks for improved image reconstruction with
limited scan specific training samples", Magn Reson Med 89:812 (2023). The first round learns from the centre of a
GRAPPA reconstruction, each later one from the centre of the previous round's; measured calibration lines are put back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onebreath.methods.raki.calibration import HEAD_START_CUTOFF, Schedule, Training, solve_last_layer
from onebreath.networks.raki.raki import Raki

_DROPS = {4: 3e-5, 5: 4e-5, 6: 6e-5}
"""By how much the learning rate falls after each round, for a rate of 5e-4; by acceleration, as published."""
_GRAPPA_KERNEL, _GRAPPA_CUTOFF = (2, 5), 1e-4


@dataclass(frozen=True)
class Scan:
    """Training data of a scan.

    Attributes
    ----------
    kspace : (1, coil, y, x) complex
        Zero where nothing was acquired.
    offset
        The sampled lines are offset + n R.
    acs : (coil, ya, x) complex
        Calibration lines.
    acs_first
        Row of the matrix of the first of them.
    centre
        Line of the k-space centre.
    acquired
        First and last line of the range that was acquired: nothing is predicted beyond, so nothing is learned there.
    """

    kspace: Tensor
    offset: int
    acs: Tensor
    acs_first: int
    centre: int
    acquired: tuple[int, int]

    def enlarged(self, network: Raki, lines: int) -> Tensor:
        """Neighbouring lines (coil, line, x) about the centre, as many of `lines` as were acquired: the calibration
        lines as measured, all others predicted.
        """
        with torch.no_grad():
            filled = network.fill(self.kspace, self.offset)[0][0]
        filled[:, self.acs_first : self.acs_first + self.acs.shape[1]] = self.acs
        low, high = self.acquired
        first = max(min(self.centre - lines // 2, high + 1 - lines), low)
        return filled[:, first : min(first + lines, high + 1)]


@dataclass(frozen=True)
class Rounds:
    """Losses of all iterations, and the numbers of rounds done and planned; no losses without a first round."""

    losses: list[float]
    done: int
    planned: int


def drop(acceleration: int, learning_rate: float) -> float:
    """Decrease of the learning rate after each round; beyond the published accelerations, 1e-5 R up to 6e-5."""
    published = _DROPS.get(acceleration, min(1e-5 * acceleration, max(_DROPS.values())))
    return published * learning_rate / 5e-4


def grappa_network(coils: int, acceleration: int) -> Raki:
    """Return the single-layer network that makes the first images."""
    return Raki(coils, acceleration, (), (_GRAPPA_KERNEL,))


def calibrate(
    network: Raki, scan: Scan, schedule: Schedule, rounds: int, lines: int, deadline: float | None = None
) -> Rounds:
    """Learn the weights of `network` in place.

    Parameters
    ----------
    network
        With the weights to start from.
    scan
        The measured lines.
    schedule
        Of the first round; later ones have half of its iterations. With a head start the first round's last layer
        starts from its least-squares solution.
    rounds
        How many, over which the learning rate falls evenly; 0: as many as the published drops allow.
    lines
        Size of the enlarged calibration block.
    deadline
        Time of `time.monotonic` at which to be done; a round that would end later is not finished and is the last.
    """
    step = schedule.learning_rate / rounds if rounds else drop(network.acceleration, schedule.learning_rate)
    planned = rounds or int(schedule.learning_rate / step + 1e-6)
    linear = grappa_network(network.coils, network.acceleration).to(scan.kspace.device)
    solve_last_layer(linear, scan.acs, _GRAPPA_CUTOFF)
    block = scan.enlarged(linear, lines)
    if schedule.head_start:
        solve_last_layer(network, block, HEAD_START_CUTOFF)
    training = Training(network, schedule.learning_rate)
    for done in range(planned):
        training.learning_rate = schedule.learning_rate - done * step
        iterations = max(schedule.iterations // (2 if done else 1), 1)
        if not training.run(block, iterations, deadline):
            return Rounds(training.losses if done else [], done, planned)
        block = scan.enlarged(network, lines)
    return Rounds(training.losses, planned, planned)
