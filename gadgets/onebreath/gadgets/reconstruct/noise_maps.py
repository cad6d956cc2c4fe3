"""Noise maps of the images of any method, sent as separate image series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onebreath.chain.gadget import Properties
from onebreath.gadgets.recon_space import ReconSpace
from onebreath.gadgets.reconstruct.error_map import error_bound, hidden_by_maps
from onebreath.methods.base import Fact, Method, Reconstruction, SliceData
from onebreath.methods.noise import Effort, Finish, MeasuredNoise, measure_noise
from onebreath.methods.place import Place

SERIES = {"Gfactor": 20, "Normality": 21, "Error_MAP": 22, "SNR_MAP": 300}
"""Series number of each map by its role; those of g-factor and SNR are Gadgetron's."""


class NoiseMapProperties(Properties):
    """Properties of `reconstruct` that request noise maps and limit their cost."""

    send_out_gfactor: bool = Field(False, description="send the g-factor map too, as series 20")
    send_out_snr_map: bool = Field(False, description="send the SNR map too, as series 300")
    send_out_normality_map: bool = Field(
        False,
        description="send, as series 21, how far the noise of each pixel is from normal: the Lilliefors statistic of "
        "noise replicas over its 5 % limit; above 1 standard deviations say little",
    )
    send_out_error_map: bool = Field(
        False,
        description="send, as series 22, what the magnitude of a pixel is off by at most, in nine of ten pixels: its "
        "noise, and the lost signal that held-back lines show; these are tested for it whatever choose_within says",
    )
    noise_map_samples: int = Field(
        64,
        ge=2,
        le=10_000,
        description="maps of methods without one of their own: largest number of noise samples (probes of the "
        "derivative, or replicas); the standard error is 1 / sqrt(2 (samples - 1))",
    )
    noise_map_time_budget_s: float = Field(
        60, gt=0, le=3600, description="and largest number of seconds for each slice; images are sent before"
    )
    noise_map_pool_frames: bool = Field(
        False, description="and whether all frames share one map, as if each sample counted once per frame"
    )

    @property
    def map_roles(self) -> list[str]:
        """Roles of the requested maps, in the order of their series."""
        asked = {
            "Gfactor": self.send_out_gfactor,
            "Normality": self.send_out_normality_map,
            "Error_MAP": self.send_out_error_map,
            "SNR_MAP": self.send_out_snr_map,
        }
        return [role for role, wanted in asked.items() if wanted]

    @property
    def effort(self) -> Effort:
        """Limits of time and samples for measuring noise."""
        return Effort(self.noise_map_samples, self.noise_map_time_budget_s, self.noise_map_pool_frames)


def noise_maps(
    method: Method,
    result: Reconstruction,
    place: Place,
    properties: NoiseMapProperties,
    roles: Sequence[str],
    space: ReconSpace,
    error: float | None = None,
) -> tuple[dict[str, NDArray[Any]], dict[str, Fact]]:
    """Make the noise maps of a slice: from the method's own g-factor, else from measured noise.

    Parameters
    ----------
    method, result, place
        What made the images, the finished images, and of what.
    properties
        What they may cost.
    roles
        Which maps.
    space
        Where the images will be shown; g-factor and SNR are those of the pixels there.
    error
        Estimated ``||image - truth|| / ||image||`` of the magnitude, which an error map needs.

    Returns
    -------
    maps
        Real arrays (frame, y, x) by role; g-factor and SNR in the recon space.
    facts
        How they were made.

    Raises
    ------
    TimeoutError
        If the time does not suffice for as many noise samples as are needed.
    MethodError
        If the noise of the samples is not known.
    """
    data = place.data_for(method)
    magnitude, facts = np.abs(result.images), dict[str, Fact]()
    shown = np.abs(space.bring(result.images))
    own = None if place.fills(method) else result.gfactor  # what is filled holds noise, too
    factor = data.sampling.accelerated_noise
    measured: MeasuredNoise | None = None
    if own is None or "Normality" in roles or "Error_MAP" in roles:
        finish = partial(place.filled, method=method) if place.fills(method) else None
        measured, std = measured_beside(
            method, data, result.images, properties.effort, space, finish, "Normality" in roles
        )
    if own is not None:
        gfactor = np.broadcast_to(np.asarray(own, np.float32), magnitude.shape)
        maps = maps_of_gfactor(gfactor, shown, factor, space)
    elif measured is not None:
        std = np.broadcast_to(std, shown.shape)
        factor *= space.noise * measured.level
        facts["gfactor"] = f"{measured.how}, noise over {factor:.4g}"
        maps = {"Gfactor": std / factor, "SNR_MAP": ratio(shown, std)}
    if measured is not None and "Error_MAP" in roles and error is not None:
        bound, lost = error_bound(magnitude, measured.std, error)
        maps["Error_MAP"] = np.maximum(bound, hidden_by_maps(data))
        facts["error_map"] = f"90 % bound of an error of {error:.4f}, {lost:.0%} of it lost signal; {measured.how}"
    if measured is not None and measured.normality is not None:
        maps["Normality"] = measured.normality
        facts["normality"] = f"Lilliefors statistic over its 5 % limit, {measured.how}"
    return {role: maps[role] for role in roles}, facts


def ratio(magnitude: NDArray[Any], noise: NDArray[Any]) -> NDArray[Any]:
    """Return the magnitude over the noise; 0 where there is none, as nothing was measured there."""
    return np.where(noise > 0, magnitude / np.where(noise > 0, noise, 1), 0)


def maps_of_gfactor(
    gfactor: NDArray[np.float32], shown: NDArray[np.floating], accelerated: float, space: ReconSpace
) -> dict[str, NDArray[Any]]:
    """Return the maps of g-factor and SNR in the recon space.

    Parameters
    ----------
    gfactor
        Of the images, as the method knows it (frame, [z,] y, x).
    shown
        Magnitude in the recon space.
    accelerated
        Noise of the images where g is 1, see `Sampling.accelerated_noise`.
    space
        From the one to the other.
    """
    placed = space.spread(gfactor)
    return {"Gfactor": placed, "SNR_MAP": ratio(shown, placed * (space.noise * accelerated))}


def measured_beside(
    method: Method,
    data: SliceData,
    images: NDArray[np.complex64],
    effort: Effort,
    space: ReconSpace,
    finish: Finish | None = None,
    normality: bool = False,
) -> tuple[MeasuredNoise, NDArray[Any]]:
    """Measure the noise of a slice's images; return it for their pixels, and its standard deviation in the recon space.

    What a smaller matrix leaves of the noise depends on where in k-space a method has it. So each sample of noise is
    brought to the recon space like the images: both kinds of pixels are measured side by side, as one row.
    """
    if not space.changes:
        found = measure_noise(method, data, images, effort, finish, normality)
        return found, found.std

    def beside(made: NDArray[Any]) -> NDArray[np.complex64]:
        done = np.asarray(made if finish is None else finish(made), np.complex64)
        return _in_a_row(done, space.bring(done))

    brought = space.bring(images)
    found = measure_noise(method, data, _in_a_row(images, brought), effort, beside, normality)
    own, placed = (one.shape[1:] for one in (images, brought))
    count = math.prod(own)
    tested = None if found.normality is None else found.normality[..., :count].reshape(-1, *own)
    std = found.std[..., :count].reshape(-1, *own)
    return MeasuredNoise(std, found.how, tested, found.level), found.std[..., count:].reshape(-1, *placed)


def _in_a_row(*images: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return the pixels of images (frame, y, x) of any sizes as one (frame, 1, pixels)."""
    return np.concatenate([one.reshape(len(one), 1, -1) for one in images], axis=-1)
