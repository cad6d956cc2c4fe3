"""Acquired lines: what their flags and headers say, read without copying headers twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

NOISE = 19
CALIBRATION = 20
"""Calibration only: not a line of the image, unless a method wants it."""
CALIBRATION_AND_IMAGING = 21
REVERSE = 22
LAST_IN_MEASUREMENT = 25

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


SIDE_BITS = sum(bit(flag) for flag in SIDE_LINES)


def header_of(line: ismrmrd.Acquisition) -> Any:
    """Return the line's own header, not to be changed; `getHead` would copy it deeply, as slowly as an FFT."""
    return line._head


def changed(line: ismrmrd.Acquisition, data: NDArray[np.complex64], **fields: int) -> ismrmrd.Acquisition:
    """Return a line with new data (coil, x) and the old header, in which some fields are changed.

    The trajectory is left out, as it belongs to the old samples.
    """
    header = ismrmrd.AcquisitionHeader.from_buffer_copy(line._head)
    header.active_channels, header.number_of_samples = data.shape
    header.trajectory_dimensions = 0
    for name, value in fields.items():
        setattr(header, name, value)
    return ismrmrd.Acquisition(header, np.ascontiguousarray(data))


def side_line(flags: int) -> str | None:
    """Name the kind of a line that is no part of an image's k-space; None for imaging and calibration lines."""
    if not flags & SIDE_BITS:
        return None
    return next(kind for flag, kind in SIDE_LINES.items() if flags & bit(flag))


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
