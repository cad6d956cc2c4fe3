import pytest

from onebreath.cli import main
from onebreath.errors import ConfigError
from onebreath.host.install import install, source_folder


def test_configurations_and_models_are_linked_and_found(tmp_path, capsys):
    assert main(["install", "--gadgetron-home", str(tmp_path)]) == 0
    config = tmp_path / "share/gadgetron/config/Onebreath_Cine.xml"
    assert config.is_symlink()
    assert "<configuration>" in config.read_text()
    assert (tmp_path / "share/gadgetron/onebreath/models").is_symlink()
    assert str(config) in capsys.readouterr().out


def test_links_are_renewed_but_files_are_not_overwritten(tmp_path):
    install(tmp_path, source_folder())
    install(tmp_path, source_folder())
    config = tmp_path / "share/gadgetron/config/Onebreath_Cine.xml"
    config.unlink()
    config.write_text("a site's own")
    with pytest.raises(ConfigError, match=r"Onebreath_Cine\.xml exists and is no link"):
        install(tmp_path, source_folder())
    assert config.read_text() == "a site's own"


def test_a_missing_home_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("GADGETRON_HOME", raising=False)
    assert main(["install"]) == 1
    assert "--gadgetron-home" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no folder"):
        install(tmp_path / "nowhere", source_folder())
