"""GRAPPA: choice of the kernel, prediction of missing lines, coil combination and g-factor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from onebreath.errors import MethodError
from onebreath.methods.base import (
    Fact,
    Method,
    Reconstruction,
    SliceData,
    check_finite,
    join_sets,
)
from onebreath.methods.device import as_numpy, back
from onebreath.methods.grappa import arc, lattice, validation
from onebreath.methods.grappa.calibrated import calibration_lines, frames_by_mask, own_maps, wanted_lines
from onebreath.methods.grappa.lattice_equations import NormalEquations
from onebreath.methods.grappa.parameters import GrappaParameters
from onebreath.methods.grappa.volume import reconstruct_volume
from onebreath.methods.volumes.data import VolumeData
from onebreath.mri.coils import combine
from onebreath.mri.fourier import ifft2c
from onebreath.mri.gfactor import line_kernel_gfactor
from onebreath.mri.sampling import Sampling

# Part of the calibration lines that a uniform kernel may span. A larger kernel is fitted to too few positions: on
# cardiac and brain data with 20-24 calibration lines, 2 source lines then beat 4 (R = 3, 4), and ARC beats 2 (R = 6,
# 8).
_WELL_CALIBRATED = 0.25
# Part that it may span where kernels are compared on calibration lines that they were not fitted to. Beyond it too few
# rows are left to judge by (16 channels, R = 4, 20 lines: 4 source lines look best and are 4 dB worse than 2).
_COMPARABLE = 0.5
# Multiples of the regularisation that are compared.
_STRENGTHS = (0.1, *validation.STRENGTHS, 60)
# Seconds that the kernel takes, whatever the matrix (8 channels, 24 calibration lines).
_CALIBRATION = 0.04


class Grappa(Method):
    """GRAPPA with a uniform or an ARC kernel; measured samples are kept, coils are combined with maps.

    Lines beyond the acquired range are predicted only where the range ends less than R lines before the edge of the
    matrix; a region left out by partial Fourier stays zero.
    """

    name = "grappa"
    seconds_per_million = 0.3
    acs_as_data = False  # as in Gadgetron: noise and g-factor then follow the lattice alone
    without_gfactor: ClassVar[Mapping[str, Any]] = {"gfactor": False}
    Parameters = GrappaParameters
    parameters: GrappaParameters

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self._validated_for: tuple[bytes, validation.Validated | None] = b"", None

    def effort(self, data: SliceData) -> float:
        """Seconds of one core of a usual CPU for a slice and for its kernel."""
        return _CALIBRATION + super().effort(data)

    def __call__(self, data: SliceData) -> Reconstruction:
        """Reconstruct one slice.

        Raises
        ------
        MethodError
            If there are no usable calibration lines, too few of them for the kernel, only one channel, a mask that
            the kernel cannot serve, or samples that are not finite.
        """
        check_finite(data, self.name)
        like, data = data.kspace, as_numpy(data)
        acs = calibration_lines(data, self.name)
        maps = own_maps(acs, data, self.parameters.coil_map_algorithm) if data.maps is None else data.maps
        choice = self._validated(self._choose(data.sampling, acs.shape), acs, data)
        filler = self._filler(choice, acs, data)
        images = np.zeros((data.kspace.shape[0], *data.kspace.shape[2:]), data.kspace.dtype)
        gfactors: dict[int, np.ndarray | None] = {}
        for mask, frames in frames_by_mask(data):
            wanted = wanted_lines(data.sampling, mask)
            coil_images = filler.coil_images(data.kspace[frames], mask, wanted)
            images[frames] = join_sets(np.stack([combine(coil_images, one) for one in maps]))
            if self.parameters.gfactor:
                gfactors.update(dict.fromkeys(frames, self._gfactor(filler, mask, wanted, maps[0], data.sampling)))
        facts: dict[str, Fact] = {
            "kernel": choice.kernel,
            "kernel_reason": choice.reason,
            "acs_lines": int(acs.shape[1]),
            "coil_maps": "given" if data.maps is not None else self.parameters.coil_map_algorithm,
            **filler.facts(),
        }
        gfactor, facts["gfactor"] = _stack_gfactors(gfactors, self.parameters.gfactor, len(images))
        return Reconstruction(back(images, like), None if gfactor is None else back(gfactor, like), facts)

    def volume(self, data: VolumeData) -> Reconstruction:
        """Reconstruct a scan with partitions, whose lines are a lattice, sheared or not.

        Raises
        ------
        MethodError
            If there are no usable calibration lines, the lines are no lattice, or there is only one channel.
        """
        return reconstruct_volume(data, self.parameters)

    def _choose(self, sampling: Sampling, acs_shape: tuple[int, ...]) -> _Choice:
        """Choose the kernel, with the reason."""
        p = self.parameters
        if sampling.family == "full":
            return _Choice("none", "every line of the acquired range was measured")
        if p.kernel == "arc":
            return _Choice("arc", "asked for")
        if not sampling.uniform:
            reason = f"the mask is not a lattice of lines (family '{sampling.family}')"
            if p.kernel == "uniform":
                raise MethodError(f"grappa: {reason}, which the uniform kernel needs; use kernel 'arc'")
            return _Choice("arc", reason)
        scan = acs_shape, sampling.acceleration
        lines = lattice.largest_kernel(*scan, p.grappa_kSize_E1, p.grappa_kSize_RO, _WELL_CALIBRATED)
        if not lines and p.kernel == "auto":
            return _Choice("arc", lattice.shortage(*scan, p.grappa_kSize_RO, _WELL_CALIBRATED))
        lines = lines or lattice.largest_kernel(*scan, 2, p.grappa_kSize_RO, 1.0)
        if not lines:
            shortage = lattice.shortage(*scan, p.grappa_kSize_RO, 1.0)
            raise MethodError(f"grappa: {shortage}; use kernel 'arc' or acquire more calibration lines")
        reason = self._why_uniform()
        if lines < p.grappa_kSize_E1:
            reason += f"; {lines} source lines instead of {p.grappa_kSize_E1}, for {acs_shape[1]} calibration lines"
        return _Choice("uniform", reason, lines, p.grappa_reg_lamda)

    def _why_uniform(self) -> str:
        return "asked for" if self.parameters.kernel == "uniform" else "the lines are a lattice"

    def _validated(self, choice: _Choice, acs: np.ndarray, data: SliceData) -> _Choice:
        """Choose the uniform kernel by validation, if requested and if there is more than one."""
        p, step = self.parameters, data.sampling.acceleration
        if choice.kernel != "uniform" or not p.grappa_validation:
            return choice
        most = lattice.largest_kernel(acs.shape, step, p.grappa_kSize_E1, p.grappa_kSize_RO, _COMPARABLE)
        lines = range(2, max(most, choice.lines) + 1)
        strengths = sorted({p.grappa_reg_lamda * strength for strength in _STRENGTHS})
        if acs.shape[1] - (lines[-1] - 1) * step < 2:
            return replace(choice, reason=f"{choice.reason}; too few to validate")
        best = self._best(acs, lines, strengths, data)
        reason = self._why_uniform()
        reason += f"; {best.lines} of 2 to {lines[-1]} source lines validated on {acs.shape[1]} calibration lines"
        reason += f", regularisation {best.regularisation:g}"
        return _Choice("uniform", reason, best.lines, best.regularisation, best.equations)

    def _best(
        self, acs: np.ndarray, lines: Sequence[int], strengths: Sequence[float], data: SliceData
    ) -> validation.Validated:
        """Return the number of source lines and the regularisation, cached for the same calibration lines.

        Noise replicas of a slice come with its calibration lines and more noise, and are to pass through its kernel.
        """
        key = hashlib.sha256(repr((acs.shape, data.sampling.acceleration)).encode() + acs.tobytes()).digest()
        known, found = self._validated_for
        if found is None or known != key:
            has = validation.energies(data.kspace, data.mask, acs, data.acs_first)
            found = validation.choose(
                acs, data.sampling.acceleration, lines, self.parameters.grappa_kSize_RO, strengths, has
            )
            self._validated_for = key, found
        return found

    def _filler(self, choice: _Choice, acs: np.ndarray, data: SliceData) -> Filler:
        p, sampling = self.parameters, data.sampling
        if choice.kernel == "uniform":
            kernel = lattice.calibrate(
                acs,
                sampling.acceleration,
                choice.lines,
                p.grappa_kSize_RO,
                choice.regularisation,
                p.grappa_calib_over_determine_ratio,
                self.derive,
                choice.equations,
            )
            return lattice.LatticeFiller(kernel, sampling)
        if choice.kernel == "arc":
            height = p.arc_lines or max(5, 2 * _widest_gap(data) + 1)
            window = (height, p.grappa_kSize_RO)
            kernels = arc.ArcKernels(acs, window, p.arc_regularisation, p.arc_padding, p.arc_sources)
            return arc.ArcFiller(kernels, sampling)
        return _NothingMissing()

    def _gfactor(
        self, filler: Filler, mask: np.ndarray, wanted: np.ndarray, maps: np.ndarray, sampling: Sampling
    ) -> np.ndarray | None:
        found = filler.line_kernels(mask, wanted)
        if found is None:
            return None
        return line_kernel_gfactor(*found, np.any(mask, axis=1), maps, sampling.reduction)


class Filler(Protocol):
    """Interpolator of missing lines."""

    def coil_images(self, kspace: np.ndarray, mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Coil images (frame, coil, y, x) of frames with one mask (y, x), with the wanted lines (y,) predicted."""

    def line_kernels(
        self, mask: np.ndarray, wanted: np.ndarray
    ) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray] | None:
        """Kernels and kinds for `line_kernel_gfactor`; None if the prediction is not one of whole lines."""

    def facts(self) -> dict[str, Fact]:
        """Return facts for the images' meta."""


@dataclass(frozen=True)
class _Choice:
    """The kernel to use, the reason, and for the uniform kernel what it is made with; equations if they are known."""

    kernel: str
    reason: str
    lines: int = 0
    regularisation: float = 0.0
    equations: NormalEquations | None = None


class _NothingMissing:
    """Filler for fully sampled frames: fills nothing."""

    def coil_images(self, kspace: np.ndarray, mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        found: np.ndarray = ifft2c(kspace)
        return found

    def line_kernels(
        self, mask: np.ndarray, wanted: np.ndarray
    ) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray]:
        return {}, np.full(len(wanted), -1)

    def facts(self) -> dict[str, Fact]:
        return {}


def _widest_gap(data: SliceData) -> int:
    """Largest distance of neighbouring sampled lines in any frame."""
    return max(int(np.diff(np.flatnonzero(lines)).max(initial=1)) for lines in np.any(data.mask, axis=2))


def _stack_gfactors(maps: dict[int, np.ndarray | None], asked: bool, frames: int) -> tuple[np.ndarray | None, str]:
    """Return one map for all frames if they share one, else one per frame, zero without lines; and a description."""
    if not asked:
        return None, "not asked for"
    found = [one for one in maps.values() if one is not None]
    if len(found) < len(maps) or not found:
        return None, "none: the mask depends on the readout"
    if len(found) == frames and all(one is found[0] for one in found):
        return np.stack(found[:1]), "closed form"
    nothing = np.zeros_like(found[0])
    return np.stack([nothing if (one := maps.get(frame)) is None else one for frame in range(frames)]), (
        "closed form, per frame"
    )
