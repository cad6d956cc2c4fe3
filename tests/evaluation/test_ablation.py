from pathlib import Path

import pytest
import yaml

from onebreath import zoo
from onebreath.evaluation.figures import ablation
from onebreath.training import command
from onebreath.training.recipe import read_recipe
from onebreath.zoo.architectures import build
from onebreath.zoo.card import read_card
from tests.training.recipes import CONTENT, tiny_recipe, tiny_slice


@pytest.fixture
def repository():
    return Path(__file__).parents[2]


NETWORK = {"frames": 4, "coils": 3, "iterations": 2, "channels": 2, "kspace_channels": [2, 2]}


def test_each_variant_is_trained_and_becomes_a_model(tmp_path, monkeypatch, capsys):
    slices = {"train": [tiny_slice(0)], "validate": [tiny_slice(1, "two")]}
    monkeypatch.setattr(command, "prepare_data", lambda recipe, cache, workers=0: slices)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump({**CONTENT, "network": {"architecture": "a_liknet", "arguments": NETWORK}}))
    chosen = ["whole", "no_kspace", "liknet"]
    ablation.main([str(recipe), "--steps", "2", "--variants", *chosen, "--runs", str(tmp_path / "runs")])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == chosen
    whole, *less = (int(row[1].replace(",", "")) for row in rows)
    assert all(0 < count < whole for count in less)
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path / "runs" / "models"))
    card = read_card(tmp_path / "runs" / "models" / "a_liknet.liknet")
    again = "python -m onebreath.evaluation.figures.ablation tiny.yaml --study a_liknet --steps 2 --variants liknet"
    assert card.training.recipe.startswith(f"{again}, 2 steps")
    design = zoo.load("a_liknet.liknet").network.design
    assert not design.time_attention
    assert not design.coil_attention
    assert zoo.load("a_liknet.whole").network.design.time_attention


RECIPES = {
    "a_liknet": "a_liknet.small",
    "crunet_mr": "crunet_mr.small",
    "bank": "crunet_mr.small_bank_conv",
    "mr_ipt": "mr_ipt.small",
}


@pytest.mark.parametrize(("study", "name"), [(s, n) for s, found in ablation.STUDIES.items() for n in found])
def test_every_variant_of_every_study_changes_what_it_says(study, name, repository):
    recipe = read_recipe(repository / "models" / "recipes" / f"{RECIPES[study]}.yaml")
    whole = ablation.varied(recipe, "whole", {})
    changed = ablation.varied(recipe, name, ablation.STUDIES[study][name])
    build(changed.network.architecture, changed.network.arguments)
    assert changed.name == f"{recipe.name}.{name}"
    if ablation.STUDIES[study][name] and name not in ("conv", "split"):
        assert (changed.network, changed.loss) != (whole.network, whole.loss)


def test_losses_of_all_variants_are_the_recipes(tmp_path, monkeypatch):
    slices = {"train": [tiny_slice(0)], "validate": [tiny_slice(1, "two")]}
    monkeypatch.setattr(command, "prepare_data", lambda recipe, cache, workers=0: slices)
    recipe = tiny_recipe(steps=1, validate_every=1)
    variants = {
        "whole": {},
        "no_weight": {"loss": {"ssim": 0.0, "image_mse": 0.0, "image_l1": 0.0, "kspace_mse": 1e-6}},
    }
    whole, other = ablation.rows(recipe, variants, tmp_path, tmp_path / "prepared", "ablation --variants")
    # After one step both are nearly the new weights, and so must be their losses.
    assert float(other[2]) == pytest.approx(float(whole[2]), rel=0.2)


def test_an_unknown_variant_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        ablation.main([str(tmp_path / "a.yaml"), "--steps", "1", "--study", "mr_ipt", "--variants", "liknet"])
    assert "study mr_ipt has no variant liknet; it has type, level, split" in capsys.readouterr().err


@pytest.mark.parametrize("study", ["crunet_mr", "bank"])
def test_the_recipe_of_ablations_has_room_for_every_variant(study, repository):
    """Its networks are narrow: an attention over fewer channels than it reduces them by cannot be built."""
    recipe = read_recipe(repository / "models" / "recipes" / "crunet_mr.ablation.yaml")
    for name, changes in ablation.STUDIES[study].items():
        changed = ablation.varied(recipe, name, changes)
        build(changed.network.architecture, changed.network.arguments)
