"""Images made after their client has disconnected: kept in files until they are retrieved.

For each scan there are ``<scan>.json`` (whose it is, and how far) and ``<scan>.h5`` (the images, in the layout of
``gadgetron_ismrmrd_client``). The note names no patient: scans of one patient and study share a hash. The images
carry what images carry, the patient's id among it, in clear; only their owner can read them. Both have digests, and
damaged ones are set aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import ismrmrd

from onebreath.errors import NotKept
from onebreath.keeping import DAMAGED, digest_of_file, private_folder, read_document, set_aside, write_document
from onebreath.names import shortened
from onebreath.shim_settings import state_folder
from onebreath.wire.xml_guard import read_meta

log = logging.getLogger("onebreath.results")

GROUP = "dataset"
KEPT_SECONDS = 48 * 3600.0
"""Time after which results are removed; that of Gadgetron's own store."""


@dataclass(frozen=True)
class Result:
    """State of a kept scan.

    Parameters
    ----------
    scan
        Identifier.
    exam
        Hash of patient, study and scanner; see `exam_of`.
    title
        Configuration or target.
    created
        Seconds since 1970.
    state
        How far it is.
    text
        Why it failed, or what is missing.
    digest
        SHA-256 of the file with the images; empty as long as there is none.
    """

    scan: str
    exam: str
    title: str
    created: float
    state: Literal["pending", "done", "failed"] = "pending"
    text: str = ""
    digest: str = ""

    @classmethod
    def of(cls, document: dict[str, Any]) -> Result:
        """Make one of what was read; raises ValueError or TypeError if a value is not of its type."""
        found = cls(**document)
        texts = (found.scan, found.exam, found.title, found.state, found.text, found.digest)
        if not all(isinstance(text, str) for text in texts) or found.state not in ("pending", "done", "failed"):
            raise ValueError("a text is none")
        if isinstance(found.created, bool) or not isinstance(found.created, (int, float)):
            raise TypeError("the time is no number")
        if not math.isfinite(found.created) or not is_scan(found.scan):
            raise ValueError("the time or the scan's identifier is none")
        return found


def is_scan(text: str) -> bool:
    """Return whether a text may identify a scan; letters, digits and hyphens cannot lead out of a folder."""
    return len(text) <= 100 and text.isascii() and text.replace("-", "").isalnum()


class Results:
    """The results of this computer.

    Parameters
    ----------
    folder
        Where they are; None: in the state folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = state_folder() / "results" if folder is None else folder

    def path(self, scan: str) -> Path:
        """File with the images of a scan."""
        return self.folder / f"{scan}.h5"

    def write(self, result: Result) -> None:
        """Write the state of a scan, atomically; raises OSError."""
        private_folder(self.folder)
        write_document(self.folder / f"{result.scan}.json", asdict(result))

    def begin(self, scan: str, exam: str, title: str) -> None:
        """Record that images of a scan will follow, dated later than all before, even if the clock was set back."""
        last = max((result.created for result in self.all()), default=0.0)
        self.write(Result(scan, exam, title, max(time.time(), last + 1e-3)))

    def update(self, scan: str, state: Literal["pending", "done", "failed"], text: str = "") -> None:
        """Update the state of a scan; completed images are identified by their digest from then on.

        Raises
        ------
        NotKept, OSError
            If nothing is known of the scan; if the disk does not take it.
        """
        digest = digest_of_file(self.path(scan)) if state == "done" and self.path(scan).exists() else ""
        self.write(replace(self.read(scan), state=state, text=text, digest=digest))

    def read(self, scan: str) -> Result:
        """Read how far a scan is.

        Raises
        ------
        NotKept
            If nothing is known of it.
        """
        if not is_scan(scan):
            raise NotKept(f"'{shortened(scan)}' is not the identifier of a scan")
        path = self.folder / f"{scan}.json"
        try:
            found = Result.of(read_document(path))
            if found.scan != scan:
                raise ValueError("it is of another scan")
            return found
        except OSError as error:
            raise NotKept(f"nothing is kept of scan {scan}; results are removed after two days") from error
        except (ValueError, TypeError, RecursionError) as error:
            set_aside(path, error)
            raise NotKept(f"what was noted of scan {scan} is damaged; send the scan again") from error

    def all(self) -> list[Result]:
        """Read all, oldest first; those that are removed meanwhile are left out."""
        found = []
        for path in sorted(self.folder.glob("[!.]*.json")):
            with contextlib.suppress(NotKept):
                found.append(self.read(path.stem))
        return found

    def latest(self, exam: str) -> Result:
        """Find the newest scan of an exam.

        Raises
        ------
        NotKept
            If there is none.
        """
        found = [result for result in self.all() if same_exam(result.exam, exam)]
        if not exam or not found:
            raise NotKept("nothing is kept of this exam: no scan of it was sent with deliver=later in two days")
        return max(found, key=lambda result: (result.created, result.scan))

    def images(self, scan: str) -> Iterator[ismrmrd.Image]:
        """Read the images of a scan, series by series.

        Raises
        ------
        NotKept
            If they are not what was kept.
        """
        self._check(scan)
        with h5py.File(self.path(scan)) as file:
            for _, series in sorted(file[GROUP].items()):
                for row, attributes in enumerate(series["attributes"].asstr()):
                    head = ismrmrd.ImageHeader.from_buffer_copy(series["header"][row].tobytes())
                    image = ismrmrd.Image(head, meta=read_meta(str(attributes)))
                    image.data[:] = series["data"][row].view(image.data.dtype)
                    yield image

    def _check(self, scan: str) -> None:
        noted = self.read(scan).digest
        try:
            found = digest_of_file(self.path(scan))
        except OSError as error:
            raise NotKept(f"the images of scan {scan} cannot be read: {error.strerror}") from error
        if found != noted:
            set_aside(self.path(scan), "its digest is not the one that was noted")
            self.write(replace(self.read(scan), state="failed", text="its images were damaged on the disk", digest=""))
            raise NotKept(f"the images of scan {scan} were damaged on the disk; send the scan again")

    def prune(self, now: float | None = None) -> None:
        """Remove expired results."""
        now = time.time() if now is None else now
        for result in self.all():
            if abs(now - result.created) > KEPT_SECONDS:  # or made by a wrong clock
                log.info("scan %s is removed", result.scan)
                self.path(result.scan).unlink(missing_ok=True)
                (self.folder / f"{result.scan}.json").unlink(missing_ok=True)
        for path in self.folder.glob(f"{DAMAGED}*"):
            if now - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink(missing_ok=True)


def same_exam(one: str, other: str) -> bool:
    """Return whether two hashes of `exam_of` are of one exam; scans that name nobody belong to no exam."""
    return bool(one) and one == other


def exam_of(header: Any) -> str:
    """Identify exams without naming the patient: a hash of patient, study and scanner, as the header has them.

    Empty if it names neither a patient nor a study by what is unique: then nobody can say whose images they are.
    """
    parts = []
    for section, fields in (
        ("subjectInformation", ("patientID", "patientName")),
        ("studyInformation", ("studyInstanceUID", "studyID", "studyDate")),
        ("acquisitionSystemInformation", ("systemVendor", "stationName", "deviceID")),
    ):
        found = getattr(header, section, None)
        parts += [str(getattr(found, name, None) or "").strip() for name in fields]
    measured = str(getattr(getattr(header, "measurementInformation", None), "measurementID", None) or "").split("_")
    parts.append(measured[1].strip() if len(measured) == 4 else "")  # Siemens: device, patient, study, number
    if not any((*parts[:3], parts[-1])):
        return ""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
