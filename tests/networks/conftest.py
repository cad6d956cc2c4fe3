"""Random undersampled series for the networks, and each library of compiled convolutions."""

import pytest
import torch

from onebreath.networks.convolution import loading


@pytest.fixture
def scan():
    """Make ``(kspace, mask, maps)`` of unit-norm maps, kept consistent with the mask."""

    def make(batch=1, frames=3, coils=2, y=10, x=8, dtype=torch.complex64, seed=0):
        generator = torch.Generator().manual_seed(seed)
        maps = torch.randn(batch, 1, coils, y, x, dtype=dtype, generator=generator)
        maps = maps / maps.abs().square().sum(2, keepdim=True).sqrt()
        mask = torch.rand(batch, frames, 1, y, 1, generator=generator) < 0.4
        mask[..., y // 2, :] = True
        kspace = torch.randn(batch, frames, coils, y, x, dtype=dtype, generator=generator)
        return kspace * mask, mask, maps

    return make


@pytest.fixture
def deviation():
    """Largest difference relative to the largest magnitude of what is wanted."""

    def measure(found, wanted):
        found, wanted = torch.as_tensor(found), torch.as_tensor(wanted)
        return float((found - wanted).abs().max() / wanted.abs().max())

    return measure


@pytest.fixture
def gradients_are_right():
    """Check the gradients of a network in double precision: of the k-space, and of all weights along one direction."""

    def check(network, kspace, mask, maps):
        weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
        direction = {name: torch.randn_like(weight) for name, weight in weights.items()}

        def reconstruct(data, step):
            moved = {name: weight + step * direction[name] for name, weight in weights.items()}
            return torch.func.functional_call(network, moved, (data, mask, maps))

        step = torch.zeros((), dtype=torch.float64, requires_grad=True)
        return torch.autograd.gradcheck(reconstruct, (kspace.requires_grad_(), step), fast_mode=True)

    return check


@pytest.fixture(scope="class", params=loading.libraries(), ids=lambda path: path.name.split(".")[0])
def each_library(request):
    """Each library that runs on this processor, in use."""
    loaded = loading.load(request.param)
    if loaded is None:
        pytest.skip("compiled for another processor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "library", lambda: loaded)
        yield loaded
