"""Acquisitions and waveforms with the headers a Siemens scanner sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ismrmrd import Acquisition, AcquisitionHeader, Waveform

from onebreath.simulation.geometry import Directions
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.physiology import TICK_MS, ecg
from onebreath.simulation.sampling import Lines, Readout
from onebreath.simulation.schedule import Line, Rhythm

NOISE_FLAG = 19
ECG_WAVEFORM_ID = 0
_MEASUREMENT_UID = 1
# The first R-wave of the scan, in ticks since midnight; the noise scan ends a little before it.
_START_TICK = 32_500_000
_NOISE_PAUSE_MS = 500.0
_CENTRE_LINE_USER, _CENTRE_PARTITION_USER = 5, 6


class Headers:
    """Factory of the acquisition headers of one scan.

    Parameters
    ----------
    options
        The scan.
    plan, readout
        Its lines and samples.
    axes
        Directions of the slices.
    positions_mm
        Centre of each slice (slice, 3) in patient coordinates.
    """

    def __init__(
        self, options: ScanOptions, plan: Lines, readout: Readout, axes: Directions, positions_mm: np.ndarray
    ) -> None:
        self._options, self._plan, self._readout = options, plan, readout
        self._axes, self._positions = axes, positions_mm

    def line(self, line: Line, scan_counter: int) -> AcquisitionHeader:
        """Header of an image or calibration line."""
        header = self._common(line.slice, scan_counter, line.time_ms)
        header.flags = sum(1 << (flag - 1) for flag in line.flags)
        header.physiology_time_stamp[0] = int(line.since_r_ms // TICK_MS)
        header.number_of_samples = self._readout.samples
        header.center_sample = self._readout.centre_sample
        header.sample_time_us = self._options.dwell_us
        header.idx.kspace_encode_step_1 = self._plan.counter(line.row)
        for counter in ("average", "slice", "contrast", "phase", "repetition", "set", "segment"):
            setattr(header.idx, counter, getattr(line, counter))
        header.idx.user[_CENTRE_LINE_USER] = self._plan.counter(self._plan.centre)
        if self._options.partitions > 1:
            header.idx.kspace_encode_step_2 = self._plan.partition_counter(line.partition)
            header.idx.user[_CENTRE_PARTITION_USER] = self._plan.partition_counter(self._plan.matrix[0] // 2)
        return header

    def noise(self, index: int) -> AcquisitionHeader:
        """Header of a noise line; noise lines come first in a scan."""
        options = self._options
        duration = options.noise_samples * options.noise_dwell_us / 1000 + 1
        header = self._common(0, index + 1, (index - options.noise_lines) * duration - _NOISE_PAUSE_MS)
        header.flags = 1 << (NOISE_FLAG - 1)
        header.number_of_samples = options.noise_samples
        header.sample_time_us = options.noise_dwell_us
        return header

    def _common(self, slice_index: int, scan_counter: int, time_ms: float) -> AcquisitionHeader:
        header = AcquisitionHeader()
        header.version = 1
        header.measurement_uid = _MEASUREMENT_UID
        header.scan_counter = scan_counter
        header.acquisition_time_stamp = _ticks(time_ms)
        header.available_channels = header.active_channels = self._options.coils
        header.position[:] = self._positions[slice_index].tolist()
        header.read_dir[:] = self._axes.read.tolist()
        header.phase_dir[:] = self._axes.phase.tolist()
        header.slice_dir[:] = self._axes.slice.tolist()
        return header


def make_acquisitions(
    headers: Headers, noise: np.ndarray, lines: Sequence[Line], data: np.ndarray
) -> list[Acquisition]:
    """Acquisitions in the order of time, the noise scan first.

    Parameters
    ----------
    headers
        Factory of the headers.
    noise, data
        Noise lines and other lines ``(line, coil, sample)`` complex64.
    lines
        Counters, flags and times of the other lines.
    """
    first = [Acquisition(headers.noise(index), values) for index, values in enumerate(noise)]
    rest = zip(lines, data, strict=True)
    counter = len(first) + 1
    return first + [Acquisition(headers.line(line, counter + i), values) for i, (line, values) in enumerate(rest)]


def make_waveforms(options: ScanOptions, rhythm: Rhythm, lines: Sequence[Line]) -> list[Waveform]:
    """ECG waveforms from half a heartbeat before the scan to half a heartbeat after it."""
    if not options.ecg:
        return []
    margin = options.rr_ms / 2
    records = ecg(rhythm.r_waves_ms, -margin, lines[-1].time_ms + margin, options.seed)
    times = np.array([line.time_ms for line in lines])
    offset = (options.noise_lines if options.snr > 0 else 0) + 1
    return [
        Waveform.from_array(
            samples,
            waveform_id=ECG_WAVEFORM_ID,
            measurement_uid=_MEASUREMENT_UID,
            scan_counter=offset + int(np.searchsorted(times, start)),
            time_stamp=_ticks(start),
            sample_time_us=TICK_MS * 1000,
        )
        for start, samples in records
    ]


def _ticks(time_ms: float) -> int:
    return _START_TICK + int(np.floor(time_ms / TICK_MS + 1e-6))
