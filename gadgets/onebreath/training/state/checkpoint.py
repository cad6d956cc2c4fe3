"""Checkpoints: everything needed to resume a training, in one safetensors file that is written atomically."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from onebreath.errors import ModelError
from onebreath.keeping import replacing

LATEST, BEST = "latest.safetensors", "best.safetensors"
_FORMAT = "onebreath-training-1"


@dataclass
class Checkpoint:
    """State of a training after `step` steps.

    It has no random state, as random numbers follow from the recipe's seed and the step.

    Attributes
    ----------
    step
        Number of completed steps.
    weights, average
        Parameters of the network, and their moving average.
    moments
        State of the optimiser: ``PARAMETER/NAME``.
    recipe
        The recipe as JSON.
    best
        Lowest validation loss so far.
    facts
        Further information on the weights.
    seconds
        Training time so far.
    validated
        Step of the last validation that was finished; 0: none, or unknown.
    """

    step: int
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    moments: dict[str, Tensor]
    recipe: str
    best: float = float("inf")
    facts: dict[str, str | float] = field(default_factory=dict)
    seconds: float = 0.0
    validated: int = 0


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically: a process that is killed leaves the old file or the new one."""
    groups = {"weights": checkpoint.weights, "average": checkpoint.average, "moments": checkpoint.moments}
    tensors = {
        f"{group}:{name}": value.detach().cpu().contiguous()
        for group, part in groups.items()
        for name, value in part.items()
    }
    header = {
        "format": _FORMAT,
        "step": str(checkpoint.step),
        "recipe": checkpoint.recipe,
        "best": repr(checkpoint.best),
        "facts": json.dumps(checkpoint.facts),
        "seconds": repr(checkpoint.seconds),
        "validated": str(checkpoint.validated),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        save_file(tensors, partial, metadata=header)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())


def load(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Checkpoint of a file, with tensors on a device.

    Raises
    ------
    ModelError
        If the file cannot be read or is not a checkpoint of a training.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = file.metadata() or {}
            if header.get("format") != _FORMAT:
                raise ModelError(f"{path} is not a checkpoint of a training; weights of a model cannot be resumed")
            groups: dict[str, dict[str, Tensor]] = {"weights": {}, "average": {}, "moments": {}}
            for key in file.keys():  # noqa: SIM118 - not a dict
                group, _, name = key.partition(":")
                groups[group][name] = file.get_tensor(key)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"checkpoint {path} cannot be read: {error}") from error
    return Checkpoint(
        int(header["step"]), groups["weights"], groups["average"], groups["moments"], header["recipe"],
        float(header["best"]), json.loads(header["facts"]), float(header.get("seconds", 0)),
        int(header.get("validated", 0)),
    )  # fmt: skip
