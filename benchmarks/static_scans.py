"""Static scans of which the truth is known: measured brains and simulated images, over noise and acceleration.

The brains were measured in full. Their channels are whitened by the noise of the images' corners, and noise is added
where a scan is to have less SNR; the truth is the combination of the full measurement, its own noise included. Hearts
and phantoms are simulated as elsewhere. Lines are a lattice with calibration lines in the centre.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from onebreath.evaluation.data import read_slices
from onebreath.evaluation.scans import ScanChoice, reference_scan
from onebreath.methods.base import Method, SliceData
from onebreath.mri.coils import apply_channel_matrix, combine, pca_matrix
from onebreath.mri.espirit import espirit
from onebreath.mri.fourier import fftc, ifft2c, ifftc, resize
from onebreath.mri.sampling import describe
from onebreath.settings import settings
from onebreath.training.data.scanning import CALIBRATION_SAMPLES
from onebreath.training.data.series import ImageSeries

CROP, CORNER, BRIGHT = 0.8, 12, 97.0
MATRIX, CHANNELS = (128, 112), 8
COLUMNS = 128
"""At most so many of the readout's middle are taken of a measured scan; lines are complete along it."""
AS_MEASURED = 0.0
"""In place of an SNR: that of the measurement."""


@dataclass(frozen=True)
class StaticCase:
    """One scan.

    Attributes
    ----------
    merged, imaging
        Its data with and without the calibration lines as imaging lines.
    truth : (frame, y, x)
        Magnitude.
    """

    merged: SliceData
    imaging: SliceData
    truth: np.ndarray

    def data_for(self, method: Method) -> SliceData:
        """As a place of the chain gives them."""
        return self.merged if method.acs_as_data else self.imaging


@dataclass(frozen=True)
class Source:
    """A slice to be scanned: ``brain7ch``, ``brain16ch``, ``simulator`` or a patient, and its number."""

    name: str
    number: int

    @classmethod
    def named(cls, text: str) -> Source:
        """Return the source that a command line names, as ``name:number``."""
        name, number = text.split(":")
        return cls(name, int(number))

    @property
    def measured(self) -> bool:
        """Whether it is measured k-space."""
        return self.name.startswith("brain")

    def full(self, snr: float, acs: int, more: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Full k-space (coil, y, x) with unit noise, or with `more`, and the truth (y, x)."""
        rng = np.random.default_rng((self.number, round(snr)))
        if self.measured:
            kspace, own = self._measured
            added = np.sqrt(max(own / snr, 1.0) ** 2 - 1) if snr else 0.0
            scale = np.float32(np.hypot(1, added))
            bright = np.abs(ifft2c(kspace))
            truth = np.sqrt((bright**2).sum(axis=0))
            noisy = kspace + np.float32(np.hypot(added, np.sqrt(more**2 - 1) * scale)) * _noise(kspace.shape, rng)
            return noisy / scale, truth / scale
        series = self.series
        choice = ScanChoice(
            seed=self.number, snr=(snr, snr), matrix=MATRIX, coils=12, channels=CHANNELS, calibration_lines=acs
        )
        scan = reference_scan(replace(series, images=series.images[:1]), choice)
        kspace = scan.kspace[0] + np.float32(np.sqrt(more**2 - 1)) * _noise(scan.kspace[0].shape, rng)
        return kspace, scan.truth[0]

    @cached_property
    def series(self) -> ImageSeries:
        """The images, of one that is not measured."""
        simulated = self.name == "simulator"
        data, names = ("simulator", ("*",)) if simulated else ("sunnybrook", (self.name,))
        found = list(read_slices(data, None, names, [0] if simulated else [self.number]))
        series, _ = found[self.number if simulated else 0]
        assert isinstance(series, ImageSeries)
        return series

    @cached_property
    def _measured(self) -> tuple[np.ndarray, float]:
        """Whitened k-space (coil, y, x), and its SNR."""
        path = Path(settings().shared) / "data" / self.name / "kspace.npy"
        raw = np.load(path)
        kspace = np.asarray(raw / np.sqrt(np.mean(np.abs(raw) ** 2)), np.complex64)
        corner = ifft2c(kspace)[:, :CORNER, :CORNER].reshape(len(kspace), -1)
        covariance = corner @ corner.conj().T / corner.shape[1] / 2
        kspace = apply_channel_matrix(np.linalg.inv(np.linalg.cholesky(covariance)), kspace, 0)
        middle = max(kspace.shape[2] - COLUMNS, 0) // 2
        kspace = np.asarray(fftc(ifftc(kspace, -1)[..., middle : kspace.shape[2] - middle], -1), np.complex64)
        if len(kspace) > CHANNELS:
            kspace = apply_channel_matrix(pca_matrix(kspace, CHANNELS), kspace, 0)
        image = np.sqrt((np.abs(ifft2c(kspace)) ** 2).sum(axis=0))
        return np.asarray(kspace, np.complex64), float(np.percentile(image, BRIGHT))


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    parts = rng.standard_normal((2, *shape), dtype=np.float32)
    return np.asarray(parts[0] + 1j * parts[1], np.complex64)


def scanned(source: Source, snr: float, acceleration: int, acs: int, more: float = 1.0) -> StaticCase:
    """Scan a slice with every R-th line and some calibration lines; the noise is `more` times what it is said to be."""
    kspace, truth = source.full(snr, acs, more)
    _, ny, nx = kspace.shape
    first = (ny - acs + 1) // 2
    block = kspace[:, first : first + acs]
    found, eigenvalues = espirit(resize(block, (acs, min(CALIBRATION_SAMPLES, nx))), (ny, nx), crop=None)
    maps = np.asarray(found * (eigenvalues > CROP)[:, None], np.complex64)
    if source.measured:  # what the maps see of it: the same as for the methods
        truth = np.abs(combine(ifft2c(source.full(AS_MEASURED, acs)[0]), np.asarray(found)[0]))
        truth = truth * np.float32(truth_scale(source, snr))
    lattice = np.zeros(ny, bool)
    lattice[ny // 2 % acceleration :: acceleration] = True
    together = lattice.copy()
    together[first : first + acs] = True
    both = []
    for lines in (together, lattice):
        mask = lines[None, :, None]
        sampled = np.where(mask[:, None], kspace[None], np.complex64(0))
        both.append(SliceData(sampled, mask, block, first, maps, describe(mask, acceleration=acceleration)))
    return StaticCase(both[0], both[1], truth[None])


def truth_scale(source: Source, snr: float) -> float:
    """Scale of a measured truth in units of the noise of a scan of less SNR."""
    own = source._measured[1]
    return min(snr / own, 1.0) if snr else 1.0
