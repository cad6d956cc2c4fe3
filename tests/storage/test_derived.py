"""Coil maps and kernels of another scan: taken where they are what the scan would compute itself, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ismrmrd
import numpy as np
import pytest
from gadgetron.types import ReconData

from onebreath.chain.notes import note
from onebreath.errors import ScanError
from onebreath.methods.grappa import lattice
from onebreath.mrd.buffers import maps_of
from onebreath.storage.base import StorageError
from onebreath.storage.blob import pack
from onebreath.storage.derived import Derived
from onebreath.storage.folder import FolderStore
from tests.raw import run
from tests.scans import coil_scan, header, recon_data
from tests.storage.standin import StandIn, chosen_store

Y, X = 48, 40
_, _, KSPACE = coil_scan(frames=1, y=Y, x=X)
CENTRE, EVERY_SECOND, EVERY_THIRD = (np.zeros((1, Y), bool) for _ in range(3))
CENTRE[:, Y // 2 - 12 : Y // 2 + 12] = True
EVERY_SECOND[:, ::2] = True
EVERY_THIRD[:, ::3] = True
KEEP, USE = {"keep_calibration": True, "calibration_size": 24}, {"no_acs": "storage", "calibration_size": 24}


@pytest.fixture(params=["folder", "server"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with chosen_store(request.param, tmp_path, monkeypatch) as server:
        yield server


class Calibrated(NamedTuple):
    """What `calibrate` made of a slice, and its facts."""

    data: ReconData
    facts: dict[str, Any]

    @property
    def maps(self) -> np.ndarray:
        """Coil maps (set, coil, y, x)."""
        found = maps_of(self.data)
        assert found is not None
        return found


def scan(
    lines: np.ndarray,
    properties: dict[str, Any],
    *notes: Any,
    own: Any = None,
    shift: float = 0.0,
    kspace: np.ndarray = KSPACE,
) -> Calibrated:
    """Calibrate a slice that the notes of other gadgets precede."""
    data = recon_data(kspace, lines, own)
    for line in data.bits[0].data.headers.flat:
        line.position = (10.0, 20.0, 30.0 + shift)
    others, (facts,) = run("calibrate", header(Y, X), [*notes, data], **properties)
    return Calibrated(others[-1], facts)


def forbid(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def computed(*_: Any, **__: Any) -> None:
        raise AssertionError(f"{name} was computed")

    monkeypatch.setattr(name, computed)


@pytest.mark.parametrize("algorithm", ["espirit", "inati", "walsh"])
def test_coil_maps_are_computed_once_in_a_session(
    storage: StandIn | None, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"coil_map_algorithm": algorithm}
    first = scan(CENTRE, KEEP | chosen)
    assert first.facts["coil_maps_storage"].startswith("computed; kept in the ")
    with monkeypatch.context() as patch:
        forbid(patch, f"onebreath.gadgets.calibrate.{'cropped' if algorithm == 'espirit' else algorithm + '_maps'}")
        second = scan(EVERY_SECOND, USE | chosen)
    assert second.facts["coil_maps_storage"] == "found"
    assert np.array_equal(first.maps, second.maps)


def test_other_settings_find_nothing(storage: StandIn | None) -> None:
    scan(CENTRE, KEEP)
    other = USE | {"espirit_kernel": 5}
    computed = scan(EVERY_SECOND, other)
    assert computed.facts["coil_maps_storage"].startswith("computed; kept in the ")
    own = scan(EVERY_SECOND, other | {"no_acs": "error"}, own=CENTRE)
    assert np.array_equal(computed.maps, own.maps)
    assert scan(EVERY_SECOND, other).facts["coil_maps_storage"] == "found"


@pytest.mark.parametrize(
    ("notes", "shift"),
    [
        ((), 5.0),
        ((note("prewhiten", whitened=True),), 0.0),
        ((note("compress", mode="pca", channels=8, channels_kept=4),), 0.0),
    ],
    ids=["slice", "whitening", "compression"],
)
def test_no_maps_of_another_slice_or_of_other_channels(
    storage: StandIn | None, notes: tuple[Any, ...], shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(CENTRE, KEEP)
    monkeypatch.setattr(Derived, "__call__", lambda *_: pytest.fail("maps were looked for"))
    with pytest.raises(ScanError, match="no calibration lines"):
        scan(EVERY_SECOND, USE, *notes, shift=shift)


def test_maps_belong_to_the_lines_that_are_found(storage: StandIn | None) -> None:
    """The coils were moved, and the slice calibrated again: maps of the first time fit no more."""
    scan(CENTRE, KEEP)
    moved = scan(CENTRE, KEEP, kspace=KSPACE[:, ::-1])
    assert moved.facts["coil_maps_storage"].startswith("computed; kept in the ")
    later = scan(EVERY_SECOND, USE)
    assert later.facts["coil_maps_storage"] == "found"
    assert np.array_equal(later.maps, moved.maps)


def test_scans_that_keep_nothing_neither_ask_nor_keep(storage: StandIn | None) -> None:
    assert "coil_maps_storage" not in scan(CENTRE, {"calibration_size": 24}).facts
    assert (
        "coil_maps_storage" not in scan(CENTRE, KEEP, note("compress", mode="pca", channels=8, channels_kept=4)).facts
    )
    if storage is not None:
        assert storage.requests == []


def images(calibrated: Calibrated) -> tuple[np.ndarray, dict[str, Any]]:
    """Images by GRAPPA, and the facts of its note."""
    head = header(Y, X, factor=2, mode="external")
    messages = [note("calibrate", **calibrated.facts), calibrated.data]
    (array,), _ = run("reconstruct", head, messages, method="grappa", kernel="uniform")
    return np.asarray(array.data), dict(ismrmrd.Meta.deserialize(array.meta[0]))


def test_a_kernel_is_solved_once_for_a_pattern(storage: StandIn | None, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(CENTRE, KEEP)
    first, told = images(scan(EVERY_SECOND, USE))
    assert told["Onebreath_reconstruct_grappa_kernel_storage"].startswith("computed; kept in the ")
    with monkeypatch.context() as patch:
        forbid(patch, "onebreath.methods.grappa.lattice.normal_equations")
        second, told = images(scan(EVERY_SECOND, USE))
    assert told["Onebreath_reconstruct_grappa_kernel_storage"] == "found"
    assert np.array_equal(first, second)
    _, told = images(scan(EVERY_THIRD, USE))
    assert told["Onebreath_reconstruct_grappa_kernel_storage"].startswith("computed; kept in the ")


def test_kernel_of_a_scan_with_its_own_lines_is_computed_and_not_kept(storage: StandIn | None) -> None:
    _, told = images(scan(EVERY_SECOND, {"calibration_size": 24}, own=CENTRE))
    assert "Onebreath_reconstruct_grappa_kernel_storage" not in told


def test_equations_per_unknown_do_not_depend_on_where_the_kernel_comes_from() -> None:
    acs = KSPACE[0, :, 12:36]
    fresh = lattice.calibrate(acs, 2, 2, 5, 1e-3, 10.0)
    given = lattice.calibrate(acs, 2, 2, 5, 1e-3, 10.0, lambda name, inputs, settings, shape, make: make())
    assert given.equations == fresh.equations
    assert np.array_equal(given.weights, fresh.weights)


@pytest.mark.parametrize("harm", ["junk", "shape", "nan", "down"])
def test_damaged_maps_are_told_and_computed(harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path))
    first = scan(CENTRE, KEEP)
    latest = FolderStore.latest

    def harmed(self: FolderStore, tags: Any) -> bytes | None:
        if not tags.name.startswith("coil_maps"):
            return latest(self, tags)
        if harm == "down":
            raise StorageError("the disk is gone")
        maps = first.maps[None]
        return {"junk": b"junk", "shape": pack(maps[..., 1:], {}), "nan": pack(maps * np.nan, {})}[harm]

    monkeypatch.setattr(FolderStore, "latest", harmed)
    second = scan(EVERY_SECOND, USE)
    reason = {"junk": "cannot be read", "down": "the disk is gone"}.get(harm, "damaged")
    assert reason in second.facts["coil_maps_storage"]
    assert second.facts["coil_maps_storage"].startswith("computed; not kept: ")
    assert np.array_equal(first.maps, second.maps)
