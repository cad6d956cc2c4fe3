"""What images that come from outside say about how they were made: set apart from what is known here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import ismrmrd
from gadgetron.types import ImageArray

from onebreath.chain.seals import SEAL, Seals
from onebreath.mrd.meta import UNSEALED, WARNINGS
from onebreath.wire.xml_guard import read_meta

OWN = "Onebreath"
SEALED = f"{OWN}_{SEAL}"
"""Entry with the seal of an image that goes on to another node."""


def claims_apart(messages: Iterable[Any], seals: Seals) -> Iterator[Any]:
    """Yield the messages; entries of images that nobody of this user has sealed get names that say so.

    Raises
    ------
    WireError
        If the meta of such an image cannot be read.
    """
    for message in messages:
        if isinstance(message, ismrmrd.Image):
            told = message.attribute_string
            if OWN in told:
                message.meta = _apart(told, seals)
        elif isinstance(message, ImageArray):
            message.meta = [str(_apart(text, seals).serialize()) if OWN in text else text for text in message.meta]
        yield message


def with_claims_sealed(message: Any, seals: Seals) -> Any:
    """Return a message as it goes to the next node: images of an array with a seal under what is said of them."""
    if isinstance(message, ImageArray):
        message.meta = [_sealed(text, seals) for text in message.meta]
    return message


def _apart(text: str, seals: Seals) -> ismrmrd.Meta:
    meta = read_meta(text)
    seal = str(meta.pop(SEALED, ""))
    if not seals.is_under(_claims(meta), seal):
        for name in [name for name in meta if name.startswith(OWN) and name != WARNINGS]:
            meta[f"{OWN}_{UNSEALED}{name.removeprefix(OWN).lstrip('_')}"] = meta.pop(name)
        meta[f"{OWN}_host_images_without_seal"] = "True"
    return meta


def _sealed(text: str, seals: Seals) -> str:
    meta = read_meta(text)
    if seal := seals.under(_claims(meta)):
        meta[SEALED] = seal
    return str(meta.serialize())


def _claims(meta: ismrmrd.Meta) -> dict[str, Any]:
    return {name: meta[name] for name in sorted(meta) if name.startswith(OWN)}
