"""What can be known of the containers without an engine: the lock is whole, and files name what exists."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from onebreath.commands import serve

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
    needed = re.findall(r'^    "([a-z-]+)>=', (ROOT / "pyproject.toml").read_text().partition("optional-dep")[0], re.M)
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


def test_volumes_are_mounted_on_folders_that_the_images_user_owns() -> None:
    """Docker makes a new volume root's where the image has no such folder, and the worker could not keep anything."""
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    text = (DOCKER / "Dockerfile").read_text()
    owned = dict(re.findall(r"install -d -o (\d+) -m 700 (\S+)", text))
    for service in compose["services"].values():
        for name, _, folder in (volume.partition(":") for volume in service.get("volumes", [])):
            if "user" in service and name in compose["volumes"] and not compose["volumes"][name]:
                assert owned == {service["user"]: folder}
    assert owned


def worker_script(folder: Path, fake: str) -> tuple[list[str], dict[str, str]]:
    """Command and environment of docker/worker.sh with `fake` in place of ``onebreath``."""
    if shutil.which("bash") is None or shutil.which("setsid") is None:
        pytest.skip("bash or setsid is not installed")
    (folder / "onebreath").write_text(fake)
    (folder / "onebreath").chmod(0o755)
    script = (DOCKER / "worker.sh").read_text().replace("/opt/conda/envs/gadgetron/bin", str(folder))
    environment = {**os.environ, "ONEBREATH_WORKER": f"{folder}/run/worker.sock"}
    return ["bash", "-c", script.replace("sleep 2", "sleep 0.1")], environment


def test_worker_script_starts_anew_and_ends_when_asked(tmp_path: Path) -> None:
    command, environment = worker_script(
        tmp_path,
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ $(wc -l < {tmp_path}/calls) = 2 ] && kill $PPID\nexit 3\n',
    )
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "calls").read_text().count(f"serve --port -1 --socket {tmp_path}/run/worker.sock") == 2
    assert b"status 3; it is started anew" in done.stderr
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0


FAKE_WORKER = """\
#!{python}
import os, pathlib, signal, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append("asked"))
pathlib.Path("{folder}/starting").write_text(str(os.getpgrp()))
os.rename("{folder}/starting", "{folder}/started")
while not asked:
    time.sleep(0.05)
time.sleep(0.5)
pathlib.Path("{folder}/ended").write_text(" ".join(asked))
"""


def test_a_signal_to_the_whole_group_asks_the_worker_once(tmp_path: Path) -> None:
    command, environment = worker_script(tmp_path, FAKE_WORKER.format(python=sys.executable, folder=tmp_path))
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 0
    assert (tmp_path / "ended").read_text() == "asked"
    assert int((tmp_path / "started").read_text()) != process.pid


@pytest.mark.parametrize(("autostart", "started"), [("1", 1), ("0", 0)])
def test_activation_starts_one_worker_however_often(tmp_path: Path, autostart: str, started: int) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    fake = tmp_path / "worker.sh"
    fake.write_text(f"#!/bin/sh\necho started >> {tmp_path}/calls\n")
    fake.chmod(0o755)
    script = tmp_path / "activate.sh"
    script.write_text((DOCKER / "activate.sh").read_text().replace("/opt/onebreath/docker/worker.sh", str(fake)))
    (tmp_path / "calls").touch()
    command = ["bash", "-euo", "pipefail", "-c", f". {script}; . {script}; wait; bash -c '. {script}; wait'"]
    subprocess.run(command, env={**os.environ, "ONEBREATH_AUTOSTART": autostart}, check=True, timeout=60)
    assert (tmp_path / "calls").read_text().count("started") == started


def test_the_unit_keeps_everything_in_the_folder_that_it_may_write_to() -> None:
    text = (DOCKER / "onebreath.service").read_text()
    given = dict(pair.split("=", 1) for line in re.findall(r"^Environment=(.*)$", text, re.M) for pair in line.split())
    folder = Path("/var/lib") / re.findall(r"^StateDirectory=(\S+)$", text, re.M)[0]
    assert {"ProtectSystem=strict", "ProtectHome=yes"} <= set(text.splitlines())
    for name in ("ONEBREATH_STATE", "ONEBREATH_STORAGE"):
        assert Path(given[name]).is_relative_to(folder)
    assert f"ONEBREATH_WORKER={given['ONEBREATH_STATE']}/worker.sock" in text, "who hands scans over looks there"


def test_who_stops_the_worker_waits_longer_than_its_scans_get() -> None:
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    grace = parser.parse_args([]).grace
    unit = re.search(r"^TimeoutStopSec=(\d+)$", (DOCKER / "onebreath.service").read_text(), re.M)
    documented = re.findall(r"--stop-timeout (\d+)", (DOCKER / "Dockerfile.standalone").read_text())
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["worker"]["stop_grace_period"]
    assert unit
    assert documented
    for waits in (unit[1], *documented, compose.removesuffix("s")):
        assert int(waits) > grace
