"""One set and slab of a message with partitions: input of methods, and processing of their images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.cancellation import checkpoint
from onebreath.methods.base import Fact, Method, Reconstruction
from onebreath.methods.place import FILLS, NO_FILL, Fill, filling, naming
from onebreath.methods.volumes.data import VolumeData
from onebreath.mri.fourier import fftc
from onebreath.mri.volume_sampling import VolumeSampling


@dataclass(frozen=True)
class VolumePlace:
    """One set and slab of a message; like `Place`, but lines are gathered only when a method asks for them.

    Attributes
    ----------
    set, slab
        Its indices in the message.
    gather
        Gives the volume, with or without embedded calibration lines as imaging lines.
    snr_scale
        Factor from the unitary transform's scale to Gadgetron's SNR units, by the imaging lines alone.
    fill, wanted
        As in `Place`.
    """

    set: int
    slab: int
    gather: Callable[[bool], VolumeData]
    snr_scale: float = 1.0
    fill: Fill = "method"
    wanted: str = ""

    def __str__(self) -> str:
        return f"slab {self.slab}, set {self.set}"

    def volume_for(self, method: Method) -> VolumeData:
        """Return the volume in the form that a method takes."""
        return self.gather(method.acs_as_data)

    def reconstruct(self, method: Method) -> Reconstruction:
        """Return the images of a method, complex64 and filled, with facts about them; errors name the slab."""
        checkpoint()
        data = self.volume_for(method)
        with naming(self, method):
            result = method.volume(data)
        found, how = data.sampling, filling(self, method, data.sampling)
        images = np.asarray(result.images, np.complex64)
        del data  # the fill needs room of its own
        result.images = _filled(images, how, found) if how in FILLS else images
        result.facts |= self._facts(how, found)
        return result

    def _facts(self, how: str, found: VolumeSampling) -> dict[str, Fact]:
        missing = [f"{part:.3g} of {axis}" for part, axis in zip(found.partial_fourier, "zy", strict=True) if part < 1]
        missing += ["asymmetric echo"] if found.asymmetric_echo else []
        facts: dict[str, Fact] = {
            "sampling": found.family,
            "acceleration": round(found.acceleration, 3),
            "effective_acceleration": round(found.effective_acceleration, 3),
            "partial_fourier": how if how == NO_FILL else f"{how} ({', '.join(missing)})",
            "snr_scale": self.snr_scale,
        }
        return facts if found.lattice is None else facts | {"lattice": str(found.lattice)}


def _filled(images: NDArray[Any], how: str, found: VolumeSampling) -> NDArray[Any]:
    kspace = fftc(images, (-3, -2, -1))
    made = FILLS[how](kspace, z=found.covered[0], y=found.covered[1], x=found.readout)
    return np.asarray(made, np.complex64)
