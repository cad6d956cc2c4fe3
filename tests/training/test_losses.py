import numpy as np
import pytest
import torch

from onebreath.training.losses import LossWeights, loss_terms, ssim_loss, total_loss
from tests.helpers import relative_error


def series(seed: int, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((batch, 3, 12, 14), dtype=torch.complex64, generator=generator)


def test_terms_and_gradient_are_those_of_the_released_code(shared):
    with np.load(shared / "golden" / "crunet_loss.npz") as golden:
        prediction = torch.from_numpy(golden["in/pred"]).requires_grad_()
        target = torch.from_numpy(golden["in/target"])
        weights = LossWeights(official_ssim_scaling=True)
        terms = loss_terms(prediction, target, official_ssim_scaling=True)
        names = ("mse_k", "mse_i", "l1_i", "ssim_re", "ssim_im")
        for term, name in zip(terms, names, strict=True):
            assert float(term.detach()) == pytest.approx(float(golden[f"out/{name}"]), rel=1e-5), name
        loss = total_loss(prediction, target, weights)
        assert float(loss.detach()) == pytest.approx(float(golden["out/loss"]), rel=1e-5)
        (gradient,) = torch.autograd.grad(loss, prediction)
        assert relative_error(torch.view_as_real(gradient), golden["out/grad"]) < 1e-4


def test_a_perfect_prediction_has_no_loss():
    assert float(total_loss(series(1), series(1), LossWeights())) == pytest.approx(0, abs=1e-6)


def test_a_wrong_scale_costs_unless_the_official_scaling_hides_it():
    target = series(2)
    ours = loss_terms(1.5 * target, target)
    official = loss_terms(1.5 * target, target, official_ssim_scaling=True)
    assert float(ours.ssim_real) > 0.01
    assert float(official.ssim_real) == pytest.approx(0, abs=1e-5)


def test_the_loss_of_a_batch_is_the_mean_of_its_examples():
    prediction, target = series(3, 2), series(4, 2) * torch.tensor([1.0, 7.0]).reshape(2, 1, 1, 1)
    together = total_loss(prediction, target, LossWeights())
    alone = [total_loss(prediction[i : i + 1], target[i : i + 1], LossWeights()) for i in range(2)]
    torch.testing.assert_close(together, sum(alone) / 2)


def test_a_zero_target_gives_a_finite_loss():
    assert torch.isfinite(total_loss(series(5), torch.zeros_like(series(5)), LossWeights()))


def test_images_below_the_window_are_refused():
    with pytest.raises(ValueError, match="7 x 7"):
        ssim_loss(torch.zeros(1, 1, 6, 20), torch.zeros(1, 1, 6, 20))


def test_the_magnitude_loss_is_blind_to_phase_only():
    weights = LossWeights(kspace_mse=0, image_mse=0, image_l1=0, ssim=0, ssim_magnitude=2)
    target = series(1)
    turned = target * torch.exp(torch.tensor(1.2j))
    assert float(total_loss(turned, target, weights)) == pytest.approx(0, abs=1e-5)
    worse, magnitude = total_loss(turned * 1.5, target, weights), target.abs() / target.abs().max()
    assert float(worse) == pytest.approx(float(2 * ssim_loss(1.5 * magnitude, magnitude)), rel=1e-4)
