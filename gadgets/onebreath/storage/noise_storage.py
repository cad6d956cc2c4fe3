"""Noise covariances in storage: that of another scan, and that of this scan for later ones."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from onebreath.errors import ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.storage.base import StorageError, tags_of
from onebreath.storage.find import open_store
from onebreath.storage.noise import StoredCovariance

NOISE = "noise_covariance"
"""Name under which Gadgetron's NoiseAdjustGadget, too, keeps noise covariances."""

_CLOCKS_H = 0.1
"""Hours by which clocks may differ."""

log = logging.getLogger("onebreath.prewhiten")


class FoundNoise(NamedTuple):
    """Result of looking for a covariance.

    Attributes
    ----------
    covariance
        In the channel order of the scan; None if there is none that fits.
    facts
        What was looked for and what became of it.
    unfit
        Why one that is in storage does not fit; empty if it does, or if there is none.
    """

    covariance: StoredCovariance | None
    facts: dict[str, str]
    unfit: str = ""


def find_noise(header: ScanHeader, channels: int, oldest_h: float = 0.0) -> FoundNoise:
    """Look for the noise covariance of a scan that has no noise lines.

    The scan that the header names as its noise dependency goes first, then the latest of the same session.

    Parameters
    ----------
    header
        The scan's header.
    channels
        Channels of its lines.
    oldest_h
        Hours after which a covariance is used no more; 0: it may have any age.
    """
    dependency = header.dependency("noise") or ""
    tags = tags_of(header, NOISE, dependency)
    asked = "the noise scan that the header names" if dependency else "the latest noise scan of this session"
    if tags is None or not (dependency or tags.session):
        return FoundNoise(
            None, {"noise_storage": "not asked: the header names no noise scan and no subject and session"}
        )
    try:
        store = open_store()
        if store is None:
            return FoundNoise(None, {"noise_storage": "not asked: storage is switched off"})
        content = store.latest(tags)
        if content is None:
            return FoundNoise(None, _not_used(f"{asked} is not in the {store.kind}"))
        found = StoredCovariance.from_blob(content, dependency or "this session")
        ordered, matched = found.ordered_for(header.coil_labels, channels)
        age = age_of(found, oldest_h)
    except StorageError as error:
        return FoundNoise(None, _not_used(str(error), error.told))
    except ScanError as error:
        return FoundNoise(None, _not_used(f"{asked} was found, but: {error}"), str(error))
    return FoundNoise(ordered, {"noise_storage": f"found: {asked}", "channel_order": matched, "noise_age": age})


def age_of(found: StoredCovariance, oldest_h: float) -> str:
    """Return the age of a covariance as a text.

    Raises
    ------
    ScanError
        If it is older than `oldest_h` hours (0: any age will do), or is of the future.
    """
    if not found.measured_at:
        return "unknown"
    hours = (time.time() - found.measured_at) / 3600
    if hours < -_CLOCKS_H:
        raise ScanError(f"It was measured {-hours:.1f} hours from now. Do the clocks of the machines differ?")
    if 0 < oldest_h < hours:
        raise ScanError(
            f"It is {hours:.1f} hours old, and noise_max_age_h of gadget 'prewhiten' is {oldest_h:g}. Take a noise "
            "scan with the coils as they lie now."
        )
    return f"{max(hours, 0):.1f} h"


def keep_noise(header: ScanHeader, found: StoredCovariance) -> dict[str, str]:
    """Store a scan's covariance for later scans; return facts about the outcome."""
    measurement = header.measurement_id
    tags = tags_of(header, NOISE, measurement) if measurement else None
    if tags is None:
        return {"noise_kept": "no: the header names no measurement and no subject"}
    try:
        store = open_store()
        if store is None:
            return {"noise_kept": "no: storage is switched off"}
        store.put(tags, found.to_blob(header.noise_bandwidth))
    except StorageError as error:
        log.warning("the noise covariance is not kept for later scans: %s", error)
        return {"noise_kept": f"no: {error.told}"}
    return {"noise_kept": f"in the {store.kind}"}


def _not_used(reason: str, told: str = "") -> dict[str, str]:
    log.warning("no stored noise covariance is used: %s", reason)
    return {"noise_storage": f"not used: {told or reason}"}
