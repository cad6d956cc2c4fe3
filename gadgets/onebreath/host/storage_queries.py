"""Answers to clients' queries about storage before a scan: whether the noise is known, and whether storage works."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

import numpy as np

from onebreath.storage.base import StorageError, Tags
from onebreath.storage.find import open_store
from onebreath.storage.noise import StoredCovariance
from onebreath.storage.noise_storage import NOISE

STATUS_QUERY = "onebreath::storage"
DEPENDENCY_QUERY = "onebreath::dependency?"


def answer(query: str) -> str | None:
    """Answer a client's question about storage as JSON; None if it is about something else.

    ``onebreath::storage`` asks whether the store works. ``onebreath::dependency?measurement=ID`` asks
    whether the noise scan ID is known; ``&subject=``, ``&device=`` and ``&session=`` tell what the ID does not. The
    answer has the facts that Gadgetron's dependency query gives: status, channels, dwell time and sigmas.
    """
    if query == STATUS_QUERY:
        return json.dumps(_status())
    if query.startswith(DEPENDENCY_QUERY):
        return json.dumps(_dependency(query.removeprefix(DEPENDENCY_QUERY)))
    return None


def _status() -> dict[str, str]:
    try:
        store = open_store()
        if store is None:
            return {"status": "off"}
        store.check()
    except StorageError as error:
        return {"status": "failed", "reason": str(error)}
    return {"status": "success", "where": store.where}


def _dependency(query: str) -> dict[str, str | int | float]:
    asked = dict(parse_qsl(query, keep_blank_values=True))
    measurement = asked.get("measurement", "")
    parts = measurement.split("_")
    device, subject, session = parts[:3] if len(parts) == 4 else ("", "", "")
    tags = Tags(
        asked.get("subject", subject), asked.get("device", device), asked.get("session", session), NOISE, measurement
    )
    if not (measurement and tags.subject):
        reason = "it takes measurement=..., and subject=... unless the id is device_subject_session_number"
        return {"status": "failed", "reason": reason}
    try:
        store = open_store()
        content = None if store is None else store.latest(tags)
        if content is None:
            return {"status": "failed", "reason": "storage is off" if store is None else "not found"}
        found = StoredCovariance.from_blob(content, measurement)
    except StorageError as error:
        return {"status": "failed", "reason": str(error)}
    sigma = np.sqrt(np.abs(np.diagonal(found.matrix)))
    return {
        "status": "success",
        "channels": len(found.matrix),
        "noise_dwell_time_us": found.dwell_us,
        "min_sigma": float(sigma.min()),
        "max_sigma": float(sigma.max()),
        "mean_sigma": float(sigma.mean()),
    }
