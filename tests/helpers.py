"""Property checks and error measures shared by all tests."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from array_api_compat import array_namespace, to_device

from onebreath.config.serialisation import EVERYTHING, elements_for


def as_numpy(x: Any) -> np.ndarray:
    """Any array as numpy, from any device."""
    return np.asarray(to_device(x, "cpu"))


def relative_error(actual: Any, expected: Any) -> float:
    """``max|actual - expected| / max|expected|`` over the whole array."""
    actual, expected = as_numpy(actual), as_numpy(expected)
    assert actual.shape == expected.shape, f"shapes {actual.shape} and {expected.shape} differ"
    return float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))


def nrmse(actual: Any, expected: Any) -> float:
    """``||actual - expected|| / ||expected||``."""
    actual, expected = as_numpy(actual), as_numpy(expected)
    assert actual.shape == expected.shape, f"shapes {actual.shape} and {expected.shape} differ"
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def complex_normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = np.complex128) -> np.ndarray:
    """Complex noise with unit standard deviation in real and in imaginary part."""
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


def assert_adjoint(
    forward: Callable[[Any], Any],
    adjoint: Callable[[Any], Any],
    domain: tuple[int, ...],
    image: tuple[int, ...],
    tolerance: float = 1e-10,
    convert: Callable[[np.ndarray], Any] = np.asarray,
) -> None:
    """Check ``<A u, v> = <u, A^H v>`` for random complex128 `u` of shape `domain` and `v` of shape `image`."""
    rng = np.random.default_rng(7)
    u, v = complex_normal(rng, domain), complex_normal(rng, image)
    left = np.vdot(v, as_numpy(forward(convert(u))))
    right = np.vdot(as_numpy(adjoint(convert(v))), u)
    scale = np.linalg.norm(u) * np.linalg.norm(v)
    assert abs(left - right) <= tolerance * scale, f"<A u, v> = {left}, <u, A^H v> = {right}"


def numpy_backend(x: Any) -> Any:
    """The array as numpy."""
    return np.asarray(x)


def torch_backend(x: Any) -> Any:
    """The array as a torch tensor."""
    torch = pytest.importorskip("torch")
    return torch.asarray(np.ascontiguousarray(x))


def cuda_backend(x: Any) -> Any:
    """The array as a torch tensor on the GPU."""
    if not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("no CUDA device")
    return torch_backend(x).cuda()


def cupy_backend(x: Any) -> Any:
    """The array as a CuPy array."""
    cupy = pytest.importorskip("cupy")
    if not cupy.is_available():
        pytest.skip("no CUDA device")
    return cupy.asarray(x)


BACKENDS = {"numpy": numpy_backend, "torch": torch_backend, "cuda": cuda_backend, "cupy": cupy_backend}


@pytest.fixture(params=["numpy", "torch", *(pytest.param(name, marks=pytest.mark.cuda) for name in ("cuda", "cupy"))])
def backend(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Turn a numpy array into an array of the backend under test; import this fixture where it is used."""
    convert = BACKENDS[request.param]
    convert(np.zeros(1))  # skips here, not in the middle of the test, where the library or the device is missing
    return convert


def same_library(actual: Any, reference: Any) -> bool:
    """Whether two arrays belong to the same array library."""
    return array_namespace(actual) is array_namespace(reference)


READERS_AND_WRITERS = elements_for("reader", EVERYTHING) + elements_for("writer", EVERYTHING)
"""Sections of a configuration that let every message in and out."""
