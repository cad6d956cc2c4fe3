import pytest

from onebreath.cli import main
from onebreath.commands.install import PACKAGE, compile_code, install, sources
from onebreath.errors import ConfigError


def test_configurations_and_models_are_linked_and_found(tmp_path, capsys):
    assert main(["install", "--gadgetron-home", str(tmp_path)]) == 0
    config = tmp_path / "share/gadgetron/config/Onebreath_Cine.xml"
    assert config.is_symlink()
    assert "<configuration>" in config.read_text()
    assert (tmp_path / "share/gadgetron/onebreath/models").is_symlink()
    out = capsys.readouterr().out
    assert str(config) in out
    assert f"{PACKAGE}: compiled" in out


def test_code_is_compiled_though_processes_may_write_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "good.py").write_text("number = 1\n")
    assert compile_code(tmp_path)
    assert len(list(tmp_path.glob("__pycache__/good.*.pyc"))) == 1
    (tmp_path / "bad.py").write_text("number =\n")
    assert not compile_code(tmp_path)


def test_links_are_renewed_but_files_are_not_overwritten(tmp_path):
    install(tmp_path, sources())
    install(tmp_path, sources())
    config = tmp_path / "share/gadgetron/config/Onebreath_Cine.xml"
    config.unlink()
    config.write_text("a site's own")
    with pytest.raises(ConfigError, match=r"Onebreath_Cine\.xml exists and is no link"):
        install(tmp_path, sources())
    assert config.read_text() == "a site's own"


def test_a_missing_home_is_an_error(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("GADGETRON_HOME", raising=False)
    assert main(["install"]) == 1
    assert "--gadgetron-home" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no folder"):
        install(tmp_path / "nowhere", sources())
