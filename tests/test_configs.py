from pathlib import Path

import pytest

from onebreath.host.configs import check

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.xml"))


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
        .replace('value="cg_sense"/>', 'value="cg_sense"/><property name="itterations" value="3"/>')
    )
    broken = tmp_path / "broken.xml"
    broken.write_text(text)
    assert any("itterations" in str(problem) and problem.fatal for problem in check(broken))
