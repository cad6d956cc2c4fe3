"""Scans with partitions: Gadgetron's buffers as ``(frame, coil, z, y, x)``, and their calibration block.

E2 is z (partition encoding), E1 is y, RO is x. A reference may be cropped to its lines: then its arrays of data and
headers have other lengths than those of the data, and its `sampling_limits` say where in the matrix its centre lies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gadgetron.types.recon_data import ReconBuffer, ReconData
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.mrd.acs import flagged_mode
from onebreath.mrd.buffers import E1, E2, acquired_of, check_readout, of_the_data
from onebreath.mri.volume_sampling import block_around
from onebreath.names import abridged

Complex = NDArray[np.complex64]
Bools = NDArray[np.bool_]

_NAMED = 3
"""Stray calibration lines that a warning names."""


class Block(NamedTuple):
    """Calibration lines: `lines` (coil, z, y, x), and partition and line of the matrix at which they begin."""

    lines: Complex
    first: tuple[int, int]
    left_out: tuple[tuple[int, int], ...]
    """Partition and line of the matrix of the calibration lines that are not in the rectangle."""

    @property
    def strays(self) -> str:
        """Warning that names the calibration lines that are not in the rectangle."""
        named = abridged([f"({z}, {y})" for z, y in self.left_out], _NAMED)
        return (
            f"{len(self.left_out)} calibration lines lie outside the complete block of {self.lines.shape[2]} lines x "
            f"{self.lines.shape[1]} partitions around the k-space centre and were left out of the calibration: "
            f"partition and line {named}."
        )


def has_partitions(recon_data: ReconData) -> bool:
    """Return whether a message's k-space is three-dimensional."""
    return bool(recon_data.bits[0].data.data.shape[2] > 1)


def volume_of(buffer: ReconBuffer, s: int = 0, loc: int = 0) -> Complex:
    """Return the k-space (frame, coil, z, y, x) of one set and slab, as a view."""
    found: Complex = buffer.data[:, :, :, :, :, s, loc].transpose(4, 3, 2, 1, 0)
    return found


def lines_of_volume(buffer: ReconBuffer, s: int = 0, loc: int = 0) -> Bools:
    """Return which lines (frame, z, y) were acquired: those whose header counts samples.

    If a buffer was cropped but has the headers of the whole matrix, they are those in its limits.
    """
    acquired: Bools = acquired_of(buffer.headers[:, :, :, s, loc]).transpose(2, 1, 0)
    _, rows, partitions = buffer.data.shape[:3]
    if acquired.shape[1:] == (partitions, rows):
        return acquired
    cropped = np.zeros((len(acquired), partitions, rows), bool)
    limits = [buffer.sampling.sampling_limits[axis] for axis in (E2, E1)]
    within = tuple(slice(one.min, one.max + 1) for one in limits)
    cropped[:, within[0], within[1]] = np.asarray(acquired.any(axis=(1, 2)))[:, None, None]
    return cropped


def centre_of(buffer: ReconBuffer) -> tuple[int, int]:
    """Partition and line of the k-space centre."""
    limits = buffer.sampling.sampling_limits
    return limits[E2].center, limits[E1].center


def calibration_block(recon_data: ReconData, s: int = 0, loc: int = 0) -> Block | None:
    """Return the calibration lines of one set and slab, averaged over the frames that have them; None without any.

    The largest rectangle around the k-space centre that is complete: of the flagged lines, else of the imaging lines.

    Raises
    ------
    ScanError
        If the flagged lines have another readout or other channels than the data, or do not surround the centre.
    """
    data, ref = recon_data.bits[0].data, recon_data.bits[0].ref
    source = data if ref is None else ref
    where = (min(s, source.data.shape[5] - 1), min(loc, source.data.shape[6] - 1))
    lines = lines_of_volume(source, *where)
    if ref is not None and not lines.any():
        return None
    check_readout(source, data)
    centre = centre_of(source)
    together = lines.any(axis=0) if ref is not None else lines[lines.any(axis=(1, 2))].all(axis=0)
    block = block_around(np.asarray(together), centre) if together.any() and _inside(centre, together.shape) else None
    if block is None:
        if ref is None:
            return None
        raise ScanError(
            f"The calibration lines do not surround the k-space centre: {int(together.sum())} lines, and no complete "
            f"block around partition {centre[0]}, line {centre[1]} of the {together.shape[0]} x {together.shape[1]} "
            "that they span."
        )
    (z0, z1), (y0, y1) = block
    part = volume_of(source, *where)[:, :, z0 : z1 + 1, y0 : y1 + 1]
    counts = lines[:, z0 : z1 + 1, y0 : y1 + 1].sum(axis=0).astype(np.float32)
    mean = part[0] if len(part) == 1 else part.sum(axis=0) / counts[..., None]
    of_data = centre_of(data)
    first = (z0 + of_data[0] - centre[0], y0 + of_data[1] - centre[1])
    outside = np.array(together) if ref is not None else np.zeros_like(together)
    outside[z0 : z1 + 1, y0 : y1 + 1] = False
    offset = np.array([first[0] - z0, first[1] - y0])
    left_out = tuple((int(z), int(y)) for z, y in np.argwhere(outside) + offset)
    return Block(np.asarray(mean, np.complex64), first, left_out)


def embedded_lines(recon_data: ReconData, s: int = 0, loc: int = 0) -> tuple[Bools, tuple[int, int]] | None:
    """Return which lines (frame, z, y) of the reference are data too, and where in the matrix they begin.

    Only those of a reference of the data's own frames and counters; any other belongs to another time or contrast.
    """
    data, ref = recon_data.bits[0].data, recon_data.bits[0].ref
    if ref is None or ref.data.shape[4:] != data.data.shape[4:]:
        return None
    of_data, of_ref = centre_of(data), centre_of(ref)
    lines = lines_of_volume(ref, s, loc)
    own = of_the_data(ref, data, s, loc).transpose(2, 1, 0)
    return lines & (own if own.shape == lines.shape else own.all()), (of_data[0] - of_ref[0], of_data[1] - of_ref[1])


def mode_of_volume(recon_data: ReconData, header_mode: str | None) -> str:
    """Return what kind of calibration lines a scan with partitions has: as `acs.calibration_mode`."""
    bit = recon_data.bits[0]
    if bit.ref is not None and lines_of_volume(bit.ref).any():
        return flagged_mode(bit.ref, header_mode)
    lines = lines_of_volume(bit.data)
    lines = lines[lines.any(axis=(1, 2))]
    if lines.all():
        return "full"
    return "none" if block_around(np.asarray(lines.all(axis=0)), centre_of(bit.data)) is None else "centre"


def _inside(centre: tuple[int, int], shape: tuple[int, ...]) -> bool:
    return all(0 <= one < size for one, size in zip(centre, shape, strict=True))
