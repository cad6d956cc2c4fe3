"""A folder of models that is the first on the search path."""

import pytest


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    return tmp_path
