"""Small models with random weights, for tests of everything that runs models."""

from pathlib import Path
from typing import Any

import torch

from onebreath import zoo
from onebreath.zoo.architectures import ARCHITECTURES, build

TINY: dict[str, dict[str, Any]] = {name: {"channels": 4, "cascades": 2} for name in ARCHITECTURES}
"""Arguments of every architecture that make it small, for series of 3 frames and 2 coils."""


def details(name: str, **changes: Any) -> dict[str, Any]:
    """Fields of a card, but for its weights."""
    architecture = name.split(".")[0]
    return {
        "name": name,
        "version": "0",
        "summary": "random weights",
        "architecture": architecture,
        "arguments": TINY.get(architecture, {}),
        "training": {"data": "none"},
        "licence": "MIT",
        "intended_use": "tests",
        **changes,
    }


def random_state(architecture: str, arguments: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights of a network."""
    torch.manual_seed(seed)
    return build(architecture, arguments).state_dict()


def save_model(root: Path, name: str = "crunet_mr.tiny", **changes: Any) -> Path:
    """Save a model with random weights; return its folder."""
    fields = details(name, **changes)
    return zoo.save(random_state(fields["architecture"], fields["arguments"]), fields, root)
