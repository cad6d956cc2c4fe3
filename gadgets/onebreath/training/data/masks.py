"""Sampling masks for training: families of phase encoding lines, ``(frame or 1, y)`` bool."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from onebreath.errors import ConfigError
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.sampling import plan_lines

Family = Literal["cmrxrecon", "uniform", "kt_uniform", "vista", "random", "gaussian"]

# Width of the Gaussian line density, as a fraction of the matrix.
_GAUSSIAN_WIDTH = 0.18


class MaskFamily(BaseModel):
    """One family of masks in a mixture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: Family = Field(
        description="cmrxrecon: every R-th line from line 0 and a centre block, the same in all frames; uniform: every "
        "R-th line, any offset; kt_uniform: uniform, shifted by a line per frame; vista: variable density with "
        "golden-ratio steps from frame to frame; random, gaussian: lines drawn for every frame with a constant or "
        "Gaussian density"
    )
    accelerations: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = Field(
        description="accelerations R, without calibration lines; one is drawn at random"
    )
    acs_lines: int = Field(24, ge=0, description="fully sampled lines in the centre; 0: none")
    weight: float = Field(1.0, gt=0, description="relative frequency of the family")


def draw_mask(families: tuple[MaskFamily, ...], frames: int, ny: int, rng: np.random.Generator) -> np.ndarray:
    """Random mask ``(frame or 1, y)`` bool, of a family drawn by its weight with one of its accelerations."""
    weights = np.array([family.weight for family in families])
    family = families[rng.choice(len(families), p=weights / weights.sum())]
    acceleration = int(rng.choice(family.accelerations))
    return make_mask(family.family, frames, ny, acceleration, family.acs_lines, rng)


def make_mask(
    family: Family, frames: int, ny: int, acceleration: int, acs_lines: int, rng: np.random.Generator
) -> np.ndarray:
    """Mask of a family.

    Parameters
    ----------
    family
        See `MaskFamily`.
    frames, ny
        Number of frames, and of lines in the matrix.
    acceleration
        R, not counting calibration lines.
    acs_lines
        Lines of the fully sampled centre.
    rng
        Random numbers.

    Returns
    -------
    numpy.ndarray
        ``(frame, y)`` bool, or ``(1, y)`` where all frames are equal.

    Raises
    ------
    ConfigError
        If the family does not fit the matrix.
    """
    if acs_lines > ny or acceleration > ny:
        raise ConfigError(f"a mask with {acs_lines} acs_lines and R={acceleration} does not fit {ny} lines")
    if family == "cmrxrecon":
        return cmrxrecon_mask(ny, acceleration, acs_lines)
    if family in ("uniform", "kt_uniform", "vista"):
        return _planned(family, frames, ny, acceleration, acs_lines, rng)
    return _drawn(family, frames, ny, acceleration, acs_lines, rng)


def cmrxrecon_mask(ny: int, acceleration: int, acs_lines: int = 24) -> np.ndarray:
    """Mask ``(1, y)`` of the CMRxRecon 2023 challenge: lines 0, R, 2R, ... and the centre block.

    As in the organisers' files, the block starts at ``(ny - acs_lines + 1) // 2``.
    """
    mask = np.zeros((1, ny), bool)
    mask[:, ::acceleration] = True
    first = (ny - acs_lines + 1) // 2
    mask[:, first : first + acs_lines] = True
    return mask


def _planned(
    family: str, frames: int, ny: int, acceleration: int, acs_lines: int, rng: np.random.Generator
) -> np.ndarray:
    """Mask of a family that the scan simulator has, with a random offset of the lattice."""
    options = ScanOptions(
        matrix=(ny, 8),
        phases=frames,
        pattern={"uniform": "uniform", "kt_uniform": "kt", "vista": "vista"}[family],
        acceleration=acceleration,
        acs_mode="none",
        seed=int(rng.integers(2**31)),
    )
    mask = np.zeros((frames, ny), bool)
    for frame, rows in enumerate(plan_lines(options).frames):
        mask[frame, rows] = True
    if family != "vista":
        # The simulator's lattice contains the centre; those of scanners have any offset.
        mask = _shifted_lattice(mask, int(rng.integers(acceleration)), acceleration)
    first = ny // 2 - acs_lines // 2
    mask[:, first : first + acs_lines] = True
    return mask[:1] if family == "uniform" else mask


def _shifted_lattice(mask: np.ndarray, shift: int, acceleration: int) -> np.ndarray:
    """Lattice lines moved by `shift` < R; lines that enter at the start continue the lattice."""
    ny = mask.shape[1]
    start = np.argmax(mask, axis=1)
    return (np.arange(ny)[None] - start[:, None] - shift) % acceleration == 0


def _drawn(
    family: str, frames: int, ny: int, acceleration: int, acs_lines: int, rng: np.random.Generator
) -> np.ndarray:
    """Lines drawn without replacement for every frame, besides the centre block."""
    distance = (np.arange(ny) - ny // 2) / ny
    density = np.ones(ny) if family == "random" else np.exp(-0.5 * (distance / _GAUSSIAN_WIDTH) ** 2) + 1e-3
    mask = np.zeros((frames, ny), bool)
    first = ny // 2 - acs_lines // 2
    mask[:, first : first + acs_lines] = True
    outside = np.where(mask[0], 0.0, density)
    if not outside.any():
        return mask
    wanted = min(max(round((ny - acs_lines) / acceleration), 1), int(np.count_nonzero(outside)))
    for lines in mask:
        lines[rng.choice(ny, wanted, replace=False, p=outside / outside.sum())] = True
    return mask
