"""Interface of a store of scan data, and the tags under which a scan's data are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from onebreath.errors import OnebreathError
from onebreath.mrd.header import ScanHeader

TIME_TO_LIVE = 172800
"""Seconds for which data are kept; what Gadgetron gives its noise covariances."""


class StorageError(OnebreathError):
    """The store cannot be reached, or its data cannot be read.

    Parameters
    ----------
    text
        What is wrong, for logs.
    told
        The same for the meta of images, which may leave the site: without paths; not given: `text` has none.
    """

    def __init__(self, text: str, told: str = "") -> None:
        super().__init__(text)
        self.told = told or text


@dataclass(frozen=True)
class Tags:
    """Tags of stored data: Gadgetron's own, so that both find each other's data.

    Parameters
    ----------
    subject
        Patient.
    device
        Scanner; empty: any.
    session
        Study; empty: any.
    name
        What is stored, for example ``noise_covariance``.
    measurement
        Scan that it came from; empty: any.
    """

    subject: str
    device: str = ""
    session: str = ""
    name: str = ""
    measurement: str = ""

    def pairs(self) -> list[tuple[str, str]]:
        """Name and value of the tags that are stated."""
        return [(name, value) for name, value in vars(self).items() if value]


def tags_of(header: ScanHeader, name: str, measurement: str = "") -> Tags | None:
    """Return the tags of a scan's data; None if the subject is unknown.

    What the header does not state is taken from the measurement's id where that has Siemens' form
    ``device_subject_session_number``.

    Parameters
    ----------
    header
        The scan's header.
    name
        What is stored.
    measurement
        Id of the scan whose data are meant; empty: any of the session.
    """
    parts = (measurement or header.measurement_id or "").split("_")
    device, subject, session = parts[:3] if len(parts) == 4 else ("", "", "")
    subject = header.patient_id or subject
    if not subject:
        return None
    return Tags(subject, header.device_id or device, header.study_id or session, name, measurement)


class Store(Protocol):
    """Keeps data for some time."""

    @property
    def where(self) -> str:
        """Name and place of the store, for logs."""

    @property
    def kind(self) -> str:
        """Name of the store for the meta of images, without a path."""

    def latest(self, tags: Tags) -> bytes | None:
        """Return the newest data that have these tags, or None.

        Raises
        ------
        StorageError
            If the store cannot be reached.
        """

    def put(self, tags: Tags, content: bytes, seconds: int = TIME_TO_LIVE) -> None:
        """Keep data for some seconds; raises StorageError if it cannot."""

    def check(self) -> None:
        """Raise StorageError if the store does not work."""
