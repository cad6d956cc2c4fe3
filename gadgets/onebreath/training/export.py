"""Export of a run's averaged weights as a model of the zoo, with a card."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from onebreath.errors import ModelError
from onebreath.training.recipe import MEASURED, Recipe, parse_recipe
from onebreath.training.restoration import RestorationSettings
from onebreath.training.state import checkpoint as checkpoints
from onebreath.training.state.checkpoint import BEST, LATEST, Checkpoint
from onebreath.zoo.architectures import build, network_class
from onebreath.zoo.store import save

LOG = logging.getLogger("onebreath.training")

_NOT_DIAGNOSTIC = "Research on accelerated cine MRI. Trained {}: not for diagnosis."
_SIMULATED, _MEASURED = "with simulated coils, phase and noise", "on measured k-space"
_RESTORED = "Research on accelerated static MRI. Trained on k-space simulated from magnitude images: not for diagnosis."


def export_run(
    folder: Path,
    name: str,
    root: Path,
    summary: str,
    licence: str = "MIT",
    latest: bool = False,
    overwrite: bool = False,
    half: bool = False,
) -> Path:
    """Write the model of a run; returns its folder.

    Parameters
    ----------
    folder
        Run folder.
    name, summary
        Name, ``architecture.tag``, and a one-line summary for lists.
    root
        Folder of models.
    licence, overwrite
        Licence of the weights; whether a model of this name may be replaced.
    latest
        Whether to export the last weights instead of those with the lowest validation loss. Without any validation in
        the recipe, the last ones are exported in any case, and the card says so.
    half
        Whether to store 16-bit numbers.

    Raises
    ------
    ModelError
        If the run has no such checkpoint, or the card fails the zoo's checks.
    """
    last = checkpoints.load(folder / LATEST)
    state = last if latest else chosen_weights(folder)
    recipe = parse_recipe(json.loads(state.recipe), str(folder))
    split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    steps = (
        f"{state.step} steps" if state.step == last.step else f"weights of step {state.step} of {last.step}, the best"
    )
    if not recipe.validates:
        steps += ", the last weights, as the recipe has no validation to choose by"
    details = {
        "name": name,
        "version": "1",
        "summary": summary,
        "architecture": recipe.network.architecture,
        "arguments": recipe.network.arguments,
        "conventions": {"normalisation": "max_image"} if recipe.restoration else {},
        "domain": domain_of(recipe),
        "training": {
            "data": f"{_split_text(split)}; {_sources_text(recipe)}",
            "recipe": f"{_command_text(last, recipe)}, {steps}",
            "seed": recipe.seed,
        },
        "licence": licence,
        "intended_use": _RESTORED if recipe.restoration else _NOT_DIAGNOSTIC.format(_trained_on(recipe)),
        "references": [_first_line(network_class(recipe.network.architecture))],
    }
    return save(state.average, details, root, overwrite, half)


def chosen_weights(folder: Path) -> Checkpoint:
    """Checkpoint of a run with the lowest validation loss; the last one if its recipe validates on nothing.

    Raises
    ------
    ModelError
        If the run has no checkpoint, or has not been validated yet.
    """
    if (folder / BEST).is_file():
        return checkpoints.load(folder / BEST)
    last = checkpoints.load(folder / LATEST)
    if parse_recipe(json.loads(last.recipe), str(folder)).validates:
        raise ModelError(f"{folder} has no best weights: its run ended before it was validated; continue it to its end")
    LOG.info("the recipe has no validation to choose weights by: the last ones, after step %d, are taken", last.step)
    return last


def _command_text(last: Checkpoint, recipe: Recipe) -> str:
    """The command that repeats the whole training, or what is known of it."""
    if "command" in last.facts:
        return str(last.facts["command"])
    start = f", from the weights of {Path(str(last.facts['start'])).name}" if "start" in last.facts else ""
    return f"recipe {recipe.name}{start}"


def _split_text(split: dict[str, dict[str, list[str]]]) -> str:
    sides = [f"{side}: {len(found['patients'])} subjects, {found['slices']} slices" for side, found in split.items()]
    return "; ".join(sides)


def _sources_text(recipe: Recipe) -> str:
    """Kinds and file names of the sources, without folders, which mean nothing on other machines."""
    return ", ".join(dict.fromkeys(f"{source.kind} {Path(source.path).name}".strip() for source in recipe.train))


def _trained_on(recipe: Recipe) -> str:
    """What scans a network for multi-coil series was trained on: simulated ones, measured ones, or both."""
    measured = {source.kind in MEASURED for source in recipe.train} or {False}
    return " and ".join(text for kind, text in ((False, _SIMULATED), (True, _MEASURED)) if kind in measured)


def _first_line(network: type) -> str:
    """First line of the docstring of the network's module, which names its source."""
    return str(sys.modules[network.__module__].__doc__).partition("\n")[0]


def domain_of(recipe: Recipe) -> dict[str, list[int] | list[float] | list[str]]:
    """Domain of the trained network; matrix and frames may differ from those of the training."""
    if recipe.restoration is not None:
        return _image_domain(recipe.restoration)
    accelerations = [r for family in recipe.masks for r in family.accelerations]
    acs = [family.acs_lines for family in recipe.masks]
    fewest = recipe.examples.frames if recipe.synthesis is None else recipe.synthesis.frames[0]
    ranges = {
        "acceleration": [1, max(accelerations)],
        "acs_lines": [min(acs), 64],
        "frames": [min(4, fewest), 64],
        "matrix_y": [64, 320],
        "matrix_x": [64, 640],
        "coils": [2, max(recipe.scan.channels, 16)],
    }
    for name, (low, high) in build(recipe.network.architecture, recipe.network.arguments).limits().items():
        ranges[name] = [max(low, ranges[name][0]), min(high, ranges[name][1])]
    return {**ranges, "trajectory": ["cartesian"]}


def _image_domain(settings: RestorationSettings) -> dict[str, list[int] | list[float] | list[str]]:
    """Domain of a network for magnitude images: accelerations as trained, half to twice the trained matrix."""
    return {
        "acceleration": [1, max(settings.accelerations)],
        "matrix_y": [settings.size // 2, 2 * settings.size],
        "matrix_x": [settings.size // 2, 2 * settings.size],
        "trajectory": ["cartesian"],
    }
