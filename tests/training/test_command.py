import argparse
import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest

from onebreath.errors import ConfigError, ModelError
from onebreath.training import finetune
from onebreath.training.command import add_arguments, repeating, run
from onebreath.training.demo import train_demo
from onebreath.training.export import domain_of, export_run
from onebreath.training.recipe import write_recipe
from onebreath.training.state import checkpoint
from onebreath.training.state.start import load_start
from onebreath.zoo.card import read_card
from onebreath.zoo.store import read_network
from tests.training.recipes import tiny_recipe


def train_and_export(recipe, folder, name):
    (folder / "tiny.yaml").write_text(write_recipe(recipe))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = [str(folder / "tiny.yaml"), "--run", str(folder / "run"), "--device", "cpu"]
    arguments += ["--export", name, "--models", str(folder / "models")]
    assert run(parser.parse_args(arguments)) == 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    recipe = tiny_recipe(
        steps=4,
        network={"architecture": "crunet_mr", "arguments": {"channels": 4, "cascades": 1}},
        train=[{"kind": "simulator", "subjects": 1, "variants": 1, "per_patient": 2}],
        validate_on=[{"kind": "simulator", "subjects": 1, "first_seed": 50, "variants": 1, "per_patient": 1}],
    )
    train_and_export(recipe, folder, "crunet_mr.first")
    return folder / "run"


def test_the_run_folder_tells_what_was_done(finished):
    split = json.loads((finished / "split.json").read_text())
    assert split["train"] == {"patients": ["phantom0"], "slices": 2}
    assert split["validate"] == {"patients": ["phantom50"], "slices": 1}
    assert {"recipe.yaml", "log.jsonl", "latest.safetensors", "best.safetensors"} <= {
        f.name for f in finished.iterdir()
    }


def test_a_finished_run_is_exported(finished):
    card = read_card(finished.parent / "models" / "crunet_mr.first")
    assert card.arguments == {"channels": 4, "cascades": 1}


def test_fine_tuning_needs_a_start(capsys):
    parser = argparse.ArgumentParser()
    finetune.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["recipe.yaml"])
    assert "--start" in capsys.readouterr().err
    assert parser.parse_args(["recipe.yaml", "--start", "crunet_mr.robust"]).start == "crunet_mr.robust"


def test_a_run_becomes_a_model_of_the_zoo(finished, tmp_path):
    folder = export_run(finished, "crunet_mr.tiny", tmp_path, "test", latest=True)
    card = read_card(folder)
    assert card.training.data == "train: 1 subjects, 2 slices; validate: 1 subjects, 1 slices; simulator"
    assert "not for diagnosis" in card.intended_use
    network = read_network(folder, card)
    start = load_start(str(finished / "latest.safetensors")).weights
    assert all(bool((value == start[name]).all()) for name, value in network.state_dict().items())
    with pytest.raises(ModelError):
        export_run(finished, "crunet_mr.tiny", tmp_path, "again")


def test_without_validation_the_last_weights_are_exported_and_the_card_says_so(tmp_path, caplog):
    recipe = tiny_recipe(
        steps=2,
        network={"architecture": "crunet_mr", "arguments": {"channels": 4, "cascades": 1}},
        train=[{"kind": "simulator", "subjects": 1, "variants": 1, "per_patient": 1}],
    )
    train_and_export(recipe, tmp_path, "crunet_mr.last")
    card = read_card(tmp_path / "models" / "crunet_mr.last")
    assert "2 steps, the last weights, as the recipe has no validation to choose by" in card.training.recipe
    assert "no validation to choose weights by: the last ones, after step 2" in caplog.text
    network = read_network(tmp_path / "models" / "crunet_mr.last", card)
    last = load_start(str(tmp_path / "run" / "latest.safetensors")).weights
    assert all(bool((value == last[name]).all()) for name, value in network.state_dict().items())


def test_a_run_that_was_not_validated_yet_is_not_exported(finished, tmp_path):
    for name in ("latest.safetensors", "split.json"):
        shutil.copy(finished / name, tmp_path)
    with pytest.raises(ModelError, match="has no best weights: its run ended before it was validated"):
        export_run(tmp_path, "crunet_mr.unvalidated", tmp_path / "models", "test")


def test_the_demo_lowers_the_loss_in_its_first_steps(tmp_path):
    before, after = train_demo(tmp_path, steps=15)
    assert after < 0.95 * before


def test_a_card_allows_no_scan_that_the_network_cannot_take():
    domain = domain_of(tiny_recipe(network={"architecture": "a_liknet", "arguments": {"frames": 12, "coils": 10}}))
    assert (domain["frames"], domain["coils"]) == ([12, 64], [10, 10])
    assert domain["matrix_y"] == [64, 320]


def test_a_card_tells_single_frames_and_measured_scans(finished, tmp_path):
    static = tiny_recipe(examples={"frames": 1, "rows": [20, 24], "columns": 16})
    assert domain_of(static)["frames"] == [1, 64]
    simulated = read_card(finished.parent / "models" / "crunet_mr.first").intended_use
    assert "with simulated coils, phase and noise: not for diagnosis" in simulated
    state = checkpoint.load(finished / "latest.safetensors")
    own = tiny_recipe(network=json.loads(state.recipe)["network"], train=[{"kind": "mrd", "path": "scans"}])
    shutil.copytree(finished, tmp_path / "run")
    for name in ("latest", "best"):
        checkpoint.save(
            dataclasses.replace(state, recipe=own.model_dump_json()), tmp_path / "run" / f"{name}.safetensors"
        )
    model = export_run(tmp_path / "run", "crunet_mr.own", tmp_path / "models", "own scans")
    assert "Trained on measured k-space: not" in read_card(model).intended_use


def test_a_model_named_after_another_network_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(ConfigError, match=r"--export unet\.mine: the recipe trains crunet_mr; write crunet_mr\.TAG"):
        run(command_line(tmp_path, "--device", "cpu", "--export", "unet.mine"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("searched", [True, False])
def test_a_model_where_no_scan_looks_for_it_is_told(finished, tmp_path, monkeypatch, caplog, searched):
    shutil.copytree(finished, tmp_path / "run")
    if searched:
        monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path / "models"))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--run", str(tmp_path / "run"), "--device", "cpu", "--export", "crunet_mr.x"]
    assert (
        run(parser.parse_args([str(finished.parent / "tiny.yaml"), *words, "--models", str(tmp_path / "models")])) == 0
    )
    assert ("name that folder in ONEBREATH_MODELS" in caplog.text) is not searched


def test_a_name_that_is_taken_is_refused_before_anything_is_trained(tmp_path):
    (tmp_path / "models" / "crunet_mr.taken").mkdir(parents=True)
    (tmp_path / "tiny.yaml").write_text(write_recipe(tiny_recipe()))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = [str(tmp_path / "tiny.yaml"), "--run", str(tmp_path / "run"), "--export", "crunet_mr.taken"]
    with pytest.raises(ModelError, match=r"there is a model 'crunet_mr\.taken'"):
        run(parser.parse_args([*arguments, "--models", str(tmp_path / "models")]))
    assert not (tmp_path / "run").exists()


def command_line(folder, *words, **changes):
    (folder / "tiny.yaml").write_text(write_recipe(tiny_recipe(**changes)))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(folder / "tiny.yaml"), "--run", str(folder / "run"), *words])


def test_weights_of_another_network_are_refused_before_anything_is_prepared(finished, tmp_path):
    start = str(finished / "best.safetensors")
    wider = {"architecture": "crunet_mr", "arguments": {"channels": 6, "cascades": 1}}
    with pytest.raises(ModelError, match=r"do not fit the network of recipe tiny \(of another shape") as error:
        run(command_line(tmp_path, "--start", start, "--device", "cpu", network=wider))
    own = '--set \'network={"architecture": "crunet_mr", "arguments": {"channels": 4, "cascades": 1}}\''
    assert own in str(error.value)
    with pytest.raises(ModelError, match=r"the start has no blocks\.1\."):
        run(command_line(tmp_path, "--start", start, "--device", "cpu"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"network": {"architecture": "crunet"}}, "no architecture called 'crunet'"),
        ({"network": {"architecture": "crunet_mr", "arguments": {"chanels": 4}}}, "no argument 'chanels'"),
        ({"network": {"architecture": "unet", "arguments": {}}}, "its recipe has the field restoration"),
    ],
)
def test_a_wrong_network_is_told_before_anything_is_prepared(tmp_path, changes, text):
    with pytest.raises((ModelError, ConfigError), match=text):
        run(command_line(tmp_path, "--device", "cpu", **changes))
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_go_on_with_other_patients(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    split = json.loads((finished / "split.json").read_text())
    split["train"]["patients"] = ["phantom7"]
    (tmp_path / "run" / "split.json").write_text(json.dumps(split))
    words = ["--run", str(tmp_path / "run"), "--device", "cpu", "--steps", "5"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(ConfigError, match="train had 2 slices of phantom7, and now 2 slices of phantom0"):
        run(parser.parse_args([str(finished.parent / "tiny.yaml"), *words]))
    assert json.loads((tmp_path / "run" / "split.json").read_text()) == split


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_an_error(tmp_path, device):
    with pytest.raises(ConfigError, match=f"device {device} cannot be used: .*choose cpu, or leave --device out"):
        run(command_line(tmp_path, "--device", device))
    assert not (tmp_path / "run").exists()


def test_the_description_of_a_run_is_not_replaced_by_that_of_a_refused_one(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    before = (tmp_path / "run" / "recipe.yaml").read_text()
    with pytest.raises(ConfigError, match="holds a run whose recipe differs in"):
        run(command_line(tmp_path, "--device", "cpu", seed=11))
    assert (tmp_path / "run" / "recipe.yaml").read_text() == before


def recipe_text(folder, *words, name):
    simulated = {"train": [{"kind": "simulator", "subjects": 1, "variants": 1, "per_patient": 1}]}
    one = {"architecture": "crunet_mr", "arguments": {"channels": 4, "cascades": 1}}
    words = ("--device", "cpu", "--export", f"crunet_mr.{name}", "--models", str(folder / "models"), *words)
    assert run(command_line(folder, *words, steps=2, network=one, **simulated)) == 0
    return read_card(folder / "models" / f"crunet_mr.{name}").training.recipe


def test_the_card_has_the_command_that_repeats_the_training(finished, tmp_path):
    start = str(finished / "best.safetensors")
    changes = ("--set", "train.0.first_seed=7", "--set", "optimiser={learning_rate: 0.01}")
    command = "onebreath finetune tiny.yaml --set train.0.first_seed=7 --set 'optimiser={learning_rate: 0.01}' --steps"
    found = recipe_text(tmp_path, *changes, "--steps", "1", "--start", start, name="one")
    assert found.startswith(f"{command} 1 --start best.safetensors, 1 steps")
    # Gone on with, for more steps and without naming the start again.
    found = recipe_text(tmp_path, *changes, "--steps", "3", name="two")
    assert found.startswith(f"{command} 3 --start best.safetensors, 3 steps")


def test_the_card_has_the_time_that_was_given_and_no_folder_of_this_machine(tmp_path):
    cache = f"scan.measured_coils={tmp_path}/coils.npy"
    found = recipe_text(tmp_path, "--minutes", "0.1", "--set", "scan.measured_coils=null", name="timed")
    assert found.startswith("onebreath train tiny.yaml --set scan.measured_coils=null --minutes 0.1, ")
    arguments = command_line(tmp_path, "--set", cache, "--until", "23:00")
    trainer = SimpleNamespace(facts={}, schedule=SimpleNamespace(seconds=5400.0))
    assert repeating(arguments, trainer) == "onebreath train tiny.yaml --set scan.measured_coils=coils.npy --minutes 90"
