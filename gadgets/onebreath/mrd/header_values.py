"""Numbers of an ISMRMRD header: in the schema's precision, and within what a scan can have."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, NamedTuple

import numpy as np
from ismrmrd import xsd

from onebreath.errors import ScanError
from onebreath.names import shortened

DOUBLES = {"userParameterDoubleType"}
"""Types of the schema whose numbers are in double precision; those of all others are in single precision."""


def in_single_precision(xml: Any) -> Any:
    """Round the numbers of a parsed header to the precision that the schema gives them, and return the header.

    A Gadgetron server reads a header and writes it again for its nodes: 0.793 arrives as 0.792999983, which is the same
    number in single precision. Rounded here, a scan has the same pixels whichever way its header came.
    """
    if type(xml).__name__ in DOUBLES:
        return xml
    for field in dataclasses.fields(xml):
        setattr(xml, field.name, _rounded(getattr(xml, field.name)))
    return xml


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(np.float32(value))
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return in_single_precision(value) if dataclasses.is_dataclass(value) else value


LARGEST = 1 << 16
"""Pixels, lines or partitions of a matrix: the counters of lines have 16 bits."""


_LONGEST = 1 << 200
_LIKE_A_NUMBER = re.compile(
    r"[-+]?[0-9.,]{1,40}([eE][-+]?[0-9]{1,9})?\s?(mm|cm|m|ms|us|s|Hz|kHz|MHz|T|deg|%)?|[a-z]{0,8}|[-+]?(NaN|INF|Inf)"
)

FARTHEST = 1e5
"""Millimetres that no field of view has."""


class Triple(NamedTuple):
    """Values along readout (x), phase encoding (y) and partition encoding (z)."""

    x: Any
    y: Any
    z: Any


def trajectory_of(encoding: Any) -> str:
    """Return the name of an encoding's trajectory, for example ``cartesian``, which it is where none is stated.

    Texts that the schema does not know are described: who writes the header may have put anything there.
    """
    value = encoding.trajectory
    text = str(getattr(value, "value", value) or "cartesian").strip().lower()
    known = {str(kind.value).lower() for kind in xsd.trajectoryType}
    return text if text in known else f"none of ISMRMRD's (a text of {len(text)} characters)"


def matrix_of(space: Any, name: str) -> Triple:
    """Return the matrix of an encoding space; raises ScanError if it is invalid."""
    size = getattr(space, "matrixSize", None)
    values = Triple(*(whole_of(getattr(size, axis, 0) or 0, f"{name} matrix size") for axis in "xyz"))
    if min(values) < 1 or max(values) > LARGEST:
        raise ScanError(
            f"The header's {name} matrix size {tuple(values)} must be positive along x, y and z, and at most {LARGEST}."
        )
    return values


def fov_of(space: Any, name: str) -> Triple:
    """Return the field of view of an encoding space in mm; raises ScanError if it is invalid."""
    fov = getattr(space, "fieldOfView_mm", None)
    values = Triple(*(number_of(getattr(fov, axis, 0) or 0, f"{name} field of view") for axis in "xyz"))
    if min(values) <= 0:
        raise ScanError(f"The header's {name} field of view {tuple(values)} mm must be positive along x, y and z.")
    if min(values) < 1 / FARTHEST or max(values) > FARTHEST:
        raise ScanError(f"The header's {name} field of view {tuple(values)} mm is of no scanner's.")
    return values


def number_of(value: Any, name: str) -> float:
    """Return a value of the header as a finite number; the schema's library leaves invalid numbers as text."""
    try:
        number = float(str(value).strip().replace(",", "."))  # some write a decimal comma
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ScanError(f"The header's {name} is {_quoted(value)}, which is no finite number.")
    return number


def _quoted(value: Any) -> str:
    """Quote what stands for a number if it looks like one, or is a short word; any other text may name a patient."""
    text = str(value) if isinstance(value, str | float) or abs(value) < _LONGEST else "a number of very many digits"
    if not isinstance(value, str) or _LIKE_A_NUMBER.fullmatch(text.strip()):
        return f"'{shortened(text)}'"
    return f"a text of {len(text)} characters"


def whole_of(value: Any, name: str) -> int:
    """Return a value of the header as a whole number of at most 64 bits."""
    try:
        number = int(value)
        if not isinstance(value, int | str) and number != value:
            raise ValueError(value)
    except (ValueError, TypeError, OverflowError):
        real = number_of(value, name) if isinstance(value, str) else math.nan
        number = int(real) if real.is_integer() and abs(real) < 1 << 53 else 1 << 64
    if abs(number) >= 1 << 63:
        raise ScanError(f"The header's {name} is {_quoted(value)}, which is no whole number that can be used.")
    return number
