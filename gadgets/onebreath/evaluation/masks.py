"""Sampling masks of comparisons: those of training, and radial masks, which are never trained on."""

from __future__ import annotations

from typing import Literal, cast, get_args

import numpy as np

from onebreath.errors import ConfigError
from onebreath.training.data.image_masks import ImageMask, image_mask
from onebreath.training.data.masks import Family, make_mask

UntrainedMask = Literal["radial"]
StudyMask = ImageMask | UntrainedMask
"""Masks of single images; those not trained on show how far a network generalises."""
STUDY_MASKS: tuple[StudyMask, ...] = (*get_args(ImageMask), *get_args(UntrainedMask))
ScanMask = Family | Literal["equispaced", "gaussian_1d", "gaussian_2d"] | UntrainedMask
"""Masks of multi-coil scans. ``random`` is the family of series, whose lines differ from frame to frame."""
SCAN_MASKS: tuple[ScanMask, ...] = tuple(dict.fromkeys((*get_args(Family), *STUDY_MASKS)))

_GOLDEN_ANGLE = np.pi * (np.sqrt(5) - 1) / 2


def is_study_mask(family: ScanMask) -> bool:
    """Whether the acceleration of a family includes the centre, as in studies of single images."""
    return family not in get_args(Family)


def study_mask(kind: StudyMask, shape: tuple[int, int], acceleration: float, rng: np.random.Generator) -> np.ndarray:
    """Random mask of a single image: that of `image_mask`, or ``radial``.

    Returns
    -------
    numpy.ndarray
        ``(y, 1)`` bool, or ``(y, x)`` for masks of single points.
    """
    if kind == "radial":
        return radial_mask(shape, acceleration, rng)
    return image_mask(kind, shape, acceleration, rng)


def radial_mask(shape: tuple[int, int], acceleration: float, rng: np.random.Generator) -> np.ndarray:
    """Exactly ``round(samples / R)`` points of a Cartesian grid nearest to spokes through the centre.

    Successive spokes are the golden angle apart (S. Winkelmann et al., IEEE Trans Med Imaging 26:68 (2007)), from a
    random start. The last spoke is shortened to the count, from the centre outwards.

    Parameters
    ----------
    shape
        ``(y, x)`` of the matrix.
    acceleration
        Samples of the matrix divided by samples of the mask.
    rng
        Random numbers for the first angle.
    """
    wanted = round(shape[0] * shape[1] / acceleration)
    mask = np.zeros(shape[0] * shape[1], bool)
    radius = np.arange(0, np.hypot(*shape) / 2, 0.5)
    signed = np.stack([radius, -radius], axis=1).ravel()
    angle, missing = rng.uniform(0, np.pi), wanted
    while missing:
        y = np.floor(shape[0] / 2 + signed * np.sin(angle) + 0.5).astype(int)
        x = np.floor(shape[1] / 2 + signed * np.cos(angle) + 0.5).astype(int)
        inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
        points = np.array(list(dict.fromkeys(y[inside] * shape[1] + x[inside])))
        fresh = points[~mask[points]][:missing]
        mask[fresh] = True
        missing -= len(fresh)
        angle += _GOLDEN_ANGLE
    return mask.reshape(shape)


def scan_mask(
    family: ScanMask, frames: int, shape: tuple[int, int], acceleration: int, acs_lines: int, rng: np.random.Generator
) -> np.ndarray:
    """Mask of a scan.

    Parameters
    ----------
    family
        A family of `make_mask`, or a mask of single images, which all frames share.
    frames, shape
        Number of frames, and ``(y, x)`` of the matrix.
    acceleration
        R, without calibration lines for the families of `make_mask`, and including the centre for the others.
    acs_lines
        Fully sampled lines in the centre; 0 for masks of single images, whose centre is that of the MR-IPT paper.
    rng
        Random numbers.

    Returns
    -------
    numpy.ndarray
        ``(frame or 1, y, x or 1)`` bool.

    Raises
    ------
    ConfigError
        If the mask does not fit the matrix.
    """
    if not is_study_mask(family):
        lines = make_mask(cast(Family, family), frames, shape[0], acceleration, acs_lines, rng)
        return lines[:, :, None]
    if acs_lines:
        raise ConfigError(f"R determines the centre of {family} masks; {acs_lines} calibration lines cannot be chosen")
    return study_mask(cast(StudyMask, family), shape, acceleration, rng)[None]
