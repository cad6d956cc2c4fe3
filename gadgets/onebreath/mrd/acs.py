"""Calibration lines (ACS): position, content, and use as image data."""

from __future__ import annotations

from typing import NamedTuple

import ismrmrd
import numpy as np
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.mrd.buffers import E1, check_readout, kspace_of, lines_of, mask_of, of_the_data, places, scan_bits
from onebreath.mrd.header import ScanHeader
from onebreath.mri.sampling import describe


class Acs(NamedTuple):
    """Calibration lines: `lines` (coil, y, x), and the row of the matrix at which the first one lies.

    `left_out` says which lines are not among them, as others lie missing in between; empty if all are.
    """

    lines: NDArray[np.complex64]
    first: int
    left_out: str = ""


def acs_of(recon_data: ReconData, s: int = 0, loc: int = 0) -> Acs | None:
    """Return the calibration lines of one set and slice, averaged over the frames that have them; None without any.

    The reference may hold fewer sets or slices than the data; then its last one serves. A set without calibration lines
    takes those of the nearest set that has some: scans often calibrate only once. If lines are missing among them, the
    block around the k-space centre is taken, and the others are left out.

    Raises
    ------
    ScanError
        If gaps leave less than half of the calibration lines in one block around the centre; if they have another
        readout or other channels than the data.
    """
    data, ref = recon_data.bits[0].data, recon_data.bits[0].ref
    if ref is None:
        return None
    loc = min(loc, ref.data.shape[6] - 1)
    sets = range(ref.data.shape[5])
    s = min((other for other in sets if lines_of(ref, other, loc).any()), key=lambda o: abs(o - s), default=0)
    lines = lines_of(ref, s, loc)
    rows = np.flatnonzero(lines.any(axis=0))
    if rows.size == 0:
        return None
    check_readout(ref, data)
    centre = ref.sampling.sampling_limits[E1].center
    kept = _around(rows, centre)
    if 2 * kept.size < rows.size:
        raise ScanError(
            f"The calibration lines have gaps: rows {_ranges(rows)} of {lines.shape[1]} were acquired, so that less "
            f"than half of them lie in one block around the k-space centre, row {centre}."
        )
    left_out, beyond = "", np.setdiff1d(rows, kept)
    if beyond.size:
        left_out = (
            f"The calibration lines have gaps: rows {_ranges(rows)} of {lines.shape[1]} were acquired. Those around "
            f"the k-space centre, rows {_ranges(kept)}, are used for calibration; rows {_ranges(beyond)} were left out "
            "of it."
        )
    mean = _mean_over_frames(kspace_of(ref, s, loc)[:, :, kept], lines[:, kept])
    offset = data.sampling.sampling_limits[E1].center - centre
    return Acs(mean, int(kept[0]) + offset, left_out)


def calibration_mode(recon_data: ReconData, header: ScanHeader) -> str:
    """Return what kind of calibration lines a scan has, from the lines themselves.

    ``embedded``: some are flagged as imaging lines too, or the header says so and nothing contradicts it; ``separate``:
    flagged for calibration only; ``full``, ``interleaved`` and ``none`` as in `Sampling.acs_mode`, ``centre``: a fully
    sampled block around the k-space centre of the imaging lines.
    """
    bit = recon_data.bits[0]
    if bit.ref is not None and lines_of(bit.ref).any():
        return flagged_mode(bit.ref, header.calibration_mode)
    mode = describe(mask_of(bit.data), bit.data.sampling.sampling_limits[E1].center).acs_mode
    return "centre" if mode == "embedded" else mode


def flagged_mode(ref: ReconBuffer, header_mode: str | None) -> str:
    """Return whether flagged calibration lines are ``embedded`` or ``separate``; see `calibration_mode`."""
    both = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
    flagged = any(line.is_flag_set(both) for line in ref.headers.flat if line.number_of_samples > 0)
    return "embedded" if flagged or header_mode == "embedded" else "separate"


def with_reference(recon_data: ReconData) -> ReconData:
    """Return the message with a reference taken from the imaging lines, where it has none.

    The reference is the fully sampled block around the k-space centre, averaged over the frames; for frames that are
    shifted against each other, the block that they acquired together. Without such a block the message stays as it is.
    """
    bit = recon_data.bits[0]
    if bit.ref is not None or bit.data.data.shape[2] > 1:  # a volume's is taken where it is needed: no copies
        return recon_data
    centre = bit.data.sampling.sampling_limits[E1].center
    samples, rows, _, coils, _, sets, slices = bit.data.data.shape
    reference = np.zeros((samples, rows, 1, coils, 1, sets, slices), np.complex64, order="F")
    headers = bit.data.headers[:, :, :1].copy()
    for s, loc in places(recon_data):
        lines = lines_of(bit.data, s, loc)
        block = describe(lines, centre).acs
        if block is None:
            return recon_data
        keep = slice(block[0], block[1] + 1)
        mean = _mean_over_frames(kspace_of(bit.data, s, loc)[:, :, keep], lines[:, keep])
        reference[:, keep, 0, :, 0, s, loc] = mean.transpose(2, 1, 0)
        for row in range(rows):
            inside = block[0] <= row <= block[1]
            headers[row, 0, 0, s, loc] = _line_of(bit.data, row, s, loc) if inside else _NO_LINE
    buffer = ReconBuffer(reference, None, None, headers, bit.data.sampling)
    return ReconData([ReconBit(bit.data, buffer), *recon_data.bits[1:]])


def merge_acs(
    kspace: NDArray[np.complex64], mask: NDArray[np.bool_], recon_data: ReconData, s: int = 0, loc: int = 0
) -> tuple[NDArray[np.complex64], NDArray[np.bool_]]:
    """Return k-space (frame, coil, y, x) and mask with embedded calibration lines as data where imaging lines lack.

    Only a reference of the data's own frames, matrix and counters is merged; any other belongs to another time or
    contrast.
    """
    data, ref = scan_bits(recon_data)[0].data, scan_bits(recon_data)[0].ref
    if ref is None or s >= ref.data.shape[5] or loc >= ref.data.shape[6]:
        return kspace, mask
    if kspace_of(ref, s, loc).shape != kspace.shape:
        return kspace, mask
    lines = lines_of(ref, s, loc)
    own = of_the_data(ref, data, s, loc)[:, 0].T
    missing = lines & ~mask.any(axis=2) & (own if own.shape == lines.shape else own.all())
    merged = np.where(missing[:, None, :, None], kspace_of(ref, s, loc), kspace)
    readout = mask.any(axis=(0, 1)) if mask.shape[2] > 1 else np.ones(1, bool)
    return merged, mask | (missing[:, :, None] & readout)


_NO_LINE = ismrmrd.AcquisitionHeader()


def _line_of(buffer: ReconBuffer, row: int, s: int, loc: int) -> ismrmrd.AcquisitionHeader:
    """Return the header of a row from the first frame that acquired it."""
    frames = [header for header in buffer.headers[row, 0, :, s, loc] if header.number_of_samples > 0]
    return frames[0] if frames else _NO_LINE


def _mean_over_frames(kspace: NDArray[np.complex64], lines: NDArray[np.bool_]) -> NDArray[np.complex64]:
    """Average k-space (frame, coil, y, x) over the frames in which each line (frame, y) was acquired."""
    counts = np.maximum(lines.sum(axis=0), 1).astype(np.float32)
    found: NDArray[np.complex64] = np.where(lines[:, None, :, None], kspace, 0).sum(axis=0) / counts[:, None]
    return found


def _around(rows: NDArray[np.intp], centre: int) -> NDArray[np.intp]:
    """Return the rows without gaps that hold the centre or lie next to it; none if there are none."""
    groups = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    if len(groups) == 1:
        return rows
    return next((group for group in groups if group[0] <= centre <= group[-1]), rows[:0])


def _ranges(rows: NDArray[np.intp]) -> str:
    groups = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return ", ".join(f"{group[0]}-{group[-1]}" if group.size > 1 else f"{group[0]}" for group in groups)
