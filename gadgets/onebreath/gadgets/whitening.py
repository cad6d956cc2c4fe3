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
    """Finds channels that hold only zeros, in all lines or in some: unplugged, dead, or dropped out.

    A noise scan from another time cannot show it. Lines without any signal are not counted.
    """

    def __init__(self) -> None:
        self._silent = np.zeros(0, np.int64)
        self._lines = 0

    def see(self, samples: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Return samples (..., coil, x) of lines; only those with a zero in the middle are looked at more closely."""
        lines = samples.reshape(-1, *samples.shape[-2:])
        if not self._lines:
            self._silent = np.zeros(lines.shape[1], np.int64)
        if len(self._silent) != lines.shape[1]:
            return samples
        suspected = (lines[:, :, lines.shape[2] // 2] == 0).any(axis=1)
        self._lines += len(lines)
        if suspected.any():
            silent = ~(lines[suspected] != 0).any(axis=2)
            empty = silent.all(axis=1)
            self._lines -= int(empty.sum())
            self._silent += silent[~empty].sum(axis=0)
        return samples

    def warnings(self) -> list[str]:
        """Return warnings that name the silent channels; none if there are none."""
        said = []
        always, at_times = (self._silent == self._lines) & (self._lines > 0), self._silent > 0
        if always.any():
            named = listed(np.flatnonzero(always).tolist())
            said.append(
                f"Channel {named} of the scan holds only zeros: check the coil and its plug. The others were used."
            )
        if (dropped := at_times & ~always).any():
            named, most = listed(np.flatnonzero(dropped).tolist()), int(self._silent[dropped].max())
            said.append(
                f"Channel {named} of the scan holds only zeros in up to {most} of {self._lines} lines, and a signal in "
                "others: it dropped out. Images of these lines may have artefacts: check the coil and its plug, and "
                "repeat the scan."
            )
        return said
