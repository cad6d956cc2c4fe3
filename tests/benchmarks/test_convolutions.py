"""The benchmark of convolutions compares what computes the same."""

import pytest
import torch

from benchmarks import convolutions
from onebreath.networks.convolution import loading


@pytest.mark.skipif(loading.library() is None, reason="the convolutions were not compiled")
def test_both_ways_are_right(monkeypatch):
    monkeypatch.setattr(convolutions, "SPATIAL", ((1, (8, 16), 16, 9, 13, 2), (2, (8,), 8, 12, 12, 1)))
    monkeypatch.setattr(convolutions, "SERIES", ((5, 8, 9, 13),))
    with torch.inference_mode():
        rows = list(convolutions.rows(runs=1))
    assert [row[0] for row in rows] == [
        "1 x 9 x 13, 8 + 16 to 16, dilation 2",
        "2 x 12 x 12, 8 to 8",
        "5 x 9 x 13, 8 channels, along time",
        "5 x 9 x 13, 8 channels, 5 x 5 to 2",
    ]
    for _, *times, theirs, ours in rows:
        assert all(float(value) > 0 for value in times)
        assert 0 < float(theirs) < 1e-5
        assert 0 < float(ours) < 1e-5
