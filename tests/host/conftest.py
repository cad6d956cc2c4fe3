"""No test of the host meets a worker, or the state, of the computer it runs on."""

import os
import shutil
import subprocess

import pytest

RUNS = int(os.environ.get("ONEBREATH_FAULT_RUNS", "1"))
"""How often the expensive faults are made; 20 takes some minutes."""


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """State in a folder of the test; no worker unless the test starts one."""
    monkeypatch.setenv("ONEBREATH_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ONEBREATH_WORKER", "off")
    monkeypatch.setenv("ONEBREATH_CONNECT", "127.0.0.1,localhost")  # services that tests start
    return tmp_path / "state"


@pytest.fixture(params=range(RUNS))
def run(request):
    """The number of a run of a fault; see `workers.repeated`."""
    return request.param


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 60 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command.split(), *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key
