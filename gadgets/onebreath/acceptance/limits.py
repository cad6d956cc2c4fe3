"""Limits and efforts of the tests, which a site sets in a YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onebreath.errors import ConfigError
from onebreath.validation import as_text
from onebreath.zoo.yaml_guard import read_yaml

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A limit that is infinite would let everything pass."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NoiseLimits(_Section):
    """Noise after whitening."""

    tolerance: Positive = Field(0.05, description="largest distance of any channel's standard deviation from 1")
    correlation: Positive = Field(0.05, description="largest correlation between two channels")
    confidence: Share = Field(0.95, description="confidence of the intervals")


class GfactorLimits(_Section):
    """Noise maps against noise replicas."""

    replicas: int = Field(64, ge=8, le=10_000, description="number of noise replicas")
    network_replicas: int = Field(12, ge=4, le=10_000, description="number of them for networks, which take longer")
    tolerance: Positive = Field(0.05, description="largest distance of the median ratio from 1")


class ResolutionLimits(_Section):
    """Response to an edge."""

    largest_fwhm_pixels: Positive = Field(1.4, description="width of the line spread at half its height, in pixels")
    least_mtf50_pixels: Positive = Field(0.3, description="frequency at which the MTF is 0.5, in cycles per pixel")
    largest_growth: Positive = Field(
        1.3, description="width of a method's line spread over that of the fully sampled scan"
    )


class GhostLimits(_Section):
    """Signal in ghosts."""

    largest: Positive = Field(0.025, description="ghosting ratio; 0.025 as the ACR's guidance asks for")


class DetailLimits(_Section):
    """Details inserted into the scan's own k-space."""

    sizes_mm: tuple[Positive, ...] = Field((), description="diameters; none: 2, 3 and 5 pixels")
    contrasts: tuple[Positive, ...] = Field(
        (0.05, 0.1, 0.2, 0.4, 0.8), min_length=1, description="of the signal around, ascending"
    )
    snr: tuple[Positive, ...] = Field((20.0,), description="also at these, by noise that is added; below the scan's")
    replicas: int = Field(6, ge=3, le=1000, description="noise replicas that the criterion's noise is taken from")
    places: int = Field(12, ge=3, le=200, description="number of places at which details are inserted")
    presence: Literal["all frames", "every other frame"] = Field("all frames", description="where a detail is seen")
    rose: Positive = Field(5.0, description="least signal-to-noise ratio of a detail that survives (Rose)")
    retained: Share = Field(0.5, description="least part of the inserted contrast that is left")
    worse_than_classical: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        1.25, description="largest ratio of the smallest surviving contrasts, learned to the best classical method"
    )


class Limits(_Section):
    """Everything that a site may set."""

    accelerations: tuple[Annotated[int, Field(ge=2, le=24)], ...] = Field(
        (2, 4), min_length=1, description="retrospective accelerations of a fully sampled scan"
    )
    mask: Literal["cmrxrecon", "kt_uniform"] = Field(
        "cmrxrecon", description="cmrxrecon: the same lines in all frames; kt_uniform: shifted from frame to frame"
    )
    acs_lines: int = Field(24, ge=8, le=128, description="calibration lines of those")
    noise: NoiseLimits = NoiseLimits()
    gfactor: GfactorLimits = GfactorLimits()
    resolution: ResolutionLimits = ResolutionLimits()
    ghosting: GhostLimits = GhostLimits()
    details: DetailLimits = DetailLimits()


def read_limits(path: Path | None) -> Limits:
    """Read a site's limits; None: the defaults.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a value does not fit.
    """
    if path is None:
        return Limits()
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
        return Limits.model_validate({} if content is None else content)
    except ValidationError as error:
        raise ConfigError(f"limits {path}: {as_text(error)}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"limits {path} cannot be read: {error}") from error


def as_yaml(limits: Limits) -> str:
    """Return the limits as a file that `read_limits` reads, with the meaning of every value."""
    lines: list[str] = []
    for name, field in Limits.model_fields.items():
        value = getattr(limits, name)
        if isinstance(value, BaseModel):
            lines.append(f"{name}:  # {type(value).__doc__}")
            for inner, meaning in type(value).model_fields.items():
                lines.append(f"  {inner}: {_shown(getattr(value, inner))}  # {meaning.description}")
        else:
            lines.append(f"{name}: {_shown(value)}  # {field.description}")
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    return yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True).splitlines()[0]
