"""Simulated cine scans with everything that makes them hard, from raw data to images, against the truth."""

import re
from functools import cache
from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.notes import read_warning
from onebreath.simulation.scan import SimulatedScan
from tests.chain.running import cine, images_of, pixels, run, simulated, steps, stream_of
from tests.helpers import nrmse

SLICES, PHASES = 3, 6


@cache
def scan_of(mode: str) -> SimulatedScan:
    """Interleaved slices with embedded calibration lines, partial Fourier, asymmetric echo and side lines."""
    arrhythmia = {"rr_variability": 0.03, "ectopic_every": 5} if mode == "retrospective" else {}
    return simulated(
        matrix=(64, 60), slices=SLICES, slice_order="interleaved", phases=PHASES, mode=mode,
        acceleration=2, acs_mode="embedded", acs_lines=20, partial_fourier=0.85, echo_fraction=0.9, coils=10,
        snr=80.0, rr_ms=700.0, lines_per_segment=4, ecg=True,
        extra_lines=("navigation", "dummy", "phase_correction"), **arrhythmia,
    )  # fmt: skip


SORT = {"prospective": {}, "retrospective": {"phases": str(PHASES), "N_dimension": "physiology"}}
BOUNDS = {"zero_filled": 0.22, "cg_sense": 0.08, "grappa": 0.08}
"""Largest error of the magnitude; without POCS it is 0.09 for the last two."""


@pytest.mark.parametrize("method", BOUNDS)
@pytest.mark.parametrize("mode", SORT)
def test_cine_of_interleaved_slices(mode: str, method: str) -> None:
    scan = scan_of(mode)
    kept = {"upstream_coil_compression_num_modesKept": "8"}
    chain = steps(method, compress=kept, sort=SORT[mode], reconstruct={"partial_fourier": "pocs"})
    made = images_of(run(scan.header, stream_of(scan), chain))
    assert len(made) == SLICES * PHASES
    assert len({image.image_index for image in made}) == len(made)
    found, truth = cine(scan, made), np.abs(scan.truth["image"])
    assert nrmse(found, truth) < BOUNDS[method]


@pytest.mark.parametrize("fill", ["zero_fill", "pocs"])
def test_what_was_not_acquired_holds_no_amplified_noise(fill: str) -> None:
    scan = scan_of("prospective")
    chain = steps("cg_sense", reconstruct={"partial_fourier": fill})
    left = steps("cg_sense", reconstruct={"partial_fourier": "method"})
    truth = np.abs(scan.truth["image"])
    errors = [nrmse(cine(scan, images_of(run(scan.header, stream_of(scan), one))), truth) for one in (chain, left)]
    assert errors[0] < errors[1]
    assert errors[0] < {"zero_fill": 0.089, "pocs": 0.064}[fill]


@pytest.mark.parametrize("fill", ["homodyne", "pocs"])
@pytest.mark.parametrize("acceleration", [3, 4])
def test_an_asymmetric_echo_is_filled_though_the_lattice_ends_before_the_matrix(acceleration: int, fill: str) -> None:
    scan = simulated(
        matrix=(64, 60), acceleration=acceleration, acs_mode="separate", acs_lines=24, echo_fraction=0.8, snr=100.0
    )
    sent = run(scan.header, stream_of(scan), steps("grappa", reconstruct={"partial_fourier": fill}))
    assert nrmse(pixels(images_of(sent)), np.abs(scan.truth["image"][0])) < 0.1


def test_side_lines_are_counted_and_change_nothing() -> None:
    options = {"slices": 2, "phases": 3, "mode": "prospective", "snr": 0.0, "ecg": True}
    plain, mixed = simulated(**options), simulated(**options, extra_lines=("navigation", "dummy", "hp_feedback"))
    made = [images_of(run(scan.header, stream_of(scan), steps("zero_filled"))) for scan in (plain, mixed)]
    np.testing.assert_allclose(cine(mixed, made[1]), cine(plain, made[0]), rtol=1e-5, atol=1e-4)
    dropped = made[1][0].meta["Onebreath_sort_dropped_lines"]
    assert all(kind in dropped for kind in ("navigator", "dummy", "navigator feedback"))


def test_arrhythmia_is_rejected_and_told() -> None:
    scan = scan_of("retrospective")
    made = images_of(run(scan.header, stream_of(scan), steps("zero_filled", sort=SORT["retrospective"])))
    assert int(made[0].meta["Onebreath_sort_beats_rejected"]) > 0
    assert made[0].meta["Onebreath_sort_frames"] == str(PHASES)


def gated(**options: Any) -> SimulatedScan:
    return simulated(
        mode="retrospective", matrix=(64, 32), coils=4, ecg=True, rr_variability=0.08, snr=100.0, phases=8, **options
    )


def test_lines_without_an_ecg_are_left_out_and_no_phase_lacks_rows() -> None:
    """Of a phase that holds a part of the rows an image would be made all the same, and nothing would tell."""
    scan = gated(lines_per_segment=6)
    imaging = [line for line in scan.acquisitions if not line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    for line in imaging[2 * len(imaging) // 3 :]:
        line.physiology_time_stamp[0] = 0
    sent = run(scan.header, stream_of(scan), steps("cg_sense", sort={"phases": "8"}))
    said = " ".join(filter(None, map(read_warning, sent)))
    assert "have a trigger stamp that stands still" in said
    assert "were taken from the nearest frame" in said
    errors = [
        nrmse(one, true) for one, true in zip(pixels(images_of(sent)), np.abs(scan.truth["image"][0]), strict=True)
    ]
    assert max(errors) < 0.12


def test_more_phases_than_were_acquired_are_filled_and_told() -> None:
    scan = gated(lines_per_segment=24)
    sent = run(scan.header, stream_of(scan), steps("cg_sense", sort={"phases": "25"}))
    said = " ".join(filter(None, map(read_warning, sent)))
    assert re.search(r"they suffice for about \d+. Set phases", said)
    truth = np.abs(scan.truth["image"][0])
    for image in images_of(sent):
        assert nrmse(image.data[0, 0], truth[int((image.phase + 0.5) / 25 * len(truth))]) < 0.12


@pytest.mark.parametrize("method", ["zero_filled", "grappa"])
def test_averages_sets_and_contrasts_come_out_apart(method: str) -> None:
    scan = simulated(averages=2, sets=2, contrasts=2, acceleration=2, acs_mode="separate", snr=200.0)
    made = images_of(run(scan.header, stream_of(scan), steps(method, export={"output": "complex"})), 4001)
    assert sorted((image.set, image.contrast) for image in made) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert len({image.image_index for image in made}) == 4
    by_place = {(image.set, image.contrast): image.data[0, 0] for image in made}
    inside = np.abs(by_place[0, 0]) > 0.2 * np.abs(by_place[0, 0]).max()
    for (number, contrast), data in by_place.items():
        factor = scan.truth["set_factor"][number] * scan.truth["contrast_factor"][contrast]
        assert np.median((data / by_place[0, 0])[inside]) == pytest.approx(factor, abs=0.03)
