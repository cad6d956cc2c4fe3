"""Gadgetron's buffers from placed lines: k-space, headers and sampling description of one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.types.recon_data import ReconBuffer, SamplingDescription
from numpy.typing import NDArray

from onebreath.budget import claim
from onebreath.gadgets.sort.collected import Lines
from onebreath.gadgets.sort.layout import Layout, Limits
from onebreath.gadgets.sort.placement import Placement
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.readout import Extent, oversampled_to, place_echo

NOTHING = ismrmrd.AcquisitionHeader(version=1, available_channels=1, active_channels=1)
"""Header of a position where no line was acquired, as Gadgetron makes it: it counts no samples."""


@dataclass(frozen=True)
class Matrix:
    """The k-space matrix of a scan after `prewhiten`.

    Parameters
    ----------
    header
        The scan's header.
    layout
        Where lines lie in it.
    samples
        Length of the readout.
    """

    header: ScanHeader
    layout: Layout
    samples: int

    @classmethod
    def of(cls, header: ScanHeader, layout: Layout, lines: Lines) -> Matrix:
        """Return the matrix; the readout's length is without oversampling unless a line is longer."""
        encoded = header.encoded_matrix.x
        kept = oversampled_to(encoded, header.encoded_fov.x, header.recon_fov.x)
        longest = lines.longest()
        return cls(header, layout, kept if longest <= kept else max(encoded, longest))

    @property
    def rows(self) -> int:
        """Rows of the matrix."""
        return self.layout.rows

    def buffer(self, lines: Lines, placed: Placement, frames: int, sets: int, limits: Limits) -> ReconBuffer:
        """Put lines into a buffer with axes (RO, E1, E2, CHA, N, S, LOC).

        Parameters
        ----------
        lines
            The lines that `placed` counts.
        placed
            Where they go; of several lines at one position, the last one's header is kept.
        frames, sets
            Lengths of the axes N and S.
        limits
            First and last acquired partition, and line.
        """
        layout = self.layout
        claim(8 * self.rows * frames * sets, "the headers of all frames")
        headers = np.empty((layout.lines, layout.partitions, frames, sets, 1), dtype=object)
        headers.fill(NOTHING)  # numpy.full would take the structure for an array
        for frame, s, row, line in _entries(placed):
            headers[row % layout.lines, row // layout.lines, frame, s, 0] = lines.headers[line]
        extents = [self._placed_extent(lines.headers[line]) for line in np.unique(placed.line).tolist()]
        kspace = lines.as_placed(placed, frames, (lines.coils, self.rows, self.samples))
        kspace = self._laid_out(lines, placed, frames, sets) if kspace is None else kspace[None]
        before, after = (max(getattr(extent, side) for extent in extents) for side in ("before", "after"))
        sampling = self._sampling((before, self.samples - 1 - after), limits)
        kspace = kspace.reshape(*kspace.shape[:3], layout.partitions, layout.lines, self.samples)
        return ReconBuffer(kspace[None].transpose(6, 5, 4, 3, 2, 1, 0), None, None, headers, sampling)

    def cropped(self, lines: Lines, placed: Placement, sets: int, frames: int) -> ReconBuffer:
        """Put calibration lines into a buffer cropped to them: they are a small part of a volume.

        Parameters are those of `buffer`.
        """
        layout = self.layout
        z, y = placed.row // layout.lines, placed.row % layout.lines
        low, high = (int(z.min()), int(y.min())), (int(z.max()), int(y.max()))
        own = Layout(high[0] - low[0] + 1, high[1] - low[1] + 1, (0, 0))
        moved = replace(placed, row=(z - low[0]) * own.lines + y - low[1])
        limits = (0, own.partitions - 1), (0, own.lines - 1)
        made = replace(self, layout=own).buffer(lines, moved, frames, sets, limits)
        for axis, (first, size) in enumerate(((low[1], layout.lines), (low[0], layout.partitions)), start=1):
            made.sampling.sampling_limits[axis].center = size // 2 - first
        return made

    def _laid_out(self, lines: Lines, placed: Placement, frames: int, sets: int) -> NDArray[np.complex64]:
        """Sum the weighted lines in k-space (set, frame, coil, y, x)."""
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
        """Crop or pad a line to the readout's length, if `prewhiten` did not."""
        extent = Extent.of(header)
        return samples if self._fits(extent) else place_echo(samples, extent, self.samples)

    def _sampling(self, readout: tuple[int, int], limits: Limits) -> SamplingDescription:
        header = self.header
        sampling = SamplingDescription()
        # Oversampling is removed at constant pixel size.
        fov_x = header.encoded_fov.x * self.samples / header.encoded_matrix.x
        sampling.encoded_FOV[:] = (fov_x, header.encoded_fov.y, header.encoded_fov.z)
        sampling.recon_FOV[:] = tuple(header.recon_fov)
        sampling.encoded_matrix[:] = (self.samples, self.layout.lines, header.encoded_matrix.z)
        sampling.recon_matrix[:] = tuple(header.recon_matrix)
        partitions, rows = limits
        middle = self.layout.partitions // 2, self.layout.lines // 2
        for axis, (first, centre, last) in enumerate(
            [
                (readout[0], self.samples // 2, readout[1]),
                (rows[0], middle[1], rows[1]),
                (partitions[0], middle[0], partitions[1]),
            ]
        ):
            limit = sampling.sampling_limits[axis]
            limit.min, limit.center, limit.max = first, centre, last
        return sampling


def _entries(placed: Placement) -> Iterator[tuple[int, int, int, int]]:
    """Yield frame, set, row and line of each entry."""
    return zip(placed.frame.tolist(), placed.s.tolist(), placed.row.tolist(), placed.line.tolist(), strict=True)


def clear_averages(buffer: ReconBuffer) -> None:
    """Set the average to 0 in the headers of combined averages, whichever of them a line came with."""
    for position, header in np.ndenumerate(buffer.headers):
        if header is not NOTHING and header.idx.average:
            own = ismrmrd.AcquisitionHeader.from_buffer_copy(header)
            own.idx.average = 0
            buffer.headers[position] = own


def number_frames(buffer: ReconBuffer, counter: str, values: NDArray[np.int64]) -> None:
    """Set the counter in the headers of each frame to that frame, whichever frame its lines came from.

    Parameters
    ----------
    buffer
        The message's k-space.
    counter
        Counter that numbers the frames.
    values
        Its value in each frame (frame,).
    """
    for position, header in np.ndenumerate(buffer.headers):
        if header is not NOTHING and getattr(header.idx, counter) != values[position[2]]:
            own = ismrmrd.AcquisitionHeader.from_buffer_copy(header)
            setattr(own.idx, counter, int(values[position[2]]))
            buffer.headers[position] = own
    _, _, frames, sets, _ = buffer.headers.shape
    for frame, s in np.ndindex(frames, sets):  # a position without any line counts what it would have been
        lines = buffer.headers[:, :, frame, s, 0]
        others = [header for header in buffer.headers[:, :, :, s, 0].flat if header is not NOTHING]
        if others and all(header is NOTHING for header in lines.flat):
            empty = ismrmrd.AcquisitionHeader.from_buffer_copy(others[0])
            empty.number_of_samples = empty.flags = 0
            setattr(empty.idx, counter, int(values[frame]))
            lines[0, 0] = empty


def runs(positions: Sequence[NDArray[Any]]) -> tuple[list[tuple[int, ...]], list[NDArray[np.intp]]]:
    """Group lines by the values of several counters (line,): the values of each group, and its lines; sorted."""
    values, member = np.unique(
        np.stack([np.asarray(position, np.int64) for position in positions]), axis=1, return_inverse=True
    )
    member = member.reshape(-1)
    order = np.argsort(member, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(member[order])) + 1)
    return [tuple(int(v) for v in column) for column in values.T], groups
