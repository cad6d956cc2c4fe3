"""Scans for comparisons: ground truth and noisy full k-space of a slice, to be undersampled by any mask."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from onebreath.errors import ScanError
from onebreath.evaluation.masks import ScanMask, is_study_mask, scan_mask
from onebreath.methods.base import SliceData
from onebreath.mri.coils import combine, rss
from onebreath.mri.espirit import espirit
from onebreath.mri.fourier import fft2c, ifft2c, resize
from onebreath.mri.sampling import describe
from onebreath.training.data.measured import calibrate_measured
from onebreath.training.data.scanning import CALIBRATION_SAMPLES, ScanSettings, simulate_channels
from onebreath.training.data.series import ImageSeries, KspaceSeries, PreparedSlice, Series
from onebreath.validation import PositiveRange

# Ratio of the acquired matrix to that of a scanner's interpolated images, if their header does not state it.
_USUAL_MATRIX = 0.8
# Independent streams of random numbers.
_CHANNELS, _NOISE, _MASK = 0, 1, 2


class ScanChoice(BaseModel):
    """Settings of an evaluation's scans; the same settings give bit-equal scans."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(0, ge=0, description="seed of phase, coils, noise and masks")
    coils: int = Field(12, ge=1, description="receive channels before compression")
    channels: int = Field(10, ge=1, description="channels after compression")
    snr: PositiveRange = Field((20.0, 40.0), description="range of the SNR of blood, fully sampled")
    matrix: tuple[int, int] | None = Field(None, description="acquired lines and samples; None: from the header")
    calibration_lines: int = Field(24, ge=8, description="calibration lines in the centre, for the coil maps")
    measured_coils: str | None = Field(None, description="file with measured k-space whose coil maps are used")


class MaskChoice(BaseModel):
    """A sampling mask: family, acceleration, and lines of the fully sampled centre.

    Scans without such lines have a separate calibration scan.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: ScanMask = Field(description="as in training recipes, or a mask of single images")
    acceleration: int = Field(ge=1, description="distance R of the lines; for masks of single images the ratio of all")
    acs_lines: int = Field(24, ge=0, description="fully sampled lines in the centre; 0: none, or that of the mask")

    def __str__(self) -> str:
        centre = f"{self.acs_lines} ACS lines" if self.acs_lines else "no ACS"
        if is_study_mask(self.family):
            centre = "centre included"
        return f"{self.family} R={self.acceleration}, {centre}"


@dataclass(frozen=True)
class ReferenceScan:
    """Full k-space of one slice, with its ground truth.

    Attributes
    ----------
    patient, name
        As in the data set.
    truth
        ``(frame, y, x)`` magnitude in SNR units.
    truth_is
        Description of the ground truth.
    kspace
        ``(frame, coil, y, x)`` complex64; noise has unit standard deviation in real and imaginary part.
    lines
        ``(frame or 1, y)`` bool, acquired lines.
    acs
        ``(coil, y, x)`` calibration lines, averaged over time.
    """

    patient: str
    name: str
    truth: np.ndarray
    truth_is: str
    kspace: np.ndarray
    lines: np.ndarray
    acs: np.ndarray

    @property
    def acs_first(self) -> int:
        """Row of the first calibration line in the matrix; the block is placed as in CMRxRecon's masks."""
        return (self.kspace.shape[2] - self.acs.shape[1] + 1) // 2


def reference_scan(series: Series, choice: ScanChoice, truth: np.ndarray | None = None) -> ReferenceScan:
    """Scan of a slice: simulated from images, or measured.

    The ground truth of a scan simulated from images is the root sum of squares of its noise-free coil images, which
    does not depend on estimated coil maps. That of a measured scan is its coil combination, noise included, unless
    `truth` is given.

    Parameters
    ----------
    series
        The slice.
    choice
        Settings of the scan.
    truth
        Ground truth ``(frame, y, x)`` of a measured scan, in SNR units.

    Raises
    ------
    ScanError
        If measured k-space lacks lines and there is no ground truth, or the truth has another shape.
    """
    seed = (choice.seed, zlib.crc32(f"{series.patient}/{series.name}".encode()))
    if isinstance(series, ImageSeries):
        rng = np.random.default_rng((*seed, _CHANNELS))
        image, coils = simulate_channels(_as_acquired(series, choice.matrix), _settings(choice), rng, vary=False)
        found, truth_is = np.abs(image) * rss(coils, 0), "the images before noise"
        kspace = _noisy(fft2c(image[:, None] * coils), np.random.default_rng((*seed, _NOISE)))
        lines = np.ones((1, kspace.shape[2]), bool)
    else:
        one = calibrate_measured(series, _settings(choice))
        found, truth_is = _truth_of(series, one, truth)
        kspace, lines = np.asarray(fft2c(one.image)), one.lines
        if not one.noisy:
            kspace = _noisy(kspace, np.random.default_rng((*seed, _NOISE))) * lines[:, None, :, None]
    rows = (kspace.shape[2] - choice.calibration_lines + 1) // 2 + np.arange(choice.calibration_lines)
    counts = np.broadcast_to(lines, (len(kspace), lines.shape[1]))[:, rows].sum(axis=0)
    acs = kspace[:, :, rows].sum(axis=0) / np.maximum(counts, 1).astype(np.float32)[:, None]
    return ReferenceScan(series.patient, series.name, found.astype(np.float32), truth_is, kspace, lines, acs)


def undersampled(scan: ReferenceScan, mask: MaskChoice | None, seed: int) -> SliceData:
    """Data of a scan without coil maps, undersampled by a mask; None: as acquired.

    Raises
    ------
    ScanError
        If a mask is given for a scan that was acquired undersampled.
    """
    frames, _, ny, nx = scan.kspace.shape
    if mask is None:
        full = np.broadcast_to(scan.lines, (frames, ny))[:, :, None]
        sampling = describe(full)
    else:
        if not scan.lines.all():
            raise ScanError(f"{scan.patient} {scan.name} was undersampled when it was measured; it has its own mask")
        rng = np.random.default_rng((seed, zlib.crc32(f"{scan.patient}/{scan.name}/{mask}".encode()), _MASK))
        made = scan_mask(mask.family, frames, (ny, nx), mask.acceleration, mask.acs_lines, rng)
        full = np.broadcast_to(made, (frames, *made.shape[1:]))
        mode = None if mask.acs_lines else "separate"
        sampling = describe(full, acceleration=mask.acceleration, acs_mode=mode)
    kspace = np.where(full[:, None], scan.kspace, np.complex64(0))
    return SliceData(kspace, full, scan.acs, scan.acs_first, None, sampling)


def coil_maps(scan: ReferenceScan) -> tuple[np.ndarray, np.ndarray]:
    """ESPIRiT maps ``(1, coil, y, x)`` from the calibration lines, not cropped, and eigenvalues ``(1, y, x)``."""
    acs = resize(scan.acs, (scan.acs.shape[1], min(CALIBRATION_SAMPLES, scan.acs.shape[2])))
    maps, eigenvalues = espirit(acs, (scan.kspace.shape[2], scan.kspace.shape[3]), crop=None)
    return np.asarray(maps, np.complex64), np.asarray(eigenvalues)


def _truth_of(series: KspaceSeries, one: PreparedSlice, truth: np.ndarray | None) -> tuple[np.ndarray, str]:
    where = f"{series.patient} {series.name}"
    if truth is None:
        if not one.lines.all():
            raise ScanError(f"{where} lacks lines and has no file of ground truth, so there is nothing to compare with")
        return np.abs(combine(one.image, one.maps)), "the fully sampled measurement, noise included"
    if truth.shape != (len(one.image), *one.shape):
        raise ScanError(f"{where} has (frame, y, x) {(len(one.image), *one.shape)}, but its truth is {truth.shape}")
    return np.abs(truth), "the truth that was given with the scan"


def _settings(choice: ScanChoice) -> ScanSettings:
    return ScanSettings(
        matrix=(1.0, 1.0),
        coils=(choice.coils, choice.coils),
        channels=choice.channels,
        snr=choice.snr,
        calibration_lines=(choice.calibration_lines, choice.calibration_lines),
        measured_coils=choice.measured_coils,
        measured_share=1.0,
    )


def _as_acquired(series: ImageSeries, matrix: Sequence[int] | None) -> ImageSeries:
    """Series with the acquired matrix, by cropping the k-space of the interpolated images."""
    old = series.images.shape[1:]
    if matrix is None:
        names = ("acquired_lines", "acquired_samples")
        matrix = [
            int(series.facts.get(name, 2 * round(_USUAL_MATRIX * n / 2))) for name, n in zip(names, old, strict=True)
        ]
    images = ifft2c(resize(fft2c(series.images.astype(np.complex64)), tuple(matrix)))
    pixel = (series.pixel_mm[0] * old[0] / matrix[0], series.pixel_mm[1] * old[1] / matrix[1])
    return ImageSeries(series.patient, series.name, np.asarray(images), pixel, series.facts)


def _noisy(kspace: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    parts = rng.standard_normal((2, *kspace.shape), dtype=np.float32)
    return np.asarray(kspace + parts[0] + 1j * parts[1], np.complex64)
