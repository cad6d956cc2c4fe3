"""Input of methods for scans with partitions: the readout is transformed, so that each pixel along it is a plane.

All lines have the same readout, so an inverse transform along it turns one problem in three dimensions into one for
each pixel along x, in the plane of both phase encodings. The transformed lines of a few neighbouring planes are kept at
a time, and made anew for the next ones: a second k-space beside that of the scan and its coil maps would not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from onebreath.budget import claim
from onebreath.cancellation import checkpoint
from onebreath.errors import MethodError
from onebreath.methods.base import Fact, Method, Reconstruction, SliceData
from onebreath.mri.fourier import ifftc
from onebreath.mri.sampling import Sampling, describe
from onebreath.mri.volume_sampling import VolumeSampling

Complex = NDArray[np.complex64]


PASSES = 4
"""How often the lines are transformed for one pass over the planes, each time for this part of the readout."""


@dataclass(frozen=True)
class Source:
    """Lines of a volume that lie in one array.

    Attributes
    ----------
    kspace : (frame, coil, z, y, x)
        The array, whitened.
    where : (line, 3) int
        Frame, partition z and line y of the matrix of each line.
    first
        Partition and line of the matrix at which the array begins.
    """

    kspace: Complex
    where: NDArray[np.int64]
    first: tuple[int, int] = (0, 0)

    def by_partition(self) -> Iterator[tuple[NDArray[np.intp], Complex]]:
        """Yield the lines of each partition: their numbers (line,) in `where`, and samples (coil, line, x)."""
        frame, z, y = self.where.T
        _, member = np.unique(np.stack([frame, z]), axis=1, return_inverse=True)
        order = np.argsort(member.reshape(-1), kind="stable")
        starts = np.flatnonzero(np.diff(member.reshape(-1)[order], prepend=-1))
        for numbers in np.split(order, starts[1:]) if len(order) else []:
            one = numbers[0]
            yield numbers, self.kspace[frame[one]][:, z[one] - self.first[0], y[numbers] - self.first[1]]


@dataclass(frozen=True)
class VolumeData:
    """One volume, as a method gets it.

    Parameters
    ----------
    sources
        The lines that were acquired, whitened, each one once.
    acs : (coil, za, ya, x), or None
        Calibration lines in k-space, averaged over time.
    acs_first
        Partition and line of the matrix in which `acs[:, 0, 0]` lies.
    maps : (set, coil, z, y, x), or None
        Coil maps, sum over coils of |map|^2 = 1.
    sampling
        What the lines were found to be.
    whitened
        Whether the noise is known to have unit standard deviation.
    """

    sources: Sequence[Source]
    acs: Complex | None
    acs_first: tuple[int, int]
    maps: Complex | None
    sampling: VolumeSampling
    whitened: bool = True
    _kept: dict[int, Complex] = field(default_factory=dict, repr=False, compare=False)

    @property
    def pixels(self) -> int:
        """Pixels along the readout."""
        return int(self.sources[0].kspace.shape[4])

    @property
    def coils(self) -> int:
        """Channels."""
        return int(self.sources[0].kspace.shape[1])

    @cached_property
    def where(self) -> NDArray[np.int64]:
        """Frame, partition z and line y of each line (line, 3)."""
        return np.concatenate([source.where for source in self.sources])

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Lines (frame, z, y) that were acquired."""
        mask = np.zeros(self.sampling.shape, bool)
        mask[tuple(self.where.T)] = True
        return mask

    @cached_property
    def _plane_sampling(self) -> Sampling:
        return describe(self.mask, self.sampling.centre[0], self.sampling.centre[1])

    def transformed(self) -> Iterator[tuple[NDArray[np.intp], Complex]]:
        """Yield the lines of one partition after the other: numbers (line,) in `where`, and (coil, line, x).

        x is in image space, by the unitary transform.
        """
        before = 0
        for source in self.sources:
            for numbers, lines in source.by_partition():
                checkpoint()
                yield before + numbers, ifftc(lines, -1)
            before += len(source.where)

    def _lines(self, x: int) -> Complex:
        """Samples (coil, line) of the plane at one pixel along the readout."""
        width = -(-self.pixels // PASSES)
        number = x // width
        part = self._kept.get(number)
        if part is None:
            self._kept.clear()
            within = slice(number * width, min((number + 1) * width, self.pixels))
            shape = (within.stop - within.start, self.coils, len(self.where))
            claim(8 * int(np.prod(shape)), "the lines of the volume")
            part = np.empty(shape, np.complex64)
            for numbers, lines in self.transformed():
                part[:, :, numbers] = lines[:, :, within].transpose(2, 0, 1)
            self._kept[number] = part
        plane: Complex = part[x - number * width]
        return plane

    def kspace(self, x: int) -> Complex:
        """K-space (frame, coil, z, y) of the plane at one pixel along the readout; zero where nothing was acquired."""
        frames, nz, ny = self.sampling.shape
        kspace = np.zeros((frames, self.coils, nz, ny), np.complex64)
        frame, z, y = self.where.T
        kspace[frame, :, z, y] = self._lines(x).T
        return kspace

    def plane(self, x: int) -> SliceData:
        """Return one plane as a slice whose axes (y, x) are both phase encodings, (z, y)."""
        maps = None if self.maps is None else np.ascontiguousarray(self.maps[..., x])
        return SliceData(self.kspace(x), self.mask, None, 0, maps, self._plane_sampling, self.whitened)


def volume_of_planes(data: VolumeData, plane: Callable[[int], Complex]) -> Complex:
    """Put the images (frame, z, y) that `plane` makes for each pixel along the readout together: (frame, z, y, x)."""
    frames, nz, ny = data.sampling.shape
    claim(8 * frames * nz * ny * data.pixels, "the images of the volume")
    images = np.empty((frames, nz, ny, data.pixels), np.complex64)
    for x in range(data.pixels):
        checkpoint()
        images[..., x] = plane(x)
    return images


@runtime_checkable
class PlaneByPlane(Protocol):
    """A method that reconstructs the planes of a volume otherwise than slices."""

    def for_planes(self) -> Method:
        """Return the method that makes the planes."""


def by_planes(method: Callable[[SliceData], Reconstruction], data: VolumeData) -> Reconstruction:
    """Reconstruct a volume plane by plane; of numbers among the facts, the largest one is kept.

    Parameters
    ----------
    method
        Reconstructs a slice with any mask.
    data
        The volume.
    """
    facts: dict[str, Fact] = {}
    gfactors: list[NDArray[np.float32]] = []

    def plane(x: int) -> Complex:
        try:
            made = method(data.plane(x))
        except MethodError as error:
            raise MethodError(f"pixel {x} along the readout: {error}") from error
        for name, value in made.facts.items():
            known = facts.get(name, value)
            facts[name] = max(known, value) if isinstance(value, int | float) else _worse(known, value)
        if made.gfactor is not None:
            gfactors.append(np.asarray(made.gfactor, np.float32))
        return np.asarray(made.images, np.complex64)

    images = volume_of_planes(data, plane)
    gfactor = np.stack(gfactors, axis=-1) if len(gfactors) == data.pixels else None
    return Reconstruction(images, gfactor, facts)


def _worse(one: Fact, other: Fact) -> Fact:
    """Return the text other than ``yes``, so that a plane that has not converged is reported."""
    return other if one == "yes" else one
