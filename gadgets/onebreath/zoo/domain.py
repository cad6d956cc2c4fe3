"""The scans a model may be used on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the lower limit {limits[0]} is above the upper limit {limits[1]}")
    return limits


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Lowest and highest allowed value, both included."""
Names = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Scan:
    """What is known of a scan, to be compared with a domain; None: not known. Units as in `Domain`."""

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
    """How a scan compares with a domain: limits that it breaks, and limits that could not be compared."""

    outside: tuple[str, ...]
    unknown: tuple[str, ...]


class Domain(BaseModel):
    """Limits of the scans a model may be used on; a limit that is left out does not limit anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    acceleration: Range | None = Field(
        default=None, description="distance of neighbouring lines outside the calibration block"
    )
    mask_family: Names | None = Field(
        default=None, description="sampling families, as `onebreath.mri.sampling` names them"
    )
    acs_lines: Range | None = Field(
        default=None, description="lines of the calibration block in the imaging data; 0: none"
    )
    frames: Range | None = Field(default=None, description="cardiac phases")
    matrix_y: Range | None = Field(default=None, description="matrix size along phase encoding")
    matrix_x: Range | None = Field(default=None, description="matrix size along the readout")
    coils: Range | None = Field(default=None, description="channels, after compression")
    field_strength_t: Range | None = Field(default=None, description="field strength in tesla")
    trajectory: Names | None = Field(default=None, description="trajectories, as the ISMRMRD header names them")
    contrast: Names | None = Field(default=None, description="contrasts or sequences, for example bssfp_cine")
    snr: Range | None = Field(default=None, description="signal-to-noise ratio of a fully sampled frame of such a scan")

    def judge(self, scan: Scan) -> Verdict:
        """Compare a scan with the limits.

        Parameters
        ----------
        scan
            What is known of it.
        """
        outside, unknown = [], []
        for field in fields(scan):
            limit, value = getattr(self, field.name), getattr(scan, field.name)
            if limit is None:
                continue
            if value is None:
                unknown.append(field.name)
            elif isinstance(value, str):
                if value not in limit:
                    outside.append(f"{field.name} is {value}, the model is for {', '.join(limit)}")
            elif not limit[0] <= value <= limit[1]:
                outside.append(f"{field.name} is {value:g}, the model is for {limit[0]:g} to {limit[1]:g}")
        return Verdict(tuple(outside), tuple(unknown))
