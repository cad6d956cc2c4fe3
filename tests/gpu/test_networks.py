"""Every network on the GPU: images and gradients of the CPU, and images in reduced precision."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from onebreath.networks.restoration.restoration import RestorationNetwork
from onebreath.networks.shared.cuda_graphs import CudaGraphNetwork
from onebreath.networks.shared.precision import true_float32
from onebreath.networks.shared.unrolled import UnrolledNetwork
from onebreath.zoo.architectures import ARCHITECTURES, RESTORATION, build
from tests.helpers import nrmse, relative_error
from tests.models import RESTORATION_TINY, TINY

pytestmark = pytest.mark.cuda
NAMES = [*ARCHITECTURES, *RESTORATION]


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(name, (TINY | RESTORATION_TINY)[name])


def work(made: nn.Module, device: str, seed: int = 0) -> Callable[[], Tensor]:
    """A function that runs the network on data that do not depend on the device."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(made, RestorationNetwork):
        images = torch.rand(2, 1, 16, 16, generator=generator).to(device)
        return lambda: made(images, [0, 0], [0, 0])
    maps = torch.randn(1, 1, 2, 20, 18, dtype=torch.complex64, generator=generator)
    maps = maps / maps.abs().square().sum(2, keepdim=True).sqrt()
    mask = torch.zeros(1, 1, 1, 20, 1, dtype=torch.bool)
    mask[..., ::2, :] = True
    kspace = torch.randn(1, 3, 2, 20, 18, dtype=torch.complex64, generator=generator) * mask
    inputs = [one.to(device) for one in (kspace, mask, maps, torch.tensor([0.05]))]
    return lambda: made(*inputs)


@pytest.mark.parametrize("name", NAMES)
def test_images_are_those_of_the_cpu(device: str, name: str) -> None:
    made = network(name).eval()
    with torch.inference_mode(), true_float32(torch.float32):
        wanted = work(made, "cpu")()
        found = work(made.to(device), device)()
    assert found.device.type == device
    assert relative_error(found.cpu(), wanted) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_cpu(device: str, name: str) -> None:
    def gradients(place: str) -> dict[str, Tensor]:
        made = network(name).to(place)
        work(made, place)().abs().square().mean().backward()
        return {key: value.grad.cpu() for key, value in made.named_parameters() if value.grad is not None}

    with true_float32(torch.float32):
        wanted, found = gradients("cpu"), gradients(device)
    assert found.keys() == wanted.keys()
    largest = max(float(value.abs().max()) for value in wanted.values())
    for key, value in wanted.items():
        assert float((found[key] - value).abs().max()) < 2e-3 * largest, key


@pytest.mark.parametrize("name", NAMES)
def test_reduced_precision_changes_little(device: str, name: str) -> None:
    made = network(name).eval().to(device)
    with torch.inference_mode(), true_float32(torch.float32):
        single = work(made, device)()
        chosen = made.use_precision("auto")
        half = work(made, device)()
    assert chosen == (torch.bfloat16 if device == "cuda" else chosen)
    assert half.dtype == single.dtype
    assert nrmse(half.cpu(), single.cpu()) < 0.05


@pytest.mark.parametrize("precision", ["float32", "auto"])
@pytest.mark.parametrize("name", [n for n in ARCHITECTURES if issubclass(type(network(n)), UnrolledNetwork)])
def test_what_is_recorded_gives_the_same_images(device: str, name: str, precision: str) -> None:
    if device == "cpu":
        pytest.skip("only a GPU records")
    made = network(name).eval().to(device)
    made.use_precision(precision)
    recorded = CudaGraphNetwork(made).eval()
    with torch.inference_mode(), true_float32(torch.float32):
        for seed in range(3):
            assert relative_error(work(recorded, device, seed)().cpu(), work(made, device, seed)().cpu()) < 1e-4
