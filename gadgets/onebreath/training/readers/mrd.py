"""Reader of ISMRMRD raw data (OCMR's files among them), through the gadgets that the chain uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gadgetron.types import ReconData
from ismrmrd import xsd

from onebreath.chain.chain import build
from onebreath.chain.facts import facts_of
from onebreath.chain.notes import read_note
from onebreath.errors import ScanError
from onebreath.gadgets.facts import PrewhitenFacts
from onebreath.mrd.acs import calibration_mode, merge_acs
from onebreath.mrd.buffers import kspace_of, lines_of, places
from onebreath.mrd.header import ScanHeader
from onebreath.training.data.series import KspaceSeries
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile

# Frames are kept as they were measured: a line that is missing must not be taken from a neighbour.
_STEPS: tuple[tuple[str, dict[str, str]], ...] = (("prewhiten", {}), ("sort", {"incomplete_phases": "keep"}))


def mrd_file(path: Path) -> Iterator[KspaceSeries]:
    """Read the slices of one file: whitened and sorted by the chain's own gadgets.

    The patient is the header's subject or, where the file is anonymous, the file's name.

    Raises
    ------
    ScanError
        If the file is damaged, or holds no Cartesian slice.
    """
    number = 0
    with RawFile(path) as raw:
        header = parse_header(raw.header_xml)
        patient, facts = _patient(header, path), _facts(header)
        noise_std = 0.0
        for message in build(header, _STEPS).run(raw.messages()):
            note = read_note(message)
            said = None if note is None else facts_of(PrewhitenFacts, dict([note]), "prewhiten")
            if said is not None:
                noise_std = 1.0 if said.whitened else 0.0
            if isinstance(message, ReconData):
                embedded = calibration_mode(message, ScanHeader(header)) == "embedded"
                for s, loc in places(message):
                    name = f"{path.stem}-{number:02d}"
                    number += 1
                    yield KspaceSeries(patient, name, *_samples(message, s, loc, embedded), None, noise_std, facts)
    if number == 0:
        raise ScanError(f"{path} holds no slice: no imaging lines were found in it")


def _samples(message: ReconData, s: int, loc: int, embedded: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """K-space (frame, coil, y, x) and the lines it holds (frame or 1, y), embedded calibration lines among them."""
    buffer = message.bits[0].data
    kspace, lines = kspace_of(buffer, s, loc), lines_of(buffer, s, loc)
    if embedded:
        kspace, mask = merge_acs(kspace, lines[:, :, None], message, s, loc)
        lines = mask[:, :, 0]
    return np.ascontiguousarray(kspace, dtype=np.complex64), None if lines.all() else lines


def _patient(header: xsd.ismrmrdHeader, path: Path) -> str:
    subject = header.subjectInformation
    return str(subject.patientID) if subject is not None and subject.patientID else path.stem


def _facts(header: xsd.ismrmrdHeader) -> dict[str, str | float]:
    known = ScanHeader(header)
    facts = {"vendor": known.vendor, "protocol": known.protocol_name, "field_strength_t": known.field_strength_t}
    return {name: value for name, value in facts.items() if value is not None}
