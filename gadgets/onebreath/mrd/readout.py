"""The readout: echo moved to the centre, reversed lines flipped, oversampling removed; arrays (..., coil, x)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.mrd.lines import REVERSE, bit, describe

Line = NDArray[np.complex64]
_REVERSE_BIT = bit(REVERSE)
WHOLE = 0.02
"""By so many encoded pixels may a field of view differ from whole ones: each edge is then off by half as much."""


@dataclass(frozen=True)
class Extent:
    """Range of the measured samples of a line.

    Parameters
    ----------
    samples
        Length of the line.
    centre
        Sample of the echo.
    before, after
        Samples at either end that were not measured (zero-filled, or to be discarded).
    """

    samples: int
    centre: int
    before: int = 0
    after: int = 0

    @classmethod
    def of(cls, header: Any, as_acquired: bool = False) -> Extent:
        """Read the extent of a line; an echo that the header does not state (0) is in the middle.

        A reversed line is described as it is once turned: the ends change places; the echo's sample does so
        only if the header counts it in the line as acquired (see `quirks.echo_as_acquired`).

        Raises
        ------
        ScanError
            If the echo or all samples lie outside the line.
        """
        samples, before, after = header.number_of_samples, header.discard_pre, header.discard_post
        centre = header.center_sample or samples // 2
        if centre >= samples or before + after >= samples:
            raise ScanError(
                f"The readout of {describe(header)} makes no sense: {samples} samples, center_sample {centre}, "
                f"discard_pre {before}, discard_post {after}. Convert the raw data again with the right parameters."
            )
        if header.flags & _REVERSE_BIT:
            before, after = after, before
            centre = samples - 1 - centre if as_acquired else centre
        return _extent(samples, centre, before, after)

    @property
    def fields(self) -> dict[str, int]:
        """Header fields of such a line."""
        return {"center_sample": self.centre, "discard_pre": self.before, "discard_post": self.after}

    @property
    def in_place(self) -> bool:
        """Whether all samples were measured and the echo is at the centre of the transform, sample ``n // 2``."""
        return self.centre == self.samples // 2 and not self.before and not self.after

    @property
    def measured(self) -> int:
        """Number of measured samples."""
        return self.samples - self.before - self.after

    def fills(self, size: int) -> bool:
        """Whether the line is one of a matrix of this size: it reaches an end of it, as an asymmetric echo, or both."""
        return min(size // 2 - self.centre, size - size // 2 - (self.samples - self.centre)) == 0

    def placed(self, size: int) -> Extent:
        """Return the extent after `place_echo`."""
        shift = size // 2 - self.centre
        first = max(0, self.before + shift)
        last = min(size, self.samples - self.after + shift)
        return Extent(size, size // 2, first, size - last)

    def resampled(self, size: int) -> Extent:
        """Return the extent after `crop_image` of a centred line; a sample counts as measured if its place was."""
        step = self.samples / size
        centre = size // 2
        first = int(np.ceil((self.before - self.centre) / step)) + centre
        last = int(np.floor((self.samples - 1 - self.after - self.centre) / step)) + centre
        return Extent(size, centre, max(first, 0), max(size - 1 - last, 0))


@lru_cache
def _extent(samples: int, centre: int, before: int, after: int) -> Extent:
    """Make an extent, cached: a scan has few different ones."""
    return Extent(samples, centre, before, after)


def place_echo(line: Line, extent: Extent, size: int) -> Line:
    """Move the echo to sample ``size // 2`` of a line of `size` samples; what was not measured is zero.

    Samples that fall outside are cut: they would be aliases of the transform's length.
    """
    target = extent.placed(size)
    placed = np.zeros((*line.shape[:-1], size), line.dtype)
    shift = size // 2 - extent.centre
    kept = slice(target.before, size - target.after)
    placed[..., kept] = line[..., kept.start - shift : kept.stop - shift]
    return placed


def oversampled_to(encoded: int, encoded_fov: float, recon_fov: float) -> int:
    """Return how many of the encoded samples remain when the field of view is cut from `encoded_fov` to `recon_fov`.

    Of a sample that lies inside in part, the whole is kept: `export` takes the rest away at the exact place.
    """
    covered = encoded * recon_fov / encoded_fov
    near = round(covered)
    return min(encoded, near if abs(covered - near) <= WHOLE else math.ceil(covered))


class ImageCrop:
    """Remove readout oversampling: to the image, keep the central `size` pixels, back to k-space.

    The transforms are unitary and leave out the two shifts of a centred transform. For even lengths these cancel, else
    a phase along the image makes up for them (Fourier shift theorem).
    """

    def __init__(self, samples: int, size: int) -> None:
        import scipy.fft  # late: slow to import, and only scans with oversampling need it

        # On one thread: a line is too small to share, and the gadgets of a chain already work side by side.
        self.to_image, self.to_kspace = scipy.fft.ifft, scipy.fft.fft
        self.size = size
        self.after = size - size // 2
        pixel = np.concatenate([np.arange(self.after), np.arange(-(size // 2), 0)])
        turn = pixel * ((size // 2) / size - (samples // 2) / samples)
        self.phase = None if samples % 2 == 0 == size % 2 else np.exp(2j * np.pi * turn).astype(np.complex64)

    def __call__(self, line: Line) -> Line:
        """Crop a line (..., coil, samples) to (..., coil, size)."""
        image = self.to_image(line, norm="ortho")
        kept = np.concatenate([image[..., : self.after], image[..., image.shape[-1] - self.size // 2 :]], axis=-1)
        if self.phase is not None:
            kept *= self.phase
        found: Line = self.to_kspace(kept, norm="ortho", overwrite_x=True)
        return found
