"""Channels are chosen by lines of the k-space centre, in whatever order lines come and whatever the header says."""

from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.budget import Budget, counted
from onebreath.chain.gadget import gadget_class, parse_properties
from onebreath.chain.notes import read_note, read_warning
from tests.helpers import complex_normal
from tests.raw import line, scan_header

ROWS, SAMPLES, COILS, KEPT = 96, 16, 16, 4
RNG = np.random.default_rng(0)
MIXING = np.linalg.qr(complex_normal(RNG, (COILS, COILS)))[0]


def sample(offset: float, *flags: int, row: int = 0, **counters: int) -> ismrmrd.Acquisition:
    """A line so far from the k-space centre: `KEPT` sources that fall off towards the edge, and white noise."""
    signal = 100 / (1 + offset**2) * MIXING[:, :KEPT] @ complex_normal(RNG, (KEPT, SAMPLES))
    return line(signal + complex_normal(RNG, (COILS, SAMPLES)), row, *flags, **counters)


def plane(phases: int = 1, step: int = 1, centre: int = ROWS // 2, acs: int = 0) -> list[ismrmrd.Acquisition]:
    """A slice whose rows advance slowly, and phases fast; rows of the centre may be flagged."""
    rows = [row for row in range(ROWS) if row % step == 0 or abs(row - centre) < acs // 2]
    return [
        sample(row - centre, *([21] if abs(row - centre) < acs // 2 else []), row=row, phase=phase)
        for row in rows
        for phase in range(phases)
    ]


def volume(slow: str) -> list[ismrmrd.Acquisition]:
    """Lines of 48 x 20, of which one direction advances slowly."""
    pairs = [(row, partition) for row in range(48) for partition in range(20)]
    pairs.sort(key=lambda pair: pair[slow == "partitions"])
    return [
        sample(np.hypot(row - 24, partition - 10), row=row, kspace_encode_step_2=partition) for row, partition in pairs
    ]


def header(centre: int = ROWS // 2, partitions: int = 1, partition: int = 10) -> Any:
    rows = ROWS if partitions == 1 else 48
    limits = {"kspace_encoding_step_1": (0, centre, rows - 1)}
    if partitions > 1:
        limits["kspace_encoding_step_2"] = (0, partition, partitions - 1)
    return scan_header((SAMPLES, rows), limits=limits, partitions=partitions)


def compressed(given: Any, lines: list[Any], **properties: Any) -> tuple[float, dict[str, Any], list[str], int]:
    """Part of the signal that is kept, the last note, warnings, and how many lines went in before one came out."""
    taken = 0

    def source() -> Any:
        nonlocal taken
        for one in lines:
            taken += 1
            yield one

    cls = gadget_class("compress")
    chosen = {"upstream_coil_compression_num_modesKept": KEPT} | properties
    gadget = cls(given, parse_properties(cls, {name: str(value) for name, value in chosen.items()}))
    made, facts, told, first = [], {}, [], 0
    for message in gadget.process(source()):
        if isinstance(message, ismrmrd.Acquisition):
            made.append(message)
            first = first or taken
        elif (text := read_warning(message)) is not None:
            told.append(text)
        elif (found := read_note(message)) is not None:
            facts = found[1]
    assert len(made) == len(lines)
    signal = sum(np.linalg.norm(MIXING[:, :KEPT].conj().T @ one.data) ** 2 for one in lines)
    noise = 2 * SAMPLES * len(lines)
    kept = sum(np.linalg.norm(one.data) ** 2 - 2 * SAMPLES * len(one.data) for one in made)
    return float(kept / (signal - KEPT * noise)), facts, told, first


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("acs", [0, 24])
def test_lines_of_many_phases_wait_for_the_centre(step: int, acs: int) -> None:
    lines = plane(phases=24, step=step, acs=acs)
    part, facts, told, first = compressed(header(), lines)
    assert part > 0.97
    assert facts["source"] == ("calibration lines" if acs else "central lines")
    assert not told
    assert 512 < first < 0.75 * len(lines)


@pytest.mark.parametrize("stated", [0, 10, 20, 40, 48, 60, 80, 95, 500])
@pytest.mark.parametrize("phases", [1, 24])
def test_a_centre_that_the_header_misplaces_costs_no_signal(stated: int, phases: int) -> None:
    part, facts, told, _ = compressed(header(stated), plane(phases))
    assert part > 0.97
    if abs(stated - ROWS // 2) > 12:
        assert facts["source"] == "lines around the strongest"
        assert told == [
            f"The k-space centre is line {stated} by the header, but the lines are strongest at line 48: the channels "
            "were compressed by the lines around it. Correct <center> in <encodingLimits> of the header."
        ]
    else:
        assert not told


@pytest.mark.parametrize("slow", ["partitions", "lines"])
@pytest.mark.parametrize(("centre", "partition"), [(24, 10), (0, 10), (24, 0), (24, 3), (24, 16)])
def test_a_volume_waits_for_the_centre_of_both_directions(slow: str, centre: int, partition: int) -> None:
    lines = volume(slow)
    part, _, _, first = compressed(header(centre, 20, partition), lines)
    assert part > 0.97
    if (centre, partition) == (24, 10):
        assert first < len(lines)


def test_a_centre_that_comes_at_once_is_not_waited_for() -> None:
    assert compressed(header(), plane(), calibration_lines=24)[3] == ROWS // 2 + 12
    assert compressed(header(), plane(acs=48), calibration_lines=24)[3] == ROWS // 2 - 23 + 24


@pytest.mark.parametrize("mode", ["pca", "gcc"])
def test_lines_without_the_centre_reduce_no_channels(mode: str) -> None:
    lines = [one for one in plane() if one.idx.kspace_encode_step_1 < 30]
    _, facts, told, _ = compressed(header(), lines, mode=mode)
    assert (facts["mode"], facts["channels_kept"], facts["energy_kept"]) == ("none", COILS, 1)
    assert len(told) == 1
    assert "The k-space centre of slice 0 is not among its lines (line 48 by the header), so all its" in told[0]


def test_who_may_not_wait_keeps_all_channels_and_is_told_what_to_raise() -> None:
    _, facts, told, first = compressed(header(), plane(phases=24), max_buffered=600)
    assert first == 600
    assert facts["channels_kept"] == COILS
    assert "was not among its first 600 lines" in told[0]
    assert "Raise max_buffered of 'compress'" in told[0]


def test_lines_wait_in_memory_that_the_scan_may_hold_and_give_it_back() -> None:
    lines, size = plane(phases=24), 8 * SAMPLES * COILS
    budget = Budget(lambda held: held <= 100 * size)
    with counted(budget):
        _, facts, told, first = compressed(header(), lines)
    assert first == 512 + 101
    assert facts["channels_kept"] == COILS
    assert "there is no memory to wait for it" in told[0]
    with counted(budget := Budget(lambda held: True)):
        compressed(header(), lines)
        assert budget.peak > 500 * size
        assert not budget.held


def test_slices_of_unlike_channels_share_no_block() -> None:
    from onebreath.mrd.blocks import LineBlock
    from onebreath.mrd.lines import header_of, header_table

    edge = [one for one in plane() if one.idx.kspace_encode_step_1 < 20]
    for one in edge:
        one._head.idx.slice = 1
    late = [sample(9, row=3, slice=number % 2) for number in range(6)]
    block = LineBlock(header_table([header_of(one) for one in late]).copy(), np.stack([one.data for one in late]))
    cls = gadget_class("compress")
    given = {"upstream_coil_compression_num_modesKept": str(KEPT), "max_buffered": "200"}
    gadget = cls(header(), parse_properties(cls, given))
    many = [*edge] * 10  # so that the limit comes before the end
    made = list(gadget.process([*plane(), *many, block]))
    lines = [one for one in made if isinstance(one, ismrmrd.Acquisition)][-6:]
    assert not any(isinstance(one, LineBlock) for one in made)
    assert [one.active_channels for one in lines] == [KEPT, COILS] * 3
    assert [one.data.shape[0] for one in lines] == [KEPT, COILS] * 3


@pytest.mark.parametrize("mode", ["pca", "gcc"])
def test_a_low_part_of_the_signal_is_warned_of_and_noise_does_not_count(mode: str) -> None:
    faint = [sample(6 + abs(row - 48) / 8, row=row) for row in range(ROWS)]  # mostly noise, all signal in four channels
    assert not compressed(header(), faint, mode=mode)[2]
    _, facts, told, _ = compressed(header(), plane(), mode=mode, upstream_coil_compression_num_modesKept=1)
    assert facts["energy_kept"] < 0.9
    assert len(told) == 1
    assert told[0].startswith("1 of 16 channels of slice 0 hold ")
    assert "raise upstream_coil_compression_num_modesKept of 'compress'" in told[0]
