"""Attention with relative positions, piece by piece, against the whole matrix."""

import math

import pytest
import torch

from onebreath.networks.mr_ipt import encoder as mr_ipt_encoder
from onebreath.networks.mr_ipt.encoder import RelativeAttention, distances


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


@pytest.mark.parametrize("elements", [2**24, 3 * 25 * 25, 3 * 25 * 5 * 2, 1])
def test_pieces_of_any_size_give_the_whole_matrix(monkeypatch, elements):
    monkeypatch.setattr(mr_ipt_encoder, "_BIAS_ELEMENTS", elements)
    layer, x = attention(), torch.randn(4, 5, 5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), whole_matrix(layer, x), rtol=0, atol=1e-12)


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
