"""Weights that a training starts from: those of a model of the zoo, or of another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from onebreath.errors import ModelError
from onebreath.names import abridged
from onebreath.training.recipe import NetworkSettings, Recipe, parse_recipe
from onebreath.training.state import checkpoint as checkpoints
from onebreath.zoo.architectures import hollow

# Parameters named in an error, of each kind.
_NAMED = 3


class Start(NamedTuple):
    """Weights to start from.

    Attributes
    ----------
    name
        Name of the model, or path of the checkpoint.
    network
        Network that has these weights.
    weights
        Parameters by name.
    """

    name: str
    network: NetworkSettings
    weights: dict[str, Tensor]


def load_start(name: str) -> Start:
    """Weights of a checkpoint file (its moving average) or of a model of the zoo.

    Raises
    ------
    ModelError
        If there is no such file or model, or it is damaged.
    """
    if Path(name).is_file():
        state = checkpoints.load(Path(name))
        return Start(name, parse_recipe(json.loads(state.recipe), name).network, state.average)
    from onebreath.zoo.versions import load

    model = load(name)
    network = NetworkSettings(architecture=model.card.architecture, arguments=model.card.arguments)
    return Start(name, network, {key: value.clone() for key, value in model.network.state_dict().items()})


def check_fits(start: Start, recipe: Recipe) -> None:
    """Raise ModelError if the weights are not those of the recipe's network; the text says what differs."""
    expected, found = hollow(recipe.network.architecture, recipe.network.arguments).state_dict(), start.weights
    common = expected.keys() & found.keys()
    kinds = {
        "the network has no": sorted(found.keys() - common),
        "the start has no": sorted(expected.keys() - common),
        "of another shape": sorted(key for key in common if expected[key].shape != found[key].shape),
    }
    differences = [f"{kind} {abridged(keys, _NAMED)}" for kind, keys in kinds.items() if keys]
    if differences:
        change = f"--set 'network={json.dumps(start.network.model_dump(mode='json'))}'"
        raise ModelError(
            f"the weights of {start.name} do not fit the network of recipe {recipe.name} ({'; '.join(differences)}); "
            f"train the network that they belong to ({change}), or choose another start"
        )
