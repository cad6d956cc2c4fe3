import dataclasses
import filecmp

import numpy as np
import pytest

from onebreath.errors import ConfigError
from onebreath.mri.fourier import ifft2c
from onebreath.mri.noise import covariance, gadgetron_scale, whitening_matrix
from onebreath.simulation.geometry import Grid
from onebreath.simulation.phantom import Phantom
from onebreath.simulation.scan import ScanOptions, SimulatedScan, simulate

SMALL = ScanOptions(matrix=(48, 40), slices=1, phases=3, coils=8, acs_lines=12, acceleration=2)


def scan_of(**changes: object) -> SimulatedScan:
    return simulate(dataclasses.replace(SMALL, **changes))


def image_lines(scan: SimulatedScan) -> list:
    return [a for a in scan.acquisitions if not any(a.is_flag_set(flag) for flag in (19, 20, 23, 24, 26, 27, 28, 29))]


def combined(scan: SimulatedScan) -> np.ndarray:
    """Image (slice, phase, y, x) of a fully sampled scan without noise: coil images weighted with the true maps."""
    encoding = scan.header.encoding[0]
    rows, size = encoding.encodedSpace.matrixSize.y, encoding.encodedSpace.matrixSize.x
    maps = scan.truth["maps"]
    kspace = np.zeros((*scan.truth["image"].shape[:2], maps.shape[1], rows, size), np.complex64)
    offset = rows // 2 - encoding.encodingLimits.kspace_encoding_step_1.center
    for a in image_lines(scan):
        kspace[a.idx.slice, a.idx.phase, :, a.idx.kspace_encode_step_1 + offset, size - a.number_of_samples :] = a.data
    first = size // 2 - maps.shape[-1] // 2
    images = ifft2c(kspace)[..., first : first + maps.shape[-1]]
    weights = maps / np.linalg.norm(maps, axis=1, keepdims=True)
    return np.sum(weights.conj()[:, None] * images, axis=2)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"matrix": (47, 41), "slices": 2},
        {"readout_oversampling": 1, "mode": "realtime", "breathing_amplitude_mm": 8.0},
        {"mode": "static", "slices": 3, "slice_order": "per_line"},
        {"slices": 4, "slice_order": "interleaved"},
    ],
)
def test_fully_sampled_noiseless_scan_gives_the_truth(changes: dict) -> None:
    scan = scan_of(snr=0.0, acceleration=1, **changes)
    truth = scan.truth["image"]
    assert np.abs(combined(scan) - truth).max() < 2e-6 * np.abs(truth).max()


def test_noise_whitens_to_unit_standard_deviation_with_the_scale_of_gadgetron() -> None:
    scan = scan_of(snr=1e-6, acceleration=1, noise_lines=256, coils=6)
    noise = np.concatenate([a.data for a in scan.acquisitions if a.is_flag_set(19)], axis=1)
    lines = image_lines(scan)
    whitening = whitening_matrix(
        covariance(noise), gadgetron_scale(lines[0].sample_time_us, scan.acquisitions[0].sample_time_us, 0.793)
    )
    white = np.concatenate([whitening @ a.data for a in lines], axis=1)
    assert np.allclose(white.real.std(axis=1), 1, atol=0.03)
    assert np.allclose(white.imag.std(axis=1), 1, atol=0.03)
    assert np.abs(np.corrcoef(white) - np.eye(6)).max() < 0.05


def test_image_lines_have_the_stated_covariance_and_its_channels_are_correlated() -> None:
    scan = scan_of(snr=1e-6, acceleration=1, noise_correlation=0.6)
    measured = covariance(np.concatenate([a.data for a in image_lines(scan)], axis=1))
    stated = scan.truth["covariance"]
    std = np.sqrt(np.diag(stated).real)
    assert np.abs((measured - stated) / np.outer(std, std)).max() < 0.06
    assert np.abs(stated / np.outer(std, std) - np.eye(8)).max() > 0.2


def test_truth_is_in_snr_units_of_the_whitened_scan() -> None:
    scan = scan_of(snr=37.0)
    whitening = whitening_matrix(scan.truth["covariance"], np.sqrt(2))
    maps = np.einsum("dc,cyx->dyx", whitening, scan.truth["maps"][0])
    doubled = scan_of(snr=74.0)
    assert np.allclose(doubled.truth["image"], 2 * scan.truth["image"], rtol=1e-4)
    # Blood has an object magnitude of 1, so its SNR is the root sum of squares of the whitened maps.
    blood = 48 // 2 - round(22 / (290 / 48)), 40 // 2 - round(22 / (360 / 40))
    assert np.abs(scan.truth["image"][0, 0][blood]) == pytest.approx(
        np.linalg.norm(maps[(slice(None), *blood)]), rel=1e-3
    )
    assert np.abs(scan.truth["image"][0, 0][blood]) == pytest.approx(37, rel=1e-3)


def test_same_options_give_the_same_bytes_and_another_seed_does_not(tmp_path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        scan_of(seed=seed, rr_variability=0.1, pattern="vista").write(tmp_path / f"{name}.h5")
    for suffix in (".h5", ".npz"):
        same = filecmp.cmp(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", shallow=False)
        other = filecmp.cmp(tmp_path / f"a{suffix}", tmp_path / f"c{suffix}", shallow=False)
        assert same
        assert not other


def test_sets_and_contrasts_are_the_image_times_their_factor() -> None:
    scan = scan_of(snr=0.0, sets=2, contrasts=2, averages=2)
    lines = {
        (a.idx.set, a.idx.contrast, a.idx.average, a.idx.phase, a.idx.kspace_encode_step_1): a.data
        for a in image_lines(scan)
    }
    factor = scan.truth["set_factor"][1] * scan.truth["contrast_factor"][1]
    assert abs(factor) < 0.999
    assert abs(np.angle(factor)) > 0.1
    assert np.allclose(lines[1, 1, 0, 2, 24], factor * lines[0, 0, 1, 2, 24], rtol=1e-4, atol=1e-3)


def test_asymmetric_echo_leaves_out_early_samples() -> None:
    full, short = scan_of(snr=0.0), scan_of(snr=0.0, echo_fraction=0.75)
    line, cut = image_lines(full)[0], image_lines(short)[0]
    assert (line.number_of_samples, line.center_sample) == (80, 40)
    assert (cut.number_of_samples, cut.center_sample) == (60, 20)
    assert np.array_equal(cut.data, line.data[:, 20:])


def test_frames_beat_only_where_the_heart_mask_says() -> None:
    scan = scan_of(phases=6, acceleration=3, matrix=(96, 96))
    image, heart = scan.truth["image"][0], scan.truth["heart_mask"][0]
    change = np.abs(image - image[0]).max(axis=0)
    assert change[~heart].max() < 1e-4 * np.abs(image).max()
    assert change[heart].max() > 0.2 * np.abs(image).max()
    assert 0.01 < heart.mean() < 0.15


def test_noise_free_scan_has_no_noise_scan_and_whitening_changes_nothing() -> None:
    scan = scan_of(snr=0.0)
    assert not any(a.is_flag_set(19) for a in scan.acquisitions)
    assert np.allclose(whitening_matrix(scan.truth["covariance"], np.sqrt(2)), np.eye(8))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mode": "gated"}, "mode"),
        ({"partial_fourier": 0.4}, "partial_fourier"),
        ({"acs_lines": 40, "partial_fourier": 0.6}, "acs_lines"),
        ({"phases": 400}, "400 phases"),
        ({"slice_order": "per_line"}, "per_line"),
        ({"acs_mode": "interleaved", "pattern": "vista"}, "vista"),
        ({"ectopic_every": 1}, "ectopic_every"),
        ({"dwell_us": 50.0}, "dwell_us"),
        ({"extra_lines": ("gossip",)}, "gossip"),
    ],
)
def test_impossible_scans_are_refused_with_the_name_of_the_option(changes: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        scan_of(**changes)


def test_the_heart_is_on_the_left_and_the_liver_on_the_right() -> None:
    """Seen from the header: scans are read out towards the right, so the picture is a mirror image."""
    options = dataclasses.replace(SMALL, matrix=(145, 180), coils=2, phases=1, acs_lines=24)
    truth = simulate(options).truth
    whitening = whitening_matrix(truth["covariance"], np.sqrt(2))
    shading = np.linalg.norm(np.einsum("dc,cyx->dyx", whitening, truth["maps"][0]), axis=0)
    left = truth["position_mm"][0][0] + (np.arange(180) - 90) * 2.0 * truth["read_dir"][0]
    tissue = Phantom(Grid((145, 180), (2.0, 2.0))).signal
    liver = np.abs(np.abs(truth["image"][0, 0]) / shading - tissue["liver"]) < 1e-3
    assert np.average(left, weights=truth["heart_mask"][0].sum(axis=0)) > 10
    assert liver.sum() > 500
    assert np.average(left, weights=liver.sum(axis=0)) < -40
