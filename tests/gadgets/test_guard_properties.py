"""What a configuration says of the method and its fallback, and scans that a model is not for."""

import pytest

from onebreath.chain.gadget import parse_properties
from onebreath.errors import ConfigError, MethodError, OutsideDomain
from onebreath.gadgets.reconstruct.reconstruct import Reconstruct
from onebreath.methods import cg_sense
from tests.gadgets.test_guard import STAGES, meta_of, raising, run, scan
from tests.models import save_model


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    save_model(tmp_path, score_limit=1000.0)
    return tmp_path


def test_the_fallback_can_be_chosen_and_set(root):
    arrays, _ = run(fallback="low_rank_sparse", fallback_iterations=3, send_out_classical=True)
    meta = meta_of(arrays[50])
    assert meta["Onebreath_reconstruct_method"] == "low_rank_sparse"
    assert meta["Onebreath_reconstruct_iterations"] == "3"


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"fallback": "cg_sens"}, "cg_sense"),
        ({"fallback": "unrolled"}, "needs a trained model itself"),
        ({"fallback_iterationz": "3"}, "iterationz"),
        ({"fallback": "none", "fallback_iterations": "3"}, "no fallback that could use fallback_iterations"),
        ({"fallback": "none", "deadline_s": "3"}, "need a fallback"),
        ({"deadline_s": "-1"}, "deadline_s"),
        ({"image_series": "61536"}, "a series can have the number 61535 at most"),
        ({"classical_series": "65536"}, "a series can have the number 61535 at most"),
    ],
)
def test_wrong_properties_are_refused_before_data_flow(root, properties, words):
    with pytest.raises(ConfigError, match=words):
        parse_properties(Reconstruct, {"method": "unrolled", "model": "crunet_mr.tiny", **properties})


def test_a_scan_outside_the_domain_gets_the_fallback_or_the_error(root):
    save_model(root, "crunet_mr.narrow", domain={"acceleration": [5, 10]})
    arrays, _ = run(model="crunet_mr.narrow")
    reason = meta_of(arrays[50])["Onebreath_reconstruct_fallback"]
    assert "acceleration is 2, the model is for 5 to 10" in reason
    with pytest.raises(OutsideDomain, match="acceleration is 2"):
        run(model="crunet_mr.narrow", fallback="none")
    arrays, _ = run(model="crunet_mr.narrow", outside_domain="allow")
    assert meta_of(arrays[1])["Onebreath_reconstruct_domain"].startswith("outside: acceleration is 2")


def test_a_score_above_the_limit_of_the_card_counts_as_outside(root):
    save_model(root, "crunet_mr.strict", score_limit=1e-6)
    arrays, _ = run(model="crunet_mr.strict", domain_score=True)
    assert "does not fit this scan: held-back lines" in meta_of(arrays[50])["Onebreath_reconstruct_fallback"]
    arrays, _ = run(domain_score=True)
    assert float(meta_of(arrays[1])["Onebreath_reconstruct_domain_score"]) > 0


@pytest.mark.parametrize("more", [{}, {"fallback": "grappa"}, {"fallback": "none"}, {"deadline_s": "60"}], ids=str)
@pytest.mark.parametrize("name", ["crunet_mr.tinny", "crunet_mr.Tiny", "crunet_mr_tiny"])
def test_a_misspelt_model_is_an_error_of_the_configuration_before_data_flow(root, name, more):
    properties = parse_properties(Reconstruct, {"method": "unrolled", "model": name, **more})
    with pytest.raises(ConfigError, match=rf"'{name}'.*Did you mean: .*crunet_mr\.tiny"):
        Reconstruct(scan()[1], properties)


def test_a_model_that_is_there_but_damaged_brings_the_fallback(root):
    (root / "crunet_mr.tiny" / "weights.safetensors").write_bytes(b"damaged")
    arrays, _ = run()
    assert "crunet_mr.tiny" in meta_of(arrays[50])["Onebreath_reconstruct_fallback"]


def test_when_neither_can_the_error_tells_of_both(root, monkeypatch):
    monkeypatch.setattr(cg_sense.CgSense, "__call__", raising(MethodError("no maps")))
    monkeypatch.setattr(*STAGES["the network"], raising(RuntimeError("boom")))
    with pytest.raises(MethodError, match=r"no maps \(cg_sense stood by, because: RuntimeError: boom\)"):
        run()
