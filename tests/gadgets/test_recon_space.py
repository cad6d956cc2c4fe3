"""Pixels of the recon space lie where its field of view says, and their noise is what the meta says."""

import ismrmrd
import numpy as np
import pytest

from onebreath.gadgets.recon_space import ReconSpace
from onebreath.mrd.readout import oversampled_to
from onebreath.mri.fourier import fftc, ifftc, resize

PIXEL = 8.0  # mm, before


def entries(size: int, fov: float, matrix: int, **more: object) -> ismrmrd.Meta:
    """Meta of an image whose x stays and whose y, of `size` pixels, is brought to `matrix` pixels over `fov` mm."""
    values = {
        "encoding_FOV": ["32", str(PIXEL * size), "8"],
        "recon_FOV": ["32", str(fov), "8"],
        "recon_matrix": ["4", str(matrix), "1"],
    }
    return ismrmrd.Meta({**values, **more})


def blob(at: np.ndarray, middle: float = 21.0) -> np.ndarray:
    """A smooth object (y, 4) at these places in mm, so wide that pixels of 8 mm hold all of it."""
    return np.repeat(np.exp(-(((at - middle) / 20) ** 2))[:, None], 4, 1).astype(np.complex64)


def places(count: int, fov: float) -> np.ndarray:
    return (np.arange(count) - count // 2) * fov / count


RATIOS = [
    (24, 165.0, 192),  # 20.6 of 24 pixels
    (24, 165.0, 33),
    (25, 148.0, 37),  # 18.5
    (24, 200.0, 47),  # whole
    (24, 165.0, 24),
    (25, 173.0, 25),
    (24, 185.0, 18),  # fewer pixels than before
]


@pytest.mark.parametrize(("size", "fov", "matrix"), RATIOS)
def test_pixels_show_the_object_at_their_place_in_the_stated_field_of_view(size: int, fov: float, matrix: int) -> None:
    image = blob(places(size, PIXEL * size))
    made = ReconSpace.of_meta(entries(size, fov, matrix), image.shape).bring(image)
    assert np.abs(made - blob(places(matrix, fov))).max() < 0.001  # a tenth of a pixel off is 0.03


def test_partitions_that_the_field_of_view_cuts_stay_in_their_place() -> None:
    volume = blob(places(10, 80.0), 5.0)[:, :, None] * np.ones((10, 4, 4), np.complex64)
    meta = ismrmrd.Meta(
        {"encoding_FOV": ["32", "32", "80"], "recon_FOV": ["32", "32", "68"], "recon_matrix": ["4", "4", "17"]}
    )
    made = ReconSpace.of_meta(meta, volume.shape).bring(volume)
    inner = slice(3, 14)  # the object reaches the ends of the slab, where a Fourier sum rings
    assert made.shape == (17, 4, 4)
    np.testing.assert_allclose(made[inner, 0, 0], blob(places(17, 68.0), 5.0)[inner, 0], atol=0.02)


@pytest.mark.parametrize(("fov", "matrix"), [(160.0, 20), (160.0, 40), (160.0, 15), (192.0, 24), (192.0, 96)])
def test_whole_pixels_are_cut_and_interpolated_as_ever(fov: float, matrix: int) -> None:
    rng = np.random.default_rng(5)
    image = (rng.normal(size=(24, 4)) + 1j * rng.normal(size=(24, 4))).astype(np.complex64)
    kept = resize(image, (round(fov / PIXEL), 4))
    spectrum = resize(fftc(kept, -2), (matrix, 4))
    plain = kept if matrix == len(kept) else ifftc(spectrum, -2) * np.float32(np.sqrt(matrix / len(kept)))
    np.testing.assert_array_equal(ReconSpace.of_meta(entries(24, fov, matrix), image.shape).bring(image), plain)


def test_beyond_the_image_there_is_nothing_rather_than_its_repetition() -> None:
    image = np.ones((24, 4), np.complex64)
    made = ReconSpace.of_meta(entries(24, 250.0, 50), image.shape).bring(image)
    outside = np.abs(places(50, 250.0)) > 96
    assert not made[outside].any()
    assert np.abs(made[~outside] - 1).max() < 1e-5


def test_of_a_readout_no_sample_of_the_stated_field_of_view_is_lost() -> None:
    assert oversampled_to(64, 300.0, 222.0) == 48  # 47.4
    assert oversampled_to(512, 600.0, 300.0) == 256
    assert oversampled_to(512, 599.99, 300.0) == 256
    assert oversampled_to(64, 300.0, 400.0) == 64


@pytest.mark.parametrize(("fov", "matrix"), [(192.0, 12), (192.0, 48), (165.0, 12), (165.0, 40), (160.0, 15)])
@pytest.mark.parametrize("limits", [(0, 12, 23), (5, 12, 23)])
def test_the_noise_is_that_of_the_samples_which_the_new_pixels_hold(
    fov: float, matrix: int, limits: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(2)
    kspace = rng.normal(size=(4000, 24, 4)) + 1j * rng.normal(size=(4000, 24, 4))
    kspace[:, : limits[0]] = 0
    noise = ifftc(kspace, -2).astype(np.complex64)
    space = ReconSpace.of_meta(entries(24, fov, matrix, sampling_limits_E1=[str(n) for n in limits]), (1, 24, 4))
    before, after = noise.std(), space.bring(noise[:, None]).std()
    assert space.noise == pytest.approx(after / before, rel=0.02)


def test_a_map_of_noise_is_weighed_by_the_squares_of_what_makes_a_pixel() -> None:
    rng = np.random.default_rng(4)
    std = np.repeat(rng.uniform(0.5, 3, 24)[:, None], 4, 1)
    noise = std * (rng.normal(size=(6000, 24, 4)) + 1j * rng.normal(size=(6000, 24, 4)))
    space = ReconSpace.of_meta(entries(24, 165.0, 15), (1, 24, 4))
    measured = space.bring(noise.astype(np.complex64)[:, None])[:, 0].real.std(axis=0)
    np.testing.assert_allclose(space.spread(std[None])[0] * space.noise, measured, rtol=0.06)
