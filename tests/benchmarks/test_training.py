"""The table of training speed: every kind of recipe trains without a file, and the numbers of a row belong together."""

from pathlib import Path

import pytest

from benchmarks import training
from benchmarks.training import RECIPES, SHIPPED, Measured, material, measure, row
from onebreath.training.demo import demo_recipe
from onebreath.training.recipe import Recipe, read_recipe

SHAPE = (8, 96, 88)


def made_by_torch() -> Recipe:
    """A recipe whose examples are phantoms and clips, made small."""
    recipe = read_recipe(RECIPES / "crunet_mr.noise_aware.yaml")
    assert recipe.synthesis is not None
    small = {"frames": (4, 4), "rows": (64, 64), "width": (48, 48), "columns": 16, "coils": (4, 4), "channels": 4}
    network = recipe.network.model_copy(update={"arguments": {**recipe.network.arguments, "channels": 8}})
    return recipe.model_copy(update={"synthesis": recipe.synthesis.model_copy(update=small), "network": network})


@pytest.mark.parametrize(
    "recipe", [demo_recipe(), read_recipe(RECIPES / "mr_ipt.ablation.yaml"), made_by_torch()], ids=lambda one: one.name
)
def test_every_kind_of_recipe_is_measured_without_a_file(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SIDE", 256)
    monkeypatch.delenv("ONEBREATH_SHARED", raising=False)
    found = measure(recipe, SHAPE, 2)
    assert len(found.steps) == 2
    assert min(*found.steps, *found.examples, found.rate, found.memory) > 0
    assert found.operations > 1e6
    assert found.precision in ("float32", "bfloat16")


def test_a_row_says_examples_and_the_share_of_the_processor() -> None:
    recipe = demo_recipe().model_copy(update={"batch": 4})
    cells = row(recipe, Measured([1.0, 2.0, 3.0], [0.5, 0.5], 40e9, 100e9, 1.5, "bfloat16"))
    assert cells == ("demo", "bfloat16", "1.00", "1.000", "2.000", "0.500", "40.0", "20 %", "1.50")


@pytest.mark.parametrize("name", SHIPPED)
def test_recipes_of_shipped_models_are_there(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    assert bool(material(recipe, SHAPE, tmp_path)) == (recipe.synthesis is None)
