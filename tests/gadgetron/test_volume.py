"""A scan with partitions through the real server: the same volume as without it, one image as Gadgetron sends it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onebreath.simulation.scan import ScanOptions, simulate
from tests.gadgetron.resident import Both
from tests.helpers import nrmse


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small volume, two times accelerated along lines and partitions, with oversampled partitions."""
    path = tmp_path_factory.mktemp("volume") / "scan.h5"
    options = ScanOptions(
        matrix=(32, 24), partitions=12, partition_oversampling=4 / 3, thickness_mm=6.0, slices=1, phases=1,
        mode="static", coils=6, acceleration=2, partition_acceleration=2, acs_lines=12, seed=4,
    )  # fmt: skip
    simulate(options).write(path)
    return path


@pytest.mark.parametrize("name", ["GRAPPA", "CGSENSE", "ZeroFilled"])
def test_the_server_gives_the_embedded_hosts_volume(hosts: Both, volume: Path, tmp_path: Path, name: str) -> None:
    config = f"Onebreath_Static_{name}.xml"
    real, own = (run(volume, config, tmp_path / f"{run.__name__}.h5") for run in (hosts.server.run, hosts.embedded))
    assert (real.status, real.errors, own.status) == (0, [], 0)
    (ours,), (theirs,) = own.images[1], real.images[1]
    assert ours.data.shape == (1, 12, 32, 24)
    np.testing.assert_array_equal(theirs.data, ours.data)
    assert tuple(theirs.field_of_view) == pytest.approx((360, 290, 72))
    with np.load(volume.with_suffix(".npz")) as truth:
        assert nrmse(_scaled(theirs.data[0]), _scaled(np.abs(truth["image"][0, 0]))) < (
            0.5 if name == "ZeroFilled" else 0.3
        )


def _scaled(values: np.ndarray) -> np.ndarray:
    return values.astype(float) / np.linalg.norm(values.astype(float))


def test_the_header_is_that_of_gadgetrons_own_chain(hosts: Both, volume: Path, tmp_path: Path) -> None:
    theirs = hosts.server.run(volume, "Generic_Cartesian_Grappa.xml", tmp_path / "theirs.h5")
    ours = hosts.server.run(volume, "Onebreath_Static_GRAPPA.xml", tmp_path / "ours.h5")
    (one,), (other,) = theirs.images[1], ours.images[1]
    for name in ("matrix_size", "field_of_view", "position", "read_dir", "phase_dir", "slice_dir"):
        assert tuple(getattr(one.getHead(), name)) == pytest.approx(tuple(getattr(other.getHead(), name))), name
    assert one.image_index == other.image_index
