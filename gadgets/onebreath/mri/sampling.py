"""Description of a sampling mask: range, acceleration, calibration lines, partial Fourier, and a family name.

Families: ``full`` (every line of the acquired range), ``uniform`` (every R-th line), ``uniform_acs`` (every R-th line
and a block around the centre), ``kt_uniform`` (every R-th line, shifted from frame to frame, with or without a block),
``irregular`` and ``irregular_acs`` (anything else).
"""

import math
from dataclasses import dataclass

import numpy as np
from array_api_compat import to_device

from onebreath.errors import ScanError
from onebreath.mri import Array

# Fewer adjacent lines at the centre are a coincidence of the pattern, not calibration lines.
SHORTEST_ACS = 4
# Largest difference of the two halves of k-space, relative to the longer one, that still counts as symmetric.
_SYMMETRIC = 0.02


@dataclass(frozen=True)
class Sampling:
    """Description of a sampling mask; lines and samples are counted from 0 in the matrix, ranges include both ends.

    Attributes
    ----------
    shape
        ``(frame, y, x)`` of the mask; x is 1 if the mask was given as ``(frame, y)``.
    acquired
        First and last line that any frame acquired.
    centre
        Line of the k-space centre.
    acceleration
        Distance R of neighbouring lines outside the calibration block; 1 when all lines of the range were acquired.
        For irregular patterns the mean distance, rounded.
    offset
        The lines outside the block are ``offset + n R`` with ``0 <= offset < R``; of the first frame if frames differ.
    acs
        First and last line of the block around the centre that every frame acquired; for ``interleaved`` the block
        that the frames acquired together; None without either.
    acs_mode
        ``full`` (nothing missing), ``embedded``, ``interleaved``, ``none``, or the mode the header claims.
    uniform
        Whether every frame is a lattice of distance R, calibration block aside.
    partial_fourier
        Acquired fraction of the line range symmetric about the centre; 1 without partial Fourier.
    readout
        First and last sample acquired along x.
    readout_centre
        Sample of the k-space centre along x.
    asymmetric_echo
        Whether the echo is not in the middle of the acquired samples.
    per_frame
        Whether the frames differ.
    empty_frames
        Frames without any sample; the other attributes ignore them.
    effective_acceleration
        Lines of the matrix divided by the mean number of lines acquired per frame, calibration lines included.
    family
        One of the names in the module's docstring.
    """

    shape: tuple[int, int, int]
    acquired: tuple[int, int]
    centre: int
    acceleration: int
    offset: int
    acs: tuple[int, int] | None
    acs_mode: str
    uniform: bool
    partial_fourier: float
    readout: tuple[int, int]
    readout_centre: int
    asymmetric_echo: bool
    per_frame: bool
    empty_frames: tuple[int, ...]
    effective_acceleration: float
    family: str

    @property
    def complete(self) -> bool:
        """Whether no side of k-space was left out."""
        return self.partial_fourier >= 1 and not self.asymmetric_echo

    @property
    def reduction(self) -> float:
        """Acceleration R that a g-factor leaves out: that of the lattice, as if calibration lines were not there.

        For irregular patterns the lines of the acquired range over the mean number of acquired ones.
        """
        first, last = self.acquired
        rows = (last - first + 1) / self.shape[1]
        return float(self.acceleration) if self.uniform else self.effective_acceleration * rows

    @property
    def coverage(self) -> float:
        """Part of k-space that the acquired samples stand for: 1, or less with partial Fourier or an asymmetric echo.

        Each line of a lattice stands for as many rows as the next one is away.
        """
        (first, last), (_, ny, nx) = self.acquired, self.shape
        rows = last - first + 1
        if self.uniform:
            rows = min(self.acceleration * ((last - first) // self.acceleration + 1), ny)
        return rows / ny * ((self.readout[1] - self.readout[0] + 1) / nx if nx > 1 else 1.0)

    @property
    def accelerated_noise(self) -> float:
        """Standard deviation of the noise of images whose g-factor is 1: sqrt(R), or less with partial Fourier."""
        return math.sqrt(self.reduction * self.coverage)

    @property
    def covered(self) -> tuple[int, int]:
        """First and last line that the acquired ones stand for: up to an edge of the matrix nearer than R lines."""
        ny, (first, last) = self.shape[1], self.acquired
        return 0 if first < self.acceleration else first, ny - 1 if ny - 1 - last < self.acceleration else last


def describe(
    mask: Array,
    centre_line: int | None = None,
    readout_centre: int | None = None,
    acceleration: int | None = None,
    acs_mode: str | None = None,
) -> Sampling:
    """Description of a mask, bool ``(frame, y, x)`` or ``(frame, y)``.

    Parameters
    ----------
    mask
        Which samples were acquired.
    centre_line, readout_centre
        K-space centre in the matrix; ``n // 2`` if not given.
    acceleration
        Acceleration the header claims, used only where the lines agree with it: beside a wide calibration block there
        may be so few lattice lines that more than one distance fits.
    acs_mode
        Calibration mode the header claims (``separate``, ``external``, ...), kept when the mask shows no lines for it.

    Raises
    ------
    ScanError
        If no line was acquired, or the centre lies outside the matrix.
    """
    shape, frames, samples, empty, separable = _measure(mask)
    centre, x_centre = _inside(centre_line, shape[1]), _inside(readout_centre, shape[2])
    union: np.ndarray = np.any(frames, axis=0)
    acquired, readout = range_of(union), range_of(samples)
    acs = central_block(np.all(frames, axis=0), centre)
    together = central_block(union, centre) if acs is None and len(frames) > 1 else None
    lattice = _common_lattice(frames, acs, acceleration) if separable else None
    distance, offsets = lattice or (_mean_distance(frames, acquired), [acquired[0]])
    return Sampling(
        shape=shape,
        acquired=acquired,
        centre=centre,
        acceleration=distance,
        offset=offsets[0] % distance,
        acs=acs or together,
        acs_mode=_acs_mode(acs, acquired, together is not None, acs_mode),
        uniform=lattice is not None,
        partial_fourier=symmetric_part(acquired, centre, distance),
        readout=readout,
        readout_centre=x_centre,
        asymmetric_echo=symmetric_part(readout, x_centre, 1) < 1,
        per_frame=bool((frames != frames[0]).any()),
        empty_frames=empty,
        effective_acceleration=float(shape[1] / frames.sum(axis=1).mean()),
        family=_family(lattice, acs),
    )


def find_acs(mask: Array, centre_line: int | None = None) -> tuple[int, int] | None:
    """First and last line of the contiguous block around the k-space centre that every frame acquired.

    Lattice lines that touch the calibration block belong to it: they serve calibration just as well. None if the block
    has fewer than 4 lines. Arguments and errors as for `describe`.
    """
    shape, frames, *_ = _measure(mask)
    return central_block(np.all(frames, axis=0), _inside(centre_line, shape[1]))


def _measure(mask: Array) -> tuple[tuple[int, int, int], np.ndarray, np.ndarray, tuple[int, ...], bool]:
    """Shape, lines of the frames that have any ``(frame, y)``, samples ``(x,)``, empty frames, and separability.

    Separable masks are the product of their lines and one readout range.
    """
    array: np.ndarray = np.asarray(to_device(mask, "cpu")).astype(bool)
    if array.ndim not in (2, 3):
        raise ValueError(f"mask must be (frame, y, x) or (frame, y), got shape {array.shape}")
    array = array[..., None] if array.ndim == 2 else array
    lines: np.ndarray = np.any(array, axis=2)
    samples: np.ndarray = np.any(array, axis=(0, 1))
    separable = bool((array == lines[..., None] & samples).all())
    empty = tuple(int(i) for i in np.flatnonzero(~lines.any(axis=1)))
    if len(empty) == len(lines):
        raise ScanError("No line of k-space was acquired. Check the encoding limits in the header against the data.")
    shape = (array.shape[0], array.shape[1], array.shape[2])
    return shape, np.delete(lines, empty, axis=0), samples, empty, separable


def _inside(centre: int | None, size: int) -> int:
    """The centre, or the middle where none is given."""
    if centre is not None and not 0 <= centre < size:
        raise ScanError(f"The k-space centre {centre} lies outside the matrix of {size}. Correct the encoding limits.")
    return size // 2 if centre is None else centre


def central_block(always: np.ndarray, centre: int) -> tuple[int, int] | None:
    """The contiguous run of `always` that holds the centre, if it is long enough."""
    if not always[centre]:
        return None
    gaps = np.flatnonzero(~always)
    first = int(gaps[gaps < centre].max(initial=-1)) + 1
    last = int(gaps[gaps > centre].min(initial=len(always))) - 1
    return (first, last) if last - first + 1 >= SHORTEST_ACS else None


def distance_bands(rows: int, centre: int, count: int) -> np.ndarray:
    """Index of the band of each row (y) by its distance from the centre: at most `count` bands, narrow near it."""
    distance = np.abs(np.arange(rows) - centre)
    edges = np.unique(np.geomspace(1, distance.max() + 1, count).round().astype(int))
    return np.digitize(distance, edges)


def _common_lattice(
    frames: np.ndarray, acs: tuple[int, int] | None, claimed: int | None
) -> tuple[int, list[int]] | None:
    """Distance and per-frame offsets if every frame is a lattice of one distance outside the block, else None."""
    if all(line.sum() == 1 for line in frames):
        return None
    widest = max(int(np.diff(np.flatnonzero(line)).max(initial=1)) for line in frames)
    for distance in dict.fromkeys([claimed or widest, widest]):
        offsets = [_lattice_offset(line, acs, distance) for line in frames]
        if None not in offsets:
            return distance, [o for o in offsets if o is not None]
    return None


def _lattice_offset(line: np.ndarray, acs: tuple[int, int] | None, distance: int) -> int | None:
    """Offset of the lattice that explains all lines outside the block and misses none in the acquired range."""
    where = np.flatnonzero(line)
    outside = where if acs is None else where[(where < acs[0]) | (where > acs[1])]
    if not len(outside):
        return int(where[0]) % distance if distance == 1 else None
    offset = int(outside[0]) % distance
    expected = np.arange(len(line)) % distance == offset
    expected[: where[0]] = expected[where[-1] + 1 :] = False
    complete = bool(line[expected].all())
    return offset if complete and bool((outside % distance == offset).all()) else None


def range_of(flags: np.ndarray) -> tuple[int, int]:
    """First and last index where the flags are set."""
    where = np.flatnonzero(flags)
    return int(where[0]), int(where[-1])


def _mean_distance(frames: np.ndarray, acquired: tuple[int, int]) -> int:
    """Mean distance of the lines in the acquired range, rounded."""
    return max(1, round(float((acquired[1] - acquired[0] + 1) / frames.sum(axis=1).mean())))


def symmetric_part(bounds: tuple[int, int], centre: int, step: int) -> float:
    """Acquired fraction of the range symmetric about the centre; 1 where the ends differ by at most the step."""
    below, above = centre - bounds[0], bounds[1] - centre
    longer = max(below, above)
    if abs(below - above) <= max(step, _SYMMETRIC * longer):
        return 1.0
    return float((below + above + 1) / (2 * longer + 1))


def _acs_mode(acs: tuple[int, int] | None, acquired: tuple[int, int], interleaved: bool, claimed: str | None) -> str:
    if acs == acquired:
        return "full"
    if acs is not None:
        return "embedded"
    if interleaved:
        return "interleaved"
    return claimed or "none"


def _family(lattice: tuple[int, list[int]] | None, acs: tuple[int, int] | None) -> str:
    if lattice is None:
        return "irregular" if acs is None else "irregular_acs"
    if lattice[0] == 1:
        return "full"
    if len(set(lattice[1])) > 1:
        return "kt_uniform"
    return "uniform" if acs is None else "uniform_acs"
