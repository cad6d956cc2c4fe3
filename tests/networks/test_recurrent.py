"""The recurrent unit against its equations."""

import itertools

import pytest
import torch

from onebreath.networks.shared.recurrent import RecurrentUnit


def unit(**more):
    torch.manual_seed(5)
    return RecurrentUnit(2, 4, dilation=2, **more).double()


def plain(layer, series, features, order):
    states, state = {}, torch.zeros(series.shape[0], 4, *series.shape[-2:], dtype=series.dtype)
    for t in order:
        state = torch.relu(layer.input(series[:, t]) + layer.time(state) + layer.cascade(features[:, t]))
        states[t] = state
    return torch.stack([states[t] for t in range(series.shape[1])], dim=1)


@pytest.mark.parametrize("frames", [1, 4])
def test_states_follow_the_equations(frames):
    series = torch.randn(2, frames, 2, 6, 5, dtype=torch.float64)
    features = torch.randn(2, frames, 4, 6, 5, dtype=torch.float64)
    forward = plain(unit(), series, features, range(frames))
    backward = plain(unit(), series, features, reversed(range(frames)))
    torch.testing.assert_close(unit(direction="forward")(series, features), forward)
    torch.testing.assert_close(unit(direction="backward")(series, features), backward)
    torch.testing.assert_close(unit(direction="both")(series, features), forward + backward)


def test_directions_mirror_each_other():
    series = torch.randn(1, 5, 2, 6, 6, dtype=torch.float64)
    forward, backward, both = (unit(direction=name) for name in ("forward", "backward", "both"))
    torch.testing.assert_close(backward(series.flip(1)), forward(series).flip(1))
    torch.testing.assert_close(both(series.flip(1)), both(series).flip(1))


def test_no_features_stand_for_zeros():
    series = torch.randn(1, 3, 2, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(unit()(series), unit()(series, torch.zeros(1, 3, 4, 6, 6, dtype=torch.float64)))


def test_side_branch_is_added():
    series = torch.randn(1, 3, 2, 6, 6, dtype=torch.float64)
    layer = unit(side_kernel=3)
    with_side = layer(series)
    side, layer.side = layer.side, None
    torch.testing.assert_close(with_side - layer(series), side(series[0])[None])


@pytest.mark.parametrize(
    ("direction", "cascade", "side"), [*itertools.product(("forward", "backward", "both"), (False, True), (None, 1, 3))]
)
@pytest.mark.parametrize("channels", [2, 8])
def test_a_recurrent_unit_is_the_same_with_and_without_gradients(direction, cascade, side, channels):
    torch.manual_seed(0)
    layer = RecurrentUnit(channels, 8, 2, direction, cascade, side)
    series, features = torch.randn(2, 5, channels, 12, 9), torch.randn(2, 5, 8, 12, 9)
    given_features = features if cascade else None
    with_gradients = layer(series, given_features).detach()
    largest = float(with_gradients.abs().max())
    kept = series.clone(), features.clone()
    with torch.inference_mode():
        torch.testing.assert_close(layer(series, given_features), with_gradients, rtol=0, atol=1e-5 * largest)
    assert torch.equal(series, kept[0])
    assert torch.equal(features, kept[1])
