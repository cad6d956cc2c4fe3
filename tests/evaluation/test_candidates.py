import json

import numpy as np
import pytest

from onebreath.cli import main
from onebreath.errors import ConfigError
from onebreath.evaluation.candidates import parse_candidates
from onebreath.zoo.card import read_card
from onebreath.zoo.search import find
from tests.models import save_model


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Two tiny models, one of which is for R = 2 only."""
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("ONEBREATH_DISTS", str(tmp_path / "no.safetensors"))
    save_model(tmp_path / "models", "crunet_mr.one")
    save_model(tmp_path / "models", "crunet_mr.two", domain={"acceleration": [2, 2]})


def test_wildcards_stand_for_models(models):
    found = parse_candidates(["zero_filled", "crunet_mr.one", "crunet_mr.t*:precision=bfloat16"])
    assert [one.label for one in found] == ["zero_filled", "crunet_mr.one", "crunet_mr.two:precision=bfloat16"]
    assert found[2].method.parameters.precision == "bfloat16"


def test_models_for_magnitude_images_run_by_their_method(models, tmp_path):
    save_model(tmp_path / "models", "unet.tiny")
    (found,) = parse_candidates(["unet.tiny:data_consistency=off"])
    assert found.method.name == "mr_ipt"
    assert found.identity["data_consistency"] == "off"


def test_results_depend_on_parameters_and_weights(models, tmp_path):
    first, second = (parse_candidates([f"cg_sense:iterations={n}"])[0].identity for n in (3, 4))
    assert first != second
    before = parse_candidates(["crunet_mr.one"])[0].identity
    (tmp_path / "models" / "crunet_mr.one").rename(tmp_path / "aside")
    save_model(tmp_path / "models", "crunet_mr.one", arguments={"channels": 4, "cascades": 1})
    assert parse_candidates(["crunet_mr.one"])[0].identity != before


@pytest.mark.parametrize(
    "change", [{"conventions": {"phase_encoding": "x"}}, {"domain": {"acceleration": [2, 2]}}, {"score_limit": 0.1}]
)
def test_results_depend_on_how_the_card_says_to_use_the_weights(models, tmp_path, change):
    before = parse_candidates(["crunet_mr.one"])[0].identity
    (tmp_path / "models" / "crunet_mr.one").rename(tmp_path / "aside")
    save_model(tmp_path / "models", "crunet_mr.one", **change)
    after = parse_candidates(["crunet_mr.one"])[0].identity
    assert after["sha256"] == before["sha256"]
    assert after != before


def test_maps_are_cropped_where_a_method_wants_it():
    maps, eigenvalues = np.ones((1, 3, 2, 2)), np.array([[[0.9, 0.7], [0.5, 1.0]]])
    crops = [one.crop(maps, eigenvalues).any(axis=(0, 1)) for one in parse_candidates(["cg_sense", "zero_filled"])]
    assert np.array_equal(crops[0], [[True, False], [False, True]])
    assert crops[1].all()
    assert parse_candidates(["zero_filled:map_crop=0.6"])[0].crop(maps, eigenvalues)[0, 0].sum() == 3


def test_models_are_measured_inside_and_outside_their_domain(models, tmp_path):
    words = ["--data", "simulator", "--patient", "phantom0", "--slices", "1", "--matrix", "40", "40", "--snr", "30"]
    masks = ["--mask", "cmrxrecon:16", "--acceleration", "4", "--calibration-lines", "16", "--coils", "5"]
    methods = ["--channels", "4", "--methods", "zero_filled", "crunet_mr.one", "crunet_mr.t*"]
    assert main(["evaluate", *words, *masks, *methods, "--output", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "table.json").read_text())
    group = content["groups"][0]
    assert group["slices"] == 1
    names = ("crunet_mr.one", "crunet_mr.two")
    assert content["weights"] == {name: read_card(find(name)).weights.sha256 for name in names}
    assert main(["models", "card", "crunet_mr.one", "--measured", str(tmp_path / "table.json")]) == 0
    assert read_card(find("crunet_mr.one")).measured
    assert {label: one["failures"] for label, one in group["methods"].items()} == {
        "zero_filled": {},
        "crunet_mr.one": {},
        "crunet_mr.two": {},
    }
    results = [json.loads(file.read_text()) for file in (tmp_path / "results").glob("*.json")]
    domains = {one["method"]: one["facts"].get("domain") for one in results}
    assert domains["crunet_mr.one"] == "inside"
    assert domains["crunet_mr.two"].startswith("outside: acceleration is 4")


def test_a_name_that_may_match_nothing_is_left_out_with_a_word(caplog):
    found = parse_candidates(["zero_filled", "?nothing_like.*", "?nothing_like.*:data_consistency=off"])
    assert [one.label for one in found] == ["zero_filled"]
    assert "no model matches 'nothing_like.*'; it is left out" in caplog.text
    with pytest.raises(ConfigError, match="no model matches"):
        parse_candidates(["nothing_like.*"])
