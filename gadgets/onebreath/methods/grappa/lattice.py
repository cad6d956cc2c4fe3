"""GRAPPA with one kernel for a lattice of lines: every R-th line sampled, calibration lines aside.

M. A. Griswold et al., "Generalized autocalibrating partially parallel acquisitions (GRAPPA)", Magn Reson Med 47:1202
(2002). Weights are applied with the readout in image space, where the kernel's readout part is a product; the phase
encoding stays in k-space, so that measured lines stay as they are and nothing wraps around from the other edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from onebreath.methods.base import Derive, Fact, compute
from onebreath.methods.grappa.calibrated import lattice_offset
from onebreath.methods.grappa.lattice_equations import NormalEquations, normal_equations
from onebreath.mri.fourier import fftc, ifftc
from onebreath.mri.sampling import Sampling

# Fewer equations per unknown than this and the weights follow the noise of the calibration lines.
_LEAST_OVERDETERMINED = 2.0


@dataclass(frozen=True)
class LatticeKernel:
    """Weights for the R - 1 missing lines between two sampled ones.

    Attributes
    ----------
    weights : (x, missing line, target coil, source coil, source line) complex64
        With x in image space; source line j lies (j - before) R lines after the sampled line below the target.
    acceleration
        R, the distance of the sampled lines.
    width
        Kernel size along the readout in samples.
    equations
        Equations per unknown of the calibration.
    """

    weights: np.ndarray
    acceleration: int
    width: int
    equations: float

    @property
    def lines(self) -> int:
        """Number of source lines."""
        return int(self.weights.shape[-1])

    @property
    def before(self) -> int:
        """Number of source lines before the sampled line just below the target."""
        return (self.lines - 1) // 2

    def fill(self, hybrid: np.ndarray, sampled: np.ndarray, wanted: np.ndarray, offset: int) -> np.ndarray:
        """Predict missing lines.

        Parameters
        ----------
        hybrid : (frame, coil, y, x) complex
            Frames with the same lattice, y in k-space, x in image space.
        sampled, wanted : (y,) bool
            Lines that were measured; lines that shall be predicted.
        offset
            The lattice is offset + n R.

        Returns
        -------
        (frame, coil, y, x) complex
            A copy with the wanted lines filled, all others untouched.
        """
        frames, coils, ny, nx = hybrid.shape
        step, behind = self.acceleration, self.lines - 1 - self.before
        lattice = np.arange(offset - step * (self.before + 1), ny + step * (behind + 1), step)
        inside = (lattice >= 0) & (lattice < ny)
        inside[inside] = sampled[lattice[inside]]
        lines = np.zeros((frames, coils, len(lattice), nx), hybrid.dtype)
        lines[:, :, inside] = hybrid[:, :, lattice[inside]]

        windows = sliding_window_view(lines, self.lines, axis=2)  # frame, coil, base, x, source line
        bases = lattice[self.before : len(lattice) - behind]
        sources = windows.transpose(3, 1, 4, 0, 2).reshape(nx, coils * self.lines, frames * len(bases))
        matrix = self.weights.reshape(nx, (step - 1) * coils, coils * self.lines)
        predicted = (matrix @ sources).reshape(nx, step - 1, coils, frames, len(bases))

        out = hybrid.copy()
        for missing in range(1, step):
            target = bases + missing
            use = (target >= 0) & (target < ny)
            use[use] = wanted[target[use]]
            out[:, :, target[use]] = predicted[:, missing - 1, :, :, use].transpose(3, 2, 0, 1)
        found: np.ndarray = out
        return found

    def by_distance(self) -> dict[tuple[int, int], np.ndarray]:
        """Weights in the form of `mri.gfactor.line_kernel_gfactor`: (kind, distance) -> (x, target, source)."""
        return {
            (missing, missing - (j - self.before) * self.acceleration): self.weights[:, missing - 1, :, :, j]
            for missing in range(1, self.acceleration)
            for j in range(self.lines)
        }

    def kinds(self, wanted: np.ndarray, offset: int) -> np.ndarray:
        """Kind of each wanted line (its distance to the sampled line below), -1 for the others."""
        return np.where(wanted, (np.arange(len(wanted)) - offset) % self.acceleration, -1)


@dataclass(frozen=True)
class LatticeFiller:
    """Fills the frames of a scan with one kernel."""

    kernel: LatticeKernel
    sampling: Sampling

    def coil_images(self, kspace: np.ndarray, mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Coil images (frame, coil, y, x) of frames with one mask (y, x), with the wanted lines (y,) predicted."""
        lines = np.any(mask, axis=1)
        filled = self.kernel.fill(ifftc(kspace, -1), lines, wanted, self._offset(lines))
        if self.sampling.asymmetric_echo:
            # The part of the readout that the echo left out stays out, in predicted lines as in measured ones.
            filled = ifftc(fftc(filled, -1) * mask.any(axis=0), -1)
        found: np.ndarray = ifftc(filled, -2)
        return found

    def line_kernels(
        self, mask: np.ndarray, wanted: np.ndarray
    ) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray]:
        """Kernels and kinds for `mri.gfactor.line_kernel_gfactor`."""
        return self.kernel.by_distance(), self.kernel.kinds(wanted, self._offset(np.any(mask, axis=1)))

    def facts(self) -> dict[str, Fact]:
        """Return kernel size and number of equations per unknown."""
        size = f"{self.kernel.lines} lines x {self.kernel.width} samples"
        return {"kernel_size": size, "equations_per_unknown": round(self.kernel.equations, 2)}

    def _offset(self, lines: np.ndarray) -> int:
        return lattice_offset(lines, self.sampling, self.kernel.acceleration)


def largest_kernel(acs_shape: tuple[int, ...], acceleration: int, lines: int, width: int, share: float) -> int:
    """Largest number of source lines, at most `lines`, for which the calibration lines suffice; 0 if below 2.

    Parameters
    ----------
    acs_shape
        (coil, ya, x) of the calibration lines.
    acceleration
        R.
    lines, width
        Wanted kernel size along y (in sampled lines) and x.
    share
        Part of the calibration lines that the kernel may span.
    """
    coils, present, nx = acs_shape
    for n in range(lines, 1, -1):
        span = (n - 1) * acceleration + 1
        equations = (present - span + 1) * max(nx - width + 1, 0)
        if span <= share * present and equations >= _LEAST_OVERDETERMINED * coils * n * width:
            return n
    return 0


def lines_needed(acs_shape: tuple[int, ...], acceleration: int, width: int, share: float) -> int:
    """Return the number of calibration lines that the smallest uniform kernel, of 2 source lines, needs."""
    coils, _, nx = acs_shape
    positions = math.ceil(_LEAST_OVERDETERMINED * coils * 2 * width / max(nx - width + 1, 1))
    return max(acceleration + positions, math.ceil((acceleration + 1) / share))


def shortage(acs_shape: tuple[int, ...], acceleration: int, width: int, share: float) -> str:
    """Describe how many calibration lines are needed and how many there are."""
    needed = lines_needed(acs_shape, acceleration, width, share)
    return (
        f"a uniform kernel at R = {acceleration} with {acs_shape[0]} channels needs at least {needed} "
        f"calibration lines, there are {acs_shape[1]}"
    )


def calibrate(
    acs: np.ndarray,
    acceleration: int,
    lines: int,
    width: int,
    regularisation: float,
    overdetermined: float,
    derive: Derive = compute,
    equations: NormalEquations | None = None,
) -> LatticeKernel:
    """Solve for the weights on the calibration lines.

    Parameters
    ----------
    acs : (coil, ya, x) complex
        Calibration lines in k-space.
    acceleration
        R.
    lines, width
        Kernel size along y (in sampled lines) and x (in samples, odd).
    regularisation
        Tikhonov: this part of the mean diagonal element of the normal matrix is added to its diagonal.
    overdetermined
        Largest number of equations per unknown, those nearest the centre of the readout; 0 uses all.
    derive
        Where the weights come from.
    equations
        Those of all samples, if they have been made already.
    """
    coils, present, nx = acs.shape
    rows, unknowns = present - (lines - 1) * acceleration, coils * lines * width
    samples = nx - width + 1
    if overdetermined > 0:
        samples = min(samples, math.ceil(overdetermined * unknowns / rows))
    count = rows * samples

    def solve() -> np.ndarray:
        made = equations
        if made is None or made.count != count:
            ((made,),) = normal_equations(acs, acceleration, [lines], width, samples)
        return made.weights(regularisation).reshape(shape).astype(np.complex64)

    shape = coils, lines, width, acceleration - 1, coils
    pattern = {"acceleration": acceleration, "lines": lines, "width": width}
    weights = derive(
        "grappa_kernel", [acs], {**pattern, "samples": samples, "regularisation": regularisation}, shape, solve
    )
    image_weights = np.einsum("slwmd,xw->xmdsl", weights, readout_phases(nx, width), optimize=True)
    return LatticeKernel(image_weights.astype(np.complex64), acceleration, width, count / unknowns)


def readout_phases(nx: int, width: int) -> np.ndarray:
    """Return the phases (x, sample) of a kernel of `width` readout samples in image space."""
    found: np.ndarray = np.exp(-2j * np.pi * np.outer(np.arange(nx) - nx // 2, np.arange(width) - width // 2) / nx)
    return found
