"""Trajectories of lines: check that they are Cartesian."""

from __future__ import annotations

import ismrmrd
import numpy as np

from onebreath.errors import ScanError
from onebreath.mrd.lines import describe, header_of

_EVEN = 0.05
"""By which part of the distance of neighbouring samples a Cartesian line may deviate."""


class Trajectories:
    """Checks that lines of one scan run along the readout, evenly, all over the same positions."""

    def __init__(self) -> None:
        self._readout: dict[int, np.ndarray] = {}

    def check(self, line: ismrmrd.Acquisition) -> None:
        """Check a line that may carry a trajectory.

        Raises
        ------
        ScanError
            If it is not Cartesian; the text says how.
        """
        header = header_of(line)
        samples, dimensions = header.number_of_samples, header.trajectory_dimensions
        if not dimensions or samples < 2 or not np.any(line.traj):
            return
        path = np.asarray(line.traj, float)
        along = path[:, 0]
        step = abs(along[-1] - along[0]) / (samples - 1)
        problem = ""
        if np.ptp(path[:, 1:], axis=0).max(initial=0) > max(step, 1e-6) * _EVEN * samples**0.5:
            problem = "it leaves the readout direction"
        elif step == 0 or np.abs(np.diff(along) - (along[-1] - along[0]) / (samples - 1)).max() > _EVEN * step:
            problem = "its samples are not evenly spaced (ramp sampling?)"
        else:
            forward = along if along[-1] > along[0] else along[::-1]
            known = self._readout.setdefault(samples, forward)
            if np.abs(known - forward).max() > step:
                problem = "its samples lie elsewhere than those of the lines before it"
        if problem:
            raise ScanError(
                f"The lines carry a trajectory that is not Cartesian: that of {describe(header)} shows that {problem}. "
                "The header says cartesian; only Cartesian scans can be reconstructed."
            )
