import numpy as np
import pytest

from onebreath.evaluation.metrics import measure, ssim_map

PAIRS = range(6)


@pytest.fixture(scope="module")
def golden(shared):
    return np.load(shared / "golden" / "metrics.npz")


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("convention", ["strict", "paper"])
def test_reference_values(golden, pair, convention):
    found = measure(golden[f"in/pair{pair}_target"], golden[f"in/pair{pair}_pred"], convention)
    for name, tolerance in (("psnr", 1e-5), ("ssim", 1e-6), ("haarpsi", 1e-4)):
        assert np.allclose(found[name], golden[f"out/{convention}_{name}_pair{pair}"], rtol=0, atol=tolerance), name
    assert np.allclose(found["nmse"], golden[f"out/{convention}_nmse_pair{pair}"], rtol=1e-6)


def test_reference_map(golden):
    target, prediction = golden["in/pair0_target"].astype(float), golden["in/pair0_pred"].astype(float)
    maps = np.stack([ssim_map(a, b, target.max()) for a, b in zip(target, prediction, strict=True)])
    inner = np.s_[:, 3:-3, 3:-3]
    assert np.abs(maps - golden["out/strict_ssim_map_pair0"])[inner].max() < 1e-5


def series() -> np.ndarray:
    return np.random.default_rng(0).random((2, 20, 24)) + 0.5


def test_equal_images_are_perfect():
    x = series()
    found = measure(x, x)
    assert np.isinf(found["psnr"]).all()
    assert np.allclose(found["ssim"], 1)
    assert np.allclose(found["nmse"], 0)
    assert np.allclose(found["haarpsi"], 1, atol=1e-3)


def test_a_wrong_scale_counts_only_when_strict():
    x = series()
    assert measure(x, 1.2 * x, "strict")["psnr"].max() < 25
    assert measure(x, 1.2 * x, "paper")["psnr"].min() > 100


@pytest.mark.parametrize(
    ("target", "prediction", "words"),
    [
        (series(), series()[:1], "must both be"),
        (0 * series(), series(), "zero everywhere"),
        (series()[:, :5], series()[:, :5], "at least 7 x 7"),
    ],
)
def test_what_cannot_be_compared(target, prediction, words):
    with pytest.raises(ValueError, match=words):
        measure(target, prediction)


def test_a_dark_frame_cannot_be_scaled_by_its_maximum():
    x = series()
    x[1] = 0
    with pytest.raises(ValueError, match="frame 1"):
        measure(x, x, "paper")
