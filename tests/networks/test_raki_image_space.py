"""RAKI in image space against RAKI in k-space, and against the released code's own image-space arrays."""

import numpy as np
import pytest
import torch

from onebreath.mri.coils import rss
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.networks.raki.image_space import ImageSpaceRaki, comb_energy, mask_spectrum, row_gfactor
from onebreath.networks.raki.raki import Raki
from tests.helpers import complex_normal, relative_error
from tests.networks.test_raki import released


def random_network(slope=0.5, targets="all", acceleration=3, coils=4, widths=(16, 8), dtype=torch.complex128):
    torch.manual_seed(2)
    network = Raki(coils, acceleration, widths, slope=slope, targets=targets).requires_grad_(False)
    for weight in network.weights:
        weight.data = 2 * weight.data.to(dtype)
    return network


def undersampled(shape, offset, acceleration, dtype=np.complex128):
    kspace = torch.from_numpy(complex_normal(np.random.default_rng(5), shape, dtype))
    return kspace * (torch.arange(shape[-2]) % acceleration == offset)[:, None]


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("targets", ["all", "missing"])
@pytest.mark.parametrize("size", [(24, 20), (27, 21)])
def test_equals_kspace_with_circular_borders(slope, targets, size):
    network = random_network(slope, targets)
    kspace = undersampled((1, 4, *size), 1, 3)
    expected = ifft2c(network.fill(kspace, 1, "circular")[0])
    in_image_space = ImageSpaceRaki(network)
    images = ifft2c(kspace)
    assert relative_error(in_image_space(images), expected) < 1e-10
    frozen = in_image_space.gains(images[0], "frozen")
    assert relative_error(in_image_space.apply(images, frozen), expected) < 1e-10


def test_equals_kspace_in_single_precision():
    network = random_network(dtype=torch.complex64)
    kspace = undersampled((1, 4, 48, 40), 0, 3, np.complex64)
    expected = ifft2c(network.fill(kspace, 0, "circular")[0])
    assert relative_error(ImageSpaceRaki(network)(ifft2c(kspace)), expected) < 1e-5


@pytest.mark.parametrize("acceleration", [3, 4])
class TestReleased:
    @pytest.fixture
    def golden(self, shared, acceleration):
        return np.load(shared / "golden" / f"raki_grappa_R{acceleration}.npz")

    def test_magnitudes_with_valid_borders(self, golden):
        network = released(golden)
        images = ImageSpaceRaki(network)(ifft2c(torch.from_numpy(golden["in/kspace_zf"]))[None])
        magnitude = rss(images[0], 0).numpy()
        for name in ("out/rss", "out/rss_image_space"):
            error = np.sum((magnitude - golden[name]) ** 2) / np.sum(golden[name] ** 2)
            assert error < 1e-3, name


@pytest.mark.parametrize("derivative", ["frozen", "exact"])
@pytest.mark.parametrize("targets", ["all", "missing"])
def test_adjoint(derivative, targets):
    network = random_network(targets=targets)
    in_image_space = ImageSpaceRaki(network)
    gains = in_image_space.gains(ifft2c(undersampled((4, 12, 10), 1, 3)), derivative)
    rng, shape = np.random.default_rng(7), (1, 4, 12, 10)
    u, v = (torch.from_numpy(complex_normal(rng, shape)) for _ in range(2))
    left = torch.vdot(v.ravel(), in_image_space.apply(u, gains).ravel()).real
    right = torch.vdot(in_image_space.adjoint(v, gains).ravel(), u.ravel()).real
    assert float(left) == pytest.approx(float(right), rel=1e-10)


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_row_gfactor_is_the_gradient_of_the_magnitude(slope):
    network, shape = random_network(slope, "missing"), (4, 12, 10)
    combination = torch.from_numpy(complex_normal(np.random.default_rng(3), shape))
    combination = combination / combination.abs().square().sum(0).sqrt()
    kspace = undersampled(shape, 1, 3).requires_grad_()
    acquired = torch.arange(12) % 3 == 1
    image = (combination * ifft2c(network.fill(kspace[None], 1, "circular")[0][0])).sum(0)
    phase = image.detach() / image.detach().abs()
    pixels = torch.tensor([[0, 0], [5, 7], [11, 9]])
    gradients = [torch.autograd.grad(image[y, x].abs(), kspace, retain_graph=True)[0] for y, x in pixels]
    expected = [float(gradient[:, acquired].abs().square().sum().sqrt()) / np.sqrt(3) for gradient in gradients]
    in_image_space = ImageSpaceRaki(network)
    gains = in_image_space.gains(ifft2c(kspace.detach()), "exact")
    found = row_gfactor(in_image_space, gains, acquired, combination * phase.conj(), pixels, block=2)
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_kernel_is_what_multiplies_the_pixels():
    layer = ImageSpaceRaki(random_network()).layers[0]
    images = torch.from_numpy(complex_normal(np.random.default_rng(5), (1, 4, 12, 10)))
    expected = torch.einsum("oiyx,iyx->oyx", layer.kernel((12, 10)), images[0])
    assert relative_error(layer(images)[0], expected) < 1e-12


@pytest.mark.parametrize("slope", [0.0, 0.25, 0.5, 1.0])
def test_mask_energy_of_the_comb(slope):
    """The law holds where the phase of the responses is uniform, as in the first layer."""
    images = ifft2c(undersampled((4, 96, 64), 1, 3))
    (first, _), _ = ImageSpaceRaki(random_network(slope)).gains(images, "frozen")
    assert comb_energy(first, 3) == pytest.approx((1 + slope) ** 2 / (2 * (1 + slope**2)), abs=0.01)
    assert not first[:, 0].any()
    assert first[:, 1].any()


def test_masks_of_a_structured_object_gather_at_the_centre():
    """The smaller the slope, the brighter what is convolved with the image about its centre."""
    y, x = torch.meshgrid(torch.arange(96) - 48, torch.arange(64) - 32, indexing="ij")
    disc = (torch.hypot(y / 30, x / 20) < 1).to(torch.complex128)
    coils = torch.exp(-(((y / 48 - 1) ** 2 + (x / 32) ** 2) * torch.tensor([0.2, 0.6, 1, 1.4])[:, None, None]))
    kspace = fft2c(coils * disc) * (torch.arange(96) % 3 == 0)[:, None]
    centre = []
    for slope in (0.0, 0.5, 1.0):
        (first, _), _ = ImageSpaceRaki(random_network(slope)).gains(ifft2c(kspace), "frozen")
        spectrum = mask_spectrum(first, 3)
        centre.append(float(spectrum[46:51, 30:35].mean()))
    assert centre[0] > 1.5 * centre[1] > 0.01
    assert centre[2] < 1e-9
