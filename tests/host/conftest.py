"""No test of the host meets a worker, or the state, of the computer it runs on."""

import os

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
