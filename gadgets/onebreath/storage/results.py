"""Images that were made after their client had gone: kept in files, until somebody asks for them.

For each scan there are ``<scan>.json`` (whose it is, and how far) and ``<scan>.h5`` (the images, in the layout of
``gadgetron_ismrmrd_client``). No name or identifier of a patient stands in them in clear: scans of one patient and
study are told by a hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import h5py
import ismrmrd

from onebreath.errors import ScanError
from onebreath.folders import state_folder

log = logging.getLogger("onebreath.results")

GROUP = "dataset"
KEPT_SECONDS = 48 * 3600.0
"""Time after which results are removed; that of Gadgetron's own store."""


@dataclass(frozen=True)
class Result:
    """What is known of a kept scan.

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
    """

    scan: str
    exam: str
    title: str
    created: float
    state: Literal["pending", "done", "failed"] = "pending"
    text: str = ""


class Results:
    """The results of this computer.

    Parameters
    ----------
    folder
        Where they lie; None: in the state folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = state_folder() / "results" if folder is None else folder

    def path(self, scan: str) -> Path:
        """File with the images of a scan."""
        return self.folder / f"{scan}.h5"

    def write(self, result: Result) -> None:
        """Write down how far a scan is; the note changes at once or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self.folder / f".{result.scan}.json"
        partial.write_text(json.dumps(asdict(result)), encoding="utf-8")
        partial.rename(self.folder / f"{result.scan}.json")

    def update(self, scan: str, state: Literal["pending", "done", "failed"], text: str = "") -> None:
        """Change how far a scan is."""
        self.write(replace(self.read(scan), state=state, text=text))

    def read(self, scan: str) -> Result:
        """Read how far a scan is.

        Raises
        ------
        ScanError
            If nothing is known of it.
        """
        if not scan.replace("-", "").isalnum():
            raise ScanError(f"'{scan}' is not the identifier of a scan")
        try:
            return Result(**json.loads((self.folder / f"{scan}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise ScanError(f"nothing is kept of scan {scan}; results are removed after two days") from error

    def all(self) -> list[Result]:
        """Read all, oldest first; those that are removed meanwhile are left out."""
        found = []
        for path in sorted(self.folder.glob("[!.]*.json")):
            with contextlib.suppress(ScanError):
                found.append(self.read(path.stem))
        return found

    def latest(self, exam: str) -> Result:
        """Find the newest scan of an exam.

        Raises
        ------
        ScanError
            If there is none.
        """
        found = [result for result in self.all() if result.exam == exam]
        if not found:
            raise ScanError("nothing is kept of this exam: no scan of it was sent with deliver=later in two days")
        return max(found, key=lambda result: (result.created, result.scan))

    def images(self, scan: str) -> Iterator[ismrmrd.Image]:
        """Read the images of a scan, series by series."""
        with h5py.File(self.path(scan)) as file:
            for _, series in sorted(file[GROUP].items()):
                for row, attributes in enumerate(series["attributes"].asstr()):
                    head = ismrmrd.ImageHeader.from_buffer_copy(series["header"][row].tobytes())
                    image = ismrmrd.Image(head, str(attributes))
                    image.data[:] = series["data"][row].view(image.data.dtype)
                    yield image

    def prune(self, now: float | None = None) -> None:
        """Remove what is older than it may be."""
        for result in self.all():
            if (time.time() if now is None else now) - result.created > KEPT_SECONDS:
                log.info("scan %s is removed", result.scan)
                self.path(result.scan).unlink(missing_ok=True)
                (self.folder / f"{result.scan}.json").unlink(missing_ok=True)


def exam_of(header: Any) -> str:
    """Tell exams apart without naming the patient: a hash of patient, study and scanner, as the header has them."""
    parts = []
    for section, fields in (
        ("subjectInformation", ("patientID", "patientName")),
        ("studyInformation", ("studyInstanceUID", "studyID", "studyDate")),
        ("acquisitionSystemInformation", ("systemVendor", "stationName", "deviceID")),
    ):
        found = getattr(header, section, None)
        parts += [str(getattr(found, name, None) or "") for name in fields]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
