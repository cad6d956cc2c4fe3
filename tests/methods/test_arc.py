import numpy as np
import pytest

from onebreath.methods.grappa.arc import ArcKernels, fill, neighbourhoods
from onebreath.methods.grappa.grappa import Grappa
from onebreath.mri.coils import rss
from onebreath.mri.fourier import ifft2c
from tests.helpers import complex_normal, relative_error
from tests.methods.slices import slice_of


@pytest.mark.parametrize("acceleration", [2, 3])
@pytest.mark.parametrize("window", [(5, 5), (7, 5)])
def test_equals_pygrappa(shared, acceleration, window):
    golden = np.load(shared / "golden" / "pygrappa_grappa.npz")
    sampled = golden[f"in/mask_lines_R{acceleration}"].astype(bool)
    mask = np.broadcast_to(sampled[:, None], golden["in/kspace_full"].shape[1:])
    first = int(golden["cfg/acs_first_line"])
    kernels = ArcKernels(golden["in/kspace_full"][:, first : first + 24], window, 0.01, padded=True)
    kspace = golden["in/kspace_full"] * mask
    filled = fill(kspace[None], neighbourhoods(mask, ~mask, window), kernels)[0]
    name = f"R{acceleration}_k{window[0]}x{window[1]}"
    assert relative_error(filled, golden[f"out/kspace_{name}"]) < 1e-4
    assert np.array_equal(filled[:, sampled], kspace[:, sampled])
    assert relative_error(rss(ifft2c(filled), 0), golden[f"out/rss_{name}_f64"]) < 1e-5


def test_the_method_reaches_the_same_kernels(shared):
    golden = np.load(shared / "golden" / "pygrappa_grappa.npz")
    mask = golden["in/mask_lines_R3"].astype(bool)[None, :, None]
    eye = np.eye(6, dtype=np.complex64)[:, :, None, None] * np.ones(golden["in/kspace_full"].shape[1:], np.float32)
    method = Grappa(kernel="arc", arc_lines=5, arc_padding=True, gfactor=False)
    coils = [method(slice_of(golden["in/kspace_full"][None], mask, 24, one[None])).images[0] for one in eye]
    assert relative_error(rss(np.stack(coils), 0), golden["out/rss_R3_k5x5_f64"]) < 1e-5


def test_neighbourhoods_cover_every_reachable_sample_once():
    rng = np.random.default_rng(0)
    mask = rng.random((20, 18)) < 0.2
    groups = neighbourhoods(mask, ~mask, (3, 5))
    targets = np.concatenate([where for _, where in groups])
    assert len(np.unique(targets)) == len(targets)
    assert not mask.ravel()[targets].any()
    around = np.pad(mask, ((1, 1), (2, 2)))
    for pattern, where in groups:
        for target in where:
            y, x = divmod(int(target), 18)
            assert np.array_equal(around[y : y + 3, x : x + 5], pattern)
    unreached = np.setdiff1d(np.flatnonzero(~mask), targets)
    assert all(not around[t // 18 : t // 18 + 3, t % 18 : t % 18 + 5].any() for t in unreached)
    assert neighbourhoods(np.ones((4, 4), bool), np.zeros((4, 4), bool), (3, 3)) == []


def test_farthest_lines_are_left_out():
    acs = complex_normal(np.random.default_rng(0), (4, 12, 30))
    kernels = ArcKernels(acs, (9, 3), 0.01)
    pattern = np.zeros((9, 3), bool)
    pattern[[0, 2, 3, 7, 8]] = True
    used, weights = kernels.weights(pattern)
    assert np.flatnonzero(used.any(axis=1)).tolist() == [2, 3], "row 7 would make the span 6 of 12 lines"
    assert weights.shape == (4, 4, 6)
    short = ArcKernels(acs[:, :2], (9, 3), 0.01)
    used, weights = short.weights(pattern * (np.arange(9) != 3)[:, None])
    assert not used.any()
    assert weights.size == 0
    wide = ArcKernels(complex_normal(np.random.default_rng(0), (4, 60, 30)), (9, 3), 0.01)
    assert np.flatnonzero(wide.weights(pattern)[0].any(axis=1)).tolist() == [2, 3, 7], "the nearest on either side stay"


def test_weights_are_exact_where_the_data_obey_them():
    """Coil 1 is coil 0 delayed by one sample: a missing sample of coil 0 is its neighbour of coil 1."""
    rng = np.random.default_rng(0)
    line = complex_normal(rng, (20, 41))
    kspace = np.stack([line[:, :-1], line[:, 1:]])
    mask = np.ones((20, 40), bool)
    mask[10, 7] = False
    kernels = ArcKernels(kspace, (1, 3), 1e-9)
    filled = fill((kspace * mask)[None], neighbourhoods(mask, ~mask, (1, 3)), kernels)[0]
    assert kernels.patterns == 1
    assert filled[0, 10, 7] == pytest.approx(kspace[0, 10, 7], rel=1e-4)
    assert filled[1, 10, 7] == pytest.approx(kspace[1, 10, 7], rel=1e-4)
