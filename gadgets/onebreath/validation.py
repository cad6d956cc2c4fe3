"""Readable texts of pydantic's validation errors, and types that several models share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

if TYPE_CHECKING:
    from pydantic import ValidationError

LAST_NUMBER = 65_535
"""Largest number of a series, and of an image: their headers have 16 bits for it."""
LARGEST_OFFSET = 4000
"""The series of another part of the images, as phase, are numbered up to that much higher."""


def _series_number(number: int) -> int:
    if number > LAST_NUMBER - LARGEST_OFFSET:
        raise ValueError(
            f"a series can have the number {LAST_NUMBER - LARGEST_OFFSET} at most: those of phase, real, imaginary and "
            f"complex images are up to {LARGEST_OFFSET} higher, and images hold no number above {LAST_NUMBER}"
        )
    return number


SeriesNumber = Annotated[int, Field(ge=0), AfterValidator(_series_number)]
"""Type of a property that numbers a series."""


def _rising(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    low, high = pair
    if low > high:
        raise ValueError(f"{low:g} to {high:g} is no range; expected the smaller value first")
    return pair


_Rising = AfterValidator(_rising)
_Count = Annotated[int, Field(ge=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Correlation = Annotated[float, Field(ge=0, lt=1)]
CountRange = Annotated[tuple[_Count, _Count], _Rising]
"""Type of a range of whole numbers from 1 up."""
PositiveRange = Annotated[tuple[_Positive, _Positive], _Rising]
"""Type of a range of numbers above 0."""
LevelRange = Annotated[tuple[_NotNegative, _NotNegative], _Rising]
"""Type of a range of numbers from 0 up."""
CorrelationRange = Annotated[tuple[_Correlation, _Correlation], _Rising]
"""Type of a range of correlations, 0 to below 1."""


@dataclass(frozen=True)
class Problem:
    """A value that does not fit its field.

    Attributes
    ----------
    where
        The field, with dots between the levels; empty for a check of several fields together.
    kind
        Pydantic's name of the problem, such as ``missing``.
    message
        What pydantic says.
    value
        What was given; for a missing field what it is missing from.
    reason
        What the check itself said if one of ours raised an error, else `message`.
    """

    where: str
    kind: str
    message: str
    value: Any
    reason: str

    @property
    def unknown(self) -> bool:
        """Whether there is no such field."""
        return self.kind == "extra_forbidden"

    @property
    def missing(self) -> bool:
        """Whether the field was not given."""
        return self.kind == "missing"

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def problems(error: ValidationError) -> Iterator[Problem]:
    """Yield each problem that a validation found."""
    for found in error.errors():
        where = ".".join(map(str, found["loc"]))
        reason = found.get("ctx", {}).get("error") or found["msg"]
        yield Problem(where, found["type"], found["msg"], found["input"], str(reason))


def as_text(error: ValidationError) -> str:
    """Describe the problems, field by field."""
    return "; ".join(map(str, problems(error)))
