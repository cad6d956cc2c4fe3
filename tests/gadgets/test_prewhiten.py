"""Noise, channel order, echo, oversampling: against Gadgetron's own chain and against what physics says."""

import time
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mri.fourier import fftc, ifftc
from tests.chain.running import simulated
from tests.helpers import complex_normal, nrmse
from tests.raw import line, run, scan_header, stream

SIDE_FLAGS = (23, 24, 26, 27, 28, 29, 30, 31)


def coloured(rng: np.random.Generator, mixing: np.ndarray, samples: int) -> np.ndarray:
    return mixing @ complex_normal(rng, (len(mixing), samples)) * 0.7


def test_equals_gadgetron_on_the_siemens_scan(shared: Path) -> None:
    header, raw = stream(shared, "siemens_acquisitions")
    _, expected = stream(shared, "siemens_acquisitions_whitened")
    made, notes = run("prewhiten", header, raw)
    assert len(made) == len(expected) == 68
    for ours, theirs in zip(made, expected, strict=True):
        assert nrmse(ours.data, theirs.data) < 1e-5
        assert bytes(ours.getHead()) == bytes(theirs.getHead())
    assert notes[0]["noise"] == "scan"
    assert notes[0]["noise_scale"] == pytest.approx(np.sqrt(2 * 2.4 / 20 * 0.793), rel=1e-5)


def test_noise_has_unit_standard_deviation_in_real_and_imaginary_part() -> None:
    rng = np.random.default_rng(1)
    mixing = complex_normal(rng, (6, 6))
    header = scan_header((64, 8))
    dwell = 8.0
    noise = [line(coloured(rng, mixing, 4096), 0, 19, sample_time_us=dwell) for _ in range(8)]
    # A receiver with noise bandwidth b passes b / dwell: shorter dwell, more noise.
    scale = np.sqrt(dwell / 2.0 / 0.793)
    lines = [line(scale * coloured(rng, mixing, 64), row, sample_time_us=2.0) for row in range(400)]
    made, notes = run("prewhiten", header, noise + lines)
    samples = np.concatenate([message.data for message in made], axis=1)
    assert samples.real.std(axis=1) == pytest.approx(np.ones(6), rel=0.03)
    assert samples.imag.std(axis=1) == pytest.approx(np.ones(6), rel=0.03)
    correlation = np.abs(np.corrcoef(samples)) - np.eye(6)
    assert correlation.max() < 0.04
    assert (notes[0]["noise_lines"], notes[0]["noise_samples"]) == (8, 8 * 4096)


def test_oversampling_removal_keeps_noise_white_and_of_unit_deviation() -> None:
    rng = np.random.default_rng(2)
    header = scan_header((64, 8), (32, 8), (640, 240), (320, 240))
    noise = [line(complex_normal(rng, (3, 4096)), 0, 19) for _ in range(8)]
    lines = [line(np.sqrt(1 / 0.793) * complex_normal(rng, (3, 64)), row) for row in range(600)]
    made, _ = run("prewhiten", header, noise + lines)
    samples = np.concatenate([message.data for message in made], axis=1)
    assert samples.shape == (3, 600 * 32)
    assert samples.real.std(axis=1) == pytest.approx(np.ones(3), rel=0.03)


def test_without_noise_lines_nothing_is_whitened_and_the_note_says_so() -> None:
    data = complex_normal(np.random.default_rng(3), (2, 16))
    (made,), notes = run("prewhiten", scan_header(), [line(data)])
    assert np.array_equal(made.data, data.astype(np.complex64))
    assert notes[0]["noise"] == "none"
    assert notes[0]["whitened"] is False


def test_noise_lines_after_the_first_image_line_are_counted_not_used() -> None:
    data = complex_normal(np.random.default_rng(4), (2, 16))
    made, notes = run("prewhiten", scan_header(), [line(data), line(data, 0, 19), line(data, 1)])
    assert len(made) == 2
    assert notes[-1]["noise_lines_after_imaging_not_used"] == 1
    assert notes[-1]["noise"] == "none"


def point_line(samples: int, position: float, fov: float, centre: int) -> np.ndarray:
    """K-space (1, samples) of a point at `position` mm, sampled for a field of view of `fov` mm."""
    k = (np.arange(samples) - centre) / fov
    return np.exp(-2j * np.pi * k * position)[None]


@pytest.mark.parametrize(("encoded", "recon"), [(64, 32), (65, 32), (63, 31), (66, 33), (48, 32)])
def test_a_point_stays_at_its_place_when_oversampling_is_removed(encoded: int, recon: int) -> None:
    pixel = 10.0
    header = scan_header((encoded, 8), (recon, 8), (pixel * encoded, 240), (pixel * recon, 240))
    at = 4
    data = point_line(encoded, at * pixel, pixel * encoded, encoded // 2)
    (made,), notes = run("prewhiten", header, [line(data)])
    image = np.abs(ifftc(made.data, -1))[0]
    assert int(image.argmax()) == recon // 2 + at
    assert image.max() == pytest.approx(np.sqrt(encoded), rel=1e-4)
    assert made.center_sample == recon // 2
    assert notes[0]["readout_oversampling_removed"] == "here"


def test_a_point_outside_the_recon_field_of_view_does_not_fold_in() -> None:
    header = scan_header((64, 8), (32, 8), (640, 240), (320, 240))
    (made,), _ = run("prewhiten", header, [line(point_line(64, 250.0, 640, 32))])
    assert np.abs(made.data).max() < 1e-5


def test_matrix_interpolation_in_the_header_is_no_oversampling() -> None:
    header = scan_header((32, 8), (64, 8), (320, 240), (320, 240))
    (made,), notes = run("prewhiten", header, [line(point_line(32, 40.0, 320, 16))])
    assert made.data.shape == (1, 32)
    assert notes[0]["readout_oversampling_removed"] == "none"


@pytest.mark.parametrize(
    ("samples", "centre", "measured"), [(48, 16, (8, 31)), (48, 32, (0, 23)), (40, 20, (6, 25)), (63, 31, (1, 31))]
)
def test_the_echo_comes_to_the_centre_and_the_measured_range_is_told(
    samples: int, centre: int, measured: tuple[int, int]
) -> None:
    header = scan_header((64, 8), (32, 8), (640, 240), (320, 240))
    whole = point_line(64, 30.0, 640, 32)
    data = whole[:, 32 - centre : 32 - centre + samples]
    (made,), notes = run("prewhiten", header, [line(data, centre=centre)])
    assert (made.number_of_samples, made.center_sample) == (32, 16)
    assert (made.discard_pre, 31 - made.discard_post) == measured
    filled = np.zeros_like(whole)
    filled[:, 32 - centre : 32 - centre + samples] = data
    assert nrmse(made.data, fftc(ifftc(filled, -1)[:, 16:48], -1)) < 1e-5
    assert notes[0]["readout_measured"] == f"{measured[0]}..{measured[1]}"


def test_samples_to_discard_are_cut() -> None:
    header = scan_header((16, 8))
    data = point_line(24, 20.0, 320, 12)
    data[:, :5] = 99
    data[:, -3:] = 99
    (made,), notes = run("prewhiten", header, [line(data, discard_pre=5, discard_post=3)])
    assert nrmse(made.data[:, 1:], point_line(16, 20.0, 320, 8)[:, 1:]) < 1e-6
    assert notes[0]["readout_samples_cut"] == 1


def test_samples_to_discard_do_not_judge_the_noise_scan() -> None:
    rng = np.random.default_rng(14)
    noise, data = complex_normal(rng, (3, 4096)), complex_normal(rng, (3, 64)) + point_line(64, 20.0, 320, 32)
    data[:, :8] = data[:, -8:] = 1e7
    (made,), _ = run("prewhiten", scan_header((64, 8)), [line(noise, 0, 19), line(data, discard_pre=8, discard_post=8)])
    assert not made.data[:, :8].any()
    assert not made.data[:, -8:].any()


def test_a_line_longer_than_the_matrix_in_the_header_is_an_error() -> None:
    with pytest.raises(ScanError, match=r"line 0 .* has 24 samples, more than the 16 of the encoded matrix"):
        run("prewhiten", scan_header((16, 8)), [line(np.ones((2, 24)))])


def test_discarded_samples_within_the_matrix_are_zero_and_told() -> None:
    data = np.full((1, 16), 5.0)
    (made,), _ = run("prewhiten", scan_header((16, 8)), [line(data, discard_pre=3, discard_post=2)])
    assert np.array_equal(made.data[0] != 0, (np.arange(16) >= 3) & (np.arange(16) < 14))
    assert (made.discard_pre, made.discard_post) == (3, 2)


def test_an_echo_that_is_not_stated_is_taken_in_the_middle() -> None:
    (made,), notes = run("prewhiten", scan_header((16, 8)), [line(point_line(16, 0.0, 320, 8), centre=0)])
    assert made.center_sample == 8
    assert notes[0]["readout_echo_stated"] is False


def test_reversed_lines_are_turned_once() -> None:
    data = complex_normal(np.random.default_rng(7), (2, 16))
    made, _ = run("prewhiten", scan_header((16, 8)), [line(data), line(data[:, ::-1], 1, 22, discard_post=0)])
    assert np.array_equal(made[0].data, made[1].data)
    assert made[1].data.flags.c_contiguous
    again, _ = run("prewhiten", scan_header((16, 8)), [made[1]])
    assert np.array_equal(again[0].data, made[0].data)


@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("as_acquired", [False, True])
@pytest.mark.parametrize("lost", [0, 4])
def test_the_echo_of_reversed_lines_is_found_near_the_k_space_centre(
    alternating: bool, as_acquired: bool, lost: int
) -> None:
    scan = simulated(matrix=(128, 128), anatomy="textured", readout_oversampling=1, noise_lines=0)
    forward, turned = [], []
    for number, one in enumerate(scan.acquisitions):
        data, row, centre = one.data[:, lost:], one.idx.kspace_encode_step_1, one.center_sample - lost
        forward.append(line(data, row, centre=centre))
        counted = data.shape[1] - 1 - centre if as_acquired else centre
        reverse = not alternating or number % 2
        turned.append(line(data[:, ::-1], row, 22, centre=counted) if reverse else forward[-1])
    expected, _ = run("prewhiten", scan.header, forward, use_storage=False)
    made, _ = run("prewhiten", scan.header, turned, use_storage=False)
    assert [one.idx.kspace_encode_step_1 for one in made] == [one.idx.kspace_encode_step_1 for one in expected]
    assert all(np.array_equal(ours.data, theirs.data) for ours, theirs in zip(made, expected, strict=True))


def test_oversampling_that_was_removed_before_is_not_removed_again() -> None:
    header = scan_header((64, 8), (32, 8), (640, 240), (320, 240))
    data = complex_normal(np.random.default_rng(8), (2, 32))
    (made,), notes = run("prewhiten", header, [line(data)])
    assert np.array_equal(made.data, data.astype(np.complex64))
    assert notes[0]["readout_oversampling_removed"] == "before"


@pytest.mark.parametrize(("samples", "centre"), [(24, 8), (24, 16)])
def test_an_asymmetric_echo_without_oversampling_keeps_its_field_of_view(samples: int, centre: int) -> None:
    header = scan_header((64, 8), (32, 8), (640, 240), (320, 240))
    whole = point_line(32, 40.0, 320, 16)
    data = whole[:, 16 - centre : 16 - centre + samples]
    (made, short), notes = run("prewhiten", header, [line(data, centre=centre), line(whole[:, 8:24], 1, centre=8)])
    for filled, first, last in ((made, 16 - centre, 15 - centre + samples), (short, 8, 23)):
        assert (filled.number_of_samples, filled.center_sample) == (32, 16)
        assert (filled.discard_pre, 31 - filled.discard_post) == (first, last)
        inside = (np.arange(32) >= first) & (np.arange(32) <= last)
        assert np.array_equal(filled.data, np.where(inside, whole, 0).astype(np.complex64))
    assert {note["readout_oversampling_removed"] for note in notes} == {"before"}


@pytest.mark.parametrize("flag", SIDE_FLAGS)
def test_lines_that_are_no_part_of_an_image_pass_untouched(flag: int) -> None:
    odd = line(np.full((1, 7), np.nan), 0, flag)
    made, _ = run("prewhiten", scan_header(), [odd, line(np.ones((2, 16)))])
    assert made[0] is odd


def test_other_messages_pass_untouched() -> None:
    ecg = ismrmrd.Waveform.from_array(np.zeros((1, 4), np.uint32))
    made, notes = run("prewhiten", scan_header(), [ecg])
    assert made == [ecg]
    assert notes == []


def test_the_input_is_not_changed() -> None:
    data = complex_normal(np.random.default_rng(9), (2, 64)).astype(np.complex64)
    data.flags.writeable = False
    given = line(data)
    before = bytes(given.getHead())
    run("prewhiten", scan_header((64, 8), (32, 8), (640, 240), (320, 240)), [line(data, 0, 19), given])
    assert bytes(given.getHead()) == before


@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, np.nan)])
def test_a_bad_sample_is_an_error_that_names_line_and_channel(bad: complex) -> None:
    data = np.ones((3, 16), complex)
    data[1, 5] = bad
    with pytest.raises(ScanError, match=r"line 42 \(kspace_encode_step_1 9, .*\(channels 1\)"):
        run("prewhiten", scan_header(), [line(np.ones((3, 16))), line(data, 9, scan_counter=42)])


def test_a_change_of_the_channels_is_an_error_that_names_the_line() -> None:
    with pytest.raises(ScanError, match=r"line 7 .* has 3, the lines before it have 2"):
        run("prewhiten", scan_header(), [line(np.ones((2, 16))), line(np.ones((3, 16)), scan_counter=7)])


def test_noise_lines_of_other_coils_are_an_error() -> None:
    noise = complex_normal(np.random.default_rng(10), (3, 64))
    with pytest.raises(ScanError, match=r"noise lines have 3 channels"):
        run("prewhiten", scan_header(), [line(noise, 0, 19), line(np.ones((2, 16)))])


def test_a_dead_channel_in_the_noise_is_an_error_that_names_it() -> None:
    noise = complex_normal(np.random.default_rng(11), (3, 64))
    noise[2] = 0
    with pytest.raises(ScanError, match="Channel 2 measured no noise"):
        run("prewhiten", scan_header(), [line(noise, 0, 19), line(np.ones((3, 16)))])


def test_a_readout_without_its_echo_is_an_error() -> None:
    with pytest.raises(ScanError, match="center_sample 20"):
        run("prewhiten", scan_header(), [line(np.ones((1, 16)), centre=20)])


def test_unknown_dwell_times_are_taken_as_equal_and_told() -> None:
    noise = complex_normal(np.random.default_rng(12), (2, 4096))
    lines = [line(noise[:, :16], sample_time_us=0.0)]
    made, notes = run("prewhiten", scan_header(), [line(noise, 0, 19, sample_time_us=0.0), *lines])
    assert notes[0]["dwell_known"] is False
    assert notes[0]["noise_scale"] == pytest.approx(np.sqrt(2 * 0.793), rel=1e-5)
    assert made[0].data.shape == (2, 16)


def test_keeps_pace_with_a_scan() -> None:
    rng = np.random.default_rng(13)
    header = scan_header((512, 8), (256, 8), (640, 240), (320, 240))
    data = complex_normal(rng, (30, 512)).astype(np.complex64)
    messages = [line(data + 1, 0, 19)] + [line(data) for _ in range(400)]
    started = time.process_time()
    made, _ = run("prewhiten", header, messages)
    # Processor time, whatever else runs. A scanner makes about 300 lines in a second; one core whitens above 5000.
    assert len(made) / (time.process_time() - started) > 600
