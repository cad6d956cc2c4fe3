import numpy as np
import pytest

from onebreath.mri.fourier import fft2c
from onebreath.mri.sense import SenseOperator, inverse_positive
from tests.helpers import as_numpy, assert_adjoint, complex_normal, relative_error, same_library

FRAMES, COILS, Y, X = 4, 3, 9, 8


def maps_and_mask(n_sets=1, mask_shape=(FRAMES, Y, X), dtype=np.complex128):
    rng = np.random.default_rng(0)
    return complex_normal(rng, (n_sets, COILS, Y, X), dtype), rng.random(mask_shape) > 0.5


CASES = [(1, (FRAMES, Y, 1)), (1, (1, Y, X)), (2, (FRAMES, Y, X)), (2, (1, Y, 1)), (1, (Y, X))]


@pytest.mark.parametrize(("n_sets", "mask_shape"), CASES)
def test_adjointness_and_normal(backend, n_sets, mask_shape):
    maps, mask = maps_and_mask(n_sets, mask_shape)
    operator = SenseOperator(backend(maps), backend(mask))
    domain = (FRAMES, Y, X) if n_sets == 1 else (n_sets, FRAMES, Y, X)
    assert_adjoint(operator.forward, operator.adjoint, domain, (FRAMES, COILS, Y, X), convert=backend)
    image = backend(complex_normal(np.random.default_rng(1), domain))
    normal = operator.normal(image)
    assert same_library(normal, image)
    assert relative_error(normal, operator.adjoint(operator.forward(image))) < 1e-12


def test_forward_is_the_model():
    maps, mask = maps_and_mask(2)
    image = complex_normal(np.random.default_rng(1), (2, FRAMES, Y, X))
    expected = mask[:, None] * fft2c(np.einsum("scyx,sfyx->fcyx", maps, image))
    assert relative_error(SenseOperator(maps, mask).forward(image), expected) < 1e-12


def test_equals_bart(shared, backend):
    golden = np.load(shared / "golden/bart_pics.npz")
    mask = golden["in/mask_lines"].astype(bool)[:, None] & np.ones((96, 96), bool)
    operator = SenseOperator(backend(golden["in/maps"]), backend(mask))
    adjoint = operator.adjoint(backend(golden["in/kspace"][None]))
    assert as_numpy(adjoint).dtype == np.complex64
    assert relative_error(adjoint[0], golden["out/adjoint_f64"]) < 1e-5


def test_one_set_may_be_given_with_its_axis():
    maps, mask = maps_and_mask()
    image = complex_normal(np.random.default_rng(1), (1, FRAMES, Y, X))
    operator = SenseOperator(maps[0], mask)
    np.testing.assert_allclose(operator.forward(image), operator.forward(image[0]))
    np.testing.assert_allclose(operator.normal(image)[0], operator.normal(image[0]))


def test_precision_is_kept_and_input_untouched(backend):
    maps, mask = maps_and_mask(dtype=np.complex64)
    image = complex_normal(np.random.default_rng(1), (FRAMES, Y, X), np.complex64)
    operator = SenseOperator(backend(maps), backend(mask))
    kept = backend(image.copy())
    for result in (operator.forward(kept), operator.normal(kept), operator.adjoint(operator.forward(kept))):
        assert as_numpy(result).dtype == np.complex64
    np.testing.assert_array_equal(as_numpy(kept), image)


def test_torch_differentiates_through_normal():
    torch = pytest.importorskip("torch")
    maps, mask = (torch.asarray(a) for a in maps_and_mask())
    image = torch.asarray(complex_normal(np.random.default_rng(1), (FRAMES, Y, X))).requires_grad_()
    operator = SenseOperator(maps, mask)
    (0.5 * torch.sum(torch.abs(operator.forward(image)) ** 2)).backward()
    by_forward, image.grad = image.grad, None
    (0.5 * torch.real(torch.vdot(image.flatten(), operator.normal(image).flatten()))).backward()
    assert relative_error(image.grad, by_forward) < 1e-10


def test_wrong_shapes_are_named():
    maps, mask = maps_and_mask()
    with pytest.raises(ValueError, match=r"maps must be .* got shape \(9, 8\)"):
        SenseOperator(maps[0, 0], mask)
    with pytest.raises(ValueError, match=r"mask of shape \(4, 9, 7\) .*\(9, 8\)"):
        SenseOperator(maps, mask[..., :7])
    operator = SenseOperator(maps, mask)
    with pytest.raises(ValueError, match=r"kspace has shape \(4, 2, 9, 8\), maps of shape \(1, 3, 9, 8\)"):
        operator.adjoint(np.zeros((FRAMES, 2, Y, X), complex))
    with pytest.raises(ValueError, match=r"image has shape \(4, 9, 7\), maps of shape \(1, 3, 9, 8\)"):
        operator.forward(np.zeros((FRAMES, Y, 7), complex))
    with pytest.raises(ValueError, match=r"image has shape \(2, 4, 9, 8\).* with 1 sets"):
        operator.normal(np.zeros((2, FRAMES, Y, X), complex))
    with pytest.raises(ValueError, match=r"image of shape \(5, 9, 8\) has 5 frames, mask has shape \(4, 9, 8\)"):
        operator.forward(np.zeros((5, Y, X), complex))


def test_inverse_of_positive_matrices(backend):
    factors = complex_normal(np.random.default_rng(3), (2, 3, 7, 7))
    matrices = factors @ np.conj(np.swapaxes(factors, -1, -2)) + np.eye(7)
    inverses = inverse_positive(backend(matrices))
    assert same_library(inverses, backend(matrices))
    assert relative_error(inverses, np.linalg.inv(matrices)) < 1e-12
    assert relative_error(np.conj(np.swapaxes(as_numpy(inverses), -1, -2)), as_numpy(inverses)) < 1e-15


def test_no_inverse_of_a_matrix_that_is_not_positive():
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        inverse_positive(np.diag([1.0, -1.0]).astype(np.complex64)[None])
