"""Data consistency against the released step and against dense formulas."""

import numpy as np
import pytest
import torch

from onebreath.networks.consistency.data_consistency import DataConsistency
from onebreath.networks.consistency.sampled_series import SampledSeries


def fft2c(array):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(array, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))


def ifft2c(array):
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(array, axes=(-2, -1)), norm="ortho"), axes=(-2, -1))


def dense(image, kspace, mask, maps, weight):
    predicted = fft2c(image[:, :, None] * maps)
    blended = predicted + weight * mask * (kspace - predicted)
    return (maps.conj() * ifft2c(blended)).sum(2)


def masks(y, x, frames):
    random = np.random.default_rng(2)
    lines = random.random((1, 1, 1, y, 1)) < 0.4
    columns = random.random((1, 1, 1, 1, x)) < 0.4
    points = random.random((1, frames, 1, y, x)) < 0.4
    lines[..., y // 2, :] = columns[..., x // 2] = True
    return {
        "lines": (lines, (-2,)),
        "lines, full array": (lines & np.ones((1, frames, 1, y, x), bool), (-2,)),
        "lines per frame": (random.random((1, frames, 1, y, 1)) < 0.5, (-2,)),
        "columns": (columns, (-1,)),
        "columns, full array": (columns & np.ones((1, frames, 1, y, x), bool), (-1,)),
        "points": (points, (-2, -1)),
    }


@pytest.mark.parametrize("size", [(8, 6), (9, 7), (7, 10)])
@pytest.mark.parametrize("family", masks(4, 4, 1))
def test_fewer_transforms_give_the_dense_result(family, size, deviation):
    random = np.random.default_rng(4)
    mask, axes = masks(*size, 3)[family]
    maps = random.standard_normal((1, 1, 4, *size, 2)).view(complex)[..., 0]
    kspace = random.standard_normal((1, 3, 4, *size, 2)).view(complex)[..., 0] * mask
    image = random.standard_normal((1, 3, *size, 2)).view(complex)[..., 0]
    series = SampledSeries(*(torch.from_numpy(array) for array in (kspace, mask, maps)))
    assert series.axes == axes
    zero_filled = (maps.conj() * ifft2c(kspace)).sum(2)
    assert deviation(series.zero_filled(), zero_filled) < 1e-12
    assert deviation(series.replace(torch.from_numpy(image)), dense(image, kspace, mask, maps, 1.0)) < 1e-12
    soft = series.replace(torch.from_numpy(image), torch.full((1, 1, 1, 1, 1), 0.3))
    assert deviation(soft, dense(image, kspace, mask, maps, 0.3)) < 1e-7


def test_samples_outside_the_mask_are_ignored(scan):
    kspace, mask, maps = scan()
    strayed = torch.where(mask, kspace, torch.ones_like(kspace))
    torch.testing.assert_close(
        SampledSeries(strayed, mask, maps).zero_filled(), SampledSeries(kspace, mask, maps).zero_filled()
    )


@pytest.mark.parametrize(("kind", "level", "key"), [("hard", None, "dc_hard"), ("soft", 4.0, "dc_soft_v4")])
def test_step_equals_the_released_one(shared, deviation, kind, level, key):
    golden = np.load(shared / "golden" / "crunet_base.npz")
    kspace, mask, maps, image = (
        torch.from_numpy(golden[f"in/{name}"]) for name in ("kspace", "mask", "sens_maps", "dc_image")
    )
    found = DataConsistency(kind, level)(image, SampledSeries(kspace, mask, maps))
    assert deviation(found, golden[f"out/{key}"]) <= 1e-6


def test_hard_step_keeps_the_measurement_of_a_single_coil(scan):
    kspace, mask, maps = scan(coils=1, dtype=torch.complex128)
    image = torch.randn(1, 3, 10, 8, dtype=torch.complex128)
    found = DataConsistency("hard")(image, SampledSeries(kspace, mask, torch.ones_like(maps)))
    assert np.abs((fft2c(found.numpy()) - kspace[:, :, 0].numpy()) * mask[:, :, 0].numpy()).max() < 1e-12


def test_conjugate_gradients_solve_the_normal_equations(scan):
    kspace, mask, maps = scan(batch=2, coils=3, dtype=torch.complex128)
    image = torch.randn(2, 3, 10, 8, dtype=torch.complex128)
    series = SampledSeries(kspace, mask, maps)
    solution = DataConsistency("cg", noise_level=5.0, iterations=40)(image, series).numpy()
    maps, mask = maps.numpy(), mask.numpy()
    normal = (maps.conj() * ifft2c(mask * fft2c(solution[:, :, None] * maps))).sum(2)
    wanted = image.numpy() + 5.0 * (maps.conj() * ifft2c(kspace.numpy())).sum(2)
    assert np.abs(solution + 5.0 * normal - wanted).max() < 1e-9 * np.abs(wanted).max()


def test_without_gradients_matrices_solve_the_normal_equations_at_once(scan, monkeypatch):
    random = np.random.default_rng(3)
    kspace, _, maps = scan(batch=2, coils=3, dtype=torch.complex128)
    mask = torch.from_numpy(random.random((2, 1, 1, 10, 1)) < 0.5)
    maps = maps[:, :1]
    image = torch.randn(2, kspace.shape[1], 10, 8, dtype=torch.complex128)
    consistent = DataConsistency("cg", noise_level=5.0, iterations=60)
    expected = consistent(image, SampledSeries(kspace, mask, maps))
    monkeypatch.setattr(SampledSeries, "_normal", None)  # no conjugate gradients
    with torch.inference_mode():
        found = consistent(image, SampledSeries(kspace, mask, maps, by_matrices=True))
    torch.testing.assert_close(found, expected)


def test_conjugate_gradients_of_one_coil_are_the_soft_step(scan):
    kspace, mask, maps = scan(coils=1, dtype=torch.complex128)
    series = SampledSeries(kspace, mask, torch.ones_like(maps))
    image = torch.randn(1, 3, 10, 8, dtype=torch.complex128)
    torch.testing.assert_close(DataConsistency("cg", 3.0)(image, series), DataConsistency("soft", 3.0)(image, series))


def test_conjugate_gradients_stay_finite_once_solved(scan):
    kspace, mask, maps = scan(coils=1)
    series = SampledSeries(torch.zeros_like(kspace), mask, maps)
    assert not DataConsistency("cg", 3.0)(torch.zeros(1, 3, 10, 8, dtype=torch.complex64), series).any()


def test_noise_aware_weight_is_the_ratio_of_variances(scan):
    kspace, mask, maps = scan(dtype=torch.complex128)
    series = SampledSeries(kspace, mask, maps)
    image = torch.randn(1, 3, 10, 8, dtype=torch.complex128)
    step = DataConsistency("soft").double()
    step.log_network_std.data.fill_(np.log(0.2))
    wanted = DataConsistency("soft", noise_level=4.0)(image, series)
    torch.testing.assert_close(step(image, series, noise_std=torch.tensor([0.1])), wanted, rtol=1e-6, atol=1e-6)
