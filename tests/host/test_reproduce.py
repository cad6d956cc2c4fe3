"""``onebreath provenance`` and ``onebreath reproduce``."""

import re

import h5py
import pytest
import yaml

from onebreath import zoo
from onebreath.cli import main
from onebreath.host.replay import replay
from tests.chain.running import simulated
from tests.models import details, random_state, save_model


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    save_model(tmp_path, score_limit=100.0)
    rule = {"name": "all", "model": "crunet_mr.tiny", "properties": {"domain_score": True, "device": "cpu"}}
    (tmp_path / "protocols.yaml").write_text(yaml.safe_dump({"rules": [rule]}))
    scan = simulated(mode="realtime", phases=4, acceleration=3, acs_mode="embedded", slices=2, matrix=(40, 48))
    scan.write(tmp_path / "raw.h5")
    return tmp_path


def images(root, config="Onebreath_Cine.xml"):
    outcome = replay(root / "raw.h5", config, None, None, 0, root / "images.h5", "made")
    assert not outcome.failed
    return str(root / "images.h5")


def test_the_same_input_configuration_and_weights_give_the_same_bits(root, capsys):
    made = images(root)
    assert main(["reproduce", made, "--raw", str(root / "raw.h5")]) == 0
    assert capsys.readouterr().out == "series 1: 8 images, equal to the last bit\n"


def test_a_changed_pixel_is_found(root, capsys):
    made = images(root, "Onebreath_Cine_CGSENSE.xml")
    with h5py.File(made, "a") as file:
        file["made/image_1/data"][3, 0, 0, 5, 5] += 1
    assert main(["reproduce", made, "--raw", str(root / "raw.h5")]) == 1
    out = capsys.readouterr().out
    assert "1 of 8 images differ, the first is number 3; largest difference 1," in out


def test_a_changed_field_of_a_header_is_found(root, capsys):
    made = images(root, "Onebreath_Cine_CGSENSE.xml")
    with h5py.File(made, "a") as file:
        headers = file["made/image_1/header"][()]
        headers["position"][2, 1] += 1
        file["made/image_1/header"][...] = headers
    assert main(["reproduce", made, "--raw", str(root / "raw.h5")]) == 1
    out = capsys.readouterr().out
    assert out.startswith("series 1: 8 images, equal to the last bit\n  position in the header of image 2 was [")
    assert out.count("\n") == 2


@pytest.mark.parametrize(
    ("entry", "status"), [("WindowCenter", 1), ("Onebreath_reconstruct_sampling", 0), ("OnebreathCommit", 0)]
)
def test_a_changed_entry_of_the_meta_is_told(root, capsys, entry, status):
    """It counts where it says what the image is; what was said of its making is only told, and not the software."""
    made = images(root, "Onebreath_Cine_CGSENSE.xml")
    with h5py.File(made, "a") as file:
        texts = file["made/image_1/attributes"][()]
        texts[3] = re.sub(rf"(<name>{entry}</name>\s*<value>)".encode(), rb"\1other", texts[3])
        file["made/image_1/attributes"][...] = texts
    assert main(["reproduce", made, "--raw", str(root / "raw.h5")]) == status
    told = re.findall(rf"^  {entry} of image 3 was other\S+, now it is ", capsys.readouterr().out, re.MULTILINE)
    assert len(told) == (entry != "OnebreathCommit")


def test_other_weights_are_found_and_explain_it(root, capsys):
    made = images(root)
    other = random_state("crunet_mr", {"channels": 4, "cascades": 2}, seed=1)
    zoo.save(other, details("crunet_mr.tiny", score_limit=100.0), root, overwrite=True)
    assert main(["reproduce", made, "--raw", str(root / "raw.h5")]) == 1
    assert "Onebreath_reconstruct_weights_sha256 was" in capsys.readouterr().out


def test_provenance_names_all_that_the_images_depend_on(root, capsys):
    made = images(root)
    assert main(["provenance", made]) == 0
    out = capsys.readouterr().out
    assert "series 1: 8 images" in out
    sha256 = zoo.read_card(root / "crunet_mr.tiny").weights.sha256
    for text in (
        "OnebreathVersion: ", "OnebreathCommit: ", "OnebreathCode: ", "model: crunet_mr.tiny", f"sha256: {sha256}",
        "rule: all", "sampling: uniform_acs", "noise: scan", "channels kept: 8", "mode: embedded", "scale: ",
        "ScaleRatio: ", "clipped pixels: ", "domain: inside", "domain score: ", "prewhiten: 0.", "reconstruct: ",
    ):  # fmt: skip
        assert text in out, text


def test_images_of_gadgets_in_several_nodes_need_the_configuration(root, capsys):
    made = images(root, "Onebreath_Cine_Staged.xml")
    assert main(["reproduce", made, "--raw", str(root / "raw.h5")]) == 1
    assert "do not tell the whole configuration" in capsys.readouterr().err


def test_a_configuration_may_be_named(root, capsys):
    command = ["reproduce", images(root, "Onebreath_Cine_CGSENSE.xml"), "--raw", str(root / "raw.h5"), "-c"]
    assert main([*command, "Onebreath_Cine_CGSENSE.xml"]) == 0
    assert main([*command, "Onebreath_Cine_ZeroFilled.xml"]) == 1
    assert "Onebreath_reconstruct_method was cg_sense, now it is zero_filled" in capsys.readouterr().out


@pytest.mark.parametrize(("group", "message"), [("other", "it has made"), (None, "cannot be read")])
def test_a_file_without_images_is_told(root, capsys, group, message):
    file = images(root, "Onebreath_Cine_ZeroFilled.xml") if group else str(root / "absent.h5")
    assert main(["provenance", file, *(["-G", group] if group else [])]) == 1
    assert message in capsys.readouterr().err
