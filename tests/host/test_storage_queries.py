"""What a client may ask of storage before it scans."""

import json
from pathlib import Path

import numpy as np
import pytest

from onebreath.host.storage_queries import answer
from onebreath.storage.base import Tags
from onebreath.storage.find import open_store
from onebreath.storage.noise import StoredCovariance
from onebreath.storage.noise_storage import NOISE


def test_other_questions_are_not_answered() -> None:
    assert answer("gadgetron::info") is None


def test_a_noise_scan_is_known_after_it_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path))
    question = "onebreath::dependency?measurement=dev_pat_ses_1"
    assert json.loads(answer(question) or "") == {"status": "failed", "reason": "not found"}
    covariance = StoredCovariance(np.diag([1, 4]).astype(np.complex64), 5.0, ("a", "b"), 10)
    store = open_store()
    assert store is not None
    store.put(Tags("pat", "dev", "ses", NOISE, "dev_pat_ses_1"), covariance.to_blob(0.793))
    assert json.loads(answer(question) or "") == {
        "status": "success", "channels": 2, "noise_dwell_time_us": 5.0, "min_sigma": 1.0, "max_sigma": 2.0,
        "mean_sigma": 1.5,
    }  # fmt: skip
    assert json.loads(answer("onebreath::storage") or "")["status"] == "success"


@pytest.mark.parametrize(
    ("storage", "question", "reason"),
    [
        ("off", "onebreath::dependency?measurement=a_b_c_d", "storage is off"),
        ("off", "onebreath::dependency?measurement=../../x", "it takes measurement"),
        ("http://127.0.0.1:9", "onebreath::dependency?measurement=a_b_c_d", "cannot be reached"),
        ("http://127.0.0.1:9", "onebreath::storage", "cannot be reached"),
    ],
)
def test_failures_are_told(monkeypatch: pytest.MonkeyPatch, storage: str, question: str, reason: str) -> None:
    monkeypatch.setenv("ONEBREATH_STORAGE", storage)
    found = json.loads(answer(question) or "")
    assert found["status"] == "failed"
    assert reason in found["reason"]
