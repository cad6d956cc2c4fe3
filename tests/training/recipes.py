"""A tiny recipe and tiny slices that tests of training share."""

import copy
from typing import Any

import numpy as np

from onebreath.mri.coils import rss
from onebreath.training.data.series import PreparedSlice
from onebreath.training.recipe import Recipe, parse_recipe

CONTENT: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "network": {"architecture": "crunet_mr", "arguments": {"channels": 4, "cascades": 2, "data_consistency": "soft"}},
    "train": [{"kind": "simulator", "subjects": 1}],
    "examples": {"frames": 4, "rows": [20, 24], "columns": 16},
    "masks": [
        {"family": "cmrxrecon", "accelerations": [4], "acs_lines": 6},
        {"family": "vista", "accelerations": [3], "acs_lines": 0},
    ],
    "optimiser": {"learning_rate": 1e-3, "warm_up": 2, "ema": 0.9},
    "steps": 6,
    "checkpoint_every": 2,
    "validate_every": 3,
    "validation_examples": 2,
}


def tiny_recipe(**changes: Any) -> Recipe:
    """The recipe with other values at the top level."""
    return parse_recipe({**copy.deepcopy(CONTENT), **changes}, "of the test")


def tiny_slice(seed: int = 0, patient: str = "one", lines: np.ndarray | None = None) -> PreparedSlice:
    """A slice of random smooth images with three coils."""
    rng = np.random.default_rng(seed)

    def smooth(*shape: int) -> np.ndarray:
        kspace = np.zeros(shape, np.complex64)
        low = (..., slice(8, 18), slice(6, 16))
        kspace[low] = rng.standard_normal(kspace[low].shape) + 1j * rng.standard_normal(kspace[low].shape)
        return np.fft.fft2(kspace).astype(np.complex64)

    coils = smooth(3, 28, 20)
    maps = coils / rss(coils, 0)
    ones = np.ones((1, 28), bool) if lines is None else lines
    image = 40 * smooth(6, 1, 28, 20) / 30
    return PreparedSlice(patient, f"slice{seed}", image, maps, maps, ones)
