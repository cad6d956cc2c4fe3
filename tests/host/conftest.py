"""No test of the host meets a worker, or the state, of the computer it runs on."""

import pytest


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """State in a folder of the test; no worker unless the test starts one."""
    monkeypatch.setenv("ONEBREATH_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ONEBREATH_WORKER", "off")
    return tmp_path / "state"
