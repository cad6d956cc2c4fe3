"""One set and slice of a message: input of methods, and processing of their images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onebreath.cancellation import checkpoint
from onebreath.errors import OnebreathError
from onebreath.methods.base import Fact, Method, Reconstruction, SliceData
from onebreath.mri.fourier import fft2c
from onebreath.mri.partial_fourier import homodyne, pocs, zero_fill
from onebreath.mri.sampling import Sampling
from onebreath.mri.volume_sampling import VolumeSampling

FILLS = {"zero_fill": zero_fill, "pocs": pocs, "homodyne": homodyne}
Fill: TypeAlias = Literal["zero_fill", "pocs", "homodyne", "method"]
"""How the part of k-space beyond partial Fourier and asymmetric echo is filled; method: by the method itself."""
NO_FILL = "none needed"


class AnyPlace(Protocol):
    """One place of a message: a slice or a volume; see `Place`."""

    @property
    def snr_scale(self) -> float:
        """Factor from the unitary transform's scale to Gadgetron's SNR units."""

    @property
    def fill(self) -> Fill:
        """How the missing side of k-space is filled in the images of the wanted method."""

    @property
    def wanted(self) -> str:
        """Name of the wanted method."""

    def reconstruct(self, method: Method) -> Reconstruction:
        """Return the images of a method."""


@contextmanager
def naming(place: AnyPlace, method: Method) -> Iterator[None]:
    """Name place and method in errors that are raised while one reconstructs the other."""
    try:
        yield
    except OnebreathError as error:
        raise type(error)(f"{place}, method {method.name}: {error}") from error


def filling(place: AnyPlace, method: Method, found: Sampling | VolumeSampling) -> str:
    """Return how a method's images of a place are filled."""
    if found.complete:
        return NO_FILL
    return "pocs" if place.fill == "method" and method.name != place.wanted else place.fill


@dataclass(frozen=True)
class Place:
    """One set and slice of a message.

    Attributes
    ----------
    set, slice
        Its indices in the message.
    imaging
        Its imaging lines.
    merged
        The same with embedded calibration lines as imaging lines; `imaging` itself where there are none to merge.
    snr_scale
        Factor from the unitary transform's scale to Gadgetron's SNR units, by the imaging lines alone.
    fill
        How the missing side of k-space is to be filled in the images of the wanted method.
    wanted
        Name of that method. What a classical one that stands in makes of the missing side is mostly amplified noise:
        there POCS takes the place of ``method``.
    number
        The slice's number in the scan, which messages name; None: as in the message.
    """

    set: int
    slice: int
    imaging: SliceData
    merged: SliceData
    snr_scale: float = 1.0
    fill: Fill = "method"
    wanted: str = ""
    number: int | None = None

    def __str__(self) -> str:
        return f"slice {self.slice if self.number is None else self.number}, set {self.set}"

    def data_for(self, method: Method) -> SliceData:
        """Return the slice in the form that a method takes."""
        return self.merged if method.acs_as_data else self.imaging

    def reconstruct(self, method: Method) -> Reconstruction:
        """Return the images of a method, complex64 and filled, with facts about them; errors name the slice."""
        checkpoint()
        with naming(self, method):
            result = method(self.data_for(method))
        result.images = self.filled(np.asarray(result.images, np.complex64), method)
        result.facts |= self._facts(method)
        return result

    def fills(self, method: Method) -> bool:
        """Return whether anything is filled in a method's images."""
        return self._fill(method) in FILLS

    def filled(self, images: NDArray[Any], method: Method) -> NDArray[Any]:
        """Return a method's images (frame, y, x) with k-space filled beyond where the acquisition ended."""
        if not self.fills(method):
            return images
        how, found = self._fill(method), self.data_for(method).sampling
        readout = found.readout if found.shape[2] > 1 else None
        return np.asarray(FILLS[how](fft2c(images), y=found.covered, x=readout), np.complex64)

    def _fill(self, method: Method) -> str:
        return filling(self, method, self.data_for(method).sampling)

    def _facts(self, method: Method) -> dict[str, Fact]:
        found, how = self.data_for(method).sampling, self._fill(method)
        missing = f" ({found.partial_fourier:.3g} of y{', asymmetric echo' if found.asymmetric_echo else ''})"
        return {
            "sampling": found.family,
            "acceleration": found.acceleration,
            "effective_acceleration": round(found.effective_acceleration, 3),
            "partial_fourier": how if how == NO_FILL else how + missing,
            "snr_scale": self.snr_scale,
        }


def snr_scale_of(sampling: Sampling | VolumeSampling) -> float:
    """Return the factor from the unitary transform's scale to Gadgetron's SNR units, in which noise is g.

    Gadgetron scales the zero-filled data to unit noise and divides the unfolded image by R: sqrt(y / lines) / R, of a
    lattice 1 / sqrt(R). Calibration lines among those of a lattice lower the noise of the images, and g with it, but
    not this factor.
    """
    return 1 / sampling.accelerated_noise
