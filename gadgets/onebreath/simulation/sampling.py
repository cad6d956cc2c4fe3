"""Sampling patterns of simulated scans. Rows are counted in the matrix from 0; row ``n // 2`` is the k-space centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onebreath.errors import ConfigError
from onebreath.simulation.options import ScanOptions

# Width of the dense centre of random patterns, as a fraction of the acquired rows, and the density far outside.
_VISTA_WIDTH, _VISTA_FLOOR = 0.2, 0.25


@dataclass(frozen=True)
class Lines:
    """Rows of a scan.

    Attributes
    ----------
    first, last
        First and last row of the acquired range; smaller than the matrix with partial Fourier or phase resolution.
    centre
        Row of the k-space centre.
    frames
        Rows of the image lines of each frame, ascending.
    acs
        Rows of the calibration block, ascending; empty if there is none.
    matrix
        Encoded partitions and rows; `frames` and `acs` hold positions, ``partition * rows + row``.
    first_partition, last_partition
        First and last partition of the acquired range.
    """

    first: int
    last: int
    centre: int
    frames: list[np.ndarray]
    acs: np.ndarray
    matrix: tuple[int, int]
    first_partition: int = 0
    last_partition: int = 0

    @property
    def centre_position(self) -> int:
        """Position of the k-space centre, see `position`."""
        return self.position(self.matrix[0] // 2, self.centre)

    def position(self, partition: int, row: int) -> int:
        """Position of a line in the plane of both phase encodings, ``partition * rows + row``."""
        return partition * self.matrix[1] + row

    def partition_counter(self, partition: int) -> int:
        """Value of ``kspace_encode_step_2`` of a partition; the first that is acquired is 0."""
        return partition - self.first_partition

    def counter(self, row: int) -> int:
        """Value of ``kspace_encode_step_1`` of a row; as on Siemens scanners the first that is acquired is 0."""
        return row - self.first


@dataclass(frozen=True)
class Readout:
    """Samples of a line.

    Attributes
    ----------
    size
        Samples of the full readout, with oversampling.
    first
        First sample that is acquired; above 0 for asymmetric echoes.
    """

    size: int
    first: int

    @property
    def samples(self) -> int:
        """Number of acquired samples."""
        return self.size - self.first

    @property
    def centre_sample(self) -> int:
        """Acquired sample at the centre of k-space."""
        return self.size // 2 - self.first


def plan_readout(options: ScanOptions) -> Readout:
    """Acquired samples of the readout, from oversampling and echo fraction."""
    size = options.matrix[1] * options.readout_oversampling
    return Readout(size, size - round(options.echo_fraction * size))


def plan_lines(options: ScanOptions) -> Lines:
    """Lines of every frame; with partitions, those of the plane of both phase encodings.

    Raises
    ------
    ConfigError
        If the calibration block is longer than the acquired rows, or no line is left.
    """
    rows = options.matrix[0]
    centre = rows // 2
    acquired = max(round(rows * options.phase_resolution), 1)
    window_first = centre - acquired // 2
    last = window_first + acquired - 1
    first = last + 1 - round(acquired * options.partial_fourier)
    if options.partitions > 1:
        return plan_plane(options, first, last)
    acs = _acs_rows(options, first, last, centre)
    frames = [_frame_rows(options, frame, first, last, centre) for frame in range(options.phases)]
    if options.acs_mode == "embedded":
        frames = [np.union1d(frame, acs) for frame in frames]
    if not all(frame.size for frame in frames):
        raise ConfigError("Cannot simulate this scan: a frame has no line left; lower the acceleration.")
    return Lines(first, last, centre, frames, acs, (1, rows))


def on_lattice(options: ScanOptions, frame: int, row: int, centre: int) -> bool:
    """Whether a row belongs to the regular pattern of a frame; that of the first frame contains the centre."""
    shifted = options.pattern == "kt" or options.acs_mode == "interleaved"
    return (row - centre - (frame if shifted else 0)) % options.acceleration == 0


def plan_plane(options: ScanOptions, first: int, last: int) -> Lines:
    """Lines of a scan with partitions, the same in all frames.

    Parameters
    ----------
    options
        The scan.
    first, last
        First and last row of the acquired range.

    Raises
    ------
    ConfigError
        If the calibration block does not fit into the acquired region.
    """
    partitions, rows = options.encoded_partitions, options.matrix[0]
    middle, centre = partitions // 2, rows // 2
    first_partition = partitions - round(partitions * options.partition_partial_fourier)
    z, y = np.arange(partitions)[:, None], np.arange(rows)[None]
    within = (z >= first_partition) & (y >= first) & (y <= last)
    if options.elliptical:
        within &= ((z - middle) / (partitions / 2)) ** 2 + ((y - centre) / (rows / 2)) ** 2 <= 1
    sampled = within & on_plane_lattice(options, z, y)
    acs = np.zeros_like(sampled)
    if options.acs_mode != "none" and options.acceleration * options.partition_acceleration > 1 and options.acs_lines:
        deep = min(options.acs_partitions or options.acs_lines, partitions)
        start, top = middle - deep // 2, centre - options.acs_lines // 2
        acs[start : start + deep, top : top + options.acs_lines] = True
        if start < first_partition or top < first or top + options.acs_lines > last + 1:
            raise ConfigError(
                f"Cannot simulate this scan: a calibration block of {options.acs_lines} lines x {deep} partitions "
                "extends beyond the acquired region; use a smaller one."
            )
    if options.acs_mode == "embedded":
        sampled |= acs
    positions = np.flatnonzero(sampled)
    return Lines(
        first, last, centre, [positions] * options.phases, np.flatnonzero(acs), (partitions, rows), first_partition,
        partitions - 1,
    )  # fmt: skip


def on_plane_lattice(options: ScanOptions, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which positions (z, y) of both phase encodings belong to the lattice through the centre, bool."""
    apart, along = options.partition_acceleration, options.acceleration
    distance = z - options.encoded_partitions // 2
    shift = options.caipi_shift * (distance // apart)
    return np.asarray((distance % apart == 0) & ((y - options.matrix[0] // 2 - shift) % along == 0))


def _acs_rows(options: ScanOptions, first: int, last: int, centre: int) -> np.ndarray:
    if options.acs_mode not in ("embedded", "separate") or options.acceleration == 1 or options.acs_lines == 0:
        return np.arange(0)
    start = centre - options.acs_lines // 2
    stop = start + options.acs_lines
    if start < first or stop > last + 1:
        raise ConfigError(
            f"Cannot simulate this scan: {options.acs_lines} acs_lines about row {centre} extend beyond the acquired "
            f"rows {first} to {last}; use fewer, or a larger partial_fourier."
        )
    return np.arange(start, stop)


def _frame_rows(options: ScanOptions, frame: int, first: int, last: int, centre: int) -> np.ndarray:
    rows = np.arange(first, last + 1)
    if options.pattern == "vista":
        return _vista_rows(options, frame, rows, centre)
    return rows[[on_lattice(options, frame, int(row), centre) for row in rows]]


def _vista_rows(options: ScanOptions, frame: int, rows: np.ndarray, centre: int) -> np.ndarray:
    """Random rows, denser towards the centre, spread evenly within a frame and between frames.

    The density is a Gaussian on a floor, as in VISTA (R. Ahmad et al., Magn Reson Med 74:1266, 2015). Instead of its
    minimisation, each of equal intervals of the cumulative density is sampled once, at an offset that moves from frame
    to frame by the golden ratio, so that lines of a frame are spread and neighbouring frames differ.
    """
    count = max(round(rows.size / options.acceleration), 1)
    distance = (rows - centre) / (_VISTA_WIDTH * rows.size)
    density = _VISTA_FLOOR + np.exp(-0.5 * distance**2)
    cumulative = np.cumsum(density) / density.sum()
    rng = np.random.default_rng([options.seed, 5, frame])
    offset = (frame * (np.sqrt(5) - 1) / 2 + rng.uniform(-0.2, 0.2, count)) % 1.0
    chosen = np.searchsorted(cumulative, (np.arange(count) + offset) / count)
    return _distinct(rows, np.minimum(chosen, rows.size - 1))


def _distinct(rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Rows without repetition: those chosen twice are replaced by the nearest free ones."""
    taken = np.zeros(rows.size, bool)
    for index in chosen:
        free = np.flatnonzero(~taken)
        taken[free[np.argmin(np.abs(free - index))]] = True
    return rows[taken]
