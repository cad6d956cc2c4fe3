"""Zero-filled reconstruction: the adjoint of the acquisition, the start of every other method."""

from __future__ import annotations

from typing import Literal

from array_api_compat import array_namespace
from pydantic import Field

from onebreath.errors import MethodError
from onebreath.methods.base import Method, MethodParameters, Reconstruction, SliceData, check_finite, join_sets
from onebreath.methods.volumes.data import VolumeData, by_planes
from onebreath.mri.coils import rss
from onebreath.mri.fourier import ifft2c
from onebreath.mri.sense import SenseOperator


class ZeroFilledParameters(MethodParameters):
    """Parameters of `ZeroFilled`."""

    combination: Literal["auto", "maps", "rss"] = Field(
        default="auto",
        description="How coils are combined: with coil maps, by root sum of squares, or with maps if there are any.",
    )


class ZeroFilled(Method):
    """Inverse transform with zeros where nothing was acquired, then a coil combination.

    With coil maps the result is S^H F^-1 y (unitary transform, no density compensation), else the root sum of squares.
    """

    name = "zero_filled"
    seconds_per_million = 0.02
    Parameters = ZeroFilledParameters
    parameters: ZeroFilledParameters

    def __call__(self, data: SliceData) -> Reconstruction:
        """Reconstruct one slice.

        Raises
        ------
        MethodError
            If samples are not finite, or coil maps are requested but missing.
        """
        check_finite(data, self.name)
        wanted = self.parameters.combination
        if wanted == "maps" and data.maps is None:
            raise MethodError("zero_filled: a combination with coil maps was asked for, but there are no coil maps")
        if data.maps is None or wanted == "rss":
            xp = array_namespace(data.kspace)
            masked = data.kspace * xp.astype(data.mask[:, None], xp.real(data.kspace).dtype)
            return Reconstruction(xp.astype(rss(ifft2c(masked), 1), data.kspace.dtype), facts={"combination": "rss"})
        images = SenseOperator(data.maps, data.mask).adjoint(data.kspace)
        sets = images if images.ndim == 4 else images[None]
        return Reconstruction(join_sets(sets), facts={"combination": "maps"})

    def volume(self, data: VolumeData) -> Reconstruction:
        """Reconstruct a scan with partitions, plane by plane; raises as for a slice."""
        return by_planes(self, data)
