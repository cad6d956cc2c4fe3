"""Conversion between Gadgetron's axes and ours: ``(RO, E1, E2, CHA, N, S, LOC)`` <-> ``(frame, coil, y, x)``.

N is the frame, E1 is y (phase encoding), RO is x (readout). Arrays from the wire are in Fortran order, so that the
reversed axes are a view in C order: nothing is copied. S (set and contrast) and LOC (slice) are chosen by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator

import ismrmrd
import numpy as np
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData, SamplingDescription
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.mrd.lines import header_table

MAPS_SPACE = 0xFFFF
"""Encoding space of the extra bit that carries coil maps; no scan has so many encoding spaces."""

RO, E1, E2 = 0, 1, 2
"""Places of readout and both phase encodings in Gadgetron's sampling description."""


def checked(recon_data: ReconData) -> ReconData:
    """Return a message that came from outside, if its arrays have the axes that Gadgetron gives them.

    Raises
    ------
    ScanError
        If not.
    """
    bits = scan_bits(recon_data)
    if not bits:
        raise ScanError("A ReconData holds no k-space.")
    for buffer in (buffer for bit in bits for buffer in (bit.data, bit.ref) if buffer is not None):
        shape, headers = buffer.data.shape, buffer.headers.shape
        if len(shape) != 7 or not buffer.data.size:
            raise ScanError(f"k-space must have the axes (RO, E1, E2, CHA, N, S, LOC); its shape is {shape}.")
        if len(headers) != 5 or not buffer.headers.size or headers[1] < shape[2] or headers[3:] != shape[5:]:
            raise ScanError(f"Headers of k-space of shape {shape} have the axes (E1, E2, N, S, LOC), not {headers}.")
        if buffer is bits[0].data and headers[2] != shape[4]:
            raise ScanError(f"K-space has {shape[4]} frames, but headers of {headers[2]}.")
    return recon_data


def kspace_of(buffer: ReconBuffer, s: int = 0, loc: int = 0) -> NDArray[np.complex64]:
    """Return the k-space (frame, coil, y, x) of one set and slice, as a view.

    Raises
    ------
    ScanError
        If the buffer holds partitions (E2 > 1), which are read by `volumes.volume_of`.
    """
    if buffer.data.ndim != 7:
        raise ScanError(f"k-space must have the axes (RO, E1, E2, CHA, N, S, LOC); its shape is {buffer.data.shape}.")
    if buffer.data.shape[2] != 1:
        raise ScanError(f"k-space has {buffer.data.shape[2]} partitions, where that of a slice is expected.")
    found: NDArray[np.complex64] = buffer.data[:, :, 0, :, :, s, loc].transpose(3, 2, 1, 0)
    return found


def places(recon_data: ReconData) -> Iterator[tuple[int, int]]:
    """List the places (s, loc) of a message's k-space."""
    _, _, _, _, _, sets, slices = recon_data.bits[0].data.data.shape
    return ((s, loc) for loc in range(slices) for s in range(sets))


def acquired_of(headers: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return which headers, of any shape, are of acquired lines: those that count samples."""
    return np.asarray(np.vectorize(lambda header: header.number_of_samples > 0, otypes=[bool])(headers))


def of_the_data(ref: ReconBuffer, data: ReconBuffer, s: int = 0, loc: int = 0) -> NDArray[np.bool_]:
    """Return which headers (E1, E2, N) of a reference are of the data's own image, by their counters.

    Calibration lines may be those of another repetition or echo, which a scan acquired only once. A counter of which
    the data have several values numbers their frames, and tells nothing.
    """
    lines = [header for header in data.headers[..., s, loc].flat if header.number_of_samples > 0]
    of_data, headers = header_table(lines)["idx"], ref.headers[..., s, loc]
    of_ref = header_table(headers.ravel().tolist())["idx"]
    own = np.ones(headers.size, bool)
    for name in ("repetition", "set", "contrast", "phase"):
        values = np.unique(of_data[name])
        if values.size == 1:
            own &= of_ref[name] == values[0]
    return np.asarray(own.reshape(headers.shape))


def slice_number(buffer: ReconBuffer, s: int = 0, loc: int = 0) -> int:
    """Return the scan's number of a slice, by the headers of its lines; its index in the message if it has none."""
    headers = buffer.headers[..., s, loc].flat
    return next((int(header.idx.slice) for header in headers if header.number_of_samples > 0), loc)


def check_readout(ref: ReconBuffer, data: ReconBuffer) -> None:
    """Raise ScanError if calibration lines have another readout or other channels than the imaging lines."""
    (samples, _, _, coils, *_), (wanted, _, _, channels, *_) = ref.data.shape, data.data.shape
    if (samples, coils) != (wanted, channels):
        raise ScanError(
            f"The calibration lines have {samples} samples and {coils} channels, the imaging "
            f"lines {wanted} and {channels}; both must be acquired with the same readout."
        )


def lines_of(buffer: ReconBuffer, s: int = 0, loc: int = 0) -> NDArray[np.bool_]:
    """Return which lines (frame, y) were acquired: those whose header counts samples.

    Gadgetron may crop a reference buffer to its lines and keep all headers; then the lines are those in its limits.
    """
    acquired: NDArray[np.bool_] = acquired_of(buffer.headers[:, 0, :, s, loc]).T
    rows = buffer.data.shape[1]
    if acquired.shape[1] == rows:
        return acquired
    limits = buffer.sampling.sampling_limits[E1]
    cropped = np.zeros((acquired.shape[0], rows), bool)
    cropped[:, limits.min : limits.max + 1] = np.asarray(acquired.any(axis=1))[:, None]
    return cropped


def mask_of(buffer: ReconBuffer, s: int = 0, loc: int = 0) -> NDArray[np.bool_]:
    """Return the mask (frame, y, x), with x = 1 unless the echo is asymmetric."""
    lines = lines_of(buffer, s, loc)[:, :, None]
    samples = buffer.data.shape[0]
    limits = buffer.sampling.sampling_limits[RO]
    if limits.min == 0 and limits.max + 1 >= samples:
        return lines
    readout = np.arange(samples)
    found: NDArray[np.bool_] = lines & (readout >= limits.min) & (readout <= limits.max)
    return found


def with_maps(recon_data: ReconData, maps: NDArray[np.complex64]) -> ReconData:
    """Return the message with coil maps (place, set, coil, [z,] y, x) in a bit of its own, as it crosses the wire.

    The places are those of `places`; the maps' sets stand on axis N of the extra bit.
    """
    _, _, _, _, _, sets, slices = recon_data.bits[0].data.data.shape
    _, n_sets, coils, *planes, rows, samples = maps.shape
    data = maps.reshape(slices, sets, n_sets, coils, *(planes or [1]), rows, samples).transpose(6, 5, 4, 3, 2, 1, 0)
    header = ismrmrd.AcquisitionHeader()
    header.encoding_space_ref = MAPS_SPACE
    headers = np.full((1, 1, 1, 1, 1), None, dtype=object)
    headers[0, 0, 0, 0, 0] = header
    bit = ReconBit(ReconBuffer(data, None, None, headers, SamplingDescription()))
    return ReconData([*scan_bits(recon_data), bit])


def scan_bits(recon_data: ReconData) -> list[ReconBit]:
    """Return the bits that hold the scan, without the one for coil maps."""
    return [bit for bit in recon_data.bits if not _holds_maps(bit)]


def maps_of(recon_data: ReconData, s: int = 0, loc: int = 0) -> NDArray[np.complex64] | None:
    """Return the coil maps (set, coil, y, x) that `with_maps` attached for one place, or None.

    Those of a scan with partitions have the axes (set, coil, z, y, x).
    """
    for bit in recon_data.bits:
        if _holds_maps(bit):
            maps: NDArray[np.complex64] = bit.data.data[..., s, loc].transpose(4, 3, 2, 1, 0)
            return maps[:, :, 0] if maps.shape[2] == 1 else maps
    return None


def _holds_maps(bit: ReconBit) -> bool:
    return bool(bit.data.headers.size == 1 and bit.data.headers.flat[0].encoding_space_ref == MAPS_SPACE)
