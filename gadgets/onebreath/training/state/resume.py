"""What a run folder must hold for a training to go on in it."""

from __future__ import annotations

from pathlib import Path

from onebreath.errors import ConfigError
from onebreath.training.recipe import Recipe

# Fields of a recipe that may change when a training is resumed.
_FREE = {"steps", "workers", "checkpoint_every", "validate_every", "validation_examples"}


def check_same_run(old: Recipe, new: Recipe, folder: Path) -> None:
    """Raise ConfigError if a field of the recipe that must not change has changed."""
    before, after = old.model_dump(mode="json", exclude=_FREE), new.model_dump(mode="json", exclude=_FREE)
    changed = [name for name in after if before[name] != after[name]]
    if changed:
        raise ConfigError(
            f"{folder} holds a run whose recipe differs in {', '.join(changed)}; choose another run folder"
        )
