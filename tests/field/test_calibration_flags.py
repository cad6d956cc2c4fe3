"""Calibration lines whose flags contradict each other, or that alone hold the k-space centre."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.notes import read_warning
from onebreath.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING
from tests.chain.running import images_of, pixels, run, simulated, steps, stream_of
from tests.field.variants import ROWS, error_of, head, lines, reconstructed

OPTIONS: dict[str, Any] = {
    "acceleration": 2, "acs_mode": "embedded", "acs_lines": 24, "matrix": (96, 40), "coils": 4, "snr": 100.0,
}  # fmt: skip
CENTRE = range(ROWS // 2 - 6, ROWS // 2 + 6)
NAVIGATOR = 23
AS_IT_IS = {"no_acs": "pass", "coil_map_algorithm": "none"}


@pytest.mark.parametrize("options", [OPTIONS, {**OPTIONS, "mode": "prospective", "phases": 4, "ecg": True}])
def test_lines_with_both_flags_are_imaging_lines(options: dict[str, Any]) -> None:
    scan, found = simulated(**options), []
    for flags in ((CALIBRATION_AND_IMAGING,), (CALIBRATION_AND_IMAGING, CALIBRATION)):
        for line in scan.acquisitions:
            for flag in flags if line.is_flag_set(CALIBRATION_AND_IMAGING) else ():
                line.set_flag(flag)
        made = run(scan.header, stream_of(scan), steps("grappa"))
        assert not [text for text in map(read_warning, made) if text and ("centre" in text or "lines" in text)]
        found.append(images_of(made))
    assert np.array_equal(pixels(found[0]), pixels(found[1]))
    for name in ("lines", "calibration_lines", "centre_line"):
        assert {image.meta[f"Onebreath_sort_{name}"] for image in found[0]} == {
            image.meta[f"Onebreath_sort_{name}"] for image in found[1]
        }


def hollow(stated: int = 48, flag: int = CALIBRATION, acs_lines: int = 40) -> tuple[list[str], ismrmrd.Image]:
    """Warnings and image of a scan with the centre, line 48, among lines that are not imaging lines, or are lost."""
    scan = simulated(**{**OPTIONS, "acs_lines": acs_lines})
    scan.header.encoding[0].encodingLimits.kspace_encoding_step_1.center = stated
    both = CALIBRATION, CALIBRATION_AND_IMAGING
    middle = [line for line in scan.acquisitions if any(map(line.is_flag_set, both))]
    for line in middle:
        line.clear_all_flags()
        line.set_flag(flag)
    made = run(scan.header, stream_of(scan), steps("zero_filled", calibrate=AS_IT_IS))
    (image,) = images_of(made)
    return [text for text in map(read_warning, made) if text], image


def test_a_centre_that_calibration_lines_alone_hold_stays() -> None:
    told, image = hollow()
    assert not any("strongest" in text for text in told)
    assert image.meta["Onebreath_sort_centre_line"] == "48"


def test_a_centre_that_calibration_lines_alone_hold_is_found() -> None:
    told, image = hollow(stated=18, acs_lines=64)
    assert any("strongest at line 48: line 48 was taken" in text for text in told)
    assert image.meta["Onebreath_sort_centre_line"] == "48"


def test_the_centre_is_not_moved_to_the_edge_of_a_gap() -> None:
    told, image = hollow(flag=NAVIGATOR)
    assert any("beside a gap: whether line 48 (header) is the k-space centre" in text for text in told)
    assert image.meta["Onebreath_sort_centre_line"] == "48"


def test_calibration_lines_of_another_time_do_not_move_the_centre() -> None:
    apart = lines(0, CENTRE, CALIBRATION, scale=9.0)
    for row, line in enumerate(apart):
        line._head.idx.kspace_encode_step_1 = row
    for mode in ("separate", "other"):
        images, told = reconstructed(lines(0) + apart, head(factor=1, mode=mode), calibrate=AS_IT_IS)
        assert not any("was taken" in text for text in told)
        assert error_of(images[0], 0) < 0.05


@pytest.mark.parametrize("trigger", ["none", "repetition"])
@pytest.mark.parametrize("both", [True, False])
def test_calibration_lines_of_one_repetition_serve_the_others_and_are_no_data_of_theirs(
    trigger: str, both: bool
) -> None:
    lattice = range(0, ROWS, 2)
    alone = [row for row in CENTRE if row % 2 or not both]
    scan = lines(0, alone, CALIBRATION)
    for repetition, phase in np.ndindex(2, 2):
        for row in lattice:
            flags = [CALIBRATION_AND_IMAGING] if both and row in CENTRE and not (repetition or phase) else []
            counters = {"repetition": repetition, "phase": phase}
            scan += lines(repetition, [row], *flags, scale=1 / (1 + 3 * repetition), **counters)
    images, _ = reconstructed(
        scan,
        head(factor=2, mode="embedded"),
        reconstruct={"method": "cg_sense"},
        calibrate={"coil_map_algorithm": "espirit"},
        sort={"trigger_dimension": trigger},
    )
    found = {(image.repetition, image.phase): error_of(image, image.repetition) for image in images}
    assert sorted(found) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert max(found.values()) < 0.05, found
