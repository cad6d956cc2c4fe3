import numpy as np
import pytest

from benchmarks import gfactor
from benchmarks.noise_figures import edges


def test_the_closed_form_agrees_with_automatic_differentiation():
    case = gfactor.make_case(3, 24, 24)
    pixels = np.array([[8, 12], [12, 10], [14, 15]])
    exact = case.by_differentiation(gfactor.torch.from_numpy(pixels))
    assert case.gfactor(0).gfactor[tuple(pixels.T)] == pytest.approx(exact, rel=0.05)


def test_edges_of_a_blurred_image_are_weaker():
    y, x = np.meshgrid(np.arange(40) - 20, np.arange(40) - 20, indexing="ij")
    sharp, blurred = (1 / (1 + np.exp((np.hypot(y, x) - 12) / width)) for width in (0.5, 2))
    assert edges(sharp, sharp) == pytest.approx(1)
    assert edges(blurred, sharp) < 0.6
