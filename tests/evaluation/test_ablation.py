import yaml

from onebreath import zoo
from onebreath.evaluation.figures import ablation
from onebreath.training import command
from tests.training.recipes import CONTENT, tiny_slice

NETWORK = {"frames": 4, "coils": 3, "iterations": 2, "channels": 2, "kspace_channels": [2, 2]}


def test_each_variant_is_trained_and_becomes_a_model(tmp_path, monkeypatch, capsys):
    slices = {"train": [tiny_slice(0)], "validate": [tiny_slice(1, "two")]}
    monkeypatch.setattr(command, "prepare_any", lambda recipe, cache, workers=0: slices)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump({**CONTENT, "network": {"architecture": "a_liknet", "arguments": NETWORK}}))
    chosen = ["whole", "no_kspace", "liknet"]
    ablation.main([str(recipe), "--steps", "2", "--variants", *chosen, "--runs", str(tmp_path / "runs")])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == chosen
    whole, *less = (int(row[1].replace(",", "")) for row in rows)
    assert all(0 < count < whole for count in less)
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path / "runs" / "models"))
    design = zoo.load("a_liknet.liknet").network.design
    assert not design.time_attention
    assert not design.coil_attention
    assert zoo.load("a_liknet.whole").network.design.time_attention
