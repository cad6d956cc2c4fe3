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
from onebreath.gadgets.reconstruct.error_map import error_bound, hidden_by_maps
from onebreath.methods.base import Fact, Method, Reconstruction
from onebreath.methods.noise import Effort, MeasuredNoise, measure_noise
from onebreath.methods.place import Place
from onebreath.mri.sampling import Sampling

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
    error
        Estimated ``||image - truth|| / ||image||`` of the magnitude, which an error map needs.

    Returns
    -------
    maps
        Real arrays (frame, y, x) by role.
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
    own = None if place.fills(method) else result.gfactor  # what is filled holds noise, too
    factor = accelerated_noise(data.sampling)
    measured: MeasuredNoise | None = None
    if own is None or "Normality" in roles or "Error_MAP" in roles:
        measured = measure_noise(
            method,
            data,
            result.images,
            properties.effort,
            partial(place.filled, method=method) if place.fills(method) else None,
            "Normality" in roles,
        )
    if own is not None:
        gfactor: NDArray[Any] = np.broadcast_to(np.asarray(own, np.float32), magnitude.shape)
        snr = ratio(magnitude, gfactor * factor)
    elif measured is not None:
        std = np.broadcast_to(measured.std, magnitude.shape)
        factor *= measured.level
        facts["gfactor"] = f"{measured.how}, noise over {factor:.4g}"
        gfactor, snr = std / factor, ratio(magnitude, std)
    maps = {"Gfactor": gfactor, "SNR_MAP": snr}
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


def accelerated_noise(sampling: Sampling) -> float:
    """Return the standard deviation of noise in images whose g-factor is 1: sqrt(R), or less with partial Fourier.

    R is that of the lattice, or the number of lines in the acquired range over that of the acquired ones.
    """
    first, last = sampling.acquired
    covered = (last - first + 1) / sampling.shape[1]
    acceleration = sampling.acceleration if sampling.uniform else sampling.effective_acceleration * covered
    if sampling.shape[2] > 1:
        covered *= (sampling.readout[1] - sampling.readout[0] + 1) / sampling.shape[2]
    return math.sqrt(acceleration * covered)
