"""Simulated scans: acquisitions in the order of time, and the ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ismrmrd import Acquisition, Waveform, xsd

from onebreath.keeping import whole
from onebreath.simulation.encoding import Receiver, crop_readout, encode, make_receiver, scan_grid
from onebreath.simulation.field.changes import changed_header, changed_lines
from onebreath.simulation.geometry import Directions, Grid, chronological, directions, slice_offsets
from onebreath.simulation.mrd_file import write_mrd
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.phantom import Phantom
from onebreath.simulation.receive import add_noise, noise_scan
from onebreath.simulation.records import Headers, make_acquisitions, make_waveforms
from onebreath.simulation.sampling import Readout, plan_lines, plan_readout
from onebreath.simulation.scan_header import make_header
from onebreath.simulation.schedule import Schedule, frame_state, plan_schedule
from onebreath.simulation.signals.disc import WaterDisc
from onebreath.simulation.signals.lines import Encoder, line_signals, line_truth
from onebreath.simulation.signals.slab import partition_heights, slab_encoder, volume_truth
from onebreath.simulation.signals.texture import TexturedChest

__all__ = ["ScanOptions", "SimulatedScan", "simulate"]

TRUTH = ".npz"
"""What the name of the truth ends with; it is else that of the raw data."""

# Phase added to the image by each set, in rad.
_SET_PHASE = 0.5


@dataclass(frozen=True)
class SimulatedScan:
    """A simulated scan and its ground truth.

    Attributes
    ----------
    header
        ISMRMRD header.
    acquisitions
        Noise lines, then everything else in the order of time.
    waveforms
        ECG in the order of time; four leads and the trigger channel.
    truth
        Arrays; slice, frame, set, ... are the counters of the acquisitions:

        - ``image`` (slice, frame, y, x) complex64: the object as a fully sampled, noise-free scan shows it after
          whitening, in SNR units of the unitary transform: ``sum_c conj(S_c) m_c`` with whitened coil images m and
          whitened maps S of unit root sum of squares. Noise of a fully sampled scan has unit standard deviation in its
          real and in its imaginary part. It is the image of repetition 0, set 0, contrast 0; retrospective scans have
          ``phases`` frames here, evenly over the RR interval, whatever the range of the phase counter.
        - ``set_factor`` (set,), ``contrast_factor`` (contrast,) complex64: the image of another set or contrast is
          ``image`` times these.
        - ``maps`` (slice, coil, y, x) complex64: maps before whitening, in the scale of the raw data: a fully sampled
          coil image is ``maps * object`` with ``object = image / root sum of squares of the whitened maps``.
        - ``covariance`` (coil, coil) complex128: ``E[n n^H]`` of the noise of a sample of the image lines; without
          noise twice the identity, so that whitening changes nothing.
        - ``mask`` (slice, phase, y) bool: rows with image lines, by the value of the phase counter.
        - ``calibration_mask`` (slice, phase, y) bool: rows with calibration lines (flags 20 and 21).
        - ``frame_times_ms`` (frame,): time after the R-wave; without segments after the start of the slice.
        - ``rr_intervals_ms`` (beat,): the first R-wave is at time 0.
        - ``heart_mask`` (slice, y, x) bool: region of the beating heart.
        - With partitions, ``image``, ``maps``, ``mask``, ``calibration_mask`` and ``heart_mask`` have an axis z before
          y; it holds the partitions of the image, and in ``mask`` and ``calibration_mask`` all encoded ones.
        - ``position_mm`` (slice, 3), ``read_dir``, ``phase_dir``, ``slice_dir`` (3,): geometry, LPS.
    """

    header: xsd.ismrmrdHeader
    acquisitions: list[Acquisition]
    waveforms: list[Waveform]
    truth: dict[str, np.ndarray]

    def write(self, path: Path | str) -> Path:
        """Write the raw data to `path`, and the truth to the same folder.

        Returns
        -------
        Path
            File of the truth: the same name with the suffix ``.npz``.
        """
        path = Path(path)
        write_mrd(path, self.header, self.acquisitions, self.waveforms)
        truth = path.with_suffix(TRUTH)
        arrays: dict[str, Any] = dict(self.truth)
        with whole(truth) as part, part.open("wb") as file:
            np.savez(file, **arrays)
        return truth


def simulate(options: ScanOptions) -> SimulatedScan:
    """Simulate a scan.

    Parameters
    ----------
    options
        Properties of the scan; equal options give the same scan to the last bit.

    Raises
    ------
    ConfigError
        If the calibration lines do not fit into the acquired lines, or the phases into the RR interval.
    """
    plan, readout = plan_lines(options), plan_readout(options)
    schedule = plan_schedule(options, plan)
    grid = scan_grid(options)
    phantom = _subject(options, grid)
    distance = options.thickness_mm + options.gap_mm
    heights = slice_offsets(options.slices, distance)[chronological(options.slices, options.slice_order)]
    volume = options.partitions > 1
    levels = partition_heights(options) if volume else heights
    receiver = make_receiver(options, phantom, levels)
    factors = _factors(options, phantom)
    encoder = (slab_encoder if volume else _slice_encoder)(phantom, levels, receiver, readout)
    data = line_signals(options, plan, readout, schedule, factors, encoder)
    noise = np.empty((0, options.coils, options.noise_samples), np.complex64)
    if receiver.noisy:
        add_noise(data, receiver.covariance, options.seed)
        noise = noise_scan(options, receiver.covariance)
    axes = directions(options.orientation, options.oblique_deg)
    positions = np.asarray(options.position_mm) + heights[:, None] * axes.slice
    truth = (volume_truth if volume else _truth)(options, schedule, phantom, levels, receiver)
    truth |= {"set_factor": factors[0], "contrast_factor": factors[1], "covariance": receiver.covariance}
    segments = max(line.segment for line in schedule.lines) + 1
    return SimulatedScan(
        header=changed_header(options, make_header(options, plan, schedule.frames, segments)),
        acquisitions=changed_lines(
            options, make_acquisitions(Headers(options, plan, readout, axes, positions), noise, schedule.lines, data)
        ),
        waveforms=make_waveforms(options, schedule.rhythm, schedule.lines),
        truth=truth | _geometry_truth(axes, positions),
    )


def _subject(options: ScanOptions, grid: Grid) -> Phantom:
    """Return what lies in the scanner."""
    if options.anatomy == "phantom":
        return WaterDisc(grid, options.fov_mm, options.field_t)
    chest = TexturedChest if options.anatomy == "textured" else Phantom
    return chest(grid, options.field_t, options.tr_ms, options.te_ms, options.flip_deg, options.seed)


def _slice_encoder(phantom: Phantom, heights: np.ndarray, receiver: Receiver, readout: Readout) -> Encoder:
    def encoded(slice_index: int, phase: float, shift_mm: float, positions: np.ndarray) -> np.ndarray:
        wanted, index = np.unique(positions, return_inverse=True)
        picture = phantom.draw(float(heights[slice_index]), phase, shift_mm)
        kspace = encode(receiver.maps[slice_index] * picture, wanted, readout)
        return np.asarray(kspace[index.ravel()])

    return encoded


def _truth(
    options: ScanOptions, schedule: Schedule, phantom: Phantom, heights: np.ndarray, receiver: Receiver
) -> dict[str, np.ndarray]:
    rows, columns = options.matrix
    image = np.empty((options.slices, options.phases, rows, columns), np.complex64)
    for slice_index, height in enumerate(heights):
        lines = [line for line in schedule.lines if line.slice == slice_index]
        shading = receiver.shading(slice_index)
        for frame in range(options.phases):
            picture = phantom.draw(float(height), *frame_state(options, schedule, lines, frame))
            image[slice_index, frame] = crop_readout(picture * shading, columns)
    return {
        "image": image,
        "maps": crop_readout(receiver.maps, columns),
        **line_truth(options, schedule),
        "heart_mask": np.stack([crop_readout(phantom.heart_mask(float(z)), columns) for z in heights]),
    }


def _factors(options: ScanOptions, phantom: Phantom) -> tuple[np.ndarray, np.ndarray]:
    """Complex factors of the sets and of the contrasts."""
    decay = np.exp(-np.arange(options.contrasts) * options.te_ms / phantom.t2_blood)
    return np.exp(1j * _SET_PHASE * np.arange(options.sets)).astype(np.complex64), decay.astype(np.complex64)


def _geometry_truth(axes: Directions, positions: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "position_mm": positions,
        "read_dir": axes.read,
        "phase_dir": axes.phase,
        "slice_dir": axes.slice,
    }
