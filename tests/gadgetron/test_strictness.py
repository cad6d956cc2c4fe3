"""The embedded host is as strict as the server: 35 configurations, most of them malformed, sent to both."""

from __future__ import annotations

from pathlib import Path

import pytest

from onebreath.commands.configs import check
from tests.gadgetron.malformed import CONFIGURATIONS, REASONS
from tests.gadgetron.resident import Both

FINE = {"good", "type in capitals", "namespace without a prefix", "readers twice", "readers after the stream"}

UNKNOWABLE = {"reader of an unknown library"}
"""A site may have it; the check notes it."""


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_both_hosts_give_the_same_verdict(hosts: Both, static: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.xml"
    path.write_text(CONFIGURATIONS[name], encoding="utf-8")
    begin = hosts.server.log.stat().st_size
    real = hosts.server.run(static, str(path), tmp_path / "real.h5", local=True, timeout=60)
    with hosts.server.log.open("rb") as log:
        log.seek(begin)
        said = log.read().decode(errors="replace")
    own = hosts.embedded(static, str(path), tmp_path / "own.h5", local=True)
    assert bool(real.images) == bool(own.images) == (name in FINE)
    assert own.status == 0
    assert ("ERROR" in own.text) == (name not in FINE), "no images without a word"
    if reason := REASONS.get(name):
        assert reason in said
        assert reason in own.text


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_check_finds_it_before_any_scan(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.xml"
    path.write_text(CONFIGURATIONS[name], encoding="utf-8")
    assert any(problem.fatal for problem in check(path)) == (name not in FINE | UNKNOWABLE)
