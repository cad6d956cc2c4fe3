"""Reading and writing of models: a folder with a card, and weights that match it exactly."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onebreath.errors import ModelError
from onebreath.folders import exchange
from onebreath.keeping import behind
from onebreath.names import abridged
from onebreath.zoo.architectures import hollow
from onebreath.zoo.card import CARD_FILE, WEIGHTS_FILE, Card, check_name, parse_card
from onebreath.zoo.search import PARTIAL, REPLACED

DESCRIPTION = 1024  # largest number of bytes for a parameter's shape, type and offset in a safetensors file

if TYPE_CHECKING:
    from torch import Tensor

    from onebreath.networks.shared.network import Network


def read_network(folder: Path, card: Card) -> Network:
    """Network of a model on the CPU, in float32, for inference.

    Raises
    ------
    ModelError
        If the file does not match the card, or a parameter is missing, left over, mis-shaped or not finite.
    """
    content = read_weights_file(folder, card)
    state = decode(content, str(folder / card.weights.file))
    return assemble(card.architecture, card.arguments, state, card.name)


def read_weights_file(folder: Path, card: Card) -> bytes:
    """Bytes of a model's weights, with the hash of the card.

    Raises
    ------
    ModelError
        If the file is missing, outside the model's folder, larger than the card's network can be (it is not read then),
        or has another hash.
    """
    path = folder / card.weights.file
    if path.resolve().parent != folder.resolve():
        raise ModelError(f"model '{card.name}': the weights {path} lie outside the model's folder, at {path.resolve()}")
    try:
        if path.exists() and not path.is_file():
            raise ModelError(f"model '{card.name}': the weights {path} are no file")
        _check_size(path, card)
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"model '{card.name}': the weights cannot be read: {error}") from error
    check_hash(content, card, str(path))
    return content


def _check_size(path: Path, card: Card) -> None:
    """Raise ModelError for a file larger than all values of the network in double precision, with their names."""
    state = hollow(card.architecture, card.arguments).state_dict()
    most = sum(8 * value.numel() + len(name) + DESCRIPTION for name, value in state.items()) + DESCRIPTION
    found = path.stat().st_size
    if found > most:
        raise ModelError(
            f"model '{card.name}': the weights {path} have {found:,} bytes, those of the network in the card have at "
            f"most {most:,}; the file is another one. Copy the model again."
        )


def check_hash(content: bytes, card: Card, where: str) -> None:
    """Raise ModelError if the hash of a weights file differs from the card; the text names both."""
    found = hashlib.sha256(content).hexdigest()
    if found != card.weights.sha256:
        raise ModelError(
            f"model '{card.name}': sha256 of {where} is {found}, the card says {card.weights.sha256}; the file was "
            "changed or damaged. Copy the model again."
        )


def decode(content: bytes, where: str) -> dict[str, Tensor]:
    """Tensors by name from the bytes of a safetensors file.

    Raises
    ------
    ModelError
        If it is another format; the text names pickles as such.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as decode_safetensors

    try:
        return decode_safetensors(content)
    except SafetensorError as error:
        # Checked only after a failure, as a safetensors header of 640 bytes also begins with 0x80 0x02.
        if content[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise ModelError(f"{where} is a pickle, which can run code; only safetensors are read") from error
        raise ModelError(f"{where} is no safetensors file: {error}") from error


def assemble(architecture: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor], name: str) -> Network:
    """Network with given weights, of which none may be missing or left over.

    Parameters
    ----------
    architecture, arguments
        As in `onebreath.zoo.architectures.build`.
    state
        Weights by name.
    name
        Name of the model, for error messages.

    Raises
    ------
    ModelError
        If a parameter is missing, left over, mis-shaped, not of a floating type or not finite.
    """
    network = hollow(architecture, arguments)
    expected = network.state_dict()
    _check_names(expected, state, name)
    for key, value in state.items():
        _check_values(expected[key], value, f"model '{name}': parameter '{key}'")
    network.load_state_dict({key: value.float() for key, value in state.items()}, strict=True, assign=True)
    return network.requires_grad_(False).eval()


def _check_names(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], name: str) -> None:
    missing, left_over = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or left_over:
        parts = [
            f"{what}: {abridged(keys, 5)}" for what, keys in (("missing", missing), ("left over", left_over)) if keys
        ]
        raise ModelError(f"model '{name}': the weights are not those of the network in the card; {'; '.join(parts)}")


def _check_values(expected: Tensor, found: Tensor, what: str) -> None:
    if found.shape != expected.shape:
        raise ModelError(f"{what} has shape {tuple(found.shape)}, the network needs {tuple(expected.shape)}")
    if not found.is_floating_point():
        raise ModelError(f"{what} has type {found.dtype}, expected a floating type")
    if not bool(found.isfinite().all()):
        raise ModelError(f"{what} holds {int((~found.isfinite()).sum())} values that are not finite, expected none")


def save(
    state: Mapping[str, Tensor], details: Mapping[str, Any], root: Path, overwrite: bool = False, half: bool = False
) -> Path:
    """Write a model atomically.

    Parameters
    ----------
    state
        All weights of the network by name.
    details
        Fields of the card, except `weights`.
    root
        Folder of models; made if it is missing.
    overwrite
        Whether a model of this name may be replaced.
    half
        Whether to store 16-bit numbers, for half the size; networks still run in single precision.

    Returns
    -------
    Path
        The model's folder.

    Raises
    ------
    ModelError
        If the card or the weights are invalid, or the model exists.
    """
    import torch
    from safetensors.torch import save as encode

    dtype = torch.float16 if half else torch.float32
    content = encode({key: value.detach().to("cpu", dtype).contiguous() for key, value in state.items()})
    weights = {"file": WEIGHTS_FILE, "sha256": hashlib.sha256(content).hexdigest()}
    card = parse_card({**details, "weights": weights}, f"the card of model '{details.get('name')}'")
    assemble(card.architecture, card.arguments, decode(content, WEIGHTS_FILE), card.name)
    return write(card, content, root, overwrite)


def check_new(name: str, root: Path, overwrite: bool = False) -> Path:
    """Return the folder of a new model.

    Raises
    ------
    ModelError
        If the name is none, or there is a model of this name and `overwrite` is False.
    """
    target = root / check_name(name)
    if target.exists() and not overwrite:
        raise ModelError(f"there is a model '{name}' at {target} already; say --overwrite to replace it")
    return target


def write(card: Card, weights: bytes, root: Path, overwrite: bool = False) -> Path:
    """Write a validated card and the bytes of its weights; returns the model's folder. See `save`.

    Raises
    ------
    ModelError
        If the model exists and `overwrite` is False, or the folder cannot be written.
    """
    named = check_new(card.name, root, overwrite)
    target = behind(named)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=PARTIAL.format(card.name)) as partial:
            fresh = Path(partial) / "new"
            fresh.mkdir()
            (fresh / card.weights.file).write_bytes(weights)
            (fresh / CARD_FILE).write_text(card.to_yaml(), encoding="utf-8")
            if not (target.exists() and exchange(fresh, target)):
                if target.exists():
                    target.rename(Path(partial) / REPLACED)
                fresh.replace(target)
    except OSError as error:
        raise ModelError(f"model '{card.name}' cannot be written to {root}: {error}") from error
    return named
