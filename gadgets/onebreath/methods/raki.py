"""RAKI and iRAKI: missing lines are predicted by a small network that is learned from the slice's calibration lines."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onebreath.errors import MethodError
from onebreath.methods.base import Fact, Method, Reconstruction, SliceData, check_finite, join_sets
from onebreath.methods.calibrated import calibration_lines, frames_by_mask, lattice_offset, own_maps, wanted_lines
from onebreath.methods.device import as_numpy, back
from onebreath.methods.grappa import Grappa
from onebreath.methods.raki_parameters import RakiParameters
from onebreath.mri.coils import combine
from onebreath.mri.fourier import ifft2c
from onebreath.mri.gfactor import pseudo_replica
from onebreath.mri.gfactor_network import network_gfactor

if TYPE_CHECKING:
    import torch

    from onebreath.methods import iraki
    from onebreath.networks.raki import Raki as Network

# Equations per unknown of the last layer below which its weights would follow the noise of the calibration lines.
_LEAST_OVERDETERMINED = 2


class Raki(Method):
    """RAKI and iRAKI for lattices of lines; weights are learned once per slice, from lines averaged over time.

    Regions left out by partial Fourier and asymmetric echo stay zero, as in GRAPPA.
    """

    name = "raki"
    acs_as_data = False  # as in GRAPPA: noise and g-factor then follow the lattice alone
    Parameters = RakiParameters
    parameters: RakiParameters

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._previous: Network | None = None

    def __call__(self, data: SliceData) -> Reconstruction:
        """Reconstruct one slice.

        Raises
        ------
        MethodError
            If there are no usable calibration lines, only one channel, samples that are not finite, or (unless
            `unsuitable` is grappa) a mask that is no lattice or too few calibration lines for the kernel.
        """
        check_finite(data, self.name)
        like, data = data.kspace, as_numpy(data)
        acs = calibration_lines(data, self.name)
        problem = self._problem(data, acs)
        if problem and self.parameters.unsuitable == "error":
            raise MethodError(f"raki: {problem}; use method grappa, or set unsuitable to grappa")
        if problem:
            return self._grappa(data, problem)
        network, facts = self._calibrated(data, acs)
        if network is None:
            budget, steps = self.parameters.time_budget_s, self.parameters.steps
            return self._grappa(data, f"the time budget of {budget:g} s is too short for {steps} iterations")
        algorithm = self.parameters.coil_map_algorithm
        maps = own_maps(acs, data, algorithm) if data.maps is None else data.maps
        facts["coil_maps"] = algorithm if data.maps is None else "given"
        gfactor, facts["gfactor"] = self._gfactor(network, data, maps)
        images = back(self._images(network, data, maps), like)
        return Reconstruction(images, None if gfactor is None else back(gfactor, like), facts)

    def _grappa(self, data: SliceData, reason: str) -> Reconstruction:
        result = Grappa(coil_map_algorithm=self.parameters.coil_map_algorithm)(data)
        result.facts = {"reconstructed_by": "grappa", "fallback_reason": reason, **result.facts}
        return result

    def _problem(self, data: SliceData, acs: np.ndarray) -> str:
        """Why this slice cannot be reconstructed; empty if it can."""
        sampling = data.sampling
        if not sampling.uniform:
            return f"the mask is not a lattice of lines (family '{sampling.family}')"
        if sampling.family == "full":
            return "every line was measured, there is nothing to predict"
        if self.parameters.variant == "iraki" and sampling.per_frame:
            return "iraki needs frames that share their lines"
        network = self._network(acs.shape[0], sampling.acceleration)
        samples = acs.shape[2] - network.reach[1] + 1
        if samples < 1:
            return f"a kernel of {network.reach[1]} samples is wider than the readout of {acs.shape[2]}"
        unknowns = network.weights[-1][0].numel()
        needed = network.lines_needed - 1 + -(-_LEAST_OVERDETERMINED * unknowns // samples)
        if acs.shape[1] < needed:
            return (
                f"a kernel of {network.reach[0]} lines at R = {sampling.acceleration} needs at least {needed} "
                f"calibration lines, there are {acs.shape[1]}"
            )
        return ""

    def _network(self, coils: int, acceleration: int) -> Network:
        import torch

        from onebreath.networks.raki import Raki as Network

        p = self.parameters
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(p.seed)
            return Network(coils, acceleration, p.widths, p.kernels, p.slope, p.targets)

    def _calibrated(self, data: SliceData, acs: np.ndarray) -> tuple[Network | None, dict[str, Fact]]:
        """The network with its weights, and how they came about; None where the time budget does not suffice."""
        from onebreath.methods import iraki, raki_calibration
        from onebreath.methods.unrolled import devices_to_try

        p, device = self.parameters, devices_to_try(self.parameters.device)[0]
        deadline = time.monotonic() + p.time_budget_s if p.time_budget_s else None
        network = self._network(acs.shape[0], data.sampling.acceleration).to(device)
        warm = p.warm_start and self._take_over(network)
        schedule = raki_calibration.Schedule(p.steps // 2 if warm else p.steps, p.rate, p.schedule == "head_start")
        lines = torch_of(acs, device)
        facts: dict[str, Fact] = {"reconstructed_by": p.variant}
        if p.variant == "iraki":
            scan = self._scan(data, lines)
            result = iraki.calibrate(network, scan, schedule, p.rounds, p.enlarged_lines, deadline)
            facts["rounds"] = f"{result.done} of {result.planned}"
            losses = result.losses
        else:
            losses = raki_calibration.calibrate(network, lines, schedule, deadline)
        if not losses:
            return None, {}
        self._previous = network.requires_grad_(False)
        size = f"{network.reach[0]} lines x {network.reach[1]} samples, {p.widths[0]} and {p.widths[1]} channels"
        return self._previous, facts | {
            "network": f"{size}, slope {p.slope:g}",
            "acs_lines": int(acs.shape[1]),
            "iterations": len(losses),
            "loss": losses[-1],
            "weights_from": "the previous slice's" if warm else f"seed {p.seed}",
            "device": device,
        }

    def _scan(self, data: SliceData, acs: torch.Tensor) -> iraki.Scan:
        """What iRAKI learns from: the mean of all frames that hold samples."""
        from onebreath.methods.iraki import Scan

        ((mask, frames),) = frames_by_mask(data)
        mean = torch_of(data.kspace[frames].mean(axis=0)[None], acs.device)
        offset = lattice_offset(np.any(mask, axis=1), data.sampling, data.sampling.acceleration)
        return Scan(mean, offset, acs, data.acs_first, data.sampling.centre, data.sampling.acquired)

    def _take_over(self, network: Network) -> bool:
        """Copy the previous slice's weights if they fit."""
        if self._previous is None or (network.coils, network.acceleration) != (
            self._previous.coils,
            self._previous.acceleration,
        ):
            return False
        network.load_state_dict(self._previous.state_dict())
        return True

    def _images(self, network: Network, data: SliceData, maps: np.ndarray) -> np.ndarray:
        """Images (frame, y, x)."""
        images = np.zeros((data.kspace.shape[0], *data.kspace.shape[2:]), np.complex64)
        for mask, frames in frames_by_mask(data):
            for frame in frames:
                coil_images = ifft2c(self._filled(network, data, mask, frame))
                images[frame] = join_sets(np.stack([combine(coil_images, one) for one in maps]))[0]
        return images

    def _gfactor(self, network: Network, data: SliceData, maps: np.ndarray) -> tuple[np.ndarray | None, str]:
        """Maps (1 or frame, y, x) of the first frame of each lattice, and the words for them."""
        p, found, errors = self.parameters, np.zeros((data.kspace.shape[0], *maps.shape[2:]), np.float32), [0.0]
        if p.gfactor == "none":
            return None, "not asked for"
        groups = frames_by_mask(data)
        for mask, frames in groups:
            if p.gfactor == "mc":
                found[frames] = self._replicas(network, data, maps, mask, frames[0])
                errors.append(0.5 / math.sqrt(p.gfactor_replicas))
                continue
            lines = np.any(mask, axis=1)
            offset = lattice_offset(lines, data.sampling, network.acceleration)
            given = torch_of(data.kspace[frames[0]], network.weights[0].device)
            result = network_gfactor(
                network.linearised(given, offset),
                offset,
                self._replaced(data, mask),
                lines,
                maps[0],
                p.gfactor,
                p.gfactor_samples,
                p.seed,
            )
            found[frames] = result.gfactor
            errors.append(result.error)
        return (found[:1] if len(groups) == 1 else found), f"{p.gfactor}, standard error {max(errors):.1%}"

    def _replicas(
        self, network: Network, data: SliceData, maps: np.ndarray, mask: np.ndarray, frame: int
    ) -> np.ndarray:
        one = replace(data, kspace=data.kspace[frame : frame + 1], mask=mask[None])
        covered = np.count_nonzero(self._replaced(data, mask) | np.any(mask, axis=1)) / mask.shape[0]
        return pseudo_replica(
            lambda kspace: self._images(network, replace(one, kspace=kspace), maps[:1]),
            one.kspace,
            one.mask,
            data.sampling.acceleration,
            self.parameters.gfactor_replicas,
            covered,
            self.parameters.seed,
        )[0]

    def _replaced(self, data: SliceData, mask: np.ndarray) -> np.ndarray:
        """Lines (y,) that hold predictions."""
        replaced = wanted_lines(data.sampling, mask)
        return replaced | np.any(mask, axis=1) if self.parameters.targets == "all" else replaced

    def _filled(self, network: Network, data: SliceData, mask: np.ndarray, frame: int) -> np.ndarray:
        """K-space (1, coil, y, x) of one frame with its missing lines predicted."""
        kspace = data.kspace[frame : frame + 1]
        offset = lattice_offset(np.any(mask, axis=1), data.sampling, network.acceleration)
        predicted = network.fill(torch_of(kspace, network.weights[0].device), offset)[0].cpu().numpy()
        filled = np.where(self._replaced(data, mask)[:, None], predicted, kspace)
        # The part of the readout that an asymmetric echo left out stays out, in predicted lines as in measured ones.
        return filled * mask.any(axis=0)


def torch_of(kspace: np.ndarray, device: torch.device | str) -> torch.Tensor:
    """K-space as the network wants it, a copy."""
    import torch

    return torch.tensor(kspace, dtype=torch.complex64, device=device)
