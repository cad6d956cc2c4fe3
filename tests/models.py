"""Small models with random weights, for tests of everything that runs models."""

from pathlib import Path
from typing import Any

import torch

from onebreath import zoo
from onebreath.registry import ARCHITECTURES
from onebreath.zoo.architectures import build

TINY: dict[str, dict[str, Any]] = {name: {"channels": 4, "cascades": 2} for name in ARCHITECTURES}
TINY["cinenet"]["stages"] = 2
TINY["prompt_mr"] = {
    "cascades": 2, "window": 3, "channels": [4, 4, 4, 4], "prompt_channels": [2, 2, 2], "prompt_sizes": [4, 2, 1],
    "encoder_blocks": [1, 1, 1], "decoder_blocks": [1, 1, 1], "coil_maps": "given", "combination": "maps",
}  # fmt: skip
TINY["prompt_mr_plus"] = {**TINY["prompt_mr"], "buffers": 3, "history": 2}
TINY["a_liknet"] = {"frames": 3, "coils": 2, "iterations": 2, "channels": 4, "kspace_channels": [4, 2]}
"""Arguments of every architecture that make it small, for series of 3 frames and 2 coils."""

_SMALL_VIT: dict[str, Any] = {
    "image_size": 16, "channels": 4, "width": 8, "depth": 2, "heads": 2, "window": 2, "global_blocks": [1],
}  # fmt: skip
RESTORATION_TINY: dict[str, dict[str, Any]] = {
    "mr_ipt": {**_SMALL_VIT, "embedding": 16, "decoder_heads": 2, "decoder_hidden": 16},
    "unet": {"channels": 4, "pools": 2},
    "vit": {**_SMALL_VIT, "embedding": 16},
}
"""The same for networks that restore magnitude images."""


def details(name: str, **changes: Any) -> dict[str, Any]:
    """Fields of a card, but for its weights."""
    architecture = name.split(".")[0]
    return {
        "name": name,
        "version": "0",
        "summary": "random weights",
        "architecture": architecture,
        "arguments": (TINY | RESTORATION_TINY).get(architecture, {}),
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
