"""Fixtures of the tests with a real Gadgetron; all of them skip where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onebreath.simulation.scan import ScanOptions, simulate
from tests.conftest import REPOSITORY
from tests.gadgetron.installation import NotHere, find_prefix
from tests.gadgetron.real import Server, serving
from tests.gadgetron.resident import Both, both
from tests.storage.standin import StandIn, storage_server

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gadgetron)


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefix of the real Gadgetron; the archive is unpacked once a run, for all processes that test."""
    base = tmp_path_factory.getbasetemp()
    shared = Path(os.environ.get("ONEBREATH_SHARED", REPOSITORY.parent / "shared"))
    try:
        return find_prefix(shared, base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)
    except NotHere as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def storage() -> Iterator[StandIn]:
    """Run a storage server that the tests of a file share."""
    with storage_server() as server:
        yield server


@pytest.fixture(scope="module")
def server(prefix: Path, storage: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a real server that the tests of a file share; its nodes reconstruct in processes of their own."""
    folder = tmp_path_factory.mktemp("gadgetron")
    with serving(prefix, folder, storage.url, ONEBREATH_STATE=str(folder / "state")) as running:
        yield running


@pytest.fixture(scope="module")
def hosts(prefix: Path, storage: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Run a real server and a worker that the tests of a file share."""
    with both(prefix, tmp_path_factory.mktemp("hosts"), storage) as running:
        yield running


@pytest.fixture(scope="session")
def siemens(shared: Path) -> Path:
    """The raw file of a genuine Siemens scan, 36 of 105 lines, with its noise."""
    return next((shared / "data/siemens_snr_r3").glob("*.h5"))


def _written(folder: Path, **options: Any) -> Path:
    path = folder / "scan.h5"
    simulate(ScanOptions(**options)).write(path)
    return path


@pytest.fixture(scope="session")
def cine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated cine of two slices and five phases, four times accelerated; the least that most models are for."""
    return _written(
        tmp_path_factory.mktemp("cine"), matrix=(64, 64), slices=2, phases=5, coils=5, acceleration=4, seed=3
    )


@pytest.fixture(scope="session")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with eight phases and ten channels, for a model that is for no fewer."""
    return _written(
        tmp_path_factory.mktemp("eight"), matrix=(64, 64), slices=2, phases=8, coils=10, acceleration=4, seed=3
    )


@pytest.fixture(scope="session")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cine of two slices and two phases, for methods that learn from each frame."""
    return _written(
        tmp_path_factory.mktemp("brief"), matrix=(40, 40), slices=2, phases=2, coils=4, acceleration=2, acs_lines=20,
        seed=5,
    )  # fmt: skip


@pytest.fixture(scope="session")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated static scan, two times accelerated."""
    return _written(
        tmp_path_factory.mktemp("static"), matrix=(32, 32), slices=1, phases=1, mode="static", coils=4, acceleration=2,
        acs_lines=16, seed=4,
    )  # fmt: skip
