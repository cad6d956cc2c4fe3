import numpy as np
import pytest
import torch

from onebreath.errors import ConfigError
from onebreath.mri.fourier import fft2c
from onebreath.training.losses import LossWeights, kspace_loss, loss_terms, ssim_loss, total_loss
from onebreath.training.tasks import task_of
from onebreath.zoo.architectures import build
from tests.helpers import relative_error
from tests.models import TINY
from tests.training.recipes import tiny_recipe


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


NONE = {"kspace_mse": 0, "image_mse": 0, "image_l1": 0, "ssim": 0}


def a_liknet_recipe(**loss):
    network = {"architecture": "a_liknet", "arguments": TINY["a_liknet"]}
    return tiny_recipe(network=network, loss={**NONE, "image_modulus": 1.0, "kspace_modulus": 2.0, **loss})


def a_liknet_example():
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn((1, 1, 2, 16, 16), dtype=torch.complex64, generator=generator)
    maps = maps / torch.linalg.vector_norm(maps, dim=2, keepdim=True)
    target = torch.randn((1, 3, 16, 16), dtype=torch.complex64, generator=generator)
    mask = (torch.arange(16) % 2 == 0).reshape(1, 1, 1, 16, 1).expand(1, 3, 1, 16, 1)
    kspace = fft2c(target[:, :, None] * maps) * mask
    return {"kspace": kspace, "mask": mask, "maps": maps, "target": target, "noise_std": torch.zeros(1)}


def test_a_liknets_loss_is_that_of_its_authors_but_for_a_factor():
    """They sum sqrt(|error|^2 + 1e-9) over the image and the k-space of all coils, with weight 1 each."""
    recipe, example = a_liknet_recipe(), a_liknet_example()
    torch.manual_seed(0)
    network = build("a_liknet", TINY["a_liknet"])
    loss = task_of(recipe, network).loss(network, example, (0, 0))
    image, kspace = network.reconstruct(*(example[name] for name in ("kspace", "mask", "maps")))
    full = fft2c(example["target"][:, :, None] * example["maps"])
    summed = sum(
        (torch.view_as_real(error).square().sum(-1) + 1e-9).sqrt().sum()
        for error in (image - example["target"], kspace - full)
    )
    assert float(loss.detach()) == pytest.approx(float(summed.detach()) / example["target"].numel(), rel=1e-5)
    loss.backward()
    assert float(network.kspace_weight.grad.abs()) > 0


def test_moduli_are_blind_to_the_phase_of_the_error():
    target = series(4)
    error = series(5)
    weights = LossWeights(**NONE, image_modulus=1.0)
    one, other = (float(total_loss(target + factor * error, target, weights)) for factor in (1, np.exp(0.7j)))
    assert one == pytest.approx(other, rel=1e-5)
    assert one == pytest.approx(float(error.abs().mean()), rel=1e-4)
    maps = torch.ones(1, 1, 1, 12, 14, dtype=torch.complex64)
    shifted = fft2c(target)[:, :, None] + 0.5
    assert float(kspace_loss(shifted, target, maps)) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"network": {"architecture": "crunet_mr", "arguments": TINY["crunet_mr"]}}, "needs a network that predicts"),
        ({"self_supervised": {}}, "compares with full samples"),
    ],
)
def test_the_loss_of_kspace_needs_a_network_that_predicts_it_and_full_samples(changes, text):
    recipe = a_liknet_recipe().model_dump(mode="json") | changes
    recipe = type(a_liknet_recipe()).model_validate(recipe)
    network = build(recipe.network.architecture, recipe.network.arguments)
    with pytest.raises(ConfigError, match=text):
        task_of(recipe, network)
