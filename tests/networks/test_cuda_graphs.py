"""Networks whose refinements are recorded and replayed: the bookkeeping, with a recorder for the CPU."""

import pytest
import torch

from onebreath.networks.shared.cuda_graphs import CudaGraphNetwork
from onebreath.networks.shared.unrolled import UnrolledNetwork
from onebreath.zoo.architectures import ARCHITECTURES, build
from tests.helpers import relative_error
from tests.models import TINY

UNROLLED = [name for name in ARCHITECTURES if issubclass(type(build(name, TINY[name])), UnrolledNetwork)]


class Recorder:
    """Replays in the same memory every time, as a GPU does."""

    def __init__(self):
        self.recordings = 0

    def __call__(self, step, inputs):
        self.recordings += 1
        held = [one.clone() for one in inputs]
        made = [one.clone() for one in step(*held)]

        def replay(given):
            for target, source in zip(held, given, strict=True):
                target.copy_(source)
            for target, source in zip(made, step(*held), strict=True):
                target.copy_(source)
            return [one.clone() for one in made]

        return replay


def series(frames=3, y=20, seed=0):
    generator = torch.Generator().manual_seed(seed)
    kspace = torch.randn(1, frames, 2, y, 18, dtype=torch.complex64, generator=generator)
    maps = torch.randn(1, 1, 2, y, 18, dtype=torch.complex64, generator=generator)
    mask = torch.zeros(1, 1, 1, y, 1, dtype=torch.bool)
    mask[..., ::2, :] = True
    return kspace * mask, mask, maps / maps.abs().square().sum(2, keepdim=True).sqrt(), torch.tensor([0.05])


@pytest.mark.parametrize("name", UNROLLED)
def test_the_images_are_those_of_the_network(name):
    network, recorder = build(name, TINY[name]).eval(), Recorder()
    recorded = CudaGraphNetwork(network, recorder).eval()
    with torch.inference_mode():
        for seed in range(3):
            inputs = series(seed=seed)
            assert relative_error(recorded(*inputs), network(*inputs)) < 1e-6
    assert recorder.recordings == len(network.consistency)  # once for each cascade, not for each series


def test_images_in_hand_do_not_change_when_another_series_is_replayed():
    recorded = CudaGraphNetwork(build("crunet_mr", TINY["crunet_mr"]).eval(), Recorder()).eval()
    with torch.inference_mode():
        recorded(*series(seed=0))
        states = list(recorded.states(*series(seed=1)))
        kept = [(image.clone(), [one.clone() for one in features]) for image, features in states]
        recorded(*series(seed=2))
    for (image, features), (image_then, features_then) in zip(states, kept, strict=True):
        assert torch.equal(image, image_then)
        assert all(torch.equal(a, b) for a, b in zip(features, features_then, strict=True))


def test_another_size_is_recorded_anew_and_the_old_one_is_dropped():
    network, recorder = build("crunet_mr", TINY["crunet_mr"]).eval(), Recorder()
    recorded = CudaGraphNetwork(network, recorder).eval()
    with torch.inference_mode():
        for frames, recordings in ((3, 2), (4, 4), (4, 4), (3, 6)):
            inputs = series(frames)
            assert relative_error(recorded(*inputs), network(*inputs)) < 1e-6
            assert recorder.recordings == recordings
            assert len(recorded._replays) == 2
