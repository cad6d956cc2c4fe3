"""Energy between the acquired lines, and what L+S does where it is more than the lines show."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from onebreath.methods.low_rank_sparse import LowRankSparse
from onebreath.methods.low_rank_sparse.between_lines import BetweenLines
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.mri.sense import SenseOperator
from tests.helpers import backend, nrmse  # noqa: F401
from tests.methods.slices import lines, synthetic

NY, NX = 96, 64
TIMES = "thresholds_for_noise_times"


def scan(acceleration, frames=8, shifting=False, noise=1.0, wrong=0.0):
    """A slice whose maps are off by a share of them that varies over the image, and its truth."""
    offsets = (frame % acceleration if shifting else 0 for frame in range(frames))
    case = synthetic(np.stack([lines(NY, acceleration, 12, o) for o in offsets]), NY, NX, coils=6, noise=noise)
    data = replace(case.data, kspace=case.data.kspace / np.float32(noise))
    y, x = np.meshgrid(np.linspace(-3, 3, NY), np.linspace(-3, 3, NX), indexing="ij")
    off = wrong * np.exp(1j * (np.arange(6)[:, None, None] * y + np.sin(2 * x * y)))
    maps = data.maps[0] * (1 + off)
    maps /= np.sqrt((np.abs(maps) ** 2).sum(axis=0))
    return replace(data, maps=maps[None].astype(np.complex64)), case.truth / noise


def between(data, images, level=1.0, convert=np.asarray):
    operator = SenseOperator(convert(data.maps), convert(data.mask))
    measure = BetweenLines(operator, convert(data.kspace), data.sampling, level)
    return measure(convert(images.astype(np.complex64)[None]))


@pytest.mark.parametrize("shifting", [False, True])
@pytest.mark.parametrize("acceleration", [2, 4, 6])
def test_the_truth_has_what_the_lines_show(acceleration, shifting, backend):  # noqa: F811
    data, truth = scan(acceleration, shifting=shifting)
    found = between(data, truth, convert=backend)
    assert 0.6 < found < 1.2
    kspace = fft2c(truth)
    kspace[~np.broadcast_to(data.mask, kspace.shape)] *= 2
    assert between(data, ifft2c(kspace), convert=backend) > 2 * found


def test_samples_that_no_line_has_do_not_count():
    data, truth = scan(4)
    mask = np.broadcast_to(data.mask, (8, NY, NX)).copy()
    mask[..., : NX // 4] = False
    part = replace(data, mask=mask, kspace=data.kspace * mask[:, None])
    found = between(part, truth)
    assert 0.6 < found < 1.2
    outside = fft2c(truth)
    outside[..., : NX // 8] *= 100
    assert between(part, ifft2c(outside)) < 1.1 * found


def test_nothing_is_asked_where_nothing_is_missing():
    data, truth = scan(1)
    assert between(data, truth) == 0
    assert between(replace(scan(4)[0], kspace=0 * data.kspace), truth, level=0.0) == 0


@pytest.mark.parametrize(
    ("noise", "wrong", "shifting"),
    [*product((0.05, 1.0), (0.0, 0.05, 0.15), (False,)), (0.05, 0.05, True), (1.0, 0.15, True)],
)
def test_thresholds_are_as_high_as_wrong_maps_need(noise, wrong, shifting):
    """Whatever the maps' error is beside the noise, no other level is much better, though the truth is known here."""
    data, truth = scan(12, shifting=shifting, noise=noise, wrong=wrong)
    result = LowRankSparse(device="cpu")(data)
    error = nrmse(np.abs(result.images), np.abs(truth))
    louder = [replace(data, kspace=data.kspace / np.float32(times)) for times in (1, 4, 16, 64)]
    # Whoever states thresholds gets them.
    plain = [LowRankSparse(device="cpu", low_rank=1.0)(one) for one in louder]
    assert not any(TIMES in one.facts for one in plain)
    others = [
        nrmse(times * np.abs(one.images), np.abs(truth)) for times, one in zip((1, 4, 16, 64), plain, strict=True)
    ]
    assert error < 1.25 * min(others)
    if noise < 1 and wrong:
        assert result.facts[TIMES] > 1
        assert error < 0.7 * others[0]


def test_what_higher_thresholds_do_not_lower_is_left(monkeypatch):
    data, _ = scan(4)
    plain = LowRankSparse(device="cpu")(data).images
    monkeypatch.setattr(BetweenLines, "__call__", lambda self, images: 3.0)
    result = LowRankSparse(device="cpu")(data)
    assert (result.facts["between_lines"], result.facts[TIMES]) == (3.0, 1)
    assert np.array_equal(result.images, plain)


def test_replicas_keep_the_thresholds():
    method = LowRankSparse(device="cpu")
    (wrong, _), (right, _) = scan(12, noise=0.05, wrong=0.05), scan(12)
    many, few = (method(data).facts[TIMES] for data in (wrong, right))
    assert many > few
    assert method(wrong.replica(right.kspace)).facts[TIMES] == many
    assert method(right.replica(wrong.kspace)).facts[TIMES] == few
