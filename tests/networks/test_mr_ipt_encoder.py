"""Attention with relative positions, piece by piece, against the whole matrix."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onebreath.networks.mr_ipt import encoder as mr_ipt_encoder
from onebreath.networks.mr_ipt.encoder import RelativeAttention, distances


class Largest(TorchDispatchMode):
    """Notes the most elements that a tensor has."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        sizes = [one.numel() for one in tree_leaves(made) if isinstance(one, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return made


def attention(size=5, width=12, heads=3):
    torch.manual_seed(2)
    made = RelativeAttention(width, heads, size).double()
    with torch.no_grad():
        made.relative_y.normal_()
        made.relative_x.normal_()
    return made


def whole_matrix(layer, x):
    """The published form: one score at a time, every pair of tokens."""
    batch, height, width, channels = x.shape
    query, key, value = layer.qkv(x).reshape(batch, -1, 3, layer.heads, channels // layer.heads).permute(2, 0, 3, 1, 4)
    scores = query @ key.transpose(-2, -1) / math.sqrt(channels // layer.heads)
    for q in range(height * width):
        for k in range(height * width):
            dy, dx = q // width - k // width, q % width - k % width
            shift = layer.relative_y[dy + height - 1] + layer.relative_x[dx + width - 1]
            scores[:, :, q, k] += query[:, :, q] @ shift
    attended = scores.softmax(-1) @ value
    return layer.out(attended.transpose(1, 2).reshape(batch, height, width, channels))


@pytest.mark.parametrize(("tokens", "elements"), [(25, 2**24), (25, 3 * 25 * 25 * 3), (25, 1), (24, 1)])
def test_each_way_gives_the_whole_matrix(monkeypatch, tokens, elements):
    monkeypatch.setattr(mr_ipt_encoder, "_MANY_TOKENS", tokens)
    monkeypatch.setattr(mr_ipt_encoder, "_BIAS_ELEMENTS", elements)
    layer, x = attention(), torch.randn(4, 5, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), whole_matrix(layer, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6), (6, 4)])
def test_both_ways_are_one_of_other_grids_with_gradients(monkeypatch, shape):
    layer, x = attention(), torch.randn(2, *shape, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    made = []
    for tokens in (24, 23):
        monkeypatch.setattr(mr_ipt_encoder, "_MANY_TOKENS", tokens)
        result = layer(x)
        made.append((result, *torch.autograd.grad(result.square().sum(), list(layer.parameters()))))
    for by_bias, by_codes in zip(*made, strict=True):
        torch.testing.assert_close(by_codes, by_bias, rtol=1e-10, atol=1e-10)


def test_attention_over_many_tokens_makes_no_matrix_of_all_pairs():
    layer, x = RelativeAttention(16, 2, 24), torch.randn(1, 24, 24, 16)
    with Largest() as largest:
        layer(x).sum().backward()
    assert 0 < largest.elements < 24**4


def test_tables_are_interpolated_to_other_grids():
    table = torch.arange(9.0)[:, None].repeat(1, 2)
    same = distances(table, 5)
    assert same[:, 0, 0].tolist() == [4, 5, 6, 7, 8]
    larger = distances(table, 10)
    assert larger.shape == (10, 10, 2)
    assert larger.diagonal()[0].tolist() == pytest.approx([4.0] * 10)
    assert (larger[:, 0, 0].diff() > 0).all()


def test_zero_tables_make_no_difference_between_positions():
    layer = attention()
    with torch.no_grad():
        layer.relative_y.zero_()
        layer.relative_x.zero_()
    x = torch.randn(1, 5, 5, 12, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x.roll(2, 1)), layer(x).roll(2, 1))
