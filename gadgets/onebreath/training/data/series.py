"""Series of a slice, as read from files and as prepared for training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from onebreath.errors import ScanError

Facts = Mapping[str, str | int | float]
NOT_CYCLIC = "not_cyclic"
"""Fact of a series that is not cyclic: its last frame does not continue with its first."""


@dataclass(frozen=True)
class ImageSeries:
    """Images of one slice without coils, from which scans can be simulated.

    Attributes
    ----------
    patient, name
        Names of the patient and the slice; together unique in a data set.
    images
        ``(frame, y, x)`` real magnitude or complex, y the phase encoding; any scale.
    pixel_mm
        Pixel size along y and x.
    facts
        Further information from the file's header.
    view
        Cardiac view, such as ``sax`` or ``lax``; empty if the file does not state it.
    """

    patient: str
    name: str
    images: np.ndarray
    pixel_mm: tuple[float, float]
    facts: Facts = field(default_factory=dict)
    view: str = ""

    def __post_init__(self) -> None:
        _check(self, self.images, ("frame", "y", "x"))


@dataclass(frozen=True)
class KspaceSeries:
    """Measured k-space of one slice.

    Attributes
    ----------
    patient, name, facts, view
        As in `ImageSeries`.
    kspace
        ``(frame, coil, y, x)`` complex64, centred unitary transform.
    mask
        ``(frame or 1, y)`` bool, acquired lines; None: all. With missing lines, training needs a self-supervised loss.
    maps
        ``(coil, y, x)`` complex64 with unit sum of squares over coils; None: estimated from the centre of k-space.
    noise_std
        Standard deviation of the noise in the real part of `kspace`; 0 if unknown.
    calibration
        ``(coil, y, x)`` complex64, calibration lines that are no image data, in their places in the matrix, zeros
        elsewhere; None: the centre of `kspace` calibrates.
    """

    patient: str
    name: str
    kspace: np.ndarray
    mask: np.ndarray | None = None
    maps: np.ndarray | None = None
    noise_std: float = 0.0
    facts: Facts = field(default_factory=dict)
    view: str = ""
    calibration: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check(self, self.kspace, ("frame", "coil", "y", "x"))
        rows = self.kspace.shape[2]
        if self.mask is not None and self.mask.shape not in ((1, rows), (len(self.kspace), rows)):
            raise ScanError(
                f"{self.patient} {self.name}: the mask has the shape {self.mask.shape}, expected (frame, line) of "
                f"1 or {len(self.kspace)} frames and {rows} lines"
            )
        if self.maps is not None and self.maps.shape != self.kspace.shape[1:]:
            raise ScanError(
                f"{self.patient} {self.name}: the coil maps are {self.maps.shape}, expected {self.kspace.shape[1:]}"
            )
        if self.calibration is not None and self.calibration.shape != self.kspace.shape[1:]:
            raise ScanError(
                f"{self.patient} {self.name}: the calibration lines are {self.calibration.shape}, expected "
                f"{self.kspace.shape[1:]}"
            )


Series = ImageSeries | KspaceSeries


@dataclass(frozen=True)
class PreparedSlice:
    """One slice from which training examples are drawn; noise added to it has unit standard deviation.

    Attributes
    ----------
    patient, name
        As in `ImageSeries`.
    image
        ``(frame, coil or 1, y, x)`` complex64 in SNR units; coil images are ``image * coils``.
    coils
        ``(coil or 1, y, x)`` complex64, the true sensitivities of a simulated scan; ones for measured coil images.
    maps
        ``(coil, y, x)`` complex64, maps as estimated in the chain, with unit sum of squares over coils.
    lines
        ``(frame or 1, y)`` bool, lines with data.
    noisy
        Whether `image` contains measured noise; then none is added by default.
    """

    patient: str
    name: str
    image: np.ndarray
    coils: np.ndarray
    maps: np.ndarray
    lines: np.ndarray
    noisy: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """``(y, x)``."""
        return self.maps.shape[-2], self.maps.shape[-1]


def _check(series: Series, array: np.ndarray, axes: tuple[str, ...]) -> None:
    where = f"{series.patient} {series.name}"
    if array.ndim != len(axes):
        raise ScanError(f"{where}: the data have the shape {array.shape}, expected the axes {', '.join(axes)}")
    if min(array.shape) == 0:
        raise ScanError(f"{where}: the data are empty, their shape is {array.shape}")
    if not np.isfinite(array).all():
        raise ScanError(f"{where}: the data hold values that are not finite; the file is damaged")
    if not array.any():
        raise ScanError(f"{where}: the data are all zero; the file is damaged, or holds no image")
