"""The domain of a model: the scans it may be used on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the lower limit {limits[0]} is above the upper limit {limits[1]}")
    return limits


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Lowest and highest allowed value, both included."""
Names = Annotated[tuple[str, ...], Field(min_length=1)]
MaskFamily = Literal["full", "uniform", "uniform_acs", "kt_uniform", "irregular", "irregular_acs"]
"""Sampling families of `onebreath.mri.sampling`, validated because a misspelt one would refuse every scan."""


@dataclass(frozen=True)
class Scan:
    """Properties of a scan for comparison with a domain or a rule; None: unknown. Units as in `Domain`.

    Attributes
    ----------
    protocol, vendor, sequence
        Names in the header.
    """

    protocol: str | None = None
    vendor: str | None = None
    sequence: str | None = None
    acceleration: float | None = None
    mask_family: str | None = None
    acs_lines: int | None = None
    frames: int | None = None
    matrix_y: int | None = None
    matrix_x: int | None = None
    coils: int | None = None
    field_strength_t: float | None = None
    trajectory: str | None = None
    contrast: str | None = None
    snr: float | None = None


class Verdict(NamedTuple):
    """Result of comparing a scan with a domain: violated limits, and limits on unknown properties."""

    outside: tuple[str, ...]
    unknown: tuple[str, ...]


class Domain(BaseModel):
    """Limits of the scans a model may be used on; None means no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: ClassVar[str] = "the model"
    """Subject of the limits in error messages."""

    acceleration: Range | None = Field(
        default=None, description="distance of neighbouring lines outside the calibration block"
    )
    mask_family: Annotated[tuple[MaskFamily, ...], Field(min_length=1)] | None = Field(
        default=None, description="sampling families of `onebreath.mri.sampling`"
    )
    acs_lines: Range | None = Field(
        default=None, description="lines of the calibration block in the imaging data; 0: none"
    )
    frames: Range | None = Field(default=None, description="cardiac phases")
    matrix_y: Range | None = Field(default=None, description="matrix size along phase encoding")
    matrix_x: Range | None = Field(default=None, description="matrix size along the readout")
    coils: Range | None = Field(default=None, description="channels, after compression")
    field_strength_t: Range | None = Field(default=None, description="field strength in tesla")
    trajectory: Names | None = Field(default=None, description="trajectories, by their names in the ISMRMRD header")
    contrast: Names | None = Field(default=None, description="contrasts or sequences, for example bssfp_cine")
    snr: Range | None = Field(default=None, description="signal-to-noise ratio of a fully sampled frame of such a scan")

    def judge(self, scan: Scan) -> Verdict:
        """Verdict on a scan.

        Parameters
        ----------
        scan
            Its known properties.
        """
        outside, unknown = [], []
        for name in type(self).model_fields:
            limit, value = getattr(self, name), getattr(scan, name)
            if limit is None:
                continue
            if value is None:
                unknown.append(name)
            elif not self.allows(name, value):
                outside.append(f"{name} is {_text(value)}, {self.subject} is for {spell(limit)}")
        return Verdict(tuple(outside), tuple(unknown))

    def allows(self, name: str, value: str | float) -> bool:
        """Whether one property of a scan is within its limit."""
        limit = getattr(self, name)
        return value in limit if isinstance(value, str) else bool(limit[0] <= value <= limit[1])


def spell(limit: tuple[float, float] | tuple[str, ...]) -> str:
    """A limit as text: a range, or a list of names."""
    if isinstance(limit[0], str):
        return ", ".join(str(name) for name in limit)
    return f"{limit[0]:g} to {float(limit[1]):g}"


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"
