"""RAKI and iRAKI: missing lines are predicted by a small network trained on the slice's calibration lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from onebreath.errors import MethodError
from onebreath.methods.base import Method, Reconstruction, SliceData, check_finite, join_sets
from onebreath.methods.device import as_numpy, back
from onebreath.methods.grappa.calibrated import (
    calibration_lines,
    frames_by_mask,
    lattice_offset,
    own_maps,
    wanted_lines,
)
from onebreath.methods.grappa.grappa import Grappa
from onebreath.methods.raki.learner import Learner, tensor_of
from onebreath.methods.raki.parameters import RakiParameters
from onebreath.methods.raki.slope import TRAININGS, Picked, pick_slope
from onebreath.methods.raki.virtual_coils import doubled_kspace
from onebreath.mri.coils import combine
from onebreath.mri.fourier import ifft2c
from onebreath.mri.gfactor import pseudo_replica
from onebreath.mri.gfactor_network import network_gfactor
from onebreath.mri.sampling import Sampling

if TYPE_CHECKING:
    from onebreath.networks.raki.raki import Raki as Network


_ROUNDS_OF_IRAKI = 6
"""Times as long as RAKI, with three rounds and networks of the same size, on more calibration lines."""


class Raki(Method):
    """RAKI and iRAKI for lattices of lines; weights are learned once per slice, from lines averaged over time.

    Regions left out by partial Fourier and asymmetric echo stay zero, as in GRAPPA.
    """

    name = "raki"
    seconds_per_million = 20
    acs_as_data = False  # as in GRAPPA: noise and g-factor then follow the lattice alone
    without_gfactor: ClassVar[Mapping[str, Any]] = {"gfactor": "none"}
    Parameters = RakiParameters
    parameters: RakiParameters

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.learner = Learner(self.parameters)
        self._picked: dict[tuple[object, ...], tuple[Picked, Learner]] = {}

    def effort(self, data: SliceData) -> float:
        """Estimate the seconds of one core, for training with the usual iterations; iraki has many rounds."""
        training = (_ROUNDS_OF_IRAKI if self.parameters.variant == "iraki" else 1) * super().effort(data)
        return training * (1 + (TRAININGS if self.parameters.slope == "auto" else 0))

    def foresee(self, slices: Sequence[SliceData]) -> None:
        """Learn the weights of later slices in parallel; an error of a slice is raised when it is reconstructed.

        Nothing is learned as long as the slope is to be picked.
        """
        if self.parameters.slope == "auto":
            return
        scans = []
        for data in map(as_numpy, slices):
            with suppress(MethodError):
                check_finite(data, self.name)
                acs = calibration_lines(data, self.name)
                if not self.learner.problem(data, acs):
                    scans.append((data, acs))
        with _true_float32():
            self.learner.learn_together(scans)

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
        problem = self.learner.problem(data, acs)
        if problem and self.parameters.unsuitable == "error":
            raise MethodError(f"{self.name}: {problem}; use method grappa, or set unsuitable to grappa")
        if problem:
            return self._grappa(data, problem)
        with _true_float32():
            result = self._with_network(data, acs)
        gfactor = None if result.gfactor is None else back(result.gfactor, like)
        return Reconstruction(back(result.images, like), gfactor, result.facts)

    def _with_network(self, data: SliceData, acs: np.ndarray) -> Reconstruction:
        picked, learner = self._with_slope(data, acs)
        learned = learner.learn(data, acs)
        if not learned.networks:
            budget, steps = self.parameters.time_budget_s, self.parameters.steps
            return self._grappa(data, f"the time budget of {budget:g} s is too short for {steps} iterations")
        facts, algorithm = dict(learned.facts), self.parameters.coil_map_algorithm
        facts |= {"slope": picked.reason} if picked else {}
        maps = own_maps(acs, data, algorithm) if data.maps is None else data.maps
        facts["coil_maps"] = algorithm if data.maps is None else "given"
        gfactor, facts["gfactor"] = self._gfactor(learned.networks, data, maps)
        return Reconstruction(self._images(learned.networks, data, maps), gfactor, facts)

    def _with_slope(self, data: SliceData, acs: np.ndarray) -> tuple[Picked | None, Learner]:
        """Return the slope picked on the first slice of this shape, None if it is given, and who learns with it."""
        p = self.parameters
        if p.slope != "auto":
            return None, self.learner
        key = (acs.shape, data.sampling.acceleration)
        if key not in self._picked:
            given = p.model_dump(exclude_unset=True)
            maps = own_maps(acs, data, p.coil_map_algorithm) if data.maps is None else data.maps
            seen = replace(data, acs=acs, maps=maps)
            picked = pick_slope(lambda slope: type(self)(**given | {"slope": slope}), seen)
            self._picked[key] = picked, Learner(p.model_copy(update={"slope": picked.slope}))
        return self._picked[key]

    def _grappa(self, data: SliceData, reason: str) -> Reconstruction:
        result = Grappa(coil_map_algorithm=self.parameters.coil_map_algorithm)(data)
        result.facts = {"reconstructed_by": "grappa", "fallback_reason": reason, **result.facts}
        return result

    def _images(self, networks: Sequence[Network], data: SliceData, maps: np.ndarray) -> np.ndarray:
        """Images (frame, y, x)."""
        images = np.zeros((data.kspace.shape[0], *data.kspace.shape[2:]), np.complex64)
        for mask, frames in frames_by_mask(data):
            for frame in frames:
                images[frame] = self._image(networks[frame], data.kspace[frame], mask, data.sampling, maps)
        return images

    def _image(
        self, network: Network, kspace: np.ndarray, mask: np.ndarray, sampling: Sampling, maps: np.ndarray
    ) -> np.ndarray:
        """Image (y, x) of one frame's k-space (coil, y, x)."""
        offset = lattice_offset(np.any(mask, axis=1), sampling, network.acceleration)
        seen = doubled_kspace(kspace, sampling.centre) if self.parameters.virtual_coils else kspace
        given = tensor_of(seen, network.weights[0].device)
        predicted = network.fill(given[None], offset)[0][0][: len(kspace)].cpu().numpy()
        filled = np.where(self._replaced(sampling, mask)[:, None], predicted, kspace)
        # The part of the readout that an asymmetric echo left out stays out, in predicted lines as in measured ones.
        coil_images = ifft2c(filled * mask.any(axis=0))
        combined = np.stack([combine(coil_images, one) for one in maps])
        return np.asarray(join_sets(combined[:, None])[0])

    def _replaced(self, sampling: Sampling, mask: np.ndarray) -> np.ndarray:
        """Return the lines (y,) that hold predictions."""
        replaced = wanted_lines(sampling, mask)
        return replaced | np.any(mask, axis=1) if self.parameters.targets == "all" else replaced

    def _gfactor(self, networks: Sequence[Network], data: SliceData, maps: np.ndarray) -> tuple[np.ndarray | None, str]:
        """Return maps (1 or frame, y, x) of the first frame of each lattice, and their description."""
        p, found, errors = self.parameters, np.zeros((data.kspace.shape[0], *maps.shape[2:]), np.float32), [0.0]
        if p.gfactor == "none":
            return None, "not asked for"
        groups = frames_by_mask(data)
        for mask, frames in groups:
            kspace, network = data.kspace[frames[0]], networks[frames[0]]
            if p.gfactor == "mc":
                found[frames] = self._replicas(network, kspace, mask, data.sampling, maps)
                errors.append(1 / math.sqrt((2 if p.virtual_coils else 4) * p.gfactor_replicas))
                continue
            lines = np.any(mask, axis=1)
            offset = lattice_offset(lines, data.sampling, network.acceleration)
            local = network.linearised(tensor_of(kspace, network.weights[0].device), offset)
            replaced = self._replaced(data.sampling, mask)
            result = network_gfactor(local, offset, replaced, lines, maps[0], p.gfactor, p.gfactor_samples, p.seed)
            found[frames] = result.gfactor
            errors.append(result.error)
        return (found[:1] if len(groups) == 1 else found), f"{p.gfactor}, standard error {max(errors):.1%}"

    def _replicas(
        self, network: Network, kspace: np.ndarray, mask: np.ndarray, sampling: Sampling, maps: np.ndarray
    ) -> np.ndarray:
        # A mirrored channel has the conjugate noise of its channel: more of it lies along the phase of the image.
        covered = np.count_nonzero(self._replaced(sampling, mask) | np.any(mask, axis=1)) / mask.shape[0]
        return np.asarray(
            pseudo_replica(
                lambda noisy: self._image(network, noisy[0], mask, sampling, maps[:1])[None],
                kspace[None],
                mask[None],
                sampling.acceleration,
                self.parameters.gfactor_replicas,
                covered,
                self.parameters.seed,
                self.parameters.virtual_coils,
            )[0]
        )


def _true_float32() -> AbstractContextManager[None]:
    import torch

    from onebreath.networks.shared.precision import true_float32

    return true_float32(torch.float32)
