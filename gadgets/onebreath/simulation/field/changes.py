"""Faults of scans seen in the field: changes to a whole simulated scan, each with its own option."""

from __future__ import annotations

import copy

import numpy as np
from ismrmrd import Acquisition, AcquisitionHeader, xsd

from onebreath.simulation.options import EXTRA_LINES, ScanOptions
from onebreath.simulation.records import NOISE_FLAG
from onebreath.simulation.schedule import CALIBRATION, CALIBRATION_AND_IMAGING

_REVERSE, _CORRECTION_SCAN = 22, 29
_OTHER_LINES = 8
_CORRECTIONS = 3
_DUMMY_EVERY = 7


def changed_header(options: ScanOptions, header: xsd.ismrmrdHeader) -> xsd.ismrmrdHeader:
    """Header with further encoding spaces before the image's, without the sections to leave out; changed in place."""
    for section in options.without_sections:
        owner = header.encoding[0] if hasattr(header.encoding[0], section) else header
        setattr(owner, section, None)
    others = []
    for _ in range(options.image_space):
        other = copy.deepcopy(header.encoding[0])
        for space in (other.encodedSpace, other.reconSpace):
            space.matrixSize.y = 2 * _OTHER_LINES
        others.append(other)
    header.encoding[:0] = others
    return header


def changed_lines(options: ScanOptions, lines: list[Acquisition]) -> list[Acquisition]:
    """Lines in the order of time with the faults of the options."""
    noise = [line for line in lines if line.is_flag_set(NOISE_FLAG)]
    rest = [line for line in lines if not line.is_flag_set(NOISE_FLAG)]
    made = _other_spaces(options, rest) + (_epi(rest) if options.epi else rest)
    for number, line in enumerate(made):
        header = line._head
        for counter in options.lost_counters:
            setattr(header.idx, counter, 0)
        if "surface_coil_correction" in options.flag_conflicts:
            header.set_flag(_CORRECTION_SCAN)
        if "calibration" in options.flag_conflicts and header.is_flag_set(CALIBRATION_AND_IMAGING):
            header.set_flag(CALIBRATION)
        if "dummy" in options.flag_conflicts and number % _DUMMY_EVERY == 0:
            header.set_flag(EXTRA_LINES["dummy"])
        header.scan_counter = len(noise) + number + 1
    return noise + made


def _other_spaces(options: ScanOptions, lines: list[Acquisition]) -> list[Acquisition]:
    """Assign the image lines to their encoding space; returns a few calibration lines for each earlier space."""
    for line in lines:
        line._head.encoding_space_ref = options.image_space
    made = []
    for space in range(options.image_space):
        for number in range(_OTHER_LINES):
            line = _copy(lines[number % len(lines)])
            line._head.encoding_space_ref = space
            line._head.idx.kspace_encode_step_1 = number
            line._head.clear_all_flags()
            line._head.set_flag(CALIBRATION)
            made.append(line)
    return made


def _epi(lines: list[Acquisition]) -> list[Acquisition]:
    """Lines of an EPI scan: every other one reversed, with phase-correction lines before each slice."""
    made: list[Acquisition] = []
    last = None
    for number, line in enumerate(lines):
        if line._head.idx.slice != last:
            last = line._head.idx.slice
            for index in range(_CORRECTIONS):
                extra = _copy(line)
                extra._head.clear_all_flags()
                extra._head.set_flag(EXTRA_LINES["phase_correction"])
                if index % 2:
                    extra._head.set_flag(_REVERSE)
                made.append(extra)
        if number % 2:
            line.data[:] = line.data[:, ::-1].copy()
            line._head.set_flag(_REVERSE)
        made.append(line)
    return made


def _copy(line: Acquisition) -> Acquisition:
    return Acquisition(AcquisitionHeader.from_buffer_copy(line._head), np.array(line.data))
