"""From placed lines to Gadgetron's buffers: k-space, headers and sampling description of one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.types.recon_data import ReconBuffer, SamplingDescription
from numpy.typing import NDArray

from onebreath.budget import claim
from onebreath.errors import ScanError
from onebreath.gadgets.sort.collected import Lines
from onebreath.gadgets.sort.placement import Placement
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.readout import Extent, oversampled_to, place_echo

NOTHING = ismrmrd.AcquisitionHeader(version=1, available_channels=1, active_channels=1)
"""Header of a place where no line was acquired, as Gadgetron makes it: it counts no samples."""


@dataclass(frozen=True)
class Matrix:
    """The k-space matrix of a scan as it stands after `prewhiten`.

    Parameters
    ----------
    header
        The scan's header.
    samples
        Length of the readout.
    """

    header: ScanHeader
    samples: int

    @classmethod
    def of(cls, header: ScanHeader, lines: Lines) -> Matrix:
        """Find the readout's length: without oversampling, unless a line is longer than that."""
        encoded = header.encoded_matrix.x
        kept = oversampled_to(encoded, header.encoded_fov.x, header.recon_fov.x)
        longest = lines.longest()
        return cls(header, kept if longest <= kept else max(encoded, longest))

    @property
    def rows(self) -> int:
        """Rows of the matrix."""
        return int(self.header.encoded_matrix.y)

    def buffer(self, lines: Lines, placed: Placement, frames: int, sets: int, limits: tuple[int, int]) -> ReconBuffer:
        """Put lines into a buffer with axes (RO, E1, E2, CHA, N, S, LOC).

        Parameters
        ----------
        lines
            The lines that `placed` counts.
        placed
            Where they go; of several lines at one place, the last one's header is kept.
        frames, sets
            Lengths of the axes N and S.
        limits
            First and last acquired row.
        """
        claim(8 * self.rows * frames * sets, "the headers of all frames")
        headers = np.empty((self.rows, 1, frames, sets, 1), dtype=object)
        headers.fill(NOTHING)  # numpy.full would take the structure for an array
        for frame, s, row, line in _entries(placed):
            headers[row, 0, frame, s, 0] = lines.headers[line]
        extents = [self._placed_extent(lines.headers[line]) for line in np.unique(placed.line).tolist()]
        kspace = lines.as_placed(placed, frames, (lines.coils, self.rows, self.samples))
        kspace = self._laid_out(lines, placed, frames, sets) if kspace is None else kspace[None]
        before, after = (max(getattr(extent, side) for extent in extents) for side in ("before", "after"))
        sampling = self._sampling((before, self.samples - 1 - after), limits)
        return ReconBuffer(kspace[None, :, :, :, None].transpose(6, 5, 4, 3, 2, 1, 0), None, None, headers, sampling)

    def _laid_out(self, lines: Lines, placed: Placement, frames: int, sets: int) -> NDArray[np.complex64]:
        """Add the weighted lines up in k-space (set, frame, coil, y, x)."""
        claim(8 * sets * frames * lines.coils * self.rows * self.samples, "the k-space of all frames")
        kspace = np.zeros((sets, frames, lines.coils, self.rows, self.samples), np.complex64)
        filled = np.zeros((sets, frames, self.rows), bool)
        for (frame, s, row, line), weight in zip(_entries(placed), placed.weight.tolist(), strict=True):
            samples = self._fitted(lines.samples(line), lines.headers[line])
            target = kspace[s, frame, :, row]
            if filled[s, frame, row]:
                target += np.float32(weight) * samples
            else:
                np.multiply(samples, np.float32(weight), out=target)
            filled[s, frame, row] = True
        return kspace

    def _fits(self, extent: Extent) -> bool:
        return extent.samples == self.samples and extent.centre == self.samples // 2

    def _placed_extent(self, header: Any) -> Extent:
        extent = Extent.of(header)
        return extent if self._fits(extent) else extent.placed(self.samples)

    def _fitted(self, samples: NDArray[np.complex64], header: Any) -> NDArray[np.complex64]:
        """Bring a line to the readout's length, if `prewhiten` did not."""
        extent = Extent.of(header)
        return samples if self._fits(extent) else place_echo(samples, extent, self.samples)

    def _sampling(self, readout: tuple[int, int], limits: tuple[int, int]) -> SamplingDescription:
        header = self.header
        sampling = SamplingDescription()
        # Oversampling is removed at constant pixel size.
        fov_x = header.encoded_fov.x * self.samples / header.encoded_matrix.x
        sampling.encoded_FOV[:] = (fov_x, header.encoded_fov.y, header.encoded_fov.z)
        sampling.recon_FOV[:] = tuple(header.recon_fov)
        sampling.encoded_matrix[:] = (self.samples, self.rows, header.encoded_matrix.z)
        sampling.recon_matrix[:] = tuple(header.recon_matrix)
        for axis, (first, centre, last) in enumerate(
            [(readout[0], self.samples // 2, readout[1]), (limits[0], self.rows // 2, limits[1]), (0, 0, 0)]
        ):
            limit = sampling.sampling_limits[axis]
            limit.min, limit.center, limit.max = first, centre, last
        return sampling


def _entries(placed: Placement) -> Iterator[tuple[int, int, int, int]]:
    """Give frame, set, row and line of each entry."""
    return zip(placed.frame.tolist(), placed.s.tolist(), placed.row.tolist(), placed.line.tolist(), strict=True)


def number_frames(buffer: ReconBuffer, counter: str, values: NDArray[np.int64]) -> None:
    """Let the headers of each frame count that frame, wherever its lines were taken from.

    Parameters
    ----------
    buffer
        The message's k-space.
    counter
        Counter that numbers the frames.
    values
        Its value in each frame (frame,).
    """
    for place, header in np.ndenumerate(buffer.headers):
        if header is not NOTHING and getattr(header.idx, counter) != values[place[2]]:
            own = ismrmrd.AcquisitionHeader.from_buffer_copy(header)
            setattr(own.idx, counter, int(values[place[2]]))
            buffer.headers[place] = own
    _, _, frames, sets, _ = buffer.headers.shape
    for frame, s in np.ndindex(frames, sets):  # a place without any line counts what it would have been
        lines = buffer.headers[:, 0, frame, s, 0]
        others = [header for header in buffer.headers[:, 0, :, s, 0].flat if header is not NOTHING]
        if others and all(header is NOTHING for header in lines):
            empty = ismrmrd.AcquisitionHeader.from_buffer_copy(others[0])
            empty.number_of_samples = empty.flags = 0
            setattr(empty.idx, counter, int(values[frame]))
            lines[0] = empty


def rows_of(matrix: Matrix, table: NDArray[np.void], centre: int) -> NDArray[np.int64]:
    """Return the row of each line (line,): the centre line lies at row ``n // 2``.

    Raises
    ------
    ScanError
        If a line lies outside the matrix, or has a partition counter.
    """
    counter = table["idx"]["kspace_encode_step_1"].astype(np.int64)
    rows = counter + matrix.rows // 2 - centre
    outside = np.flatnonzero((rows < 0) | (rows >= matrix.rows))
    if outside.size:
        line = table[outside[0]]
        raise ScanError(
            f"Line {line['scan_counter']} has kspace_encode_step_1 = {counter[outside[0]]}, which is row "
            f"{rows[outside[0]]} of a matrix of {matrix.rows} lines (encoded matrix "
            f"{tuple(matrix.header.encoded_matrix)}, centre line {centre}); {outside.size} lines lie outside. "
            "Correct the encoded matrix or the encoding limits in the header."
        )
    partition = np.flatnonzero(table["idx"]["kspace_encode_step_2"])
    if partition.size:
        raise ScanError(
            f"Line {table[partition[0]]['scan_counter']} has kspace_encode_step_2 = "
            f"{table[partition[0]]['idx']['kspace_encode_step_2']}: three-dimensional encoding is not supported."
        )
    return rows


def about_centre(rows: NDArray[np.int64], calibration: NDArray[np.bool_], matrix_rows: int) -> NDArray[np.int64]:
    """Let calibration lines that are counted from a first one of their own lie about the centre of the matrix.

    Lines of a separate calibration scan may count from 0, so that their rows would not hold the k-space centre at all.

    Parameters
    ----------
    rows
        Row of each line (line,).
    calibration
        Whether a line is of the calibration scan (line,).
    """
    own = rows[calibration]
    centre = matrix_rows // 2
    if own.size == 0 or own.min() <= centre <= own.max():
        return rows
    return np.where(calibration, rows + centre - (own.min() + own.max() + 1) // 2, rows)


def line_limits(header: ScanHeader, rows: NDArray[np.int64], offset: int) -> tuple[int, int]:
    """Return first and last acquired row, for the sampling description.

    The header's limits hold, as in Gadgetron, unless more than the distance of neighbouring lines is missing at an edge
    (partial Fourier that the header does not tell of) or lines lie outside of them.

    Parameters
    ----------
    rows
        Rows of the imaging lines (line,).
    offset
        Row of counter 0.
    """
    acquired = np.unique(rows)
    first, last = int(acquired[0]), int(acquired[-1])
    stated = header.limits("kspace_encoding_step_1")
    if stated is None:
        return first, last
    distance = int(np.diff(acquired).max()) if acquired.size > 1 else 1
    minimum, maximum = stated.minimum + offset, stated.maximum + offset
    return (
        minimum if 0 <= first - minimum < distance else first,
        maximum if 0 <= maximum - last < distance and maximum < header.encoded_matrix.y else last,
    )


def stated_centre(header: ScanHeader, table: NDArray[np.void]) -> tuple[int, str]:
    """Return the counter of the line through the k-space centre, and where it is known from.

    The header's limits come first. Siemens also writes it into every line (``idx.user[5]``); a disagreement is told.
    """
    in_lines = np.unique(table["idx"]["user"][:, 5])
    told = int(in_lines[0]) if in_lines.size == 1 and in_lines[0] > 0 else None
    stated = header.centre_line
    if stated is not None:
        return stated, "header" if told in (None, stated) else f"header (the lines say {told})"
    if told is not None:
        return told, "lines"
    return int(header.encoded_matrix.y) // 2, "assumed in the middle of the matrix"


def runs(places: Sequence[NDArray[Any]]) -> tuple[list[tuple[int, ...]], list[NDArray[np.intp]]]:
    """Group lines by the values of several counters (line,): the values of each group, and its lines; sorted."""
    values, member = np.unique(np.stack([np.asarray(place, np.int64) for place in places]), axis=1, return_inverse=True)
    member = member.reshape(-1)
    order = np.argsort(member, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
    return [tuple(int(v) for v in column) for column in values.T], groups
