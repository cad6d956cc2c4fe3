"""Scans with partitions in `reconstruct`: input of methods from a message, and noise maps of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from gadgetron.types import ReconData
from numpy.typing import NDArray

from onebreath.errors import MethodError
from onebreath.gadgets.recon_space import ReconSpace
from onebreath.gadgets.reconstruct.gather import Gathering
from onebreath.gadgets.reconstruct.noise_maps import NoiseMapProperties, maps_of_gfactor, measured_beside, ratio
from onebreath.methods.base import Fact, Method, Reconstruction
from onebreath.methods.place import FILLS, filling, snr_scale_of
from onebreath.methods.volumes.data import PlaneByPlane, Source, VolumeData
from onebreath.methods.volumes.place import VolumePlace
from onebreath.mrd.buffers import RO, maps_of, places
from onebreath.mrd.volumes import (
    calibration_block,
    centre_of,
    embedded_lines,
    lines_of_volume,
    mode_of_volume,
    volume_of,
)
from onebreath.mri.volume_sampling import VolumeSampling, describe_volume


def volume_places(how: Gathering, recon_data: ReconData) -> list[VolumePlace]:
    """Return all places of a message with partitions, sets before slabs; ScanError if one cannot be used."""
    merge = how.acs_as_data == "yes"
    if how.acs_as_data == "auto":
        merge = mode_of_volume(recon_data, how.header.calibration_mode) == "embedded"
    found = []
    for s, loc in places(recon_data):
        buffer = recon_data.bits[0].data
        scale = snr_scale_of(_described(buffer, lines_of_volume(buffer, s, loc)))
        always = how.acs_as_data == "yes"
        gather = partial(_gathered, recon_data, s, loc, merge, always, how.whitened)
        found.append(VolumePlace(s, loc, gather, scale, how.fill, how.wanted))
    return found


def _gathered(
    recon_data: ReconData, s: int, loc: int, merge: bool, always: bool, whitened: bool, acs_as_data: bool
) -> VolumeData:
    """Gather the lines of one set and slab.

    Embedded calibration lines count as data where imaging lines lack, if they are to be merged at all (`merge`), for
    all methods (`always`) or for those that want it (`acs_as_data`).
    """
    buffer = recon_data.bits[0].data
    kspace, acquired = volume_of(buffer, s, loc), lines_of_volume(buffer, s, loc)
    sources = [Source(kspace, np.argwhere(acquired))]
    embedded = embedded_lines(recon_data, s, loc) if merge and (always or acs_as_data) else None
    if embedded is not None:
        lines, first = embedded
        in_matrix = np.argwhere(lines) + np.array([0, *first])
        in_matrix = in_matrix[~acquired[tuple(in_matrix.T)]]
        sources.append(Source(volume_of(recon_data.bits[0].ref, s, loc), in_matrix, first))
        acquired = acquired.copy()
        acquired[tuple(in_matrix.T)] = True
    block = calibration_block(recon_data, s, loc)
    acs, first_of_acs = (None, (0, 0)) if block is None else (block.lines, block.first)
    described = _described(buffer, acquired)
    return VolumeData(sources, acs, first_of_acs, maps_of(recon_data, s, loc), described, whitened)


def _described(buffer: Any, acquired: NDArray[np.bool_]) -> VolumeSampling:
    limits, samples = buffer.sampling.sampling_limits[RO], buffer.data.shape[0]
    return describe_volume(acquired, centre_of(buffer), (limits.min, min(limits.max, samples - 1)), samples)


def volume_noise_maps(
    method: Method,
    result: Reconstruction,
    place: VolumePlace,
    properties: NoiseMapProperties,
    roles: Sequence[str],
    space: ReconSpace,
) -> tuple[dict[str, NDArray[Any]], dict[str, Fact]]:
    """Make the noise maps (frame, z, y, x) of a volume, as `noise_maps` does for slices.

    Raises
    ------
    MethodError
        If they would have to be measured after a partial Fourier reconstruction.
    TimeoutError
        If the time does not suffice for as many noise samples as are needed.
    """
    shown, facts = np.abs(space.bring(result.images)), dict[str, Fact]()
    maps: dict[str, NDArray[Any]] = {}
    data = place.volume_for(method)
    factor = data.sampling.accelerated_noise
    if result.gfactor is not None and filling(place, method, data.sampling) not in FILLS:
        gfactor = np.broadcast_to(np.asarray(result.gfactor, np.float32), result.images.shape)
        maps |= maps_of_gfactor(gfactor, shown, factor, space)
    if not set(roles) <= set(maps):
        std, normality, how, level = _measured(method, result, data, properties, space, "Normality" in roles)
        factor *= space.noise * level
        facts["gfactor"] = f"{how}, noise over {factor:.4g}"
        measured = {"Gfactor": std / factor, "SNR_MAP": ratio(shown, std)}
        maps = {**measured, **maps}
        if normality is not None:
            maps["Normality"] = normality
            facts["normality"] = f"Lilliefors statistic over its 5 % limit, {how}"
    return {role: maps[role] for role in roles}, facts


def _measured(
    method: Method,
    result: Reconstruction,
    data: VolumeData,
    properties: NoiseMapProperties,
    space: ReconSpace,
    tested: bool,
) -> tuple[NDArray[Any], NDArray[Any] | None, str, float]:
    """Measure the noise of a volume, plane by plane.

    Return its standard deviation (frame, z, y, x) in the recon space, its test (frame, z, y, x) for the pixels of the
    image, how it was measured, and the noise of the samples. Along the readout, whose samples are all acquired, noise
    is white.
    """
    if not data.sampling.complete:
        raise MethodError(f"noise maps of {method.name} are not made for scans with partitions and partial Fourier")
    plane, method = space.plane, method.for_planes() if isinstance(method, PlaneByPlane) else method
    effort = replace(properties.effort, seconds=properties.effort.seconds / data.pixels)
    planes: list[NDArray[Any]] = []
    normality = np.empty(result.images.shape, np.float32) if tested else None
    how, level = "", 1.0
    for x in range(data.pixels):
        images = result.images[..., x]
        found, std = measured_beside(method, data.plane(x), images, effort, plane, normality=tested)
        planes.append(np.broadcast_to(std, (len(images), *std.shape[1:])))
        how, level = found.how, found.level
        if normality is not None and found.normality is not None:
            normality[..., x] = found.normality
    return space.readout.spread(np.stack(planes, axis=-1)) * space.readout.noise, normality, how, level
