"""Acquired lines: flags and headers, read without copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError

NOISE = 19
CALIBRATION = 20
"""Calibration only: not a line of the image, unless a method wants it."""
CALIBRATION_AND_IMAGING = 21
REVERSE = 22
LAST_IN_SLICE, LAST_IN_MEASUREMENT = 8, 25

SIDE_LINES = {
    NOISE: "noise",
    23: "navigator",
    24: "phase correction",
    26: "navigator feedback",
    27: "dummy",
    28: "real-time feedback",
    29: "surface coil correction",
    30: "phase stabilisation reference",
    31: "phase stabilisation",
}
"""Flags of the lines that are no part of an image's k-space (ISMRMRD counts flags from 1)."""

HEADER = np.dtype(ismrmrd.AcquisitionHeader)
"""The acquisition header as a structured numpy type."""


def bit(flag: int) -> int:
    """Return the mask of one flag in the header's `flags`."""
    return 1 << (flag - 1)


_EITHER = bit(CALIBRATION) | bit(CALIBRATION_AND_IMAGING)


def is_imaging(flags: Any) -> Any:
    """Return whether a line is an imaging line, by its flags; those of many lines may be an array.

    Lines for calibration only are not. Siemens' scanners set that flag along with the one of lines for both, and so do
    some converters: such a line is for both.
    """
    return flags & _EITHER != bit(CALIBRATION)


def calibrates(flags: Any) -> Any:
    """Return whether a line is a calibration line, whatever else it is, by its flags; see `is_imaging`."""
    return flags & _EITHER != 0


IMAGE_COUNTERS = ("slice", "phase", "repetition", "set", "contrast", "average")
"""Counters that distinguish images; the segment only counts the time of acquisition."""

DAY_MS = 86_400_000
"""After which the clock of a scanner, by which lines have their time stamps, begins again at 0."""
SIDE_BITS = sum(bit(flag) for flag in SIDE_LINES)
DOUBTFUL = bit(29)
"""Flags that image lines may carry too; see `quirks.flagged_image_lines`."""
NO_IMAGE = SIDE_BITS & ~DOUBTFUL
"""Flags of lines that are never part of an image."""


def header_of(line: ismrmrd.Acquisition) -> Any:
    """Return the line's own header, not to be changed; `getHead` would copy it deeply, as slowly as an FFT."""
    return line._head


def changed(line: ismrmrd.Acquisition, data: NDArray[np.complex64], **fields: int) -> ismrmrd.Acquisition:
    """Return a line with new data (coil, x) and the old header, in which some fields are changed.

    The trajectory is left out, as it belongs to the old samples.
    """
    header = _changed_header(line, data.shape, fields)
    return ismrmrd.Acquisition(header, np.ascontiguousarray(data), no_trajectory(data.shape[1]))


@lru_cache
def no_trajectory(samples: int) -> NDArray[np.float32]:
    """Return the trajectory of a line that has none."""
    return np.empty((samples, 0), np.float32)


def _changed_header(line: ismrmrd.Acquisition, shape: tuple[int, ...], fields: Mapping[str, int]) -> Any:
    header = ismrmrd.AcquisitionHeader.from_buffer_copy(line._head)
    header.active_channels, header.number_of_samples = shape
    header.trajectory_dimensions = 0
    for name, value in fields.items():
        setattr(header, name, value)
    return header


class MixedLine(ismrmrd.Acquisition):  # type: ignore[misc]
    """A line with a pending mixing of channels: ``data = matrix @ samples``, computed at first access.

    Whitening and compression are such matrices. A gadget that mixes once more multiplies the two small matrices (see
    `mixed`), so that a line which passes both costs one product, with few rows.

    Parameters
    ----------
    header
        Header of the mixed line.
    matrix
        (channel out, channel in).
    samples
        (channel in, x).
    """

    def __init__(self, header: Any, matrix: NDArray[np.complex64], samples: NDArray[np.complex64]) -> None:
        super().__init__(header, samples, no_trajectory(samples.shape[1]))
        self.matrix, self.samples = matrix, samples

    @cached_property
    def data(self) -> NDArray[np.complex64]:
        """Samples of the mixed channels (channel out, x).

        Raises
        ------
        ScanError
            If samples are not finite: one of them spoils all channels (0 times NaN is NaN), so checking one is enough.
        """
        data = np.empty((len(self.matrix), self.samples.shape[1]), np.complex64)
        self.mix_into(data)
        return data

    def mix_into(self, target: NDArray[np.complex64]) -> None:
        """Compute the mixed samples in place, in an array (channel out, x); see `data`."""
        with np.errstate(invalid="ignore", over="ignore"):
            np.matmul(self.matrix, self.samples, out=target)
        if not finite(target[-1]):
            raise ScanError(bad_samples(self.samples, self._head))

    def serialize_into(self, write: Any) -> None:
        """Write the mixed line, as the `gadgetron` package's own writer asks for it."""
        ismrmrd.Acquisition(self._head, self.data).serialize_into(write)


def mixed(
    line: ismrmrd.Acquisition,
    matrix: NDArray[np.complex64],
    samples: NDArray[np.complex64] | None = None,
    **fields: int,
) -> MixedLine:
    """Return a line with channels mixed by `matrix` (channel out, channel in), and some fields of the header changed.

    `samples` (channel in, x) are those of the line unless given.
    """
    if samples is None:
        samples = line.data
    header = _changed_header(line, (len(matrix), samples.shape[1]), fields)
    return MixedLine(header, matrix, samples)


def copy_samples(line: ismrmrd.Acquisition, target: NDArray[np.complex64]) -> None:
    """Write the samples of a line into an array (channel, x), without an intermediate copy; see `MixedLine.data`."""
    if isinstance(line, MixedLine):
        line.mix_into(target)
    else:
        target[:] = line.data


def measured(line: ismrmrd.Acquisition) -> slice:
    """Return which samples of a line are not to be discarded, as acquired; all if its header makes no sense."""
    header = header_of(line)
    first, last = header.discard_pre, header.number_of_samples - header.discard_post
    return slice(first, last) if first < last else slice(None)


def side_line(flags: int) -> str | None:
    """Return the kind of a line that is not part of an image's k-space; None for imaging and calibration lines."""
    if not flags & SIDE_BITS:
        return None
    return next(kind for flag, kind in SIDE_LINES.items() if flags & bit(flag))


def is_no_image(header: Any, channels: int, space: int = 0) -> bool:
    """Return whether a line passes the gadgets before `sort` unchanged: not of an image, empty, or unfit for the scan.

    Parameters
    ----------
    header
        The line's header.
    channels
        Channels of the scan; 0 if not known yet.
    space
        Encoding space of the image.
    """
    odd = header.active_channels != channels > 0
    return bool(
        header.flags & NO_IMAGE
        or (header.flags & DOUBTFUL and odd)
        or not header.number_of_samples
        or not header.active_channels
        or header.encoding_space_ref != space
    )


def header_table(headers: Sequence[Any]) -> NDArray[np.void]:
    """Return the headers of some lines as one structured array (line,), for whole-scan arithmetic."""
    return np.frombuffer(b"".join(bytes(header) for header in headers), dtype=HEADER)


def describe(header: Any) -> str:
    """Name a line in an error."""
    idx = header.idx
    return (
        f"line {header.scan_counter} (kspace_encode_step_1 {idx.kspace_encode_step_1}, slice {idx.slice}, "
        f"phase {idx.phase}, repetition {idx.repetition})"
    )


def finite(samples: NDArray[np.complex64]) -> bool:
    """Whether all samples are finite, in one pass: their inner product is finite only if all are (and below 1e19)."""
    return bool(np.isfinite(np.vdot(samples, samples)))


def bad_samples(samples: NDArray[np.complex64], header: Any) -> str:
    """Describe which samples (channel, x) of a line are not finite, for an error."""
    bad = ~np.isfinite(samples)
    channels = ", ".join(str(channel) for channel in np.flatnonzero(bad.any(axis=1)))
    return (
        f"{describe(header)} has NaN, infinite or out-of-range samples (channels {channels}). "
        "The raw data are damaged: repeat the scan or convert it again."
    )
