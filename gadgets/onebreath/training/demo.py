"""A training small enough for a laptop: phantoms, a tiny CRUNet-MR, 200 steps."""

from __future__ import annotations

from pathlib import Path

import torch

from onebreath.training.distributed import Group
from onebreath.training.preparation import prepare
from onebreath.training.recipe import Recipe, parse_recipe
from onebreath.training.trainer import Trainer

LOWERED = 0.75
"""The validation loss after the demo training is at most this part of that before."""


def demo_recipe(steps: int = 200) -> Recipe:
    """Recipe of the demo training."""
    content = {
        "name": "demo",
        "network": {
            "architecture": "crunet_mr",
            "arguments": {"channels": 8, "cascades": 2, "data_consistency": "soft"},
        },
        "train": [{"kind": "simulator", "subjects": 3, "variants": 1}],
        "validate_on": [{"kind": "simulator", "subjects": 1, "first_seed": 900, "variants": 1}],
        "examples": {"frames": 6, "rows": [64, 64], "columns": 32},
        "masks": [{"family": "cmrxrecon", "accelerations": [4, 8], "acs_lines": 8}],
        "optimiser": {"learning_rate": 2e-3, "warm_up": 20, "scalar_factor": 5, "ema": 0.95},
        "steps": steps,
        "checkpoint_every": 50,
        "validate_every": steps,
        "validation_examples": 6,
    }
    return parse_recipe(content, "of the demo")


def train_demo(folder: Path, steps: int = 200) -> tuple[float, float]:
    """Train on phantoms; returns the validation loss before and after."""
    recipe = demo_recipe(steps)
    slices = prepare(recipe, folder / "prepared")
    trainer = Trainer(recipe, slices["train"], slices["validate"], folder, Group(0, 1, torch.device("cpu")))
    before = trainer.validation_loss()
    trainer.run()
    return before, trainer.validation_loss()
