"""From the calibration lines of a slice to the RAKI networks of its frames."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onebreath.methods.base import Fact, SliceData
from onebreath.methods.grappa.calibrated import frames_by_mask, lattice_offset
from onebreath.methods.raki import virtual_coils
from onebreath.methods.raki.parameters import RakiParameters

if TYPE_CHECKING:
    import torch

    from onebreath.methods.raki.calibration import Schedule
    from onebreath.methods.raki.iraki import Scan
    from onebreath.networks.raki.raki import Raki as Network

# Equations per unknown of the last layer below which its weights would follow the noise of the calibration lines.
_LEAST_OVERDETERMINED = 2
# Of the learning rate at the start, for frames that only correct the weights of all.
_REFINING = 0.25
# Slices whose weights are kept: more than are learned together, and small.
_REMEMBERED = 64


@dataclass(frozen=True)
class Learned:
    """Weights learned from a slice.

    Attributes
    ----------
    networks
        One for each frame, without gradients; the same one for all unless they were refined. Empty where the time
        budget does not suffice.
    facts
        How they came about.
    """

    networks: Sequence[Network]
    facts: dict[str, Fact]


class Learner:
    """Learns the networks of one slice after the other; keeps the previous weights for warm starts."""

    def __init__(self, parameters: RakiParameters) -> None:
        self.parameters = parameters
        self._previous: Network | None = None
        self._known: dict[bytes, Learned] = {}

    def problem(self, data: SliceData, acs: np.ndarray) -> str:
        """Return the reason why no network can be learned for this slice; empty if one can."""
        p, sampling = self.parameters, data.sampling
        if not sampling.uniform:
            return f"the mask is not a lattice of lines (family '{sampling.family}')"
        if sampling.family == "full":
            return "every line was measured, there is nothing to predict"
        if p.virtual_coils:
            reason = virtual_coils.problem_of(data, acs)
            if reason:
                return reason
            data, acs = virtual_coils.with_virtual(data, acs)
        if p.refine_iterations and not _has_own_acs(data):
            return "refine_iterations needs calibration lines in every frame's data (acs_as_data = yes)"
        network, lines = self.fresh_network(acs.shape[0], sampling.acceleration), acs.shape[1]
        if p.variant == "raki":
            return _shortage(network, lines, acs.shape[2])
        if sampling.per_frame:
            return "iraki needs frames that share their lines"
        from onebreath.methods.raki.iraki import grappa_network

        first, last = sampling.acquired
        enlarged = min(max(p.enlarged_lines, lines), last + 1 - first)
        linear = grappa_network(acs.shape[0], sampling.acceleration)
        return _shortage(linear, lines, acs.shape[2]) or _shortage(network, enlarged, acs.shape[2])

    def fresh_network(self, coils: int, acceleration: int) -> Network:
        """Return the untrained network of the parameters and seed."""
        import torch

        from onebreath.networks.raki.raki import Raki as Network

        # Not torch's own generator: networks that other threads make draw from that at the same time.
        p, generator = self.parameters, torch.Generator().manual_seed(self.parameters.seed)
        return Network(coils, acceleration, p.widths, p.kernels, p.usual_slope, p.targets, generator)

    def learn(self, data: SliceData, acs: np.ndarray) -> Learned:
        """Learn the weights of a slice that has no `problem`.

        Parameters
        ----------
        data
            The slice, numpy arrays.
        acs : (coil, ya, x) complex
            Its calibration lines, averaged over time. The same lines again, as those of another set or of a noise
            replica, need nothing new.
        """
        if self.parameters.virtual_coils:
            data, acs = virtual_coils.with_virtual(data, acs)
        key = self._key(data, acs)
        if key not in self._known:
            found = self._learn(data, acs)
            if not found.networks:
                return found
            self._remember(key, found)
        return self._known[key]

    def learn_together(self, scans: Sequence[tuple[SliceData, np.ndarray]]) -> None:
        """Learn slices without a `problem` in parallel, in groups of equal shape; `learn` then finds their weights.

        Does nothing for iraki, warm starts and refined frames, which depend on more than the calibration lines.
        """
        p = self.parameters
        if p.variant == "iraki" or p.warm_start or p.refine_iterations:
            return
        alike: dict[tuple[object, ...], list[tuple[SliceData, np.ndarray]]] = {}
        for data, acs in (virtual_coils.with_virtual(*scan) if p.virtual_coils else scan for scan in scans):
            if self._key(data, acs) not in self._known:
                alike.setdefault((acs.shape, data.sampling.acceleration), []).append((data, acs))
        for group in alike.values():
            if len(group) > 1:
                self._learn_alike(group)

    def _learn_alike(self, group: Sequence[tuple[SliceData, np.ndarray]]) -> None:
        from onebreath.methods.raki.calibration import Schedule, calibrate_together

        p, (_, acs), device = self.parameters, group[0], self._device()
        networks = [self.fresh_network(len(acs), group[0][0].sampling.acceleration).to(device) for _ in group]
        schedule = Schedule(p.steps, p.rate, p.schedule == "head_start")
        lines = tensor_of(np.stack([own for _, own in group]), device)
        losses = calibrate_together(networks, lines, schedule, self._deadline(len(group)))
        # There are no losses, and nothing was learned, if the deadline would not have been kept.
        for network, (data, own), loss in zip(networks, group, losses, strict=False):
            facts: dict[str, Fact] = {"reconstructed_by": p.variant, "slices_together": len(group)}
            facts |= self._network_facts(network.requires_grad_(False), own.shape[1], p.steps, loss)
            self._remember(self._key(data, own), Learned([network] * len(data.kspace), facts))

    def _remember(self, key: bytes, learned: Learned) -> None:
        self._known[key] = learned
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    def _device(self) -> str:
        from onebreath.methods.learned.devices import devices_to_try

        return devices_to_try(self.parameters.device)[0]

    def _deadline(self, slices: int = 1) -> float | None:
        """Return the time by which this many slices must be learned; None without a time budget."""
        budget = self.parameters.time_budget_s
        return time.monotonic() + slices * budget if budget else None

    def _key(self, data: SliceData, acs: np.ndarray) -> bytes:
        """Return a digest of the lines that the weights depend on; with iraki and refinement, all lines."""
        more = data.kspace if self.parameters.variant == "iraki" or self.parameters.refine_iterations else acs[:0]
        state = hashlib.sha256(repr((acs.shape, data.sampling.acceleration, len(data.kspace))).encode())
        for part in (acs, more):
            state.update(part.tobytes())
        return state.digest()

    def _learn(self, data: SliceData, acs: np.ndarray) -> Learned:
        from onebreath.methods.raki.calibration import Schedule

        p, device, deadline = self.parameters, self._device(), self._deadline()
        network = self.fresh_network(acs.shape[0], data.sampling.acceleration).to(device)
        warm = p.warm_start and self._take_over(network)
        schedule = Schedule(max(p.steps // 2, 1) if warm else p.steps, p.rate, p.schedule == "head_start")
        losses, facts = self._train(network, data, tensor_of(acs, device), schedule, deadline)
        if not losses:
            return Learned([], {})
        self._previous = network.requires_grad_(False)
        facts |= self._network_facts(network, acs.shape[1], len(losses), losses[-1])
        if warm:
            facts["weights_from"] = "the previous slice's"
        networks, refined = self._refined(network, data, deadline)
        return Learned(networks, facts | refined)

    def _network_facts(self, network: Network, lines: int, iterations: int, loss: float) -> dict[str, Fact]:
        """Return the facts of a trained network."""
        p, (height, width) = self.parameters, network.reach
        return {
            "network": f"{height} lines x {width} samples, {p.widths[0]} and {p.widths[1]} channels, slope "
            f"{network.slope:g}",
            "acs_lines": lines,
            "iterations": iterations,
            "loss": loss,
            "weights_from": f"seed {p.seed}",
            "device": str(network.weights[0].device),
            **({"virtual_coils": network.coils // 2} if p.virtual_coils else {}),
        }

    def _train(
        self, network: Network, data: SliceData, acs: torch.Tensor, schedule: Schedule, deadline: float | None
    ) -> tuple[list[float], dict[str, Fact]]:
        """Train in place; return the losses (none if the deadline would be missed) and the facts."""
        from onebreath.methods.raki import calibration as raki_calibration
        from onebreath.methods.raki import iraki

        p = self.parameters
        facts: dict[str, Fact] = {"reconstructed_by": p.variant}
        if p.variant == "raki":
            return raki_calibration.calibrate(network, acs, schedule, deadline), facts
        lines = max(p.enlarged_lines, acs.shape[1])
        result = iraki.calibrate(network, _scan(data, acs), schedule, p.rounds, lines, deadline)
        return result.losses, facts | {"rounds": f"{result.done} of {result.planned}"}

    def _take_over(self, network: Network) -> bool:
        """Copy the previous slice's weights if they fit."""
        last = self._previous
        if last is None or (network.coils, network.acceleration) != (last.coils, last.acceleration):
            return False
        network.load_state_dict(last.state_dict())
        return True

    def _refined(
        self, network: Network, data: SliceData, deadline: float | None
    ) -> tuple[list[Network], dict[str, Fact]]:
        """Return the network of each frame, refined on the frame's own calibration lines if requested."""
        from onebreath.methods.raki.calibration import Training

        p, count = self.parameters, data.kspace.shape[0]
        networks = [network] * count
        if not p.refine_iterations or data.sampling.acs is None:
            return networks, {}
        block = slice(data.sampling.acs[0], data.sampling.acs[1] + 1)
        frames = [frame for frame in range(count) if frame not in data.sampling.empty_frames]
        for done, frame in enumerate(frames):
            own = copy.deepcopy(network).requires_grad_(True)
            lines = tensor_of(data.kspace[frame][:, block], network.weights[0].device)
            if not Training(own, _REFINING * p.rate).run(lines, p.refine_iterations, deadline, fade=True):
                return networks, {"refined_frames": f"{done} of {len(frames)}, then the time budget was spent"}
            networks[frame] = own.requires_grad_(False)
        return networks, {"refined_frames": f"{len(frames)} of {len(frames)}"}


def tensor_of(kspace: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """Return k-space as a tensor in the networks' layout, a copy."""
    import torch

    return torch.tensor(kspace, dtype=torch.complex64, device=device)


def _has_own_acs(data: SliceData) -> bool:
    """Return whether every frame holds calibration lines of its own."""
    return data.sampling.acs is not None and data.sampling.acs_mode != "interleaved"


def _shortage(network: Network, lines: int, samples: int) -> str:
    """Describe why `lines` of `samples` do not suffice to learn this network; empty if they do."""
    places = samples - network.reach[1] + 1
    if places < 1:
        return f"a kernel of {network.reach[1]} samples is wider than the readout of {samples}"
    unknowns = network.weights[-1][0].numel()
    needed = network.lines_needed - 1 + math.ceil(_LEAST_OVERDETERMINED * unknowns / places)
    if lines >= needed:
        return ""
    return (
        f"a kernel of {network.reach[0]} lines at R = {network.acceleration} needs at least {needed} "
        f"calibration lines, there are {lines}"
    )


def _scan(data: SliceData, acs: torch.Tensor) -> Scan:
    """Return the training data of iRAKI: the mean of all frames that hold samples."""
    from onebreath.methods.raki.iraki import Scan

    ((mask, frames),) = frames_by_mask(data)
    mean = tensor_of(data.kspace[frames].mean(axis=0)[None], acs.device)
    offset = lattice_offset(np.any(mask, axis=1), data.sampling, data.sampling.acceleration)
    return Scan(mean, offset, acs, data.acs_first, data.sampling.centre, data.sampling.acquired)
