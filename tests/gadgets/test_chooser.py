"""The choice of a scan's method: by the configuration, or by the protocol rules."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from onebreath.chain.gadget import parse_properties
from onebreath.errors import ConfigError, OutsideDomain
from onebreath.gadgets.reconstruct import chooser
from onebreath.gadgets.reconstruct.reconstruct import Reconstruct
from onebreath.methods.choice import choice
from onebreath.zoo.card import read_card
from onebreath.zoo.domain import Scan
from onebreath.zoo.rules import RuleBook, read_rules
from tests.gadgets.test_guard import meta_of, run, scan
from tests.models import save_model


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    save_model(tmp_path)
    return tmp_path


def rules(root, *given):
    (root / "protocols.yaml").write_text(yaml.safe_dump({"rules": list(given)}))


def automatic(**properties):
    arrays, _ = run(model="auto", **properties)
    return {series: meta_of(array) for series, array in arrays.items()}


MODELS = Path(__file__).parents[2] / "models"
TINY = {"name": "tiny", "model": "crunet_mr.tiny", "when": {"frames": [2, 9], "protocol": ["te*"]}}
REST = {"name": "rest", "method": "low_rank_sparse", "properties": {"iterations": 3}}


def test_the_rule_that_fires_stands_in_the_meta(root):
    rules(root, TINY, REST)
    meta = automatic()[1]
    assert meta["Onebreath_reconstruct_rule"] == "tiny"
    assert meta["Onebreath_reconstruct_policy"] == "fallback"
    assert meta["Onebreath_reconstruct_model"] == "crunet_mr.tiny"


def test_a_rule_may_name_a_classical_method_with_properties(root):
    rules(root, {**TINY, "when": {"frames": [10, 20]}}, REST)
    meta = automatic()[1]
    assert meta["Onebreath_reconstruct_method"] == "low_rank_sparse"
    assert meta["Onebreath_reconstruct_iterations"] == "3"
    assert meta["Onebreath_reconstruct_rule"] == "rest"


@pytest.mark.parametrize("policy", ["fallback", "warn", "refuse"])
def test_the_policy_decides_about_scans_outside_the_domain(root, policy):
    save_model(root, "crunet_mr.narrow", domain={"acceleration": [5, 10]})
    rules(root, {**TINY, "model": "crunet_mr.narrow", "policy": policy, "fallback": "low_rank_sparse"})
    if policy == "refuse":
        with pytest.raises(OutsideDomain, match="acceleration is 2, the model is for 5 to 10"):
            automatic()
        return
    (series, meta), *others = automatic().items()
    assert not others
    if policy == "warn":
        assert series == 1
        assert meta["Onebreath_reconstruct_domain"].startswith("outside: acceleration is 2")
    else:
        assert series == 50
        assert meta["Onebreath_reconstruct_method"] == "low_rank_sparse"
        assert meta["Onebreath_reconstruct_rule"] == "tiny"
        assert "acceleration is 2" in meta["Onebreath_reconstruct_fallback"]


def test_a_rule_knows_the_contrast_that_no_header_tells(root):
    save_model(root, "crunet_mr.bright", domain={"contrast": ["bssfp_cine"]})
    rules(root, {**TINY, "model": "crunet_mr.bright", "contrast": "perfusion"})
    assert "contrast is perfusion" in automatic()[50]["Onebreath_reconstruct_fallback"]
    rules(root, {**TINY, "model": "crunet_mr.bright", "contrast": "bssfp_cine"})
    assert automatic()[1]["Onebreath_reconstruct_domain"] == "inside"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("rules: []", "no protocol rule is for this scan"),
        ("rules: [", "the protocol rules cannot be used"),
        ("rules: [{name: a, method: unrolld, model: crunet_mr.tiny}]", "rule a is wrong: There is no reconstruction"),
        ("rules: [{name: a, model: crunet_mr.tiny, properties: {tile: 3}}]", "rule a is wrong: .*tiles"),
        ("rules: [{name: a, model: crunet_mr.absent}]", "there is no model 'crunet_mr.absent'"),
    ],
)
def test_whatever_is_wrong_with_rules_there_are_images(root, content, reason):
    (root / "protocols.yaml").write_text(content)
    meta = automatic()[50]
    assert meta["Onebreath_reconstruct_method"] == "cg_sense"
    assert re.search(reason, meta["Onebreath_reconstruct_fallback"])


def test_properties_of_the_configuration_are_defaults_for_the_rules(root):
    rules(root, {**TINY, "properties": {"tiles": 2}})
    meta = automatic(tiles=1, tile_halo=16, tile_tolerance=10)[1]
    assert meta["Onebreath_reconstruct_pieces"] == "2 tiles along the readout, halo 16"


@pytest.mark.parametrize(
    ("weights", "method"), [((1.0, 0.0), "unrolled"), ((0.0, 1.0), "cg_sense"), ((0.25, 0.75), "stacked")]
)
def test_held_back_lines_decide_among_candidates(root, monkeypatch, weights, method):
    """The winner's images are the series, no fallback's; what lacks something is left out and named."""
    made = []

    def choose(candidates, data, within, slices, further):
        made.append(choice.choose(candidates, data, 1.0, 1000))
        return replace(made[0], winner=int(np.argmax(weights)), weights=weights)

    monkeypatch.setattr(chooser, "choose", choose)
    scored = {"properties": {"domain_score": True}}
    rules(root, {**TINY, **scored, "candidates": ["cg_sense", "crunet_mr.missing"]})
    images = automatic()
    assert list(images) == [1]
    meta = images[1]
    assert meta["Onebreath_reconstruct_method"] == method
    assert meta["Onebreath_reconstruct_rule"] == "tiny"
    assert "Onebreath_reconstruct_fallback" not in meta
    assert "Onebreath_reconstruct_domain_score" not in meta, "its error is known already"
    assert meta["Onebreath_reconstruct_choice"] == made[0].reason
    told = meta["Onebreath_reconstruct_choice_errors"]
    assert re.fullmatch(r"crunet_mr.tiny \d.\d+ \+- \d.\d+; cg_sense \d.\d+ \+- \d.\d+", told)
    assert "no model" in meta["Onebreath_reconstruct_choice_without_crunet_mr.missing"]
    said = "0.25 of crunet_mr.tiny and 0.75 of cg_sense" if method == "stacked" else None
    assert meta.get("Onebreath_reconstruct_stacked") == said
    assert meta.get("Onebreath_reconstruct_model") == ("crunet_mr.tiny" if weights[0] else None)


def test_without_time_for_a_choice_the_rule_itself_decides(root):
    rules(root, {**TINY, "candidates": ["cg_sense"]})
    meta = automatic(choose_within=0)[1]
    assert meta["Onebreath_reconstruct_model"] == "crunet_mr.tiny"
    assert meta["Onebreath_reconstruct_choice"] == "not made, as choose_within is 0; the rule's order decides"


def test_where_held_back_lines_cannot_decide_the_score_guards_the_model(root):
    """So small a scan that a test would take more than its share: the rule's model, watched, and the meta says so."""
    rules(root, {**TINY, "properties": {"domain_score": True}, "candidates": ["low_rank_sparse"]})
    meta = automatic()[50]
    told = meta["Onebreath_reconstruct_choice"]
    assert told.startswith("held-back lines cannot decide: the tests would take more than 0.3")
    assert "held-back lines show an error" in meta["Onebreath_reconstruct_fallback"]


@pytest.mark.parametrize(
    ("acs_lines", "model"), [(0, "crunet_mr.cine"), (8, "crunet_mr.noise_aware"), (24, "crunet_mr.noise_aware")]
)
def test_the_rules_for_cine_that_are_shipped_choose(acs_lines, model):
    """L+S first: where held-back lines cannot decide, it is better on hearts than a guarded model.

    The model that starts from L+S was not trained on scans without calibration lines, where the start may be wrong.
    """
    scan = Scan(trajectory="cartesian", frames=12, acceleration=4, acs_lines=acs_lines, contrast="bssfp_cine")
    rule = RuleBook(read_rules(MODELS / "protocols.yaml")).match(scan)
    assert (rule.method, rule.candidates) == ("low_rank_sparse", (model,))
    assert not read_card(MODELS / model).domain.judge(scan).outside


def only_second(candidates, data):
    return replace(choice.choose(candidates, data, 1.0, 1000), winner=1, weights=(0.0, 1.0))


def test_the_rules_classical_method_stands_by_for_a_model_that_won(root, monkeypatch):
    save_model(root, "crunet_mr.other")
    monkeypatch.setattr(chooser, "choose", lambda *given: only_second(*given[:2]))
    rules(root, {"name": "cine", "method": "low_rank_sparse", "candidates": ["crunet_mr.tiny"]})
    images = automatic(send_out_classical=True)
    assert images[1]["Onebreath_reconstruct_model"] == "crunet_mr.tiny"
    assert images[50]["Onebreath_reconstruct_method"] == "low_rank_sparse"


def classical(**properties):
    """Meta of the images of a configuration whose method needs no model."""
    data, head = scan()
    chosen = {"method": "cg_sense", "candidates": "grappa crunet_mr.missing", "choose_within": 1000, **properties}
    gadget = Reconstruct(head, parse_properties(Reconstruct, {key: str(value) for key, value in chosen.items()}))
    return {array.headers[0, 0, 0].image_series_index: meta_of(array) for array in gadget.process([data])}


def test_a_configuration_may_name_candidates_itself(root):
    images = classical(regularisation=0.01)
    assert list(images) == [1], "what lacks a candidate is no fallback's"
    meta = images[1]
    told = meta["Onebreath_reconstruct_choice_errors"]
    assert re.fullmatch(r"cg_sense \d.\d+ \+- \d.\d+; grappa \d.\d+ \+- \d.\d+", told)
    assert "no model" in meta["Onebreath_reconstruct_choice_without_crunet_mr.missing"]
    assert meta["Onebreath_reconstruct_rule"] == "configuration"
    low, high = map(float, meta["Onebreath_reconstruct_choice_error_90_percent"].split(" to "))
    assert low < float(meta["Onebreath_reconstruct_choice_error"]) < high


def test_without_time_the_configurations_own_method_is_taken_as_it_is(root):
    alone, chosen = classical(candidates=""), classical(choose_within=0.3)[1]
    assert chosen["Onebreath_reconstruct_method"] == "cg_sense"
    assert chosen["Onebreath_reconstruct_choice"].startswith("held-back lines cannot decide: the tests would take more")
    assert "Onebreath_reconstruct_choice" not in alone[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"candidates": "grapa"}, "grappa"), ({"method": "unrolled", "model": "auto"}, "protocol rules")],
)
def test_wrong_candidates_are_refused_before_any_data(root, wrong, said):
    with pytest.raises(ConfigError, match=said):
        classical(**wrong)


def test_a_candidates_fallback_is_the_configurations_method_as_it_is(root, monkeypatch):
    """What steps in for a model has the parameters that the configuration gives the method."""
    monkeypatch.setattr(chooser, "choose", lambda *given: only_second(*given[:2]))
    images = classical(candidates="crunet_mr.tiny", regularisation=0.01, send_out_classical=False)
    assert images[1]["Onebreath_reconstruct_model"] == "crunet_mr.tiny"
    _, head = scan()
    chosen = {"method": "cg_sense", "candidates": "crunet_mr.tiny", "regularisation": "0.01"}
    gadget = Reconstruct(head, parse_properties(Reconstruct, chosen))
    standby = gadget.chooser._others["configuration"]["crunet_mr.tiny"].safety.fallback
    assert standby.parameters.regularisation == 0.01
