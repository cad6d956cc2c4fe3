"""The tests of noise and ghosts against levels that are known."""

from collections.abc import Iterator

import ismrmrd
import numpy as np
import pytest

from onebreath.acceptance.edge import Disc
from onebreath.acceptance.limits import NoiseLimits
from onebreath.acceptance.noise import differences, judge
from onebreath.acceptance.phantom import ghosting
from onebreath.errors import ScanError
from onebreath.mri.fourier import fft2c, ifft2c
from tests.acceptance.discs import disc
from tests.scans import line_header

COILS, SAMPLES, ROWS = 4, 64, 32


def lines(scale: np.ndarray, frames: int = 6, moving: float = 0.0) -> Iterator[ismrmrd.Acquisition]:
    """Lines of an object at rest with noise, mixed by `scale` (coil, coil), which change in the centre if it moves."""
    rng = np.random.default_rng(0)
    still = 100 * rng.standard_normal((ROWS, COILS, SAMPLES)).astype(np.complex64)
    for frame in range(frames):
        for row in range(ROWS):
            noise = rng.standard_normal((COILS, SAMPLES)) + 1j * rng.standard_normal((COILS, SAMPLES))
            data = still[row] + scale @ noise
            if abs(row - ROWS // 2) < 2:
                data[:, SAMPLES // 2 - 2 : SAMPLES // 2 + 3] += moving * frame
            head = line_header(row, SAMPLES, COILS, phase=frame)
            yield ismrmrd.Acquisition(head, data.astype(np.complex64), np.zeros((SAMPLES, 0), np.float32))


def test_unit_noise_passes_and_a_scale_of_1_1_fails() -> None:
    good, loud = (differences(lines(s * np.eye(COILS))) for s in (1.0, 1.1))
    assert good is not None and loud is not None
    assert good.samples == 3 * ROWS * SAMPLES
    np.testing.assert_allclose(good.std, 1, atol=4 / np.sqrt(4 * good.samples))
    np.testing.assert_allclose(loud.std, 1.1, rtol=0.03)
    low, high = loud.interval(0.95)
    assert np.mean((low < 1.1) & (high > 1.1)) >= 0.5
    np.testing.assert_allclose(high - low, 2 * 1.96 * 1.1 / np.sqrt(4 * loud.samples), rtol=0.05)
    assert [one.outcome for one in judge(good, NoiseLimits())] == ["passed", "passed"]
    assert [one.outcome for one in judge(loud, NoiseLimits())] == ["failed", "passed"]


@pytest.mark.parametrize("backwards", [False, True])
def test_samples_that_were_not_measured_hold_no_noise(backwards: bool) -> None:
    """As in a line with an asymmetric echo, whose first samples are filled with zeros; the header tells which."""
    missing, made = 20, []
    for line in lines(np.eye(COILS)):
        head = line.getHead()
        head.discard_pre = missing
        line.data[:, :missing] = 0
        if backwards:
            head.discard_pre, head.discard_post = 0, missing
            head.flags |= 1 << (ismrmrd.ACQ_IS_REVERSE - 1)
            line.data[:] = line.data[:, ::-1].copy()
        made.append(ismrmrd.Acquisition(head, line.data, np.zeros((SAMPLES, 0), np.float32)))
    found = differences(iter(made))
    assert found is not None
    assert found.samples == 3 * ROWS * (SAMPLES - missing)
    np.testing.assert_allclose(found.std, 1, atol=4 / np.sqrt(4 * found.samples))
    assert found.centre == pytest.approx(1, abs=0.1)


def test_a_reversed_line_is_not_compared_with_one_that_is_not() -> None:
    made = list(lines(np.eye(COILS), frames=2))
    for line in made[ROWS:]:
        head = line.getHead()
        head.flags |= 1 << (ismrmrd.ACQ_IS_REVERSE - 1)
        line.setHead(head)
    assert differences(iter(made)) is None


def test_correlated_channels_fail() -> None:
    mixing = np.eye(COILS)
    mixing[1, 0], mixing[1, 1] = 0.2, np.sqrt(1 - 0.04)
    found = differences(lines(mixing))
    assert found is not None
    assert abs(found.correlation[0, 1]) == pytest.approx(0.2, abs=0.04)
    assert [one.outcome for one in judge(found, NoiseLimits())] == ["passed", "failed"]


def test_motion_shows_in_the_centre_and_too_few_samples_do_not_pass() -> None:
    moved, rested = differences(lines(np.eye(COILS), moving=5.0)), differences(lines(np.eye(COILS)))
    assert moved is not None and rested is not None
    assert moved.centre > 1.5 > 1.1 > rested.centre
    few = differences(iter(list(lines(np.eye(COILS)))[: ROWS + 3]))
    assert few is not None and few.samples == 3 * SAMPLES
    assert judge(few, NoiseLimits())[0].outcome == "failed"
    assert "too few" in judge(few, NoiseLimits())[0].why
    assert differences(iter(list(lines(np.eye(COILS)))[:ROWS])) is None


def test_the_ratio_is_that_of_air_along_phase_encoding() -> None:
    where = Disc((95.0, 95.0), 50.0)
    y, x = (np.arange(96) * 2.0 - 95)[:, None], (np.arange(96) * 2.0 - 95)[None]
    image = np.full((96, 96), 3.0)  # the same floor of noise everywhere
    image[np.hypot(y, x) < 50] = 100.0
    assert ghosting(image, (2.0, 2.0), where).ratio == pytest.approx(0, abs=1e-9)
    image[(abs(y) > 52) & (abs(x) < 50)] += 4.0
    assert ghosting(image, (2.0, 2.0), where).ratio == pytest.approx(0.04)


def test_lines_of_alternating_strength_make_a_ghost_of_half_their_difference() -> None:
    image = disc((96, 96), (2.0, 2.0), radius=45.0, centre=(0.0, 0.0), sigma_mm=(3.0, 3.0))
    kspace = fft2c(image.astype(np.complex64))
    kspace[1::2] *= 1.2
    seen = np.abs(ifft2c(kspace))
    # The ghost is a disc of 0.1 / 1.1 of the object's signal, half a field of view away: it reaches this far.
    found = ghosting(seen, (2.0, 2.0), Disc((96.0, 96.0), 45.0))
    assert found.signal == pytest.approx(1.1, rel=0.01)
    assert 0.5 * 0.1 / 1.1 < found.ratio < 0.1 / 1.1 * 1.02
    assert found.readout < 0.01


def test_too_little_air_is_said() -> None:
    with pytest.raises(ScanError, match="too little air along phase encoding"):
        ghosting(np.ones((96, 128)), (2.0, 2.0), Disc((95.0, 127.0), 85.0))
