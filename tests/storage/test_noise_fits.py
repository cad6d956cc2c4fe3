"""A stored noise covariance is used only if it fits the scan; else nothing is whitened by it, and that is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.scan import simulate
from onebreath.storage.noise_storage import find_noise
from tests.helpers import complex_normal
from tests.raw import line, run, warnings_of
from tests.storage.standin import chosen_store
from tests.storage.test_noise_storage import LABELS, NOISE_ID, SCAN_ID, header

BANDWIDTH = 0.793
"""What Gadgetron, too, takes where a header states none."""


@pytest.fixture(autouse=True)
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with chosen_store("folder", tmp_path, monkeypatch):
        yield tmp_path


def noise(**fields: float) -> list[ismrmrd.Acquisition]:
    return [line(complex_normal(np.random.default_rng(1), (3, 4000)), 0, 19, **fields)]


def lines(level: float, dwell: float = 2.0) -> list[ismrmrd.Acquisition]:
    """Lines of pure noise that have a standard deviation of `level` after whitening by `noise()`."""
    data = level / np.sqrt(BANDWIDTH * dwell / 2.0) * complex_normal(np.random.default_rng(2), (40, 3, 256))
    return [line(samples, row, sample_time_us=dwell) for row, samples in enumerate(data)]


def given(measurement: str, labels: tuple[str, ...] = LABELS) -> object:
    made = header(measurement, labels=labels)
    made.encoding[0].encodedSpace.matrixSize.x = made.encoding[0].reconSpace.matrixSize.x = 256
    return made


@pytest.mark.parametrize(("level", "used"), [(0.3, False), (0.7, True), (1.0, True), (4.0, True), (7.0, False)])
def test_stored_noise_is_used_only_if_it_makes_the_lines_quietest_samples_white(level: float, used: bool) -> None:
    run("prewhiten", given(NOISE_ID), noise())
    made, notes = run("prewhiten", given(SCAN_ID), lines(level))
    told = warnings_of("prewhiten", given(SCAN_ID), lines(level))
    assert (notes[0]["noise"], notes[0]["whitened"]) == (("storage", True) if used else ("none", False))
    if used:
        assert np.std([np.real(m.data) for m in made]) == pytest.approx(level, rel=0.03)
        assert told == []
    else:
        assert np.array_equal(made[5].data, lines(level)[5].data)
        assert notes[0]["noise_storage"].startswith("not used: whitened by it, the quietest samples")
        (text,) = told
        assert float(text.split("a noise of ")[1].split()[0]) == pytest.approx(level, rel=0.1)


@pytest.mark.parametrize("level", [1e-5, 1e5])
def test_noise_lines_that_cannot_be_the_scans_are_refused(level: float) -> None:
    with pytest.raises(ScanError, match=r"noise scan does not belong to these lines: .* instead of 1"):
        run("prewhiten", given(SCAN_ID), [*noise(), *lines(level)])


def test_a_dwell_time_that_differs_is_scaled_before_the_check() -> None:
    run("prewhiten", given(NOISE_ID), noise())
    made, notes = run("prewhiten", given(SCAN_ID), lines(1.0, dwell=200.0))
    assert notes[0]["noise"] == "storage"
    assert np.std([np.real(m.data) for m in made]) == pytest.approx(1, rel=0.03)


def test_other_coils_are_not_used_and_named() -> None:
    run("prewhiten", given(NOISE_ID), noise())
    _, notes = run("prewhiten", given(SCAN_ID, ("left", "right", "spine")), lines(1.0))
    assert notes[0]["whitened"] is False
    assert "the scan's spine are not in it" in notes[0]["noise_storage"]
    assert "its top are not in the scan" in notes[0]["noise_storage"]


def test_simulated_scans_never_share_their_noise() -> None:
    small = {"matrix": (16, 16), "slices": 1, "phases": 1, "coils": 3, "mode": "static", "acs_mode": "none"}
    one, same, seed, snr = (
        simulate(ScanOptions(**(small | other))).header for other in ({}, {}, {"seed": 1}, {"snr": 7.0})
    )
    assert ids(one) == ids(same)
    for other in (seed, snr):
        assert not set(ids(one)) & set(ids(other))
    run("prewhiten", one, noise())
    found = {id(h): find_noise(ScanHeader(h), 3) for h in (same, seed, snr)}
    assert "found: " in found[id(same)][1]["noise_storage"]
    assert found[id(seed)][0] is found[id(snr)][0] is None


def ids(given: object) -> tuple[str, str]:
    return given.subjectInformation.patientID, given.measurementInformation.measurementID


@pytest.mark.parametrize(
    ("hours", "oldest", "used"), [(1, 24, True), (30, 24, False), (30, 0, True), (30, 36, True), (-2, 24, False)]
)
def test_old_noise_is_not_used_and_its_age_is_told(hours: float, oldest: float, used: bool, monkeypatch) -> None:
    run("prewhiten", given(NOISE_ID), noise())
    now = time.time()
    monkeypatch.setattr("onebreath.storage.noise_storage.time.time", lambda: now + 3600 * hours)
    _, notes = run("prewhiten", given(SCAN_ID), lines(1.0), noise_max_age_h=oldest)
    told = warnings_of("prewhiten", given(SCAN_ID), lines(1.0), noise_max_age_h=oldest)
    assert notes[0]["whitened"] is used
    if used:
        assert (notes[0]["noise_age"], told) == (f"{hours:.1f} h", [])
    else:
        (text,) = told
        assert ("30.0 hours old" if hours > 0 else "2.0 hours from now") in text
