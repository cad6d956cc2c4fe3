"""Which instances belong to which series of which scan, so that it can be said when a series has arrived."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from onebreath.keeping import private_folder, read_document, set_aside, write_document

log = logging.getLogger("onebreath.dicom.export")


@dataclass
class Expected:
    """A series whose instances are not all at the PACS.

    Parameters
    ----------
    scan, number
        The scan, and the number of the series.
    uids
        Its instances.
    since
        When the scan ended, in seconds since 1970.
    missing
        Instances that neither arrived nor were refused.
    refused
        How many were refused.
    """

    scan: str
    number: int
    uids: tuple[str, ...]
    since: float
    missing: set[str] = field(default_factory=set)
    refused: int = 0


class Register:
    """All series that are not complete at the PACS; each is a file, so that a restart knows them.

    Parameters
    ----------
    folder
        Where the files are.
    complete
        Called with each series whose last instance has arrived, or was refused.
    """

    def __init__(self, folder: Path, complete: Callable[[Expected], None]) -> None:
        self.folder, self._complete = private_folder(folder), complete
        self._series: dict[str, Expected] = {}
        self._of: dict[str, str] = {}  # series by instance
        for path in sorted(folder.glob("*.json")):
            try:
                found = read_document(path)
                self._enter(path.stem, Expected(found["scan"], found["number"], tuple(found["uids"]), found["since"]))
            except (OSError, ValueError, KeyError) as error:
                set_aside(path, error)

    def expect(self, uid: str, scan: str, number: int, uids: Collection[str], since: float) -> None:
        """Note a series, by its UID; raises OSError if the disk does not take it."""
        one = Expected(scan, number, tuple(uids), since)
        path = self.folder / f"{uid}.json"
        write_document(path, {"scan": scan, "number": number, "uids": list(uids), "since": one.since})
        self._enter(uid, one)

    def _enter(self, uid: str, one: Expected) -> None:
        one.missing = set(one.uids)
        self._series[uid] = one
        self._of |= dict.fromkeys(one.uids, uid)

    def settle(self, sent: Collection[str], refused: Collection[str]) -> None:
        """Count what had arrived or was refused before; called after a restart, and after each scan taken in."""
        for one in list(self._series.values()):
            for uid in one.missing & set(refused):
                self.count(uid, refused=True)
            for uid in [uid for uid in one.missing if uid in sent]:
                self.count(uid)

    def count(self, uid: str, *, refused: bool = False) -> None:
        """Note that an instance has arrived, or was refused; one that no series knows is none of this worker's."""
        series = self._of.pop(uid, "")
        one = self._series.get(series)
        if one is None or uid not in one.missing:
            return
        one.missing.discard(uid)
        one.refused += refused
        if not one.missing:
            self._series.pop(series)
            self._complete(one)
            (self.folder / f"{series}.json").unlink(missing_ok=True)
