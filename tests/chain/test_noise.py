"""Noise through the whole chain: 200 replicas of a scan, as frames that differ in nothing but their noise."""

from copy import deepcopy
from functools import cache
from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.mrd.buffers import maps_of
from onebreath.simulation.scan import SimulatedScan
from tests.chain.running import cine, images_of, pixels, run, simulated, steps, stream_of

REPLICAS = 200
COMPLEX = {"output": "complex"}


@cache
def replicas(acceleration: int = 1) -> SimulatedScan:
    """A scan whose noise lines say enough of the covariance."""
    return simulated(
        matrix=(36, 24), coils=6, phases=REPLICAS, noise_lines=128, noise_correlation=0.5, snr=40.0,
        acceleration=acceleration, acs_mode="none" if acceleration == 1 else "separate",
    )  # fmt: skip


def deviation(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviation over the frames (frame, y, x) of the real and the imaginary part of each pixel."""
    assert len(frames) == REPLICAS
    return frames.real.std(axis=0, ddof=1), frames.imag.std(axis=0, ddof=1)


@pytest.mark.parametrize("method", ["zero_filled", "cg_sense", "grappa"])
def test_fully_sampled_images_have_unit_noise(method: str) -> None:
    scan = replicas()
    unregularised = {"regularisation": "0"} if method == "cg_sense" else {}
    chain = steps(method, reconstruct=unregularised, export=COMPLEX)
    frames = cine(scan, images_of(run(scan.header, stream_of(scan), chain), 4001))[0]
    for part in deviation(frames):
        assert part.mean() == pytest.approx(1, abs=0.02)


def test_channels_that_compression_keeps_have_unit_noise() -> None:
    scan = replicas()
    chain = steps("zero_filled", compress={"upstream_coil_compression_num_modesKept": "4"}, export=COMPLEX)
    frames = cine(scan, images_of(run(scan.header, stream_of(scan), chain), 4001))[0]
    for part in deviation(frames):
        assert part.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("acceleration", [2, 3])
def test_grappa_has_the_noise_that_its_gfactor_map_says(acceleration: int) -> None:
    scan = replicas(acceleration)
    chain = steps("grappa", reconstruct={"send_out_gfactor": "true"}, export=COMPLEX)
    made = run(scan.header, stream_of(scan), chain)
    gfactor = pixels(images_of(made, 20))[0]
    assert gfactor.max() > 1.05
    for part in deviation(cine(scan, images_of(made, 4001))[0]):
        ratio = part / (gfactor * np.sqrt(acceleration))
        assert ratio.mean() == pytest.approx(1, abs=0.02)
        assert ratio.std() < 1.5 / np.sqrt(2 * REPLICAS), "pixel by pixel, not only on average"


SNR_CASES = {
    "partial Fourier filled by POCS": (
        "grappa",
        {"partial_fourier": 0.7, "acs_mode": "separate"},
        {"partial_fourier": "pocs"},
    ),
    "calibration lines without a flag": ("grappa", {"acs_mode": "embedded"}, {}),
    "own replicas": ("cg_sense", {"acs_mode": "embedded", "partial_fourier": 0.7}, {"gfactor_replicas": "100"}),
    "regularised by the noise": ("cg_sense", {"acs_mode": "embedded", "snr": 8.0}, {"regularisation": "noise"}),
}


@pytest.mark.parametrize("case", SNR_CASES)
def test_the_snr_map_has_the_noise_that_repeated_scans_show(case: str) -> None:
    method, options, changes = SNR_CASES[case]
    given = {"snr": 40.0, "acs_lines": 12, **options}
    scan = simulated(matrix=(36, 24), coils=6, phases=REPLICAS, noise_lines=128, acceleration=2, **given)
    for line in scan.acquisitions:
        if case == "calibration lines without a flag":
            line.clear_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
            line.clear_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    asked = {"send_out_snr_map": "true", "noise_map_samples": "4", "noise_map_pool_frames": "true", **changes}
    made = run(scan.header, stream_of(scan), steps(method, reconstruct=asked))
    frames, snr = pixels(images_of(made)), pixels(images_of(made, 300))
    body = np.abs(scan.truth["image"][0, 0]) > 0.3 * np.abs(scan.truth["image"]).max()
    told = frames.mean(axis=0)[body] / snr.mean(axis=0)[body]
    assert np.mean(told / frames.std(axis=0, ddof=1)[body]) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("acceleration", [2, 3])
def test_cg_sense_has_the_noise_of_the_closed_formula(acceleration: int) -> None:
    scan = replicas(acceleration)
    messages = stream_of(scan)
    maps = next(
        found
        for message in run(scan.header, messages, steps("cg_sense", last="calibrate"))
        if hasattr(message, "bits") and (found := maps_of(message)) is not None
    )
    chain = steps("cg_sense", reconstruct={"regularisation": "0", "iterations": "60"}, export=COMPLEX)
    frames = cine(scan, images_of(run(scan.header, messages, chain), 4001))[0]
    expected = sense_gfactor(maps[0], acceleration) * np.sqrt(acceleration)
    for part in deviation(frames):
        ratio = part / expected
        assert ratio.mean() == pytest.approx(1, abs=0.02)
        assert ratio.std() < 1.5 / np.sqrt(2 * REPLICAS)


def shown_in(header: Any, matrix: tuple[int, int], part_of_y: float = 1.0) -> Any:
    """The header with another recon matrix (y, x), and with a part of the field of view along y."""
    changed = deepcopy(header)
    space = changed.encoding[0].reconSpace
    space.matrixSize.y, space.matrixSize.x = matrix
    space.fieldOfView_mm.y *= part_of_y
    return changed


MATRICES = [((18, 12), 1.0), ((27, 16), 1.0), ((54, 32), 1.0), ((20, 24), 0.85), ((40, 12), 0.85)]


@pytest.mark.parametrize(("matrix", "part"), MATRICES)
def test_the_meta_tell_what_another_matrix_leaves_of_the_noise(matrix: tuple[int, int], part: float) -> None:
    scan = replicas()
    made = run(shown_in(scan.header, matrix, part), stream_of(scan), steps("zero_filled", export=COMPLEX))
    frames = images_of(made, 4001)
    factor = float(frames[0].meta["Onebreath_export_noise_factor"])
    assert (factor < 0.99) == (matrix != (54, 32))
    for std in deviation(cine(scan, frames)[0]):
        assert std.mean() == pytest.approx(factor, rel=0.02)


def test_without_part_of_k_space_another_matrix_leaves_more_of_its_noise() -> None:
    scan = simulated(matrix=(36, 24), coils=6, phases=REPLICAS, noise_lines=128, snr=40.0, partial_fourier=0.75)
    made = run(shown_in(scan.header, (18, 24)), stream_of(scan), steps("zero_filled", export=COMPLEX))
    frames = images_of(made, 4001)
    scale, factor = (
        float(frames[0].meta[f"Onebreath_{name}"]) for name in ("reconstruct_snr_scale", "export_noise_factor")
    )
    assert factor == pytest.approx(np.sqrt(18 / 27), rel=0.02)
    for std in deviation(cine(scan, frames)[0]):
        assert std.mean() == pytest.approx(factor / scale, rel=0.02)


@pytest.mark.parametrize("method", ["grappa", "cg_sense"])
@pytest.mark.parametrize(("matrix", "part"), [MATRICES[0], MATRICES[2], MATRICES[4]])
def test_maps_are_those_of_the_pixels_that_another_matrix_shows(
    method: str, matrix: tuple[int, int], part: float
) -> None:
    """Pixel by pixel, against the noise of replicas of the whole chain."""
    scan = replicas(2)
    asked = {"send_out_gfactor": "true", "send_out_snr_map": "true"}
    asked |= {"noise_map_samples": "12", "noise_map_pool_frames": "true", "noise_map_time_budget_s": "600"}
    made = run(shown_in(scan.header, matrix, part), stream_of(scan), steps(method, reconstruct=asked, export=COMPLEX))
    frames = cine(scan, images_of(made, 4001))[0]
    gfactor, snr = (pixels(images_of(made, series))[0] for series in (20, 300))
    assert gfactor.shape == snr.shape == frames.shape[1:] == matrix
    factor = float(images_of(made, 4001)[0].meta["Onebreath_export_noise_factor"])
    real, imaginary = deviation(frames)
    std = np.sqrt((real**2 + imaginary**2) / 2)
    signal = np.abs(frames).mean(axis=0) > 5 * std
    says = gfactor * np.sqrt(2) * factor
    assert (says / std)[signal].mean() == pytest.approx(1, abs=0.04)
    assert (says / std)[signal].std() < 0.1
    ratio = snr * std / np.abs(frames[0])
    assert ratio[signal].mean() == pytest.approx(1, abs=0.04)
    assert ratio[signal].std() < 0.1


def test_maps_of_the_encoded_pixels_are_measured_beside_those_of_another_matrix() -> None:
    scan = simulated(matrix=(36, 24), coils=6, snr=40.0, acceleration=2, acs_mode="separate")
    asked = dict.fromkeys(("send_out_snr_map", "send_out_normality_map", "send_out_gfactor"), "true")
    chain = steps("cg_sense", reconstruct=asked | {"noise_map_samples": "40"})
    small, whole = (
        {series: pixels(images_of(made, series))[0] for series in (1, 20, 21, 300)}
        for made in (run(head, stream_of(scan), chain) for head in (shown_in(scan.header, (18, 12)), scan.header))
    )
    assert {values.shape for values in small.values()} == {(18, 12)}
    bright = small[1] > 0.3 * small[1].max()
    assert np.mean(small[21][bright] > 1) < 0.3
    assert np.median(small[21][bright]) == pytest.approx(np.median(whole[21][whole[1] > 0.3 * whole[1].max()]), rel=0.2)


def sense_gfactor(maps: np.ndarray, acceleration: int) -> np.ndarray:
    """g = sqrt([(S^H S)^-1]_ii [S^H S]_ii) over the pixels that fold together; maps (coil, y, x).

    K. P. Pruessmann et al., Magn Reson Med 42:952 (1999), eq. 23.
    """
    coils, rows, columns = maps.shape
    folded = maps.reshape(coils, acceleration, rows // acceleration, columns).transpose(2, 3, 0, 1).astype(complex)
    gram = folded.conj().swapaxes(-1, -2) @ folded
    diagonal = np.einsum("yxii->iyx", np.linalg.inv(gram)).real * np.einsum("yxii->iyx", gram).real
    return np.sqrt(diagonal).reshape(rows, columns)
