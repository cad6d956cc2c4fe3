"""A training small enough for a laptop: phantoms, a tiny CRUNet-MR, 200 steps."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import torch

from onebreath.errors import OnebreathError
from onebreath.training.data.preparation import prepare
from onebreath.training.recipe import Recipe, parse_recipe
from onebreath.training.state.distributed import Group
from onebreath.training.trainer import Trainer

LOWERED = 0.65
"""Largest ratio of the validation losses after and before the demo training."""


def demo_recipe(steps: int = 200) -> Recipe:
    """Recipe of the demo training."""
    content = {
        "name": "demo",
        "network": {
            "architecture": "crunet_mr",
            "arguments": {"channels": 8, "cascades": 2, "data_consistency": "soft"},
        },
        "train": [{"kind": "simulator", "subjects": 3, "variants": 1, "per_patient": 2}],
        "validate_on": [{"kind": "simulator", "subjects": 2, "first_seed": 900, "variants": 1, "per_patient": 1}],
        "examples": {"frames": 6, "rows": [64, 64], "columns": 32, "noise_factor": [0.05, 0.15]},
        "masks": [{"family": "kt_uniform", "accelerations": [4], "acs_lines": 0}],
        "optimiser": {"learning_rate": 4e-3, "warm_up": 10, "scalar_factor": 5, "ema": 0.95},
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


def main() -> int:
    """Run the demo training; returns 1 if it fails or lowers the loss by less than `LOWERED` requires."""
    parser = argparse.ArgumentParser(prog="python -m onebreath.training.demo", description=__doc__)
    parser.add_argument("folder", type=Path, help="run folder; a run in it is continued")
    args = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s")
    begun = time.perf_counter()
    try:
        before, after = train_demo(args.folder)
    except OnebreathError as error:
        print(f"demo training: {error}")
        return 1
    seconds = time.perf_counter() - begun
    print(f"validation loss {before:.3f} -> {after:.3f} in {seconds:.0f} s; at most {LOWERED * before:.3f} is expected")
    return 0 if after <= LOWERED * before else 1


if __name__ == "__main__":
    raise SystemExit(main())
