from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from onebreath.errors import ConfigError
from onebreath.training.recipe import Recipe, Source, parse_recipe, read_recipe, source_path, write_recipe
from onebreath.zoo.architectures import build
from tests.training.recipes import CONTENT, tiny_recipe

RECIPES = sorted((Path(__file__).parents[2] / "models" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_and_its_network_can_be_built(path):
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    build(recipe.network.architecture, recipe.network.arguments)


def test_there_is_a_recipe_for_each_kind_of_feature_bank():
    assert {"crunet_mr.robust", "crunet_mr.paper", "crunet_mr.bank_conv", "crunet_mr.bank_ca"} <= {
        p.stem for p in RECIPES
    }


def fields(model: type[BaseModel], seen: set[type]) -> list[tuple[str, str | None]]:
    seen.add(model)
    found = []
    for name, field in model.model_fields.items():
        found.append((f"{model.__name__}.{name}", field.description))
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if hasattr(part, "model_fields") and part not in seen:
                found += fields(part, seen)
    return found


def test_every_field_is_documented():
    found = fields(Recipe, set())
    assert len(found) > 40
    assert [name for name, text in found if not text] == []


def test_a_recipe_survives_writing_and_reading(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(write_recipe(tiny_recipe()))
    assert read_recipe(file) == tiny_recipe()


def test_a_recipe_takes_what_it_does_not_say_from_the_one_it_is_based_on(tmp_path):
    (tmp_path / "common").mkdir()
    content = {**CONTENT, "steps": 7, "seed": 3}
    del content["network"]
    (tmp_path / "common" / "base.yaml").write_text(yaml.safe_dump(content))
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({"based_on": "common/base.yaml", "network": CONTENT["network"], "steps": 9}))
    recipe = read_recipe(file)
    assert (recipe.steps, recipe.seed, recipe.network.architecture) == (9, 3, CONTENT["network"]["architecture"])
    assert read_recipe(_written(tmp_path, write_recipe(recipe))) == recipe


def _written(folder, text):
    (folder / "written.yaml").write_text(text)
    return folder / "written.yaml"


@pytest.mark.parametrize(
    ("base", "text"),
    [("own.yaml", "based on itself"), ("nowhere.yaml", "cannot be read"), ("list.yaml", "found list")],
)
def test_what_a_recipe_cannot_be_based_on(tmp_path, base, text):
    (tmp_path / "list.yaml").write_text("[1, 2]")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**CONTENT, "based_on": base}))
    with pytest.raises(ConfigError, match=text):
        read_recipe(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"stepz": 3}, "stepz: Extra inputs"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1"),
        ({"masks": []}, "masks"),
        ({"loss": {"ssim": -1}}, "loss.ssim"),
        ({"optimiser": {"ema": 1.0}}, "optimiser.ema"),
        ({"name": "../escape"}, "name"),
        ({"masks": [{"family": "uniform", "accelerations": [0]}]}, r"masks.0.accelerations.0: .*greater than or equal"),
        ({"examples": {"rows": [64, 48]}}, "examples.rows: .*64 to 48 is no range"),
        ({"examples": {"noise_factor": [2, 1]}}, "examples.noise_factor: .*2 to 1 is no range"),
        ({"scan": {"snr": [0, 10]}}, "scan.snr.0: .*greater than 0"),
        ({"scan": {"coils": [12, 8]}}, "scan.coils: .*12 to 8 is no range"),
        ({"scan": {"noise_correlation": [0, 1]}}, "scan.noise_correlation.1: .*less than 1"),
        ({"synthesis": {"noise_correlation": [0.5, 0.1]}}, "synthesis.noise_correlation: .*is no range"),
        ({"restoration": {"noise": [0.2, 0.1]}}, "restoration.noise: .*is no range"),
        ({"restoration": {"accelerations": [1]}}, "restoration.accelerations.0: .*greater than 1"),
    ],
)
def test_errors_name_the_field(change, text):
    with pytest.raises(ConfigError, match=text):
        parse_recipe({**CONTENT, **change}, "x.yaml")


MAGNITUDE = {"network": {"architecture": "unet"}, "restoration": {"size": 16}, "masks": [], "examples": {}}
MADE = {"synthesis": {"hearts": 0}, "train": [], "examples": {}}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train": [{"kind": "simulator", "path": "/data"}]}, "path: does nothing here"),
        ({"train": [{"kind": "mrd"}]}, "path is missing"),
        (
            {"train": [{"kind": "dicom", "path": "x", "subjects": 3, "spoiled": True}]},
            "subjects, spoiled: does",
        ),
        ({"train": [{"kind": "fastmri", "path": "x", "variants": 2}]}, "variants: does nothing here"),
        ({**MAGNITUDE, "masks": CONTENT["masks"], "scan": {"variants": 2}}, "scan, masks: does nothing here"),
        ({**MAGNITUDE, "loss": {"psnr": 1}, "self_supervised": {}}, "loss, self_supervised: does nothing here"),
        ({**MAGNITUDE, "train": [{"kind": "images", "path": "x", "variants": 2}]}, "variants: does nothing here"),
        ({**MADE, "examples": {"frames": 4}, "workers": 2}, "examples, workers: does nothing here"),
        ({**MADE, "train": CONTENT["train"]}, "train does nothing here"),
    ],
)
def test_fields_that_do_nothing_are_refused_by_name(change, text):
    for allowed in (MAGNITUDE, MADE):
        parse_recipe({**CONTENT, **allowed}, "x.yaml")
    with pytest.raises(ConfigError, match=text):
        parse_recipe({**CONTENT, **change}, "x.yaml")


def test_files_that_are_no_recipe_are_refused(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("- a\n- b\n")
    with pytest.raises(ConfigError, match="expected fields"):
        read_recipe(file)
    file.write_text("a: [")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recipe(file)


def test_paths_are_filled_in_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("SITE_DATA", str(tmp_path))
    assert source_path(Source(kind="mrd", path="$SITE_DATA")) == tmp_path
    with pytest.raises(ConfigError, match="environment variable"):
        source_path(Source(kind="mrd", path="$ONEBREATH_NO_SUCH_VARIABLE/x"))
    with pytest.raises(ConfigError, match="does not exist"):
        source_path(Source(kind="mrd", path="$SITE_DATA/none"))
