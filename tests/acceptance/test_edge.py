"""The resolution test against discs whose blur is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from onebreath.acceptance.edge import edge_response, find_disc
from onebreath.acceptance.findings import Finding
from onebreath.acceptance.limits import Limits
from onebreath.acceptance.phantom import resolution_findings
from onebreath.errors import ScanError
from tests.acceptance.discs import disc

FWHM = 2 * np.sqrt(2 * np.log(2))
MTF50 = np.sqrt(np.log(2) / 2) / np.pi


@pytest.mark.parametrize("sigma", [1.6, 2.4, 4.0])
@pytest.mark.parametrize("noise", [0.0, 1 / 60])
def test_a_gaussian_blur_is_found(sigma: float, noise: float) -> None:
    image = disc(sigma_mm=(sigma, sigma)) + noise * np.random.default_rng(1).standard_normal((96, 96))
    where = find_disc(image, (2.0, 2.0))
    assert where.radius == pytest.approx(55, abs=0.2)
    assert where.centre == pytest.approx((48 * 2 + 1.3, 48 * 2 - 2.1), abs=0.1)
    for axis in (0, 1):
        found = edge_response(image, (2.0, 2.0), where, axis)
        assert found.fwhm_mm == pytest.approx(FWHM * sigma, rel=0.02 + 2 * noise)
        assert found.mtf50 == pytest.approx(MTF50 / sigma, rel=0.02 + 3 * noise)
        assert abs(found.fwhm_mm - FWHM * sigma) < 4 * found.error_mm + 0.05


def test_axes_are_told_apart() -> None:
    image = disc(pixel_mm=(2.0, 2.5), sigma_mm=(4.0, 2.0))
    where = find_disc(image, (2.0, 2.5))
    along_y, along_x = (edge_response(image, (2.0, 2.5), where, axis).fwhm_mm for axis in (0, 1))
    assert along_y == pytest.approx(FWHM * 4, rel=0.05)
    assert along_x == pytest.approx(FWHM * 2, rel=0.12), (
        "the edge turns by 22 degrees, so the other axis shows a little"
    )


def test_band_limit_alone_gives_half_a_cycle_per_pixel() -> None:
    image = disc(sigma_mm=(0.0, 0.0))
    found = edge_response(image, (2.0, 2.0), find_disc(image, (2.0, 2.0)), 1)
    assert found.mtf50 * 2 == pytest.approx(0.5, rel=0.05)
    assert found.fwhm_mm / 2 == pytest.approx(1.207, rel=0.15), "sinc(x) is 0.5 at x = 0.603"


@pytest.mark.parametrize("sigma", [0.0, 2.4])
def test_the_shading_of_coils_changes_neither(sigma: float) -> None:
    image = disc(sigma_mm=(sigma, sigma))
    y, x = np.arange(96)[:, None] * 2.0 - 97.3, np.arange(96)[None] * 2.0 - 93.9
    shaded = image * np.exp(0.5 * (y**2 + 0.5 * x**2) / 55**2)  # 1.6 times as bright at the edge
    for axis in (0, 1):
        plain, found = (edge_response(one, (2.0, 2.0), find_disc(image, (2.0, 2.0)), axis) for one in (image, shaded))
        assert found.fwhm_mm == pytest.approx(plain.fwhm_mm, rel=0.05, abs=0.1)
        assert found.mtf50 == pytest.approx(plain.mtf50, rel=0.06)
        assert found.mtf.max() < 1.1


def test_a_disc_may_stand_on_a_support() -> None:
    image = disc(sigma_mm=(2.4, 2.4))
    image[70:76, 30:66] = 0.0  # a bar, and below it nothing
    image[76:] = 0.0
    found = find_disc(image, (2.0, 2.0))
    assert found.radius == pytest.approx(55, abs=0.4)
    for axis in (0, 1):
        assert edge_response(image, (2.0, 2.0), found, axis).fwhm_mm == pytest.approx(FWHM * 2.4, rel=0.05)


def test_what_is_no_disc_is_refused() -> None:
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    with pytest.raises(ScanError, match="no circle"):
        find_disc(((abs(y) < 0.5) & (abs(x) < 0.7)).astype(float), (2.0, 2.0))


def findings_of(image: np.ndarray, pixel: float, methods: bool = True) -> list[Finding]:
    subject = SimpleNamespace(full=True, combined=image[None], pixel_mm=(pixel, pixel), phase=np.ones_like(image))
    method = SimpleNamespace(label="itself", method=lambda data: SimpleNamespace(images=image[None]))
    tests = [(SimpleNamespace(data=None), [method])] if methods else []
    return [found for found, _, _ in resolution_findings(subject, tests, Limits()) if found is not None]


def test_a_width_that_pixels_cannot_show_is_not_judged() -> None:
    """An edge of few large pixels has one of 0.6 pixels by chance, which is no proof that it is sharp."""
    readout, phase, growth = findings_of(
        disc(shape=(56, 56), pixel_mm=(3.5, 3.5), sigma_mm=(0, 0), centre=(-0.1, 2.9)), 3.5
    )
    assert readout.outcome == "passed"
    assert phase.outcome == "not done"
    assert "cannot be judged with pixels of 3.5 mm" in phase.why
    assert "phase encoding" not in growth.value
    assert growth.outcome == "passed"
    fine = findings_of(disc(sigma_mm=(0.0, 0.0)), 2.0, methods=False)
    assert {one.outcome for one in fine} == {"passed"}
    blurred = findings_of(disc(shape=(56, 56), pixel_mm=(3.5, 3.5), sigma_mm=(3.5, 3.5)), 3.5, methods=False)
    assert {one.outcome for one in blurred} == {"failed"}
