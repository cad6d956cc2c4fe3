import importlib.util
import json
import logging

import pytest

from onebreath.training.state.journal import Journal


def test_the_log_grows_over_restarts(tmp_path):
    for step in (1, 2):
        journal = Journal(tmp_path)
        journal.write(step, loss=0.5 / step)
        journal.close()
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(entry["step"], entry["loss"]) for entry in entries] == [(1, 0.5), (2, 0.25)]


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_without_tensorboard_the_log_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "onebreath.training"):
        journal = Journal(tmp_path, tensorboard=True)
    assert "tensorboard is not installed" in caplog.text
    journal.write(1, loss=0.5)
    journal.close()
