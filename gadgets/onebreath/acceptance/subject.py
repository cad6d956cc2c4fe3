"""The scan that is tested: its slice as methods get it, and what is known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onebreath.acceptance.limits import Limits
from onebreath.commands.matching import first_place
from onebreath.config.suited import suited_to
from onebreath.errors import ConfigError
from onebreath.evaluation.masks import scan_mask
from onebreath.methods.base import SliceData
from onebreath.methods.place import Place
from onebreath.mrd.header import ScanHeader
from onebreath.mri.fourier import ifft2c
from onebreath.mri.sampling import describe
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile
from onebreath.zoo.domain import Scan

_SMOOTH = 24
"""Lines and samples of the centre of k-space that smooth coil images are made of."""
_MOST_FRAMES = 12


@dataclass(frozen=True)
class Subject:
    """A scan under test.

    Attributes
    ----------
    path, group
        Its raw data.
    digest
        SHA-256 of the file.
    config
        Configuration that prepared it.
    header
        Its header.
    place
        Its first slice; at most 12 frames.
    scan
        What it is, for domains and rules.
    pixel_mm
        Size of a pixel along y and x.
    """

    path: Path
    group: str
    digest: str
    config: str
    header: ScanHeader
    place: Place
    scan: Scan
    pixel_mm: tuple[float, float]

    @property
    def data(self) -> SliceData:
        """The slice with all lines there are."""
        return self.place.merged

    @property
    def full(self) -> bool:
        """Whether every line was acquired in every frame."""
        return bool(np.all(self.data.mask))

    @cached_property
    def smooth(self) -> NDArray[np.complex64]:
        """Coil images (coil, y, x) of the centre of k-space, unit sum of squares: they are there in air, too."""
        kspace, mask = self.data.kspace, np.broadcast_to(self.data.mask, self._mask_shape)[:, None]
        mean = kspace.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
        window = [_window(n, _SMOOTH) for n in mean.shape[1:]]
        images = ifft2c((mean * window[0][:, None] * window[1]).astype(np.complex64))
        return np.asarray(images / np.maximum(np.linalg.norm(images, axis=0), 1e-12), np.complex64)

    @property
    def _mask_shape(self) -> tuple[int, int, int]:
        frames, _, ny, nx = self.data.kspace.shape
        return frames, ny, nx

    @cached_property
    def combined(self) -> NDArray[np.float32]:
        """Images (frame, y, x) of all lines, in SNR units; the real part, with the object's phase taken away.

        Combined by `smooth` maps, so that air and edges are as they were measured, and noise there has a mean of 0.
        """
        return np.asarray(np.sum(np.conj(self.smooth) * ifft2c(self.data.kspace), axis=1).real, np.float32)

    @cached_property
    def sum_of_squares(self) -> NDArray[np.float32]:
        """Root of the sum of squares of the coil images (y, x), averaged over frames."""
        return np.asarray(np.linalg.norm(ifft2c(self.data.kspace), axis=1).mean(axis=0), np.float32)

    @cached_property
    def phase(self) -> NDArray[np.complex64]:
        """Unit phase factor (y, x) that the object has when it is combined by the scan's coil maps."""
        maps = np.asarray(self.data.maps)[0]
        found = np.sum(np.conj(maps) * self.smooth, axis=0)
        return np.asarray(found / np.maximum(np.abs(found), 1e-12), np.complex64)


def read_subject(path: Path, group: str, config: str | None) -> Subject:
    """Send a raw file through a configuration up to the reconstruction.

    Raises
    ------
    OnebreathError
        If the chain cannot use it, or the configuration makes no coil maps.
    """
    with RawFile(path, group) as raw:
        chosen = config or suited_to(raw.headers())[0]
        header = ScanHeader(parse_header(raw.header_xml))
        place, scan = first_place(raw, chosen)
    if place.merged.maps is None:
        raise ConfigError(
            f"{chosen} makes no coil maps of {path}, by which the tests combine its coils: it has no gadget "
            "'calibrate', or the scan no calibration lines. Name another configuration with --config, or test another "
            "scan"
        )
    frames = min(_MOST_FRAMES, len(place.merged.kspace))
    place = replace(place, imaging=_fewer(place.imaging, frames), merged=_fewer(place.merged, frames))
    ny, nx = place.merged.kspace.shape[2:]
    return Subject(
        path=path,
        group=group,
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        config=chosen,
        header=header,
        place=place,
        scan=scan,
        pixel_mm=(header.encoded_fov.y / ny, header.recon_fov.x / nx),
    )


def _fewer(data: SliceData, frames: int) -> SliceData:
    mask = data.mask[:frames] if len(data.mask) > 1 else data.mask
    return replace(data, kspace=np.asarray(data.kspace[:frames]), mask=np.asarray(mask))


def _window(size: int, width: int) -> NDArray[np.float64]:
    """Hann window of a width around the centre of an axis."""
    away = np.abs(np.arange(size) - size // 2) / (width / 2)
    return np.asarray(np.where(away < 1, 0.5 + 0.5 * np.cos(np.pi * np.minimum(away, 1)), 0.0))


@dataclass(frozen=True)
class Trial:
    """A slice under one sampling and noise, for methods to reconstruct.

    Attributes
    ----------
    acceleration, snr
        Which one it is.
    data
        What methods get.
    own
        Whether the sampling is that of the scan.
    """

    acceleration: int
    snr: float
    data: SliceData
    own: bool

    def __str__(self) -> str:
        return f"R = {self.acceleration}{' (as acquired)' if self.own else ''}, SNR {self.snr:.3g}"


def trials(subject: Subject, limits: Limits) -> list[Trial]:
    """Return the samplings and noise levels to test: those of the site of a full scan, else the scan's own sampling.

    Noise is added to what was measured, and the sum scaled back to unit noise: signal falls, noise stays 1.
    """
    own = subject.scan.snr or float("nan")
    levels = [own, *(level for level in limits.details.snr if level < own)]
    found = []
    for number, snr in enumerate(levels):
        data = subject.data if number == 0 else _noisier(subject.data, own / snr, number)
        if subject.full:
            found += [Trial(r, snr, undersampled(data, r, limits), own=False) for r in limits.accelerations]
        else:
            found.append(Trial(data.sampling.acceleration, snr, data, own=True))
    return found


def _noisier(data: SliceData, factor: float, seed: int) -> SliceData:
    rng = np.random.default_rng([2, seed])
    frames, _, ny, nx = data.kspace.shape

    def added(samples: NDArray[np.complex64], weight: NDArray[np.float32] | float) -> NDArray[np.complex64]:
        noise = rng.standard_normal((*samples.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        return np.asarray((samples + weight * noise) / np.float32(factor), np.complex64)

    level = np.float32((factor**2 - 1) ** 0.5)
    mask = np.broadcast_to(data.mask, (frames, ny, nx))[:, None]
    acs = None if data.acs is None else added(np.asarray(data.acs), level / frames**0.5)  # a mean over the frames
    return replace(data, kspace=added(np.asarray(data.kspace), level * mask), acs=acs)


def undersampled(data: SliceData, acceleration: int, limits: Limits) -> SliceData:
    """Leave out lines of a full scan; its maps stay, calibration lines are those of the centre that are left.

    Raises
    ------
    ConfigError
        If the calibration lines do not fit the matrix.
    """
    frames, _, ny, nx = data.kspace.shape
    rng = np.random.default_rng(acceleration)
    mask = scan_mask(limits.mask, frames, (ny, nx), acceleration, limits.acs_lines, rng)
    full = np.broadcast_to(mask, (frames, ny, mask.shape[2]))
    kept = np.where(full[:, None], data.kspace, np.complex64(0))
    first = (ny - limits.acs_lines + 1) // 2
    acs = np.asarray(data.kspace[:, :, first : first + limits.acs_lines].mean(axis=0))
    mask_whole = np.broadcast_to(full, (frames, ny, nx))
    sampling = describe(mask_whole, acceleration=acceleration)
    return replace(data, kspace=kept, mask=mask_whole, acs=acs, acs_first=first, sampling=sampling)
