"""Training steps on the GPU: the loss and the gradient of the CPU, and a run that goes on there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.training import random_slice
from onebreath.training.demo import demo_recipe
from onebreath.training.recipe import Recipe, parse_recipe
from onebreath.training.state.distributed import Group
from onebreath.training.trainer import Trainer
from tests.helpers import as_numpy

pytestmark = pytest.mark.cuda


def tiny_recipe() -> Recipe:
    content = demo_recipe(6).model_dump(mode="json")
    content["network"]["arguments"] = {"channels": 4, "cascades": 2}
    content["examples"] |= {"frames": 3, "rows": [32, 32], "columns": 24}
    return parse_recipe({**content, "checkpoint_every": 3, "validate_every": 6, "validation_examples": 1}, "of a test")


def test_steps_are_those_of_the_cpu_and_a_run_goes_on(tmp_path: Path, device: str) -> None:
    recipe, slices = tiny_recipe(), [random_slice((4, 48, 40))]
    found = {}
    for place in dict.fromkeys(("cpu", device)):
        folder, group = tmp_path / place, Group(0, 1, torch.device(place))
        Trainer(recipe, slices, slices, folder, group).run(until=3)
        resumed = Trainer(recipe, slices, slices, folder, group)
        assert resumed.step == 3
        resumed.run()
        assert next(resumed.network.parameters()).device.type == place
        found[place] = (resumed.validation_loss(), {k: as_numpy(v) for k, v in resumed.average.weights.items()})
    assert found[device][0] == pytest.approx(found["cpu"][0], rel=0.02)
    for name, weights in found["cpu"][1].items():
        assert np.abs(found[device][1][name] - weights).max() < 0.02, name
