"""GRAPPA of scans with partitions: a kernel for each position between the points of a lattice of both phase encodings.

M. Blaimer et al., "2D-GRAPPA-operator for faster 3D parallel MRI", Magn Reson Med 56:1359 (2006), names the problem;
here each missing position of a cell has its own weights for the points around it, as in A. C. Brau et al., "Comparison
of reconstruction accuracy and efficiency among autocalibrating data-driven parallel imaging methods", Magn Reson Med
59:382 (2008), whose hybrid space is used too: weights are applied with the readout in image space. Sheared lattices
(CAIPIRINHA) need nothing more: only the offsets of the points differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from onebreath.cancellation import checkpoint
from onebreath.errors import MethodError
from onebreath.methods.grappa.lattice import readout_phases
from onebreath.methods.grappa.validation import Energies
from onebreath.methods.grappa.volume_equations import HalfEquations
from onebreath.mri.volume_sampling import Lattice

Complex = NDArray[np.complex64]

_OVERDETERMINED = 3.0
"""Equations per unknown without which a kernel gets fewer sources."""
_SPAN = 1 / 3
"""Part of the block that the sources of a position may span: weights fitted in fewer positions fail elsewhere."""
_EQUATIONS = 30.0
"""Equations per unknown beyond which more bring nothing: the middle of the readout is taken."""
_WINDOWS = 128
"""Equations that are added up at once: all of them would be many times the k-space."""


@dataclass(frozen=True)
class PositionKernel:
    """Weights for one missing position of a cell.

    Attributes
    ----------
    offset
        Partition and line of the position, counted from a point of the lattice.
    sources : (source, 2) int
        Distances (z, y) of the points that serve it.
    weights : (target coil, source coil, source, sample) complex128
        Along the readout in k-space.
    phases : (x, sample)
        Take the weights to a pixel along the readout; those of all pixels would be a large part of the k-space.
    """

    offset: tuple[int, int]
    sources: NDArray[np.int64]
    weights: NDArray[np.complex128]
    phases: NDArray[np.complex128]

    def at(self, x: int) -> Complex:
        """Weights (target coil, source coil, source) at a pixel along the readout."""
        return np.asarray(self.weights @ self.phases[x], np.complex64)


@dataclass(frozen=True)
class VolumeKernels:
    """Kernels for all missing positions of a lattice."""

    lattice: Lattice
    positions: list[PositionKernel]
    width: int
    equations: float
    regularisation: float

    def fill(self, plane: Complex, sampled: NDArray[np.bool_], region: NDArray[np.bool_], x: int) -> Complex:
        """Return a plane (frame, coil, z, y) with the missing positions of the region predicted, measured ones kept.

        Parameters
        ----------
        plane
            Zero where nothing was acquired.
        sampled
            Lines (z, y) that were acquired.
        region
            Where lines shall be predicted (z, y).
        x
            Pixel along the readout.
        """
        frames, coils, nz, ny = plane.shape
        points = sampled & self.lattice.points((nz, ny))
        reach = [max(int(np.abs(one.sources[:, axis]).max()) for one in self.positions) for axis in (0, 1)]
        padded = np.pad(plane * points, ((0, 0), (0, 0), (reach[0],) * 2, (reach[1],) * 2))
        stride = padded.shape[-1]
        flat = padded.reshape(frames, coils, -1)
        out: Complex = plane.copy()
        for kernel in self.positions:
            z, y = np.nonzero(self.targets(kernel, (nz, ny)) & region & ~sampled)
            base = (z + reach[0]) * stride + y + reach[1]
            around = base + (kernel.sources[:, 0] * stride + kernel.sources[:, 1])[:, None]
            matrix = kernel.at(x).reshape(coils, -1)
            out[:, :, z, y] = matrix @ flat[:, :, around].reshape(frames, matrix.shape[1], -1)
        return out

    def targets(self, kernel: PositionKernel, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which positions (z, y) of a plane are this position of their cell."""
        (z0, y0), (dz, dy) = self.lattice.origin, kernel.offset
        shifted = Lattice(self.lattice.dz, self.lattice.dy, self.lattice.shift, (z0 + dz, y0 + dy))
        return shifted.points(shape)

    def gfactor(self, maps: Complex, x: int, acquired: int, covered: int) -> NDArray[np.float32]:
        """g-factor (z, y) of a plane; F. A. Breuer et al., Magn Reson Med 62:739 (2009), eq. 10.

        Parameters
        ----------
        maps : (coil, z, y)
            Coil maps of the plane.
        x
            Its pixel along the readout.
        acquired, covered
            Points that were acquired, and positions of the region.
        """
        _, nz, ny = maps.shape
        combine = np.conj(maps)
        total = combine.copy()
        z, y = (np.arange(nz) - nz // 2)[:, None], (np.arange(ny) - ny // 2)[None]
        for kernel in self.positions:
            weights = kernel.at(x)
            for number, (dz, dy) in enumerate(kernel.sources):
                turn = np.exp(-2j * np.pi * (dz * z / nz + dy * y / ny)).astype(np.complex64)
                total += np.tensordot(weights[:, :, number], combine, axes=(0, 0)) * turn
        variance = acquired * np.sum(np.abs(total) ** 2, axis=0)
        return np.asarray(np.sqrt(variance / (covered * self.lattice.acceleration)), np.float32)


@dataclass(frozen=True)
class KernelShape:
    """Shape of a kernel.

    Attributes
    ----------
    lines
        Points along z and along y, at most, that serve a position.
    sources
        Points in all, at most; the nearest ones.
    width
        Kernel size along the readout in samples, odd.
    regularisations
        Tikhonov, as parts of the mean diagonal element of the normal matrix, to choose from by validation.
    """

    lines: tuple[int, int]
    sources: int
    width: int
    regularisations: tuple[float, ...]


def calibrate_volume(acs: Complex, lattice: Lattice, shape: KernelShape, has: Energies) -> VolumeKernels:
    """Solve for the weights on the calibration block.

    Parameters
    ----------
    acs : (coil, za, ya, x)
        Calibration block in k-space.
    lattice
        Of the lines that were acquired.
    shape
        What the kernels may be like.
    has
        Energies of the scan, by which the regularisation is chosen.

    Raises
    ------
    MethodError
        If the block is too small for a kernel.
    """
    coils, nz, ny, nx = acs.shape
    phases = readout_phases(nx, shape.width)
    positions, equations, strengths = [], np.inf, []
    for offset in _missing(lattice):
        checkpoint()
        sources, per_unknown = _sources(lattice, offset, shape, (coils, nz, ny, nx - shape.width + 1))
        solved, strength = _solve(acs, sources, shape, has)
        positions.append(PositionKernel(offset, sources, solved, phases))
        equations = min(equations, per_unknown)
        strengths.append(strength)
    return VolumeKernels(lattice, positions, shape.width, float(equations), max(strengths))


def _missing(lattice: Lattice) -> list[tuple[int, int]]:
    """Return the positions of a cell other than its lattice point, relative to it; partition by partition."""
    return [(z, y) for z in range(lattice.dz) for y in range(lattice.dy) if (z, y) != (0, 0)]


def _sources(
    lattice: Lattice, offset: tuple[int, int], shape: KernelShape, block: tuple[int, int, int, int]
) -> tuple[NDArray[np.int64], float]:
    """Return the source points (source, 2) of a position, nearest first, as many as the block can determine."""
    coils, nz, ny, samples = block
    steps = (lattice.dz, lattice.dy)
    reach = (shape.lines[0] * lattice.dz, shape.lines[1] * lattice.dy)
    z, y = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
    cell = z + offset[0]
    points = (cell % lattice.dz == 0) & ((y + offset[1] - lattice.shift * (cell // lattice.dz)) % lattice.dy == 0)
    points &= (2 * np.abs(z) <= reach[0]) & (2 * np.abs(y) <= reach[1])
    found = np.stack([z[points], y[points]], axis=1)
    found = found[np.lexsort((found[:, 1], found[:, 0], (found**2).sum(axis=1)))][: shape.sources]
    for count in range(len(found), 1, -1):
        chosen = found[:count]
        spans = [int(max(chosen[:, axis].max(), 0) - min(chosen[:, axis].min(), 0)) for axis in (0, 1)]
        windows = max(nz - spans[0], 0) * max(ny - spans[1], 0) * max(samples, 0)
        per_unknown = windows / (coils * count * shape.width)
        near = all(span <= max(_SPAN * n, step) for span, n, step in zip(spans, (nz, ny), steps, strict=True))
        if near and per_unknown >= _OVERDETERMINED and nz - spans[0] >= 2:
            return chosen, per_unknown
    raise MethodError(
        f"grappa: the calibration block of {nz} partitions x {ny} lines is too small for a lattice of {lattice} with "
        f"{coils} channels; acquire more calibration lines, or use cg_sense"
    )


def _solve(
    acs: Complex, sources: NDArray[np.int64], shape: KernelShape, has: Energies
) -> tuple[NDArray[np.complex128], float]:
    """Weights (target coil, source coil, source, sample) of one position, and the regularisation that was chosen.

    The two halves of the block judge each other's weights, as in `validation`.
    """
    coils, nz, ny, nx = acs.shape
    width, unknowns = shape.width, coils * len(sources) * shape.width
    low = [min(int(sources[:, axis].min()), 0) for axis in (0, 1)]
    high = [max(int(sources[:, axis].max()), 0) for axis in (0, 1)]
    rows, columns = nz - (high[0] - low[0]), ny - (high[1] - low[1])
    samples = min(nx - width + 1, max(int(np.ceil(_EQUATIONS * unknowns / (rows * columns))), width))
    first = (nx - width + 1 - samples) // 2
    windows = sliding_window_view(acs, width, axis=3)[:, :, :, first : first + samples]
    equations = HalfEquations(unknowns, coils)
    together = max(_WINDOWS // samples, 1)
    for row, column in np.ndindex(rows, -(-columns // together)):
        first, last = column * together - low[1], min((column + 1) * together, columns) - low[1]
        parts = [windows[:, row - low[0] + dz, first + dy : last + dy] for dz, dy in sources.tolist()]
        matrix = np.stack(parts).transpose(2, 3, 1, 0, 4).reshape(-1, unknowns)
        target = windows[:, row - low[0], first:last, :, width // 2].reshape(coils, -1).T
        equations.add(row % 2, matrix, target)
    chosen = min(shape.regularisations, key=lambda strength: equations.expected_error(strength, has))
    return equations.weights(chosen).T.reshape(coils, coils, len(sources), width), chosen
