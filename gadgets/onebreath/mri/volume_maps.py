"""Coil maps of a volume from its calibration block, plane by plane.

An inverse transform along the readout, which is complete, leaves one small calibration problem in the plane of both
phase encodings for each pixel along it. It needs the memory of one plane, where windows in three dimensions would need
many times that of the k-space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onebreath.cancellation import checkpoint
from onebreath.errors import ScanError
from onebreath.mri.coils import inati_maps, pca_matrix, phase_factor, walsh_maps
from onebreath.mri.espirit import MOST_LOST, cropped
from onebreath.mri.fourier import ifft2c, ifftc, resize

Complex = NDArray[np.complex64]
Algorithm = Literal["espirit", "inati", "walsh"]

PASSES = 8
"""How often the block is transformed, each time for this part of the readout: that of all planes would be a second one.
"""


def volume_maps(
    acs: Complex, first: tuple[int, int], maps: Complex, algorithm: Algorithm, settings: Mapping[str, Any]
) -> int:
    """Compute the coil maps of a volume, with unit sum of squares over the coils, in place.

    Parameters
    ----------
    acs : (coil, za, ya, x)
        Calibration block in k-space, whitened.
    first
        Partition and line of the matrix at which it begins.
    maps : (set, coil, z, y, x)
        Output; zero where the block holds no signal.
    algorithm
        Algorithm for the maps of a plane.
    settings
        Parameters of `cropped`; `size` is the largest number of lines, partitions and samples used.

    Returns
    -------
    int
        Number of planes whose maps were not cropped because that would have removed parts of the body.

    Raises
    ------
    ScanError
        If the block is too small, or holds no signal at all.
    """
    chosen = dict(settings)
    size, pixels, shape = int(chosen.pop("size", 32)), acs.shape[-1], maps.shape[2:4]
    principal = _principal(acs)
    lost: list[float] = []
    if algorithm == "espirit":
        z, y = (_middle(n, f, m, size) for n, f, m in zip(acs.shape[1:3], first, shape, strict=True))
        acs, make = acs[:, z, y], _espirit_of(shape, chosen, lost)
    else:
        make = _images_of(first, shape, algorithm)
    for x, block in enumerate(_planes(acs, _taper(pixels, size))):
        checkpoint()
        if not block.any():
            maps[..., x] = 0
            continue
        plane = make(block)
        # Each plane has a phase of its own; one reference coil for all makes it smooth along x.
        reference = np.tensordot(plane, principal, axes=((1,), (0,)))
        maps[..., x] = plane * np.conj(phase_factor(reference))[:, None]
    return sum(one > MOST_LOST for one in lost)


def _principal(acs: Complex) -> Complex:
    """Return the first principal component (coil,) of a block; partition by partition, which needs no copy of it."""
    coils = len(acs)
    total = np.zeros((coils, coils), np.complex128)
    for z in range(acs.shape[1]):
        lines = acs[:, z].reshape(coils, -1)
        total += lines @ lines.conj().T
    energy = np.trace(total).real
    if not np.isfinite(energy) or energy == 0:
        raise ScanError("The calibration lines hold no signal (all zero, NaN or Inf), so no coil maps can be computed.")
    return np.asarray(pca_matrix(total / energy, 1)[0], np.complex64)


def _planes(acs: Complex, window: NDArray[np.float32]) -> Iterator[Complex]:
    """Give the block's planes (coil, z, y) along x, in image space; a part of them is made at a time."""
    pixels = acs.shape[-1]
    width = -(-pixels // PASSES)
    for start in range(0, pixels, width):
        part = np.empty((min(width, pixels - start), *acs.shape[:3]), np.complex64)
        for coil, partitions in enumerate(acs):
            for z, lines in enumerate(partitions):
                part[:, coil, z] = ifftc(lines * window, -1)[:, start : start + width].T
        yield from part


def _espirit_of(shape: tuple[int, int], settings: dict[str, Any], lost: list[float]) -> Callable[[Complex], Complex]:
    """Function from a plane's calibration block to its ESPIRiT maps; appends to `lost` what cropping would remove."""

    def make(block: Complex) -> Complex:
        kernel = tuple(min(settings.get("kernel", 6), n) for n in block.shape[1:])
        # No field of view is wider here: both axes of a plane are phase encoded, and what is too large folds over.
        found, away = cropped(block, shape, **{"crop": None, **settings, "kernel": kernel, "wider": 1})
        lost.append(away)
        return np.asarray(found, np.complex64)

    return make


def _images_of(first: tuple[int, int], shape: tuple[int, int], algorithm: str) -> Callable[[Complex], Complex]:
    """Function from a plane's calibration block to its maps by Inati's or Walsh's algorithm."""

    def make(plane: Complex) -> Complex:
        coils, nz, ny = plane.shape
        placed = np.zeros((coils, *shape), np.complex64)
        window = _hann(nz)[:, None] * _hann(ny)
        placed[:, first[0] : first[0] + nz, first[1] : first[1] + ny] = plane * window
        images = ifft2c(placed)
        return np.asarray((inati_maps if algorithm == "inati" else walsh_maps)(images), np.complex64)[None]

    return make


def _middle(count: int, first: int, matrix: int, size: int) -> slice:
    """Calibration lines that lie symmetrically around the centre of the matrix, at most `size`."""
    centre = matrix // 2 - first
    half = min(centre, count - centre, size // 2)
    if half * 2 < min(size, count) // 2:
        raise ScanError(
            f"The calibration lines, rows {first} to {first + count - 1}, do not surround the k-space centre "
            f"{matrix // 2}."
        )
    return slice(centre - half, centre + half) if half else slice(centre, centre + 1)


def _hann(size: int) -> NDArray[np.float32]:
    return np.hanning(size + 2)[1:-1].astype(np.float32)


def _taper(pixels: int, size: int) -> NDArray[np.float32]:
    """Window along the readout: maps are smooth, so samples far from the centre contribute little but noise."""
    return np.asarray(resize(_hann(min(pixels, 2 * size)), (pixels,)), np.float32)
