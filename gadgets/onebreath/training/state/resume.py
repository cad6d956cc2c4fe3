"""What a run folder must hold for a training to go on in it."""

from __future__ import annotations

import json
from pathlib import Path

from onebreath.errors import ConfigError
from onebreath.training.recipe import Recipe, parse_recipe
from onebreath.training.state import checkpoint as checkpoints
from onebreath.training.state.checkpoint import LATEST, Checkpoint

# Fields of a recipe that may change when a training is resumed.
_FREE = {"steps", "workers", "checkpoint_every", "validate_every", "validation_examples"}


def check_folder(folder: Path, recipe: Recipe, start: str | None = None) -> None:
    """Raise ConfigError if a folder holds a run other than that of a recipe and a start; before anything is prepared.

    Parameters
    ----------
    folder
        Run folder, with or without a run.
    recipe
        The recipe.
    start
        Name of the weights to start from; None: new ones, or those that the run started from.
    """
    if (folder / LATEST).is_file():
        check_same_run(checkpoints.load(folder / LATEST), recipe, start, folder)


def check_same_run(state: Checkpoint, recipe: Recipe, start: str | None, folder: Path) -> None:
    """Raise ConfigError if a checkpoint is of another recipe or start; see `check_folder`."""
    old = parse_recipe(json.loads(state.recipe), str(folder))
    before, after = old.model_dump(mode="json", exclude=_FREE), recipe.model_dump(mode="json", exclude=_FREE)
    changed = [name for name in after if before[name] != after[name]]
    if changed:
        raise ConfigError(
            f"{folder} holds a run whose recipe differs in {', '.join(changed)}; choose another run folder"
        )
    first = state.facts.get("start")
    if start is not None and (first is None or Path(str(first)).resolve() != Path(start).resolve()):
        raise ConfigError(
            f"{folder} holds a run that started from {f'the weights of {first}' if first else 'new weights'} and would "
            f"go on without those of {start}; choose another run folder (--run), or leave --start out (onebreath train)"
        )
