"""Reader of ISMRMRD raw data, such as OCMR's files, through the chain's gadgets."""

from __future__ import annotations

import logging
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
from onebreath.mrd.acs import acs_of, calibration_mode, merge_acs
from onebreath.mrd.buffers import kspace_of, lines_of, places
from onebreath.mrd.header import ScanHeader
from onebreath.training.data.series import KspaceSeries
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile

LOG = logging.getLogger("onebreath.training")
# Frames stay as measured: missing lines must not be taken from neighbouring frames.
_STEPS: tuple[tuple[str, dict[str, str]], ...] = (("prewhiten", {}), ("sort", {"incomplete_phases": "keep"}))


def mrd_file(path: Path) -> Iterator[KspaceSeries]:
    """Yield the slices of one file, whitened and sorted by the chain's gadgets.

    The patient is the header's subject or, if the file is anonymous, the file's name.

    Raises
    ------
    ScanError
        If the file is damaged, or has no Cartesian slice.
    """
    number = 0
    with RawFile(path) as raw:
        header = parse_header(raw.header_xml)
        patient, facts = _patient(header, path), _facts(header)
        noise_std = 0.0
        for message in build(header, _STEPS).run(raw.messages()):
            note = read_note(message)
            facts_found = None if note is None else facts_of(PrewhitenFacts, dict([note]), "prewhiten")
            if facts_found is not None:
                noise_std = 1.0 if facts_found.whitened else 0.0
            if isinstance(message, ReconData):
                mode = calibration_mode(message, ScanHeader(header))
                for s, loc in places(message):
                    name = f"{path.stem}-{number:02d}"
                    number += 1
                    kspace, mask = _samples(message, s, loc, mode == "embedded")
                    calibration = _calibration(message, s, loc, name) if mode == "separate" else None
                    yield KspaceSeries(
                        patient, name, kspace, mask, noise_std=noise_std, facts=facts, calibration=calibration
                    )
    if number == 0:
        raise ScanError(f"{path} holds no slice: no imaging lines were found in it")


def _samples(message: ReconData, s: int, loc: int, embedded: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """K-space (frame, coil, y, x) and its lines (frame or 1, y), including embedded calibration lines; None: all."""
    buffer = message.bits[0].data
    kspace, lines = kspace_of(buffer, s, loc), lines_of(buffer, s, loc)
    if embedded:
        kspace, mask = merge_acs(kspace, lines[:, :, None], message, s, loc)
        lines = mask[:, :, 0]
    return np.ascontiguousarray(kspace, dtype=np.complex64), None if lines.all() else lines


def _calibration(message: ReconData, s: int, loc: int, name: str) -> np.ndarray | None:
    """Lines (coil, y, x) flagged for calibration only, in their places in the matrix; None if the slice has none."""
    acs = acs_of(message, s, loc)
    if acs is None:
        return None
    if acs.left_out:
        LOG.warning("%s: %s", name, acs.left_out)
    samples, rows, _, coils = message.bits[0].data.data.shape[:4]
    at = np.arange(acs.lines.shape[1]) + acs.first
    inside = (at >= 0) & (at < rows)
    placed = np.zeros((coils, rows, samples), np.complex64)
    placed[:, at[inside]] = acs.lines[:, inside]
    return placed


def _patient(header: xsd.ismrmrdHeader, path: Path) -> str:
    subject = header.subjectInformation
    return str(subject.patientID) if subject is not None and subject.patientID else path.stem


def _facts(header: xsd.ismrmrdHeader) -> dict[str, str | float]:
    known = ScanHeader(header)
    facts = {"vendor": known.vendor, "protocol": known.protocol_name, "field_strength_t": known.field_strength_t}
    return {name: value for name, value in facts.items() if value is not None}
