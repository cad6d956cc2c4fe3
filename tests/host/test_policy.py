"""What an uploaded configuration may not have: other code, other machines, files outside the permitted folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onebreath.chain.gadget import Properties
from onebreath.config import policy
from onebreath.config.stream_config import Connect, External, parse
from onebreath.errors import ConfigError
from onebreath.gadgets.prewhiten import Prewhiten
from onebreath.host.nodes import external_nodes
from onebreath.host.server import start_host
from tests.chain.running import header_bytes, send, xml
from tests.raw import scan_header

CONFIG = b"<configuration><version>2</version><stream><external>%s</external></stream></configuration>"
EXECUTE = CONFIG % b'<execute name="%s" target="%s" type="python"/>'


@pytest.mark.parametrize(
    ("module", "target"), [("os", "abort"), ("subprocess", "run"), ("onebreath.host.server", "serve")]
)
def test_a_client_names_no_code(module: str, target: str) -> None:
    config = parse(EXECUTE % (module.encode(), target.encode()))
    with pytest.raises(ConfigError, match=f"does not run the module '{module}'.*ONEBREATH_MODULES"):
        external_nodes(config)


def test_an_administrator_permits_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEBREATH_MODULES", "mine.node, theirs")
    assert external_nodes(parse(EXECUTE % (b"theirs", b"run")))
    with pytest.raises(ConfigError):
        external_nodes(parse(EXECUTE % (b"mine", b"run")))


@pytest.mark.parametrize("address", ["10.0.0.1", "scanner", "::ffff:10.0.0.1", "0.0.0.0", "localhost.evil.org"])
def test_a_client_names_no_other_machine(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    config = parse(CONFIG % f'<connect address="{address}" port="80"/>'.encode())
    with pytest.raises(ConfigError, match="ONEBREATH_CONNECT"):
        external_nodes(config)
    monkeypatch.setenv("ONEBREATH_CONNECT", address)
    assert external_nodes(config)


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_services_on_this_machine_are_reached_if_they_are_listed_or_an_administrator_names_them(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG % f'<connect address="{address}" port="80"/>'.encode()
    assert external_nodes(parse(config, "Onebreath_Cine_Connect.xml"))
    monkeypatch.delenv("ONEBREATH_CONNECT", raising=False)
    for listed in ("", f"{address}:81", "10.0.0.1:80"):
        monkeypatch.setenv("ONEBREATH_CONNECT", listed)
        with pytest.raises(ConfigError, match="as address:port in ONEBREATH_CONNECT"):
            external_nodes(parse(config))
    monkeypatch.setenv("ONEBREATH_CONNECT", f"{address}:80")
    assert external_nodes(parse(config))


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "0", "127.1"])
def test_a_host_never_connects_to_itself(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEBREATH_CONNECT", address)
    policy.is_own(4242)
    try:
        for name in ("Onebreath_Cine_Connect.xml", "the uploaded configuration"):
            with pytest.raises(ConfigError, match="is this host itself"):
                external_nodes(parse(CONFIG % f'<connect address="{address}" port="4242"/>'.encode(), name))
    finally:
        policy.is_own(4242, listens=False)


@pytest.mark.parametrize("name", ["debug_folder", "noise_covariance", "store_noise_covariance"])
def test_a_client_names_no_file_outside_permitted_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    allowed.mkdir()
    secret.mkdir()
    (allowed / "link").symlink_to(secret)
    monkeypatch.setenv("ONEBREATH_FOLDERS", os.pathsep.join([str(allowed), ""]))
    paths = [secret / "x", allowed / ".." / "secret" / "x", allowed / "link" / "x", Path("x"), tmp_path / "allowed2"]
    with start_host() as host:
        for path in paths:
            config = xml([("prewhiten", {name: str(path)})])
            images, (text,) = send(host, config, header_bytes(scan_header()), [])
            assert images == []
            assert "ONEBREATH_FOLDERS" in text
    assert not list(secret.iterdir())
    assert Prewhiten.Properties.model_validate({name: str(allowed / "x")})


def test_without_the_variable_no_file_is_permitted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ONEBREATH_FOLDERS")
    with pytest.raises(ValueError, match="ONEBREATH_FOLDERS"):
        Properties.model_validate({"debug_folder": str(tmp_path)})
    assert Properties.model_validate({"debug_folder": ""})


def test_no_configuration_reaches_the_metrics_of_its_own_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    from onebreath.worker.metrics import Metrics, serving_metrics

    monkeypatch.setenv("ONEBREATH_CONNECT", "127.0.0.1")
    with serving_metrics(Metrics(dict), 0) as port:
        node = External(Connect("127.0.0.1", port), b"")
        with pytest.raises(ConfigError, match="does not connect to itself"):
            policy.check_permitted(node)
    policy.check_permitted(node)
