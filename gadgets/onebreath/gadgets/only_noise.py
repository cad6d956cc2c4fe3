"""Scans that are only measured for their noise: they send no line on, and fail where their covariance is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from onebreath.chain.gadget import Message
from onebreath.chain.notes import is_note, read_warning
from onebreath.errors import NoiseNotKept, ScanError

LOST = "The noise covariance of this scan is not kept for later scans"


def warnings_of(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield the warnings among messages; lines and facts of a noise scan have nowhere to go."""
    for message in messages:
        if is_note(message) and read_warning(message) is not None:
            yield message


def check_kept(facts: Mapping[str, Any], *, file: bool, storage: bool) -> None:
    """Raise an error if a noise scan has kept no covariance: no image would tell that the next scans lack it.

    Parameters
    ----------
    facts
        Facts of `prewhiten` about the scan.
    file, storage
        Whether the covariance goes to a file, and to storage.

    Raises
    ------
    ScanError
        If it has no noise lines.
    NoiseNotKept
        If neither a file nor storage has its covariance.
    """
    if not file and not storage:
        raise NoiseNotKept(f"{LOST}: properties of gadget 'prewhiten' switch storage off, and name no file.")
    if not facts.get("noise_lines"):
        raise ScanError(
            "This configuration only measures noise, and the scan begins with no noise lines. Are they flagged as "
            "such (ACQ_IS_NOISE_MEASUREMENT), and is this the configuration that was meant?"
        )
    kept = str(facts.get("noise_kept", ""))
    if not file and kept.startswith("no:"):
        raise NoiseNotKept(f"{LOST}: {kept.removeprefix('no:').strip()}.")
