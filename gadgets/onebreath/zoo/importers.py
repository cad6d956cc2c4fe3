"""Import of released checkpoints as models; no parameter may be missing or left over.

Most released networks are pickles. They are read with ``torch.load(weights_only=True)``, which accepts only tensors and
containers, and are stored as safetensors.
"""

from __future__ import annotations

import importlib
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onebreath.errors import ModelError
from onebreath.zoo.store import decode, save
from onebreath.zoo.tensor_bundle import INDEX, read_bundle

if TYPE_CHECKING:
    from torch import Tensor

    State = dict[str, Tensor]

_CONTAINERS = ("state_dict", "model_state_dict", "model", "network", "net", "params", "weights")
"""Keys under which training programs store weights, next to optimisers and counters."""
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""Prefixes that wrappers of a network (data parallel, compiled, trainer) add to all names."""


@dataclass(frozen=True)
class Release:
    """A released network.

    Parameters
    ----------
    architecture
        Its name here.
    rename
        Function from the released state to ours.
    infer
        Function from our state to arguments of the network.
    fixed
        Further arguments, known from the released code.
    source
        Address of the release.
    own
        Prefix of our names of its parameters.
    conventions
        Data conventions other than the defaults; see `onebreath.zoo.card.Conventions`.
    complete
        Function that copies parameters which are released once but occur several times in our state.
    """

    architecture: str
    rename: Callable[[State], State]
    infer: Callable[[State], dict[str, Any]]
    fixed: Mapping[str, Any]
    source: str
    own: str = "blocks."
    conventions: Mapping[str, str] = field(default_factory=dict)
    complete: Callable[[State, dict[str, Any]], State] = lambda state, arguments: state

    def details(self, file: str) -> dict[str, Any]:
        """Fields of the card of a model imported from a file of this release."""
        return {
            "version": "1",
            "architecture": self.architecture,
            "conventions": dict(self.conventions),
            "training": {"data": f"not stated; imported from {file}"},
            "intended_use": "research; set the domain to what the weights were trained on before use on scans",
            "references": [self.source],
        }


def import_checkpoint(
    kind: str,
    file: Path,
    name: str,
    root: Path,
    arguments: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    licence: str = "not stated; ask the authors of the weights",
) -> Path:
    """Write the model of a checkpoint.

    Parameters
    ----------
    kind
        A name in `RELEASES`.
    file
        A PyTorch checkpoint, a ``.safetensors`` or ``.npz`` file with the same names, or the ``.index`` file of a
        TensorFlow checkpoint; parameters may also have our names.
    name, root
        Name of the new model, and folder of models.
    arguments
        Arguments of the network that differ from the released code.
    overwrite
        Whether to replace a model of that name.
    licence
        Licence of the weights.

    Returns
    -------
    Path
        Folder of the new model, below `root`.

    Raises
    ------
    ModelError
        If the file has other content, the weights do not fit the network exactly, or the model exists and
        `overwrite` is False.
    """
    if kind not in RELEASES:
        raise ModelError(f"cannot import from {kind!r}; known are: {', '.join(RELEASES)}")
    release = RELEASES[kind]
    state = read_state(file)
    if not any(key.startswith(release.own) for key in state):
        state = release.rename(state)
    chosen = {**release.fixed, **release.infer(state), **(arguments or {})}
    state = release.complete(state, chosen)
    details = {"name": name, "summary": f"{kind}, imported from {file.name}", "arguments": chosen, "licence": licence}
    return save(state, {**release.details(file.name), **details}, root, overwrite=overwrite)


def read_state(file: Path) -> State:
    """Weights in a checkpoint by name, without prefixes of wrappers.

    Raises
    ------
    ModelError
        If the file cannot be read, contains anything that could run code, or contains no weights.
    """
    if not file.is_file() and file.with_name(file.name + INDEX).is_file():
        file = file.with_name(file.name + INDEX)
    if not file.is_file():
        raise ModelError(f"there is no file {file}")
    content = _READERS.get(file.suffix, _read_torch)(file)
    state = _unwrapped(content)
    wrong = [str(key) for key, value in state.items() if not hasattr(value, "is_floating_point")]
    if not state or wrong:
        found = f"'{wrong[0]}' is {type(state[wrong[0]]).__name__}" if wrong else "it is empty"
        raise ModelError(f"{file} holds no weights: expected tensors by name, but {found}")
    return state


def _read_torch(file: Path) -> Any:
    import torch

    if not zipfile.is_zipfile(file):
        raise ModelError(f"{file} is no checkpoint of PyTorch 1.6 or later; save it again with a later one")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{file} is no checkpoint of plain weights, and nothing else is read, since it could run code: {text}"
        ) from error


def _read_npz(file: Path) -> State:
    import numpy as np
    import torch

    try:
        with np.load(file, allow_pickle=False) as archive:
            return {key: torch.from_numpy(archive[key]) for key in archive.files}
    except (ValueError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} is no npz file of plain arrays: {error}") from error


_READERS: dict[str, Callable[[Path], Any]] = {
    ".safetensors": lambda file: decode(file.read_bytes(), str(file)),
    ".npz": _read_npz,
    INDEX: read_bundle,
}


def _unwrapped(content: Any) -> State:
    """Weights in the content of a checkpoint, without prefixes of wrappers."""
    if not isinstance(content, Mapping):
        raise ModelError(f"a checkpoint is a mapping of names to tensors, found {type(content).__name__}")
    for key in _CONTAINERS:
        if isinstance(content.get(key), Mapping):
            return _unwrapped(content[key])
    state = {str(key): value for key, value in content.items()}
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            return _unwrapped({key.removeprefix(prefix): value for key, value in state.items()})
    return state


def _of(where: str) -> Callable[..., Any]:
    """Function ``module:name`` of a network's folder, imported when called, as it imports torch."""

    def call(*arguments: Any) -> Any:
        module, name = where.split(":")
        return getattr(importlib.import_module(f"onebreath.networks.{module}"), name)(*arguments)

    return call


RELEASES = {
    "crunet_mr": Release(
        "crunet_mr",
        _of("crunet_mr.official_names:crunet_mr"),
        _of("crunet_mr.official_names:crunet_mr_arguments"),
        {},
        "https://github.com/dong845/CRUNet-MR",
    ),
    "crunet_mr_bank": Release(
        "crunet_mr",
        _of("crunet_mr.official_names:crunet_mr"),
        _of("crunet_mr.official_names:crunet_mr_arguments"),
        {"circular_time": False, "pad_multiple": 2},
        "https://github.com/dong845/CRUNet",
    ),
    "crnn_mri": Release(
        "crnn_mri",
        _of("crunet_mr.official_names:crnn_mri"),
        _of("crunet_mr.official_names:crnn_mri_arguments"),
        {},
        "https://github.com/js3611/Deep-MRI-Reconstruction",
    ),
    "mr_ipt": Release(
        "mr_ipt",
        _of("mr_ipt.official:mr_ipt"),
        _of("mr_ipt.official:arguments_of"),
        {},
        "https://github.com/GuoyaoShen/MR-IPT",
        own="encoder.",
        # Its masks select columns.
        conventions={"normalisation": "max_image", "phase_encoding": "x"},
    ),
    "prompt_mr": Release(
        "prompt_mr",
        _of("prompt_mr.official:prompt_mr"),
        _of("prompt_mr.official:arguments_of"),
        {},
        "https://github.com/hellopipu/PromptMR",
        # Its calibration lines are along the last axis.
        conventions={"phase_encoding": "x"},
    ),
    "prompt_mr_plus": Release(
        "prompt_mr_plus",
        _of("prompt_mr.official:prompt_mr_plus"),
        _of("prompt_mr.official:arguments_of_plus"),
        {},
        "https://github.com/hellopipu/PromptMR-plus",
        conventions={"phase_encoding": "x"},
    ),
    "cinenet": Release(
        "cinenet",
        _of("cinenet.official:cinenet"),
        _of("cinenet.official:arguments_of"),
        {"cascades": 5, "pad_multiple": 1},
        "https://github.com/koflera/DynamicRadCineMRI",
        complete=_of("cinenet.official:complete"),
    ),
    "a_liknet": Release(
        "a_liknet",
        _of("a_liknet.official:a_liknet"),
        _of("a_liknet.official:arguments_of"),
        {},
        "https://github.com/midas-tum/A-LIKNet",
        own="iterations.",
        # Its masks omit lines along the last axis.
        conventions={"phase_encoding": "x"},
    ),
    "unet": Release(
        "unet",
        _of("restoration.official:unet"),
        _of("restoration.official:arguments_of"),
        {},
        "https://github.com/facebookresearch/fastMRI",
        own="down.",
        conventions={"normalisation": "max_image", "phase_encoding": "x"},
    ),
}
"""Released networks by their names in ``onebreath models import --from``."""
