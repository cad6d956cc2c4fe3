"""Calibration lines in storage: those of other scans, and those of this scan for later ones.

Every method calibrates itself on them as on the scan's own; what is computed of them is kept as well, by
`onebreath.storage.derived`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.types import ReconData
from gadgetron.types.recon_data import ReconBit, ReconBuffer
from numpy.typing import NDArray

from onebreath.chain.facts import Decision
from onebreath.mrd.acs import Acs
from onebreath.mrd.buffers import E1
from onebreath.mrd.header import ScanHeader
from onebreath.storage.base import StorageError, Tags, tags_of
from onebreath.storage.blob import pack, unpack
from onebreath.storage.find import open_store

log = logging.getLogger("onebreath.calibrate")


class CalibrationStorage:
    """Stores the calibration lines of one scan, or finds those of another.

    Lines of two scans may only be used together if their channels are the same: the labels and their order, whitened or
    not, and not compressed, as compression differs from scan to scan: `whitened` and `compressed` are to be set.

    Parameters
    ----------
    header
        The scan's header.
    """

    def __init__(self, header: ScanHeader) -> None:
        self.header = header
        self.whitened = False
        self.compressed = False

    def keep(self, recon_data: ReconData, acs: list[Acs | None]) -> Decision:
        """Keep the calibration lines of all places; return whether storage has them, or why not."""
        lines = [found.lines for found in acs if found is not None]
        if self.compressed:
            return Decision(yes=False, text="no: the channels are compressed")
        if len(lines) < len(acs) or len({(found.first, found.lines.shape) for found in acs if found is not None}) > 1:
            return Decision(yes=False, text="no: sets or slices differ in their calibration lines")
        tags = self._tags(recon_data, self.header.measurement_id or "")
        if tags is None or not tags.measurement:
            return Decision(yes=False, text="no: the header names no measurement and no subject")
        first = next(found.first for found in acs if found is not None)
        try:
            store = open_store()
            if store is None:
                return Decision(yes=False, text="no: storage is switched off")
            store.put(tags, pack(np.stack(lines), {"first": first, **self._channels()}))
        except StorageError as error:
            log.warning("the calibration lines are not kept for later scans: %s", error)
            return Decision(yes=False, text=f"no: {error.told}")
        return Decision(yes=True, text=f"in the {store.kind}")

    def find(self, recon_data: ReconData) -> tuple[ReconData | None, Decision]:
        """Look for calibration lines of the same slice.

        Those of the scan that the header names (dependency ``calibration``) go first, then the latest of the session.

        Returns
        -------
        found
            The message with these lines as its reference; None if there are none that fit.
        decision
            Whether they were found, and where, or why not.
        """
        dependency = self.header.dependency("calibration") or ""
        tags = self._tags(recon_data, dependency)
        reason = self._objection(tags)
        if reason or tags is None:
            return None, _not_used(reason)
        try:
            store = open_store()
            content = None if store is None else store.latest(tags)
            if content is None:
                where = "storage is switched off" if store is None else f"no scan of this slice is in the {store.kind}"
                return None, _not_used(where)
            lines, facts = unpack(content)
            found = _with_lines(recon_data, lines, self._first(lines, facts, recon_data))
        except StorageError as error:
            return None, _not_used(str(error), error.told)
        return found, Decision(yes=True, text=f"found: {dependency or 'the latest of this session'}")

    def _objection(self, tags: Tags | None) -> str:
        """Return the reason not to look for lines; empty if there is none."""
        if self.compressed:
            return "the channels are compressed"
        if self.header.calibration_mode == "embedded":
            return "the header says that the scan has calibration lines of its own"
        if tags is None or not (tags.measurement or tags.session):
            return "the header names no calibration scan and no subject and session"
        return ""

    def _channels(self) -> dict[str, Any]:
        return {"labels": self.header.coil_labels, "whitened": self.whitened}

    def _first(self, lines: NDArray[np.complex64], facts: dict[str, Any], recon_data: ReconData) -> int:
        """Return the row of the first line, after a check that the lines belong to these data."""
        samples, rows, _, coils, _, sets, slices = recon_data.bits[0].data.data.shape
        first = facts.pop("first", None)
        if facts != self._channels():
            raise StorageError("the stored calibration lines have other channels, or were whitened otherwise")
        if lines.ndim != 4 or lines.shape[:2] + lines.shape[3:] != (sets * slices, coils, samples):
            raise StorageError(
                f"the stored calibration lines have the shape {lines.shape}, which does not fit the data"
            )
        if not isinstance(first, int) or not 0 <= first <= rows - lines.shape[2] or not np.isfinite(lines).all():
            raise StorageError("the stored calibration lines are damaged")
        return first

    def _tags(self, recon_data: ReconData, measurement: str) -> Tags | None:
        return tags_of(self.header, f"calibration_{_geometry(recon_data.bits[0].data)}", measurement)


def _geometry(buffer: ReconBuffer) -> str:
    """Digest of where and how densely k-space was sampled: scans that share it share their coil maps."""
    places = []
    for s, loc in np.ndindex(buffer.headers.shape[3:]):
        line = next(header for header in buffer.headers[:, 0, :, s, loc].flat if header.number_of_samples > 0)
        vectors = [list(getattr(line, name)) for name in ("position", "read_dir", "phase_dir", "slice_dir")]
        places.append([[round(value, 2) for value in vector] for vector in vectors])
    fov = [round(value, 1) for value in buffer.sampling.encoded_FOV]
    limits = buffer.sampling.sampling_limits[E1]
    text = json.dumps([places, fov, list(buffer.data.shape[:2]), limits.center])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _with_lines(recon_data: ReconData, lines: NDArray[np.complex64], first: int) -> ReconData:
    """Return the message with lines (place, coil, y, x) as its reference; `first` is their first row."""
    bit = recon_data.bits[0]
    samples, rows, _, coils, _, sets, slices = bit.data.data.shape
    count = lines.shape[2]
    reference = np.zeros((slices, sets, 1, coils, 1, rows, samples), np.complex64)
    reference[:, :, 0, :, 0, first : first + count] = lines.reshape(slices, sets, coils, count, samples)
    headers = np.empty((rows, 1, 1, sets, slices), dtype=object)
    acquired, missing = ismrmrd.AcquisitionHeader(), ismrmrd.AcquisitionHeader()
    acquired.number_of_samples, acquired.active_channels = samples, coils
    acquired.set_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    for index in np.ndindex(headers.shape):
        headers[index] = acquired if first <= index[0] < first + count else missing
    buffer = ReconBuffer(reference.transpose(6, 5, 4, 3, 2, 1, 0), None, None, headers, bit.data.sampling)
    return ReconData([ReconBit(bit.data, buffer), *recon_data.bits[1:]])


def _not_used(reason: str, told: str = "") -> Decision:
    log.warning("no stored calibration lines are used: %s", reason)
    return Decision(yes=False, text=f"not used: {told or reason}")
