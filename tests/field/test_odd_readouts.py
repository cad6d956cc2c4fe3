"""Few lines whose readout is shorter than that of the others: they do not take resolution from all."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
import pytest

from tests.field.variants import ROWS, SAMPLES, error_of, head, lines, reconstructed

CENTRE = ROWS // 2
AS_IT_IS = {"calibrate": {"no_acs": "pass", "coil_map_algorithm": "none"}}


def shortened(rows: list[int], lost: int, field: str = "discard_pre", scan: list[Any] | None = None) -> list[Any]:
    """A scan in which some rows lack samples."""
    made = lines(0) if scan is None else scan
    for one in made:
        if one.idx.kspace_encode_step_1 in rows:
            setattr(one, field, lost)
            ends = slice(lost) if field == "discard_pre" else slice(SAMPLES - lost, None)
            one.data[:, ends] = 0
    return made


def measured(image: ismrmrd.Image) -> tuple[int, int]:
    """First and last measured sample by the meta."""
    limits = [int(one) for one in image.meta["sampling_limits_RO"]]
    return limits[0], limits[2]


@pytest.mark.parametrize("field", ["discard_pre", "discard_post"])
@pytest.mark.parametrize("rows", [[3], [3, 30, 33]])
def test_few_short_lines_are_left_out_and_named(field: str, rows: list[int]) -> None:
    whole, _ = reconstructed(lines(0))
    images, told = reconstructed(shortened(rows, 12, field))
    named = f"slice 0: {len(rows)} of {ROWS} lines (kspace_encode_step_1 {', '.join(map(str, rows))}) measured up to 12"
    assert any(named in text and "left out" in text for text in told)
    assert measured(images[0]) == measured(whole[0]) == (0, SAMPLES - 1)
    assert error_of(images[0], 0) < 0.05
    assert images[0].meta["Onebreath_sort_lines"] == str(ROWS - len(rows))


@pytest.mark.parametrize("trigger", ["none", "slice", "auto"])
def test_other_slices_stay_whole(trigger: str) -> None:
    scan = [one for n in range(3) for one in lines(n, slice=n, position=(0.0, 0.0, 10.0 * n))]
    shortened([5], 12, scan=scan[2 * ROWS :])
    images, told = reconstructed(scan, sort={"trigger_dimension": trigger})
    assert sum("slice 2: 1 of 36 lines" in text for text in told) == 1
    assert [image.meta["Onebreath_sort_lines"] for image in images] == [str(ROWS), str(ROWS), str(ROWS - 1)]
    assert {measured(image) for image in images} == {(0, SAMPLES - 1)}


def test_a_frame_takes_the_line_of_its_neighbour() -> None:
    scan = [one for n in range(4) for one in lines(0, phase=n)]
    shortened([5], 12, scan=scan[ROWS : 2 * ROWS])
    images, told = reconstructed(scan)
    assert any("1 of 144 lines (kspace_encode_step_1 5)" in text for text in told)
    assert any("1 lines were not acquired in phase 1" in text for text in told)
    assert max(error_of(image, 0) for image in images) < 0.05


@pytest.mark.parametrize(
    ("rows", "lost", "first"), [([3], 2, 2), ([CENTRE], 12, 12), ([*range(0, ROWS, 3)], 12, 12), ([], 0, 0)]
)
def test_samples_that_needed_lines_lack_are_claimed_of_none(rows: list[int], lost: int, first: int) -> None:
    images, told = reconstructed(shortened(rows, lost), **AS_IT_IS)
    assert any("No line of their image keeps the samples" in text for text in told) == bool(rows)
    assert not any("left out" in text for text in told)
    assert measured(images[0]) == (first, SAMPLES - 1)
    assert images[0].meta["Onebreath_sort_lines"] == str(ROWS)


def test_echoes_of_two_readouts_are_not_odd() -> None:
    scan = lines(0, contrast=0) + shortened([*range(ROWS)], 12, scan=lines(0, contrast=1))
    images, told = reconstructed(scan, head(limits={"contrast": (0, 0, 1)}), **AS_IT_IS)
    assert not any("measured up to" in text for text in told)
    assert [measured(image)[0] for image in images] == [0, 12]


def test_calibration_lines_are_judged_among_themselves() -> None:
    calibration = range(CENTRE - 8, CENTRE + 8)
    scan = lines(0, range(0, ROWS, 2)) + shortened([*calibration], 8, scan=lines(0, calibration, 20))
    images, told = reconstructed(scan, head(factor=2, mode="separate"))
    assert not any("measured up to" in text for text in told)
    assert measured(images[0]) == (0, SAMPLES - 1)
    assert np.isfinite(images[0].data).all()
