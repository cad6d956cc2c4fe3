"""Images, limits and the number of threads for tests of convolutions."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from onebreath.networks.convolution import compiled

LIMITS = {4: 5e-6, 6: 2e-5}
"""Errors of tiles by their edges; most are a third of these."""
LIMIT = max(LIMITS.values())


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return random(*shape, seed=seed).contiguous(memory_format=torch.channels_last)


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


@contextmanager
def using(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def tiles(edge: int) -> Iterator[None]:
    before = compiled._EDGES
    compiled._EDGES = (edge,)
    try:
        yield
    finally:
        compiled._EDGES = before


def in_double(frames, weight, bias=None, dilation=1):
    bias = None if bias is None else bias.double()
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(frames.double(), weight.double(), bias, padding=padding, dilation=dilation)
