"""Description of a mask with partitions: ranges, lattice, calibration block, partial Fourier, and a family name.

The plane of both phase encodings has the axes ``(z, y)``, z partition and y line; the readout is complete along x, or
lacks one side in all lines alike. Families: ``full`` (nothing missing in the acquired region), ``lattice`` (one point
of every cell, sheared cells as in CAIPIRINHA included), ``lattice_acs`` (and a block around the centre), ``irregular``
and ``irregular_acs`` (anything else).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.mri.sampling import SHORTEST_ACS, range_of, symmetric_part

Bools = NDArray[np.bool_]
Range = tuple[int, int]


@dataclass(frozen=True)
class Lattice:
    """Lattice of the points ``(z, y)`` with ``z = z0 + i dz`` and ``y = y0 + i shift + j dy``.

    With a shift this is the sampling of F. A. Breuer et al., "Controlled aliasing in volumetric parallel imaging (2D
    CAIPIRINHA)", Magn Reson Med 55:549 (2006).

    Attributes
    ----------
    dz, dy, shift
        Distance of the partitions, distance of the lines in a partition, and the shift of the lines from one acquired
        partition to the next.
    origin
        A point, 0 <= z0 < dz and 0 <= y0 < dy.
    """

    dz: int
    dy: int
    shift: int
    origin: tuple[int, int]

    @property
    def acceleration(self) -> int:
        """Number of positions per point."""
        return self.dz * self.dy

    def points(self, shape: tuple[int, int]) -> Bools:
        """Which positions (z, y) of a plane are points of the lattice, bool."""
        z, y = np.arange(shape[0])[:, None] - self.origin[0], np.arange(shape[1])[None] - self.origin[1]
        return np.asarray((z % self.dz == 0) & ((y - self.shift * (z // self.dz)) % self.dy == 0))

    def __str__(self) -> str:
        return f"{self.dy} x {self.dz}" + (f", shifted by {self.shift}" if self.shift else "")


@dataclass(frozen=True)
class VolumeSampling:
    """Description of a scan with partitions; ranges include both ends, pairs are ``(z, y)``.

    Attributes
    ----------
    shape
        ``(frame, z, y)`` of the mask.
    acquired
        First and last partition and line that any frame acquired.
    region : (z, y) bool
        Positions that the acquired ones enclose, up to the edges of the matrix where the next point would lie beyond.
    centre
        Partition and line of the k-space centre.
    lattice
        Lattice of every frame outside the calibration block; None for other patterns.
    acs
        Rectangle around the centre that every frame acquired, as ``(z, y)`` ranges; None without one.
    partial_fourier
        Acquired fraction of the range symmetric about the centre, along z and y; 1 without partial Fourier.
    readout, samples
        First and last acquired sample, and number of samples of the readout.
    per_frame
        Whether the frames differ.
    empty_frames
        Frames without any line.
    acceleration
        Positions of the region divided by those acquired, calibration block excluded; an integer for a lattice.
    effective_acceleration
        Positions of the plane divided by the mean number of those acquired per frame.
    family
        One of the names in the module's docstring.
    """

    shape: tuple[int, int, int]
    acquired: tuple[Range, Range]
    region: Bools
    centre: tuple[int, int]
    lattice: Lattice | None
    acs: tuple[Range, Range] | None
    partial_fourier: tuple[float, float]
    readout: Range
    samples: int
    per_frame: bool
    empty_frames: tuple[int, ...]
    acceleration: float
    effective_acceleration: float
    family: str

    @property
    def covered(self) -> tuple[Range, Range]:
        """First and last partition and line of the region, which the acquired ones stand for."""
        return range_of(np.asarray(self.region.any(axis=1))), range_of(np.asarray(self.region.any(axis=0)))

    @property
    def asymmetric_echo(self) -> bool:
        """Whether the echo is not in the middle of the acquired samples."""
        return symmetric_part(self.readout, self.samples // 2, 1) < 1

    @property
    def readout_part(self) -> float:
        """Acquired fraction of the readout."""
        return (self.readout[1] - self.readout[0] + 1) / self.samples

    @property
    def accelerated_noise(self) -> float:
        """Standard deviation of the noise of images whose g-factor is 1: sqrt(R), or less with partial Fourier."""
        return math.sqrt(self.acceleration * float(self.region.mean()) * self.readout_part)

    @property
    def complete(self) -> bool:
        """Whether no side of k-space was left out."""
        return min(self.partial_fourier) >= 1 and not self.asymmetric_echo


def describe_volume(mask: Bools, centre: tuple[int, int], readout: Range, samples: int) -> VolumeSampling:
    """Description of a mask of lines.

    Parameters
    ----------
    mask : (frame, z, y) bool
        Which lines were acquired.
    centre
        Partition and line of the k-space centre.
    readout, samples
        First and last acquired sample of the lines, and number of samples of the readout.

    Raises
    ------
    ScanError
        If there is no line, or the centre lies outside the matrix.
    """
    frames, nz, ny = mask.shape
    empty = tuple(int(frame) for frame in np.flatnonzero(~mask.any(axis=(1, 2))))
    used = np.delete(mask, empty, axis=0)
    if not len(used):
        raise ScanError("No line of k-space was acquired. Check the encoding limits in the header against the data.")
    if not (0 <= centre[0] < nz and 0 <= centre[1] < ny):
        raise ScanError(f"The k-space centre {centre} lies outside the matrix of {nz} x {ny}. Correct the limits.")
    always, union = np.asarray(used.all(axis=0)), np.asarray(used.any(axis=0))
    acs = block_around(always, centre)
    lattice = _common_lattice(used, acs)
    steps = (lattice.dz, lattice.dy) if lattice else _mean_steps(union)
    region = _region(union, steps)
    covered = int(region.sum())
    full = bool((used | ~region).all())
    block = np.zeros((nz, ny), bool)
    if acs is not None:
        block[acs[0][0] : acs[0][1] + 1, acs[1][0] : acs[1][1] + 1] = True
    outside = max(float((used & ~block).sum(axis=(1, 2)).mean()), 1.0)
    ranges = tuple(range_of(np.asarray(union.any(axis=axis))) for axis in (1, 0))
    acceleration = 1.0 if full else float(lattice.acceleration) if lattice else int((region & ~block).sum()) / outside
    return VolumeSampling(
        shape=(frames, nz, ny),
        acquired=(ranges[0], ranges[1]),
        region=region,
        centre=centre,
        lattice=None if full else lattice,
        acs=acs,
        partial_fourier=(
            symmetric_part(ranges[0], centre[0], steps[0]),
            symmetric_part(ranges[1], centre[1], steps[1]),
        ),
        readout=readout,
        samples=samples,
        per_frame=bool((used != used[0]).any()),
        empty_frames=empty,
        acceleration=max(acceleration, 1.0) if covered else 1.0,
        effective_acceleration=float(nz * ny / used.sum(axis=(1, 2)).mean()),
        family="full" if full else ("lattice" if lattice else "irregular") + ("" if acs is None else "_acs"),
    )


def block_around(always: Bools, centre: tuple[int, int]) -> tuple[Range, Range] | None:
    """Rectangle of acquired positions (z, y) around the centre; None if it is too small for calibration.

    It grows by one row or column at a time, all of whose positions must be acquired; the shorter side grows first.
    """
    if not always[centre]:
        return None
    bounds = [[centre[0], centre[0]], [centre[1], centre[1]]]
    grown = True
    while grown:
        grown = False
        for axis in sorted((0, 1), key=lambda one: bounds[one][1] - bounds[one][0]):
            for side, step in ((0, -1), (1, 1)):
                index = bounds[axis][side] + step
                if not 0 <= index < always.shape[axis]:
                    continue
                across = slice(bounds[1 - axis][0], bounds[1 - axis][1] + 1)
                edge = always[index, across] if axis == 0 else always[across, index]
                if edge.all():
                    bounds[axis][side] = index
                    grown = True
            if grown:
                break
    (z0, z1), (y0, y1) = bounds
    needed = min(SHORTEST_ACS, always.shape[0])
    return ((z0, z1), (y0, y1)) if z1 - z0 + 1 >= needed and y1 - y0 + 1 >= SHORTEST_ACS else None


def _common_lattice(frames: Bools, acs: tuple[Range, Range] | None) -> Lattice | None:
    """Lattice of all frames outside the block, if none of its points in their region is missing."""
    outside = frames.copy()
    if acs is not None:
        outside[:, acs[0][0] : acs[0][1] + 1, acs[1][0] : acs[1][1] + 1] = False
    if (outside != outside[0]).any():
        return None
    points = outside[0]
    lattice = _lattice_of(points)
    if lattice is None or lattice.acceleration == 1:
        return None
    expected = lattice.points(points.shape)
    if (points & ~expected).any():
        return None
    missing = expected & _hull(points) & ~frames[0]
    return None if missing.any() else lattice


def _lattice_of(points: Bools) -> Lattice | None:
    """Lattice with the smallest distances found between the points; None if no partition has two."""
    rows = np.flatnonzero(points.any(axis=1))
    if len(rows) == 0:
        return None
    first = {int(row): int(np.flatnonzero(points[row])[0]) for row in rows}
    steps = [int(np.diff(np.flatnonzero(points[row])).min(initial=1 << 30)) for row in rows]
    dy = min(steps)
    if dy == 1 << 30:
        return None
    dz = int(np.diff(rows).min(initial=1 << 30))
    dz = 1 if dz == 1 << 30 else dz
    pairs = [(row, row + dz) for row in first if row + dz in first]
    shift = (first[pairs[0][1]] - first[pairs[0][0]]) % dy if pairs else 0
    z0 = int(rows[0]) % dz
    y0 = (first[int(rows[0])] - shift * ((int(rows[0]) - z0) // dz)) % dy
    return Lattice(dz, dy, shift, (z0, y0))


def _region(union: Bools, steps: tuple[int, int]) -> Bools:
    """Positions (z, y) enclosed by the given ones; edges of the matrix nearer than a step belong to them."""
    extended = union.copy()
    for axis, step in enumerate(steps):
        lines = np.moveaxis(extended, axis, 0)
        for edge in (lines, lines[::-1]):
            edge[0] |= edge[:step].any(axis=0)
    return _hull(extended)


def _hull(points: Bools) -> Bools:
    """Which positions (z, y) lie in the convex hull of the points."""
    from scipy.spatial import ConvexHull, QhullError

    where = np.argwhere(points)
    box = np.zeros_like(points)
    if len(where):
        box[where[:, 0].min() : where[:, 0].max() + 1, where[:, 1].min() : where[:, 1].max() + 1] = True
    if len(where) < 3:
        return box
    try:
        sides = ConvexHull(where).equations
    except QhullError:  # all on one line
        return box
    grid = np.argwhere(np.ones_like(points))
    return np.asarray((grid @ sides[:, :2].T + sides[:, 2] <= 1e-9).all(axis=1)).reshape(points.shape)


def _mean_steps(union: Bools) -> tuple[int, int]:
    """Mean distance of partitions and of lines that were acquired at all, rounded."""
    found = []
    for axis in (1, 0):
        used = np.asarray(union.any(axis=axis))
        first, last = range_of(used)
        found.append(max(1, round((last - first + 1) / int(used.sum()))))
    return found[0], found[1]
