"""Scans over midnight: the scanner's clock begins again at 0, the scan does not."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.notes import read_warning
from onebreath.gadgets.sort.gating import over_midnight
from onebreath.mrd.lines import NOISE
from tests.chain.running import images_of, pixels, run, simulated, steps, stream_of

TICK_MS = 2.5
DAY = 24 * 3600 * 400
CINE: dict[str, Any] = {"phases": 8, "coils": 2, "matrix": (64, 24), "ecg": True, "lines_per_segment": 6}


def ended_at(options: dict[str, Any], share: float, **sort: str) -> tuple[list[ismrmrd.Image], list[str]]:
    """Images and warnings of a scan of which a share is after midnight."""
    scan = simulated(**CINE | options)
    timed = [line for line in scan.acquisitions if not line.is_flag_set(NOISE)]
    stamps = np.array([line.acquisition_time_stamp for line in timed], np.int64)
    midnight = stamps.max() + 1 - share * np.ptp(stamps)
    for line, stamp in zip(timed, stamps.tolist(), strict=True):
        line.acquisition_time_stamp = round(stamp - midnight) % DAY
    chain = steps("zero_filled", calibrate={"coil_map_algorithm": "none", "no_acs": "pass"}, sort=sort)
    made = run(scan.header, stream_of(scan), chain)
    return images_of(made), [text for text in map(read_warning, made) if text is not None]


@pytest.mark.parametrize(
    ("options", "sort"),
    [
        ({"mode": "retrospective", "rr_variability": 0.08}, {}),
        ({"mode": "retrospective", "slices": 2}, {"trigger_dimension": "slice"}),
        ({"mode": "prospective", "slices": 2, "acceleration": 2, "acs_mode": "embedded"}, {}),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_images_are_those_of_noon(options: dict[str, Any], sort: dict[str, str], share: float) -> None:
    wanted, told = ended_at(options, 0.0, **sort)
    images, also_told = ended_at(options, share, **sort)
    assert np.array_equal(pixels(images), pixels(wanted))
    assert [text for text in also_told if "midnight" not in text] == told
    assert sum("midnight" in text for text in also_told) == 1
    for one, other in zip(images, wanted, strict=True):
        kept = {name for name in other.meta if name.startswith("Onebreath_sort_")}
        assert {name: one.meta[name] for name in kept} == {name: other.meta[name] for name in kept}
        ranges = [[int(end) for end in image.meta["acquisition_time_range"]] for image in (one, other)]
        assert abs(np.ptp(ranges[0]) - np.ptp(ranges[1])) <= 1


def test_stamps_go_on_in_the_order_of_the_scan_counter() -> None:
    times = np.arange(DAY - 40, DAY + 60)
    order = np.random.default_rng(0).permutation(100)
    assert over_midnight(order, times[order] % DAY, TICK_MS, None).tolist() == times[order].tolist()
    assert over_midnight(np.arange(9), np.arange(9), TICK_MS, DAY - 3).tolist() == list(range(DAY, DAY + 9))
    going_on = np.array([DAY - 1, DAY, DAY + 1, 2, 3])
    assert over_midnight(np.arange(5), going_on, TICK_MS, None).tolist() == list(range(DAY - 1, DAY + 4))


@pytest.mark.parametrize(
    "stamps",
    [
        np.arange(100),
        np.zeros(100, np.int64),
        np.r_[np.arange(50), np.arange(50)],
        np.r_[DAY - 50 : DAY, np.zeros(25), DAY - 25 : DAY],
        np.r_[DAY // 2 + 400 * 3600 : DAY // 2 + 400 * 3600 + 50, np.zeros(50)],
    ],
)
def test_other_stamps_stay_as_they_are(stamps: np.ndarray) -> None:
    assert over_midnight(np.arange(100), stamps.astype(np.int64), TICK_MS, None) is None
