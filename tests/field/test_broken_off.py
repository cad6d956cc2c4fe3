"""Scans that end before their last line: what the header announces is compared with what came."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.notes import read_warning
from onebreath.mrd.lines import LAST_IN_MEASUREMENT, LAST_IN_SLICE, NOISE
from onebreath.simulation.scan import SimulatedScan
from tests.chain.running import images_of, run, simulated, steps, stream_of
from tests.field.variants import ROWS, head, lines, reconstructed

PARTIAL = [
    {"partial_fourier": 0.7},
    {"partial_fourier": 0.75, "acceleration": 2, "acs_mode": "embedded", "acs_lines": 12},
    {"partial_fourier": 0.8, "acceleration": 3, "acs_mode": "separate"},
    {"partial_fourier": 0.8, "partitions": 8, "partition_partial_fourier": 0.7},
    {"partial_fourier": 0.75, "mode": "prospective", "phases": 3, "ecg": True},
]


def scan_of(**options: Any) -> SimulatedScan:
    return simulated(**{"coils": 4, "matrix": (48, 40), "snr": 200.0, **options})


def told_of(scan: SimulatedScan, sent: list[Any] | None = None, **sort: str) -> tuple[int, list[str]]:
    """Number of images, and the warnings of a scan that was broken off."""
    chain = steps("zero_filled", calibrate={"no_acs": "pass", "coil_map_algorithm": "none"}, sort=sort)
    made = run(scan.header, stream_of(scan) if sent is None else sent, chain)
    return len(images_of(made)), [text for text in map(read_warning, made) if text is not None]


def begun(scan: SimulatedScan, part: float) -> list[Any]:
    """The noise, and a part of the other lines in the order of k-space."""
    noise = [line for line in scan.acquisitions if line.is_flag_set(NOISE)]
    others = [line for line in scan.acquisitions if not line.is_flag_set(NOISE)]
    others.sort(key=lambda line: (line.idx.kspace_encode_step_2, line.idx.kspace_encode_step_1))
    return noise + others[: round(part * len(others))]


@pytest.mark.parametrize(
    ("options", "part", "words"),
    [
        ({}, 0.6, "lines 0 to 47, but only lines 0 to 28 came"),
        ({"acceleration": 2, "acs_mode": "embedded", "acs_lines": 12}, 0.75, "lines 0 to 47, but only lines 0 to 30"),
        ({"partitions": 8}, 0.6, "partitions 0 to 7, but only partitions 0 to 4 came"),
    ],
)
def test_a_scan_broken_off_behind_the_centre_is_told_and_gives_its_image(
    options: dict[str, Any], part: float, words: str
) -> None:
    scan = scan_of(**options)
    images, told = told_of(scan, begun(scan, part))
    assert images == 1
    (text,) = [text for text in told if "probably broken off (repeat it)" in text]
    assert words in text
    assert "partial Fourier whose header states the full matrix" in text


def test_a_single_line_is_told() -> None:
    scan = scan_of()
    noise = [line for line in scan.acquisitions if line.is_flag_set(NOISE)]
    one = [line for line in scan.acquisitions if line.idx.kspace_encode_step_1 == 24]
    images, told = told_of(scan, [*noise, one[0]])
    assert images == 1
    assert any("announces lines 0 to 47, but only line 24 came" in text for text in told)


@pytest.mark.parametrize("options", PARTIAL)
def test_partial_fourier_is_told_only_if_the_header_states_the_full_matrix(options: dict[str, Any]) -> None:
    scan = scan_of(**options)
    assert told_of(scan)[1] == []
    limits = scan.header.encoding[0].encodingLimits.kspace_encoding_step_1
    moved = 47 - limits.maximum
    limits.maximum, limits.center = 47, 24
    for line in scan.acquisitions:
        line.idx.kspace_encode_step_1 += 0 if line.is_flag_set(NOISE) else moved
    _, told = told_of(scan)
    assert any("header announces lines 0 to 47" in text and "probably broken off" in text for text in told)


@pytest.mark.parametrize(("step", "last"), [(1, ROWS - 2), (3, ROWS - 4)])
def test_a_distance_of_neighbouring_lines_may_be_missing(step: int, last: int) -> None:
    for rows, told in ((range(last % step, last + 1, step), False), (range(last % step, last - step, step), True)):
        _, texts = reconstructed(lines(0, rows), head(), calibrate={"no_acs": "pass", "coil_map_algorithm": "none"})
        assert any("probably broken off" in text for text in texts) == told


@pytest.mark.parametrize("trigger", ["auto", "none", "slice"])
def test_slices_that_are_short_are_named_together(trigger: str) -> None:
    scan = scan_of(slices=3)
    kept = [line for line in stream_of(scan) if not (isinstance(line, ismrmrd.Acquisition) and _late(line))]
    images, told = told_of(scan, kept, trigger_dimension=trigger)
    assert images == 3
    texts = [text for text in told if "announces lines 0 to 47, but only lines 0 to 44 came" in text]
    named = {number for text in texts for number in text.partition(":")[0].removeprefix("slice ").split(", ")}
    assert named == {"1", "2"}


def _late(line: ismrmrd.Acquisition) -> bool:
    return line.idx.slice > 0 and line.idx.kspace_encode_step_1 > 44


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ([(LAST_IN_SLICE,), (LAST_IN_SLICE,), ()], "slice 2 has no line flagged as its last"),
        ([(LAST_IN_SLICE,), (LAST_IN_SLICE,), (LAST_IN_MEASUREMENT,)], ""),
        ([(), (), (LAST_IN_MEASUREMENT,)], ""),
        ([(LAST_IN_MEASUREMENT,), (), (LAST_IN_MEASUREMENT,)], "slice 1 has no line flagged as its last"),
        ([(), (), ()], ""),
        ([(LAST_IN_SLICE,)] * 3, ""),
    ],
)
def test_a_slice_without_the_flag_that_ends_others_is_named(flags: list[tuple[int, ...]], named: str) -> None:
    scan = [one for n in range(3) for one in lines(n, slice=n, position=(0.0, 0.0, 10.0 * n))]
    for number, of_last in enumerate(flags):
        for flag in of_last:
            scan[(number + 1) * ROWS - 1].set_flag(flag)
    _, told = reconstructed(scan)
    assert any("no line flagged as its last" in text for text in told) == bool(named)
    assert not named or any(named in text for text in told)


@pytest.mark.parametrize("trigger", ["auto", "none"])
@pytest.mark.parametrize(
    ("lost", "named"), [({(0, 1)}, "repetition 1"), ({(1, 1), (1, 2)}, "repetition 1; repetition 2")]
)
def test_images_that_other_slices_have_are_missed(trigger: str, lost: set[tuple[int, int]], named: str) -> None:
    scan = [
        one
        for repetition, number in np.ndindex(3, 2)
        for one in lines(repetition, slice=number, repetition=repetition, position=(0.0, 0.0, 10.0 * number))
        if (number, repetition) not in lost
    ]
    limits = {"slice": (0, 0, 1), "repetition": (0, 0, 2)}
    images, told = reconstructed(scan, head(limits=limits), sort={"trigger_dimension": trigger})
    assert {(image.slice, image.repetition) for image in images} == set(np.ndindex(2, 3)) - lost
    (number,) = {number for number, _ in lost}
    assert sum(f"slice {number} has no line of {named}, which other slices have" in text for text in told) == 1
