"""What goes wrong in the field, simulated: the right image, or the right words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onebreath.chain.notes import read_warning
from onebreath.cli import main
from onebreath.errors import OnebreathError
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile
from tests.chain.running import images_of, pixels, run, simulated, steps, stream_of

SMALL: dict[str, Any] = {"matrix": (32, 32), "coils": 6, "snr": 300}


def made(
    method: str = "cg_sense", changes: dict[str, dict[str, str]] | None = None, **options: Any
) -> tuple[np.ndarray, list[str], list[Any]]:
    """Images (image, y, x) of a simulated scan, warnings, and the images' messages."""
    scan = simulated(**SMALL | options)
    messages = run(scan.header, stream_of(scan), steps(method, **(changes or {})))
    told = [text for text in map(read_warning, messages) if text is not None]
    images = images_of(messages)
    return pixels(images), told, images


def error(images: np.ndarray, **options: Any) -> float:
    """Relative error of the images against the truth (slice by slice, first frame)."""
    truth = np.abs(simulated(**SMALL | options).truth["image"][:, 0])
    return float(np.linalg.norm(images - truth) / np.linalg.norm(truth))


# Two slices, or echoes, with the same counter


def test_slices_without_a_counter_are_told_apart_by_position() -> None:
    images, told, _ = made(slices=2, lost_counters=("slice",))
    assert len(images) == 2
    assert error(images, slices=2) < 0.05
    assert any("2 different positions" in text and "positions number them" in text for text in told)


def test_slices_without_a_counter_are_refused_where_the_header_does_not_confirm_them() -> None:
    with pytest.raises(OnebreathError, match="different slices"):
        made(slices=2, lost_counters=("slice",), without_sections=("encodingLimits",))


def test_echoes_without_a_counter_are_told_apart_by_the_header() -> None:
    images, told, _ = made(contrasts=2, lost_counters=("contrast",))
    right, _, _ = made(contrasts=2)
    assert len(images) == 2
    assert np.allclose(images, right, rtol=1e-4, atol=1e-3)
    assert any("announces 2 echoes" in text for text in told)


def test_what_is_put_right_is_refused_by_a_strict_chain() -> None:
    with pytest.raises(OnebreathError, match="strict"):
        made("cg_sense", {"sort": {"strict": "true"}}, slices=2, lost_counters=("slice",))


# EPI


def test_reversed_lines_with_phase_correction_lines_are_refused() -> None:
    with pytest.raises(OnebreathError, match=r"read in both directions, and \d+ lines .* phase correction.*EPI"):
        made(epi=True)


# Sections that the header lacks


@pytest.mark.parametrize(
    "section", ["encodingLimits", "trajectory", "parallelImaging", "sequenceParameters", "userParameters",
                "acquisitionSystemInformation", "measurementInformation", "experimentalConditions"],
)  # fmt: skip
def test_a_missing_section_is_no_obstacle(section: str, tmp_path: Path) -> None:
    scan = simulated(**SMALL | {"without_sections": (section,)})
    scan.write(tmp_path / "scan.h5")
    with RawFile(tmp_path / "scan.h5") as raw:
        assert f"<{section}".encode() not in raw.header_xml
        header = parse_header(raw.header_xml)
    images = pixels(images_of(run(header, stream_of(scan), steps("cg_sense"))))
    assert error(images) < 0.05


# Flags that do not fit their lines


def test_image_lines_with_the_flag_of_a_correction_scan_are_image_lines() -> None:
    images, told, _ = made(flag_conflicts=("surface_coil_correction",))
    assert error(images) < 0.05
    assert any("taken for imaging lines" in text for text in told)


def test_lines_for_calibration_and_imaging_that_are_for_calibration_only_too_are_not_lost() -> None:
    options = {"acceleration": 2, "acs_mode": "embedded", "acs_lines": 12}
    images, _, _ = made(flag_conflicts=("calibration",), **options)
    right, _, _ = made(**options)
    assert error(images, **options) < 1.1 * error(right, **options)


def test_lines_flagged_as_dummies_leave_the_image_and_are_counted() -> None:
    changes = {"calibrate": {"coil_map_algorithm": "none"}}
    _, told, (image,) = made("zero_filled", changes, flag_conflicts=("dummy",))
    assert any("5 of them have positions of k-space that no other line has" in text for text in told)
    assert any("kspace_encode_step_1 0, 7, 14, 21, 28" in text for text in told)
    assert image.meta["Onebreath_sort_dropped_lines"] == "dummy 5"
    assert image.meta["Onebreath_sort_lines"] == "27"


@pytest.mark.parametrize("options", [{}, {"acceleration": 2, "acs_mode": "embedded", "acs_lines": 12}])
def test_lines_that_are_no_image_lines_are_dropped_without_a_warning(options: dict[str, Any]) -> None:
    kinds = ("navigation", "phase_correction", "dummy", "rt_feedback", "hp_feedback")
    _, told, _ = made(extra_lines=kinds, extra_every=6, **options)
    assert not told


# Calibration lines that do not fit


@pytest.mark.parametrize("acs_mode", ["embedded", "separate"])
@pytest.mark.parametrize("astray", [900, 1])
def test_a_stray_calibration_line_is_left_out_by_name(acs_mode: str, astray: int) -> None:
    """Row 11 of 10 to 21 is counted as another one: outside the matrix, or far from the others."""
    options = {"acceleration": 2, "acs_mode": acs_mode, "acs_lines": 12}
    scan = simulated(**SMALL | options)
    (line,) = (a for a in scan.acquisitions if a.flags & (1 << 19) and a.idx.kspace_encode_step_1 == 11)
    line._head.idx.kspace_encode_step_1 = astray
    messages = run(scan.header, stream_of(scan), steps("grappa", reconstruct={"acs_as_data": "no"}))
    told = [text for text in map(read_warning, messages) if text is not None]
    left = "rows 10" if astray > 32 else "rows 1, 10"
    assert any(f"{left} were left out" in text and "rows 12-21, are used" in text for text in told)
    assert any("1 lines lie outside" in text for text in told) == (astray > 32)
    assert error(pixels(images_of(messages)), **options) < 0.1
    with pytest.raises(OnebreathError, match="strict"):
        run(scan.header, stream_of(scan), steps("grappa", calibrate={"strict": "true"}))


# Several encoding spaces


@pytest.mark.parametrize("space", [0, 1, 2])
def test_the_space_of_the_image_is_reconstructed_and_the_others_are_named(space: int) -> None:
    images, told, (image,) = made(image_space=space)
    assert error(images) < 0.05
    assert image.meta["Onebreath_sort_dropped_lines"] == (
        ", ".join(f"lines of encoding space {n} (only {space} is reconstructed) 8" for n in range(space)) or "none"
    )
    for other in range(space):
        assert any(f"8 lines of encoding space {other} (only {space} is reconstructed)" in text for text in told)
    chosen = f"number {space} is reconstructed: it is the first with enough imaging lines"
    assert (space > 0) == any(chosen in text for text in told)
    if space:
        assert image.meta["Onebreath_sort_encoding_space"] == str(space)
    assert image.meta["encoding"] == str(space)


def test_gadgets_in_several_chains_agree_on_the_space() -> None:
    scan = simulated(**SMALL | {"image_space": 1})
    whole = pixels(images_of(run(scan.header, stream_of(scan), steps("cg_sense"))))
    messages: Any = stream_of(scan)
    for first, last in (
        ("prewhiten", "compress"),
        ("sort", "sort"),
        ("calibrate", "reconstruct"),
        ("export", "export"),
    ):
        messages = run(scan.header, messages, steps("cg_sense", first, last))
    assert np.array_equal(pixels(images_of(messages)), whole)


def test_a_whole_first_space_is_taken_although_the_second_has_more_lines() -> None:
    scan = simulated(**SMALL)
    more = simulated(**SMALL | {"image_space": 1, "matrix": (48, 32)})
    header = more.header
    header.encoding[0] = scan.header.encoding[0]
    lines = [line for line in more.acquisitions if line.encoding_space_ref == 1]
    messages = run(header, [*stream_of(scan), *lines], steps("cg_sense"))
    assert error(pixels(images_of(messages))) < 0.05
    told = [text for text in map(read_warning, messages) if text is not None]
    assert any("48 lines of encoding space 1 (only 0 is reconstructed)" in text for text in told)


def test_a_space_that_is_not_cartesian_is_passed_over() -> None:
    scan = simulated(**SMALL | {"image_space": 1})
    trajectory = type(scan.header.encoding[0].trajectory)
    scan.header.encoding[0].trajectory = trajectory.RADIAL
    messages = run(scan.header, stream_of(scan), steps("cg_sense"))
    assert error(pixels(images_of(messages))) < 0.05
    told = [text for text in map(read_warning, messages) if text is not None]
    assert any("space 0: its trajectory is 'radial'" in text for text in told)


def test_other_spaces_are_refused_by_a_strict_chain() -> None:
    with pytest.raises(OnebreathError, match="strict"):
        made("cg_sense", {"sort": {"strict": "true"}}, image_space=1)


def test_the_command_line_has_the_situations(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    words = "--matrix 32 32 --slices 2 --phases 1 --mode static --coils 4 --acceleration 1 --acs-mode none --no-ecg"
    situations = "--image-space 1 --lost-counters slice --flag-conflicts dummy --without-sections userParameters --epi"
    assert main(["simulate", str(path), *words.split(), *situations.split()]) == 0
    with RawFile(path) as raw:
        heads = raw.headers()
        assert b"<userParameters" not in raw.header_xml
    assert not heads["idx"]["slice"].any()
    assert set(heads["encoding_space_ref"]) == {0, 1}
    assert (heads["flags"] & (1 << 26)).any()
    assert (heads["flags"] & (1 << 21)).any()
