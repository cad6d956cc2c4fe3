"""What can be known of the containers without an engine: the lock is whole, and files name what exists."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = ("Dockerfile", "Dockerfile.standalone")
LOCKED = re.compile(r"([a-z0-9.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}")


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    found = [LOCKED.fullmatch(line) for line in lines if line[0] not in "#-"]
    assert all(found)
    return {match[1]: match[2] for match in found if match}


def test_every_requirement_is_locked_at_the_version_that_make_installs() -> None:
    needed = re.findall(r'^        "([a-z-]+)>=', (ROOT / "setup.py").read_text().partition("extras_require")[0], re.M)
    pinned = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line)
    versions = locked()
    assert len(needed) > 10
    assert {name: versions[name].partition("+")[0] for name in needed} == {name: pinned[name] for name in needed}


def test_the_sbom_lists_what_is_locked() -> None:
    components = json.loads((ROOT / "docs" / "sbom.json").read_text())["components"]
    assert {component["name"]: component["version"] for component in components} == locked()


def make_lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", DOCKER / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_is_made_of_pips_report() -> None:
    def package(name: str) -> dict[str, Any]:
        hashes = {"hashes": {"sha256": "0" * 64}}
        return {"metadata": {"name": name, "version": "1.0"}, "download_info": {"archive_info": hashes}}

    environment = {"python_full_version": "3.11.7", "platform_system": "Linux", "platform_machine": "x86_64"}
    text = make_lock().lock({"environment": environment, "install": [package(n) for n in ("Z_a", "onebreath", "b")]})
    assert [match[1] for match in map(LOCKED.fullmatch, text.splitlines()) if match] == ["b", "z-a"]
    assert "Python 3.11 on Linux" in text


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_exists_and_the_user_is_not_root(name: str) -> None:
    text = (DOCKER / name).read_text()
    for line in re.findall(r"^COPY (.*)", text, re.M):
        words = [word for word in line.split() if not word.startswith("--")]
        if "--from" not in line:
            assert all((ROOT / word).exists() for word in words[:-1]), line
    assert re.findall(r"^USER (\S+)", text, re.M)[-1] in ("1000", "10001")
    ignored = (ROOT / ".dockerignore").read_text()
    assert all(f"!{word}" in ignored for word in ("docker", "gadgets", "configs", "models", "requirements.lock"))


def test_compose_has_the_services_and_publishes_on_this_machine_only() -> None:
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    assert set(services) == {"gadgetron", "worker", "storage", "replay"}
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert services["replay"]["profiles"] == ["replay"]


def test_worker_script_starts_anew_and_ends_when_asked(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    fake = tmp_path / "onebreath"
    fake.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ $(wc -l < {tmp_path}/calls) = 2 ] && kill $PPID\nexit 3\n'
    )
    fake.chmod(0o755)
    script = (DOCKER / "worker.sh").read_text().replace("/opt/conda/envs/gadgetron/bin", str(tmp_path))
    environment = {**os.environ, "ONEBREATH_WORKER": f"{tmp_path}/run/worker.sock"}
    done = subprocess.run(
        ["bash", "-c", script.replace("sleep 2", "sleep 0.1")], env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert (tmp_path / "calls").read_text().count(f"serve --port -1 --socket {tmp_path}/run/worker.sock") == 2
    assert b"status 3; it is started anew" in done.stderr
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0
