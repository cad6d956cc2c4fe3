"""Whitening matrices of a noise covariance, and the check that it fits the scan's lines."""

from __future__ import annotations

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath.mrd.lines import header_of, measured
from onebreath.mri.noise import edge_noise, gadgetron_scale, whitening_matrix
from onebreath.names import listed
from onebreath.storage.noise import StoredCovariance

STORED_NOISE = 0.5, 5.0
"""Noise of whitened lines for which a covariance from another scan is believed; 1 if all is right."""
POSSIBLE_NOISE = 1e-4, 1e4
"""Noise of whitened lines beyond which the scan's own noise lines are of something else."""


class Whitening:
    """The whitening transform of a scan.

    Parameters
    ----------
    covariance
        Of the noise lines, in the scan's channel order.
    bandwidth
        The receiver's relative noise bandwidth.
    """

    def __init__(self, covariance: StoredCovariance, bandwidth: float) -> None:
        self.covariance = covariance
        self._bandwidth = bandwidth
        self._matrices: dict[float, NDArray[np.complex64]] = {}

    def scale(self, dwell: float) -> float:
        """Return the factor between the noise lines and lines of this dwell time (us)."""
        noise_dwell = self.covariance.dwell_us
        if min(dwell, noise_dwell) <= 0:
            # Not stated: the noise was then measured like the lines; the note says "dwell_known: false".
            return gadgetron_scale(1.0, 1.0, self._bandwidth)
        return gadgetron_scale(dwell, noise_dwell, self._bandwidth)

    def matrix(self, dwell: float) -> NDArray[np.complex64]:
        """Return the whitening matrix (coil, coil) for lines of this dwell time (us)."""
        if dwell not in self._matrices:
            made = whitening_matrix(self.covariance.matrix, self.scale(dwell))
            self._matrices[dwell] = np.ascontiguousarray(made)
        return self._matrices[dwell]

    def facts(self, dwell: float) -> dict[str, str | int | float | bool]:
        """Return facts about the whitening of lines of this dwell time (us), for the note of `prewhiten`."""
        used = self.covariance
        return {
            "noise_source": used.source,
            "noise_samples": used.samples,
            "noise_std": float(f"{np.sqrt(np.median(np.diag(used.matrix).real) / 2):.6g}"),
            "noise_dwell_us": round(used.dwell_us, 4),
            "dwell_us": round(dwell, 4),
            "noise_bandwidth": round(self._bandwidth, 6),
            "noise_scale": round(self.scale(dwell), 6),
            "dwell_known": min(dwell, used.dwell_us) > 0,
        }

    def unfit(self, lines: list[ismrmrd.Acquisition], limits: tuple[float, float]) -> str:
        """Describe why the covariance does not fit these lines; empty if it does.

        Parameters
        ----------
        lines
            The first lines of the scan; those with other channels are not looked at.
        limits
            Least and greatest noise that the whitened lines may have.
        """
        channels = len(self.covariance.matrix)
        fitting = [line for line in lines if header_of(line).active_channels == channels]
        with np.errstate(over="ignore", invalid="ignore"):  # samples that no receiver makes: they fit no noise
            level = edge_noise(
                self.matrix(header_of(line).sample_time_us) @ line.data[:, measured(line)] for line in fitting
            )
        if level is None or limits[0] <= level <= limits[1]:
            return ""
        return f"whitened by it, the quietest samples of the lines have a noise of {level:.3g} instead of 1"


class SilentChannels:
    """Finds channels that hold only zeros: unplugged or dead, which a noise scan from another time cannot show."""

    def __init__(self) -> None:
        self._silent: NDArray[np.bool_] | None = None

    def see(self, samples: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Return samples (..., coil, x) of lines; they are looked at until all channels have shown a signal."""
        if self._silent is None:
            self._silent = np.ones(samples.shape[-2], bool)
        if self._silent.any() and len(self._silent) == samples.shape[-2]:
            self._silent &= ~(samples != 0).any(axis=(*range(samples.ndim - 2), samples.ndim - 1))
        return samples

    def warnings(self) -> list[str]:
        """Return a warning that names the silent channels; none if there are none, or if all are silent."""
        if self._silent is None or not self._silent.any() or self._silent.all():
            return []
        named = listed(np.flatnonzero(self._silent).tolist())
        return [f"Channel {named} of the scan holds only zeros: check the coil and its plug. The others were used."]
