"""GRAPPA of scans with partitions: planes filled with the kernels of their lattice, coils combined, g-factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import MethodError
from onebreath.methods.base import Fact, Reconstruction, join_sets
from onebreath.methods.grappa.validation import STRENGTHS, Energies
from onebreath.methods.grappa.volume_kernels import KernelShape, VolumeKernels, calibrate_volume
from onebreath.methods.volumes.data import VolumeData, volume_of_planes
from onebreath.mri.coils import combine
from onebreath.mri.fourier import ifft2c
from onebreath.mri.volume_maps import volume_maps

Complex = NDArray[np.complex64]

_NOISE = 2.0
"""Mean squared magnitude of the noise of a whitened sample."""
_EDGE = 1 / 16
"""Part of the readout, at each end, whose weaker energy is taken for that of the noise where that is not known."""


def reconstruct_volume(data: VolumeData, parameters: Any) -> Reconstruction:
    """Reconstruct a volume with the parameters of `Grappa`; see `Grappa.volume`."""
    if data.coils < 2:
        raise MethodError("grappa needs at least 2 channels to tell aliased pixels apart, there is 1")
    kernels = None if data.sampling.family == "full" else _kernels(data, parameters)
    maps, from_where = data.maps, "given"
    if maps is None:
        maps, from_where = _own_maps(data, parameters.coil_map_algorithm), parameters.coil_map_algorithm
    mask, any_frame = data.mask, np.asarray(data.mask.any(axis=0))
    gfactors: list[NDArray[np.float32]] = []
    acquired = int((mask[0] & _lattice_points(data)).sum())
    covered = int(data.sampling.region.sum())

    def plane(x: int) -> Complex:
        kspace, of_plane = data.kspace(x), np.ascontiguousarray(maps[..., x])
        if kernels is not None:
            kspace = kernels.fill(kspace, any_frame, data.sampling.region, x)
            if parameters.gfactor:
                gfactors.append(kernels.gfactor(of_plane[0], x, acquired, covered))
        images = ifft2c(kspace)
        return np.asarray(join_sets(np.stack([combine(images, one) for one in of_plane])), np.complex64)

    images = volume_of_planes(data, plane)
    images[list(data.sampling.empty_frames)] = 0
    facts = _facts(kernels, data, from_where)
    facts["gfactor"] = "closed form" if parameters.gfactor else "not asked for"
    gfactor = np.stack(gfactors, axis=-1)[None] if gfactors else None
    if parameters.gfactor and gfactor is None:
        gfactor = np.ones((1, *images.shape[1:]), np.float32)
    return Reconstruction(images, gfactor, facts)


def _kernels(data: VolumeData, parameters: Any) -> VolumeKernels:
    if data.sampling.lattice is None:
        raise MethodError(
            f"grappa: the lines of this scan with partitions are no lattice (family '{data.sampling.family}'), which "
            "its kernels need there; use cg_sense"
        )
    if data.acs is None:
        raise MethodError("grappa needs calibration lines (ACS), and this scan has none; use cg_sense with coil maps")
    multiples = STRENGTHS if parameters.grappa_validation else (1,)
    shape = KernelShape(
        lines=(parameters.grappa_kSize_E2, parameters.grappa_kSize_E1),
        sources=parameters.grappa_sources,
        width=parameters.grappa_kSize_RO,
        regularisations=tuple(parameters.grappa_reg_lamda * one for one in multiples),
    )
    return calibrate_volume(data.acs, data.sampling.lattice, shape, _energies(data))


def _energies(data: VolumeData) -> Energies:
    """Mean squared magnitudes of noise, and of the lines outside the calibration block."""
    assert data.acs is not None
    _, z, y = data.where.T
    (z0, y0), (nz, ny) = data.acs_first, data.acs.shape[1:3]
    outside = ~((z >= z0) & (z < z0 + nz) & (y >= y0) & (y < y0 + ny))
    if not outside.any():
        outside[:] = True
    along = np.zeros(data.pixels)
    for numbers, lines in data.transformed():
        along += np.sum(np.abs(lines[:, outside[numbers]]) ** 2, axis=(0, 1))
    along /= data.coils * int(outside.sum())
    edge = max(int(data.pixels * _EDGE), 1)
    noise = _NOISE if data.whitened else float(min(along[:edge].mean(), along[-edge:].mean()))
    return Energies(noise, noise, max(float(along.mean()) - noise, 0.0))


def _own_maps(data: VolumeData, algorithm: Any) -> Complex:
    if data.acs is None:
        raise MethodError("grappa needs coil maps or calibration lines to combine the channels; there are neither")
    maps = np.empty((1, data.coils, *data.sampling.shape[1:], data.pixels), np.complex64)
    volume_maps(data.acs, data.acs_first, maps, algorithm, {})
    return maps


def _lattice_points(data: VolumeData) -> NDArray[np.bool_]:
    """Return which positions (z, y) are points of the lattice; all without one."""
    lattice = data.sampling.lattice
    return np.ones(data.sampling.shape[1:], bool) if lattice is None else lattice.points(data.sampling.shape[1:])


def _facts(kernels: VolumeKernels | None, data: VolumeData, maps: str) -> dict[str, Fact]:
    facts: dict[str, Fact] = {"coil_maps": maps, "kernel": "none", "kernel_reason": "every line was measured"}
    if kernels is not None:
        counts = [len(one.sources) for one in kernels.positions]
        facts |= {
            "kernel": "uniform",
            "kernel_reason": f"the lines are a lattice of {kernels.lattice}",
            "kernel_size": f"{min(counts)} to {max(counts)} lines x {kernels.width} samples",
            "equations_per_unknown": round(kernels.equations, 2),
            "regularisation": kernels.regularisation,
        }
    if data.acs is not None:
        facts["acs_lines"] = f"{data.acs.shape[2]} x {data.acs.shape[1]}"
    return facts
