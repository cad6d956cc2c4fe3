"""Fixtures that every test may use."""

import gc
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from onebreath.threads import share_cores

REPOSITORY = Path(__file__).parents[1]

# Before torch is imported. With a test process on every core, threads of theirs would wait busily for one another: a
# test of RAKI took four times as long.
share_cores()
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ["ONEBREATH_FOLDERS"] = tempfile.gettempdir()  # for the files that tests name in configurations
os.environ["ONEBREATH_MODULES"] = "tests.host.targets,test.host.targets"
os.environ["ONEBREATH_STORAGE"] = (
    "off"  # tests of one scan must not find another's noise; tests of storage set their own
)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a command sets up for its log ends with the test: it writes to a stream that is closed then."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def little_garbage_to_look_through() -> Iterator[None]:
    """statsmodels collects garbage in each correction of p-values, the worker after each scan: not in older objects.

    A collection of all that a test process holds takes half a second.
    """
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with reference data (recorded streams, golden vectors, real scans); tests that need it skip without it."""
    folder = Path(os.environ.get("ONEBREATH_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}; set ONEBREATH_SHARED to the folder that holds golden/ and data/")
    return folder
