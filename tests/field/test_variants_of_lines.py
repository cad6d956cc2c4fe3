"""Lines that do odd things in silence: averages that differ, gaps, dead channels, echoes elsewhere, wrong noise."""

from __future__ import annotations

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.notes import read_warning
from onebreath.errors import ScanError
from tests.chain.running import run, simulated, steps, stream_of
from tests.field.variants import ROWS, SAMPLES, UPRIGHT, by, error_of, lines, reconstructed
from tests.helpers import complex_normal
from tests.raw import line

NOISE, CALIBRATION = 19, 20


def test_averages_that_hold_something_else_are_told() -> None:
    _, told = reconstructed(lines(0, average=0) + lines(0, average=1, scale=-0.3))
    assert any("Averages differ" in text for text in told)


def test_an_incomplete_average_is_told() -> None:
    images, told = reconstructed(lines(0, average=0) + lines(0, range(10), average=1))
    assert any(f"10 of {ROWS} positions of k-space have more averages than the 1 of most" in text for text in told)
    assert error_of(images[0], 0) < 0.05


@pytest.mark.parametrize("counter", ["phase", "repetition", "slice"])
def test_a_value_that_no_line_has_is_named(counter: str) -> None:
    apart = 10.0 if counter == "slice" else 0.0
    scan = [one for n in (0, 1, 3) for one in lines(n, **{counter: n}, position=(0.0, 0.0, apart * n))]
    images, told = reconstructed(scan)
    assert any(f"No lines of {counter} 2 came" in text for text in told)
    made = by(images, counter)
    assert max(error_of(made[n], n) for n in (0, 1, 3)) < 0.05


def test_a_repetition_without_its_centre_is_left_out_and_named() -> None:
    outer = [*range(10), *range(ROWS - 10, ROWS)]
    images, told = reconstructed(lines(0, outer, repetition=0) + lines(1, repetition=1))
    assert any(f"repetition 0 is incomplete (20 of {ROWS} lines) and was left out" in text for text in told)
    assert error_of(by(images, "repetition")[1], 1) < 0.05


def test_a_slice_without_its_centre_is_named() -> None:
    outer = [*range(10), *range(ROWS - 10, ROWS)]
    _, told = reconstructed(lines(0, outer), calibrate={"no_acs": "pass", "coil_map_algorithm": "none"})
    assert any("slice 0 lacks the lines around the k-space centre, row 18" in text for text in told)


def test_repeats_that_differ_are_told_with_the_number() -> None:
    _, told = reconstructed(lines(0) + lines(0, scale=0.6))
    assert any("% of their energy is in the difference" in text for text in told)


def test_calibration_lines_alone_are_an_error() -> None:
    with pytest.raises(ScanError, match=f"no imaging lines: slice 0 has {ROWS} calibration lines"):
        reconstructed(lines(0, range(ROWS), CALIBRATION))


def test_a_slice_of_calibration_lines_alone_is_named() -> None:
    scan = lines(0) + lines(1, range(10, 26), CALIBRATION, slice=1, position=(0.0, 0.0, 10.0))
    images, told = reconstructed(scan)
    assert any("slice 1 has 16 calibration lines, but no imaging lines" in text for text in told)
    assert error_of(images[0], 0) < 0.05


def test_a_channel_of_zeros_is_named() -> None:
    scan = lines(0)
    for one in scan:
        one.data[3] = 0
    _, told = reconstructed(scan)
    assert any("Channel 3 of the scan holds only zeros" in text for text in told)


def test_an_echo_that_is_elsewhere_is_told() -> None:
    scan = lines(0)
    for one in scan:
        one.data[:] = np.roll(one.data, 7, axis=1)
    _, told = reconstructed(scan)
    assert any(f"strongest at sample {SAMPLES // 2 + 7}" in text for text in told)


@pytest.mark.parametrize(("factor", "told_of"), [(1.0, False), (2.0, True)])
def test_noise_that_the_lines_cannot_hold_neither_blurs_nor_goes_unsaid(factor: float, told_of: bool) -> None:
    given = 10 * factor * complex_normal(np.random.default_rng(5), (6, 512))
    scan = lines(0, scale=10.0)
    rng = np.random.default_rng(6)
    for one in scan:
        one.data[:] += 10 * complex_normal(rng, one.data.shape)
    asked = {"method": "cg_sense", "regularisation": "noise"}
    images, told = reconstructed([line(given, 0, NOISE, **UPRIGHT), *scan], reconstruct=asked, noise=())
    assert any("times the noise that the lines can hold" in text for text in told) == told_of
    assert error_of(images[0], 0) < 0.11


def test_an_image_of_zeros_in_a_series_is_named() -> None:
    scan = lines(0, contrast=0) + lines(1, contrast=1, scale=1e-7)
    images, told = reconstructed(scan, export={"data_type": "uint16"}, prewhiten={"use_storage": "false"}, noise=())
    assert any("Only zeros are in image 2 of series 1" in text for text in told)
    assert error_of(by(images, "contrast")[0], 0) < 0.05


def test_a_gated_scan_without_phase_counters_is_binned() -> None:
    scan = []
    for row in range(ROWS):
        for tick in range(10 + row % 3):
            scan += lines(0, [row], trigger=tick + 1)
    images, told = reconstructed(scan)
    assert any("counts none, but rows come again and again" in text for text in told)
    assert len(images) in (10, 12)
    assert max(error_of(image, 0) for image in images) < 0.05


@pytest.mark.parametrize(("dropped", "said"), [(range(20, ROWS), True), (range(0), False)])
def test_a_channel_that_drops_out_is_named(dropped: range, said: bool) -> None:
    scan = lines(0)
    for row in dropped:
        scan[row].data[2] = 0
    scan[0].data[:] = 0  # counts as not acquired, and says nothing of a channel
    _, told = reconstructed(scan)
    named = f"Channel 2 of the scan holds only zeros in up to {len(dropped)} of {ROWS - 1} lines"
    assert any(named in text for text in told) == said
    assert any("Channel" in text for text in told) == said


@pytest.mark.parametrize(
    ("dwell", "contrast", "said"), [(4.0, 0, True), (0.0, 0, True), (2.0, 0, False), (4.0, 1, False)]
)
def test_lines_of_one_image_with_unlike_dwell_times_are_told(dwell: float, contrast: int, said: bool) -> None:
    rows = range(ROWS) if contrast else range(20, ROWS)
    scan = lines(0, range(ROWS if contrast else 20)) + lines(0, rows, sample_time_us=dwell, contrast=contrast)
    _, told = reconstructed(scan)
    assert any("lines of one image have dwell times of" in text for text in told) == said


@pytest.mark.parametrize(
    ("dwells", "mode", "said"),
    [
        ((4.0, 4.0), "embedded", "lines of one image, with those for its calibration, have dwell times of 2 to 4 us"),
        ((2.0, 4.0), "embedded", "lines of one image, with those for its calibration, have dwell times of 2 to 4 us"),
        ((2.0, 4.0), "separate", "calibration lines of one image have dwell times of 2 to 4 us"),
        ((4.0, 4.0), "separate", ""),
        ((2.0, 2.0), "embedded", ""),
    ],
)
def test_unlike_dwell_times_of_lines_for_calibration_only_are_told(
    dwells: tuple[float, float], mode: str, said: str
) -> None:
    scan = simulated(acceleration=2, acs_mode=mode, acs_lines=16, matrix=(48, 40), coils=4, noise_lines=0)
    calibration = [one for one in scan.acquisitions if one.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)]
    for one in scan.acquisitions:
        one.sample_time_us = 2.0
    for number, one in enumerate(calibration):
        one.clear_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
        one.sample_time_us = dwells[number % 2]
    told = [text for text in map(read_warning, run(scan.header, stream_of(scan), steps("zero_filled"))) if text]
    found = [text for text in told if "dwell" in text]
    assert bool(found) == bool(said)
    assert all(said in text for text in found)
