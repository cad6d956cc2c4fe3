from pathlib import Path

import pytest

from onebreath.cli import main
from onebreath.commands.configs import check
from onebreath.registry import GADGETS

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.xml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_passes_its_own_check(path):
    assert [str(problem) for problem in check(path) if problem.fatal] == []


@pytest.mark.parametrize("kind", ["Cine", "Static"])
@pytest.mark.parametrize("method", ["_ZeroFilled", "_CGSENSE", "_GRAPPA", "", "_Staged", "_Connect", "_Hybrid"])
def test_the_promised_configurations_exist(kind, method):
    assert f"Onebreath_{kind}{method}" in {path.stem for path in CONFIGS}


def test_a_wrong_parameter_of_the_method_is_found(tmp_path):
    text = (
        CONFIGS[0]
        .read_text()
        .replace('value="unrolled"/>', 'value="unrolled"/><property name="itterations" value="3"/>')
    )
    broken = tmp_path / "broken.xml"
    broken.write_text(text)
    assert any("itterations" in str(problem) and problem.fatal for problem in check(broken))


def test_properties_are_explained(capsys):
    assert main(["configs", "properties", "grappa", *GADGETS]) == 0
    text = capsys.readouterr().out
    assert "grappa_kSize_RO (default 5): " in text
    assert "method (required): " in text
    assert "None" not in text, "every property has a description"


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if 'value="unrolled"' in path.read_text()], ids=lambda p: p.stem
)
def test_models_of_the_cine_get_no_noise_from_outside_the_body(path):
    """Their coil maps are cropped as those of L+S and CG-SENSE are: phantoms gain 2 to 3.5 dB, hearts lose nothing."""
    assert '<property name="espirit_crop" value="0.8"/>' in path.read_text()
