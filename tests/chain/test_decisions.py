"""Which scans a model gets: simulated scans in and out of every limit of a card, through the whole chain."""

import ismrmrd
import numpy as np
import pytest
import yaml

from onebreath.simulation.scan import SimulatedScan
from onebreath.zoo import save
from tests.chain.running import cine, images_of, run, simulated, steps, stream_of
from tests.models import details, random_state

DOMAIN = {
    "acceleration": [2, 6],
    "mask_family": ["uniform_acs", "kt_uniform", "irregular_acs"],
    "acs_lines": [6, 25],
    "frames": [4, 8],
    "matrix_y": [40, 56],
    "matrix_x": [48, 64],
    "coils": [4, 10],
    "field_strength_t": [1.0, 2.0],
    "trajectory": ["cartesian"],
    "contrast": ["bssfp_cine"],
    "snr": [20, 1000],
}
RULES = [
    {"name": "perfusion", "when": {"protocol": ["*perf*"]}, "model": "crunet_mr.tiny", "contrast": "perfusion"},
    {"name": "research", "when": {"protocol": ["test_*"]}, "model": "crunet_mr.tiny", "policy": "warn",
     "contrast": "bssfp_cine"},
    {"name": "still", "when": {"frames": [1, 1]}, "method": "cg_sense"},
    {"name": "cine", "when": {"protocol": ["*cine*"]}, "model": "crunet_mr.tiny", "contrast": "bssfp_cine"},
]  # fmt: skip
USUAL = {
    "mode": "realtime", "phases": 4, "coils": 6, "acceleration": 4, "acs_mode": "embedded", "acs_lines": 12,
    "snr": 60.0, "readout_oversampling": 1, "noise_lines": 16,
}  # fmt: skip


def out(*limits: str) -> tuple[str, str, tuple[str, ...]]:
    return ("cine", "fallback", limits)


INSIDE = ("cine", "model", ())
TABLE = [
    ({}, INSIDE),
    ({"acceleration": 2}, INSIDE),
    ({"acceleration": 3}, INSIDE),
    ({"acceleration": 5}, INSIDE),
    ({"acceleration": 6}, INSIDE),
    ({"acceleration": 7}, out("acceleration is 7")),
    ({"acceleration": 8}, out("acceleration is 8")),
    ({"acceleration": 12}, out("acceleration is 12")),
    ({"acceleration": 1}, out("acceleration is 1", "mask_family is full", "acs_lines is 48")),
    ({"pattern": "kt", "acs_lines": 16}, INSIDE),
    ({"pattern": "kt", "acs_mode": "interleaved"}, out("acs_lines is 0")),
    ({"pattern": "vista", "acs_lines": 16}, INSIDE),
    ({"acs_mode": "separate"}, out("mask_family is uniform", "acs_lines is 0")),
    ({"pattern": "vista", "acs_mode": "separate"}, out("mask_family is irregular", "acs_lines is 0")),
    ({"acs_lines": 8}, INSIDE),
    ({"acs_lines": 24}, INSIDE),
    ({"acs_lines": 28}, out("acs_lines is 28")),
    ({"acs_lines": 36}, out("acs_lines is 36")),
    ({"phases": 5}, INSIDE),
    ({"phases": 8}, INSIDE),
    ({"phases": 3}, out("frames is 3")),
    ({"phases": 9}, out("frames is 9")),
    ({"matrix": (40, 56)}, INSIDE),
    ({"matrix": (56, 56)}, INSIDE),
    ({"matrix": (38, 56)}, out("matrix_y is 38")),
    ({"matrix": (58, 56)}, out("matrix_y is 58")),
    ({"matrix": (48, 48)}, INSIDE),
    ({"matrix": (48, 64)}, INSIDE),
    ({"matrix": (48, 46)}, out("matrix_x is 46")),
    ({"matrix": (48, 66)}, out("matrix_x is 66")),
    ({"coils": 4}, INSIDE),
    ({"coils": 10}, INSIDE),
    ({"coils": 3}, out("coils is 3")),
    ({"coils": 12}, out("coils is 12")),
    ({"field_t": 3.0}, out("field_strength_t is 3")),
    ({"snr": 40.0}, INSIDE),
    ({"snr": 1.5}, out("snr is 2.9")),
    ({"snr": 900.0}, out("snr is 17")),
    ({"acceleration": 8, "phases": 9}, out("acceleration is 8", "frames is 9")),
    ({"field_t": 3.0, "coils": 12, "phases": 3}, out("field_strength_t is 3")),
    ({"acceleration": 8, "field_t": 3.0, "acs_mode": "separate"},
     out("field_strength_t is 3")),
    ({"acceleration": 8, "coils": 12, "acs_mode": "separate"},
     out("acceleration is 8", "mask_family is uniform", "acs_lines is 0", "coils is 12")),
    ({"phases": 1}, ("still", "classical", ())),
    ({"protocol_name": "perfusion_sax"}, ("perfusion", "fallback", ("contrast is perfusion",))),
    ({"protocol_name": "perf_cine"}, ("perfusion", "fallback", ("contrast is perfusion",))),
    ({"protocol_name": "test_new"}, ("research", "model", ())),
    ({"protocol_name": "test_new", "acceleration": 8}, ("research", "warned", ("acceleration is 8",))),
    ({"protocol_name": "t2_tse"}, (None, "fallback", ("no protocol rule is for this scan",))),
]  # fmt: skip


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    fields = details("crunet_mr.tiny", arguments={"channels": 2, "cascades": 1}, domain=DOMAIN)
    save(random_state("crunet_mr", fields["arguments"]), fields, tmp_path)
    (tmp_path / "protocols.yaml").write_text(yaml.safe_dump({"rules": RULES}))
    return tmp_path


def scan_with(changes: dict) -> SimulatedScan:
    options = {**USUAL, **changes}
    trajectory = options.pop("trajectory", "cartesian")
    scan = simulated(**options)
    scan.header.encoding[0].trajectory = ismrmrd.xsd.trajectoryType(trajectory)
    return scan


def reconstructed(scan: SimulatedScan, **properties: str) -> tuple[list[ismrmrd.Image], ismrmrd.Meta]:
    chosen = {"model": "auto", "device": "cpu", **properties}
    made = run(scan.header, stream_of(scan), steps("unrolled", reconstruct=chosen))
    (series,) = {image.image_series_index for image in made if isinstance(image, ismrmrd.Image)}
    images = images_of(made, series)
    return images, ismrmrd.Meta.deserialize(images[0].attribute_string)


@pytest.mark.parametrize(("changes", "decision"), TABLE, ids=[str(changes) for changes, _ in TABLE])
def test_decision(models, changes, decision):
    rule, what, reasons = decision
    images, meta = reconstructed(scan_with(changes))
    assert meta.get("Onebreath_reconstruct_rule") == rule
    used = "unrolled" if what in ("model", "warned") else "cg_sense"
    assert meta["Onebreath_reconstruct_method"] == used
    assert images[0].image_series_index == (50 if what == "fallback" else 1)
    told = meta.get("Onebreath_reconstruct_fallback" if what == "fallback" else "Onebreath_reconstruct_domain", "")
    assert (
        told == "inside"
        if what == "model"
        else told.count(", the model is for") == sum("rule" not in r for r in reasons)
    )
    for reason in reasons:
        assert reason in told
    assert len(images) == scan_with(changes).truth["image"].shape[1]


def test_a_philips_scan_without_calibration_lines_falls_back_and_is_the_better_for_it(models):
    """A network given masks without ACS though it was trained with them is what failed on Philips data."""
    scan = scan_with({"acs_mode": "separate"})
    scan.header.acquisitionSystemInformation.systemVendor = "Philips"
    images, meta = reconstructed(scan)
    assert "mask_family is uniform" in meta["Onebreath_reconstruct_fallback"]
    assert "acs_lines is 0" in meta["Onebreath_reconstruct_fallback"]
    network, _ = reconstructed(scan, model="crunet_mr.tiny", outside_domain="allow")
    truth = np.abs(scan.truth["image"])
    errors = [np.linalg.norm(cine(scan, one) - truth) / np.linalg.norm(truth) for one in (images, network)]
    assert errors[0] < 0.3 < 0.5 * errors[1]
