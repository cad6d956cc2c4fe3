"""A chain makes the same of blocks as of single lines, whatever stands in them."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import ismrmrd
import numpy as np
import pytest
from gadgetron.types import ReconData
from gadgetron.types.recon_data import ReconBuffer

from onebreath.chain.chain import Chain, build
from onebreath.chain.gadget import Message
from onebreath.chain.notes import read_note, read_warning
from onebreath.errors import ScanError
from onebreath.mrd.blocks import LineBlock, singly
from onebreath.mrd.buffers import kspace_of
from onebreath.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, HEADER, NOISE, REVERSE, header_of, header_table
from tests.raw import line, scan_header

ROWS, COILS, PHASES = 12, 4, 3
RNG = np.random.default_rng(3)
NAVIGATOR, PHASE_CORRECTION = 23, 24


def samples(number: int) -> np.ndarray:
    return RNG.standard_normal((COILS, number)) + 1j * RNG.standard_normal((COILS, number))


def scan(kind: str) -> list[ismrmrd.Acquisition]:
    """Noise lines, then a cine whose lines have something to them."""
    length = 24 if kind == "asymmetric" else 32
    lines = [line(samples(32), 0, NOISE) for _ in range(20)] if kind != "no noise" else []
    for phase in range(PHASES):
        for row in range(ROWS):
            flags: list[int] = [CALIBRATION_AND_IMAGING] if abs(row - ROWS // 2) < 2 else []
            if kind == "reversed" and row % 2:
                flags.append(REVERSE)
            if kind == "calibration" and phase == 1:
                flags = [CALIBRATION]
            if kind == "navigators" and row % 5 == 3:
                lines.append(line(samples(length), row, NAVIGATOR))
            for part in range(2 if kind == "slices" else 1):
                centre = 8 if kind == "asymmetric" else 16
                dwell = 4.0 if kind == "two dwell times" and row % 2 else 2.0
                one = line(samples(length), row, *flags, centre=centre, phase=phase, slice=part)
                one._head.sample_time_us = dwell
                lines.append(one)
    return lines


def blocked(lines: list[Any], most: int) -> Iterator[Message]:
    """The lines in blocks of one length each, as the connection gives them."""
    groups: list[list[Any]] = []
    for one in lines:
        if groups and len(groups[-1]) < most and groups[-1][0].data.shape == one.data.shape:
            groups[-1].append(one)
        else:
            groups.append([one])
    for group in groups:
        headers = header_table([header_of(one) for one in group]).copy()
        yield LineBlock(headers, np.stack([one.data for one in group])) if len(group) > 1 else group[0]


def chain_of(steps: str, oversampled: bool = False) -> Chain:
    recon = ((16, ROWS), (640.0, 240.0), (320.0, 240.0)) if oversampled else ()
    properties = {"compress": {"upstream_coil_compression_num_modesKept": "2", "calibration_lines": "4"}}
    return build(scan_header((32, ROWS), *recon), [(name, properties.get(name, {})) for name in steps.split()])


def buffers(messages: Any, steps: str, oversampled: bool) -> tuple[list[ReconBuffer], list[Any]]:
    """Data and reference of every k-space that a chain makes, and its notes."""
    made = list(chain_of(steps, oversampled).run(messages))
    bits = [bit for one in made if isinstance(one, ReconData) for bit in one.bits]
    found = [buffer for bit in bits for buffer in (bit.data, bit.ref) if buffer is not None]
    return found, [note for one in made if (note := read_note(one))]


KINDS = ["plain", "reversed", "calibration", "navigators", "slices", "asymmetric", "two dwell times", "no noise"]


@pytest.mark.parametrize("steps", ["prewhiten compress sort", "prewhiten sort", "sort"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("oversampled", [False, True])
def test_a_chain_makes_the_same_of_blocks(kind: str, steps: str, oversampled: bool) -> None:
    lines = scan(kind)
    expected, notes = buffers(lines, steps, oversampled)
    assert expected
    for most in (2, 5, 100):
        made, also = buffers(blocked(lines, most), steps, oversampled)
        assert also == notes
        for one, other in zip(made, expected, strict=True):
            assert np.allclose(kspace_of(one), kspace_of(other), rtol=1e-5, atol=1e-5)
            assert [*map(bytes, one.headers.flat)] == [*map(bytes, other.headers.flat)]


@pytest.mark.parametrize("kind", ["plain", "slices"])
def test_most_lines_of_a_scan_stay_together(kind: str) -> None:
    lines = scan(kind)
    messages: Any = blocked(lines, 6)
    for gadget in chain_of("prewhiten compress").gadgets:
        messages = gadget.process(messages)
    assert sum(len(one) for one in messages if isinstance(one, LineBlock)) > len(lines) // 3


def told(messages: Any) -> list[str]:
    """Warnings of a chain, and the error that it ends with."""
    found: list[str] = []
    try:
        found += filter(None, map(read_warning, chain_of("prewhiten compress sort").run(messages)))
    except ScanError as error:
        found.append(str(error))
    return found


def reversed_late(images: int) -> list[ismrmrd.Acquisition]:
    """Noise, then all lines of some slices, and a few lines of the last one once more, read the other way."""
    lines = [line(samples(32), row, slice=number) for number in range(images) for row in range(ROWS)]
    again = [line(samples(32), row, REVERSE, slice=images - 1) for row in range(3)]
    return [*(line(samples(32), 0, NOISE) for _ in range(20)), *lines, *again]


@pytest.mark.parametrize("images", [1, 3, 70])
def test_lines_reversed_after_all_others_are_warned_of_in_blocks_too(images: int) -> None:
    lines = reversed_late(images)
    expected = told(lines)
    assert any("read in both directions (1 images)" in text for text in expected)
    for most in (2, 5, 100):
        assert told(blocked(lines, most)) == expected


@pytest.mark.parametrize("seed", range(12))
def test_a_chain_says_the_same_of_blocks_whatever_the_order_of_lines(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = scan("slices")
    noise, rest = lines[:20], lines[20:]
    runs = np.array_split(np.arange(len(rest)), 12)  # long enough for blocks without a reversed line
    for run in runs[:: int(rng.integers(2, 6))]:
        for number in run[: int(rng.integers(1, 5))]:
            rest[number]._head.set_flag(REVERSE)
    if seed % 3 == 0:
        rest[int(rng.integers(len(rest)))]._head.set_flag(PHASE_CORRECTION)
    order = [rest[number] for run in rng.permutation(12) for number in runs[run]]
    expected = told([*noise, *order])
    assert expected
    for most in (2, 6, 100):
        assert told(blocked([*noise, *order], most)) == expected


def test_a_gadget_that_takes_no_blocks_gets_lines() -> None:
    lines = scan("plain")
    made = list(singly(blocked(lines, 7)))
    assert [bytes(header_of(one)) for one in made] == [bytes(header_of(one)) for one in lines]
    assert all(np.array_equal(one.data, other.data) for one, other in zip(made, lines, strict=True))


def test_a_line_that_is_kept_does_not_keep_its_block() -> None:
    (block,) = blocked(scan("plain")[-6:], 6)
    assert isinstance(block, LineBlock)
    assert not any(np.shares_memory(one.data, block.samples) for one in block)


def test_fields_agree_or_not() -> None:
    headers = np.zeros(3, HEADER)
    block = LineBlock(headers, np.zeros((3, 1, 4), np.complex64))
    assert block.agree("center_sample", "discard_pre")
    headers["discard_pre"][1] = 4
    assert not block.agree("center_sample", "discard_pre")
    assert all(a is not b for a, b in pairwise(block))
