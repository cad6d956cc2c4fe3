"""What a run folder must hold for a training to go on in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onebreath.errors import ConfigError
from onebreath.names import abridged
from onebreath.training.recipe import Recipe, parse_recipe
from onebreath.training.state import checkpoint as checkpoints
from onebreath.training.state.checkpoint import LATEST, Checkpoint

# Patients named in an error, of each purpose.
_NAMED = 3
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


def check_data(folder: Path, recipe: Recipe, split: dict[str, dict[str, Any]]) -> None:
    """Raise ConfigError if the files behind the same recipe hold other data than when a run in a folder began.

    Parameters
    ----------
    folder, recipe
        As for `check_folder`.
    split
        Patients and number of slices of each purpose, as in ``split.json``.
    """
    try:
        before = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if (folder / LATEST).is_file() and before != split:
        sides = [side for side in split if before.get(side) != split[side]]
        raise ConfigError(
            f"{folder} holds a run of {recipe.name} on other data: {' and '.join(map(str, sides))} had "
            f"{'; '.join(_counts(before.get(side, {})) for side in sides)}, and now "
            f"{'; '.join(_counts(split[side]) for side in sides)}. A patient trained on might now be validated on; "
            "choose another run folder"
        )


def _counts(side: dict[str, Any]) -> str:
    patients = side.get("patients", [])
    return f"{side.get('slices', 0)} slices of {abridged(patients, _NAMED) or 'nobody'}"


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
