"""Debugging of a gadget: its messages in the log, its arrays in a folder."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from gadgetron.types import ImageArray, ReconData

from onebreath.chain.gadget import Gadget, Message
from onebreath.keeping import write


def watched(gadget: Gadget, messages: Iterable[Message]) -> Iterator[Message]:
    """Yield a gadget's messages; log and store them by its properties `verbose` and `debug_folder`.

    Arrays of ReconData and ImageArray messages become ``<gadget>_<number>_<part>.npy`` in Gadgetron's axis order.
    """
    chosen = gadget.properties
    return _watched(gadget, messages) if chosen.verbose or chosen.debug_folder else iter(messages)


def _watched(gadget: Gadget, messages: Iterable[Message]) -> Iterator[Message]:
    folder = Path(gadget.properties.debug_folder) if gadget.properties.debug_folder else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    for number, message in enumerate(messages):
        if gadget.properties.verbose:
            gadget.log.info("made message %d: %s", number, type(message).__name__)
        if folder is not None:
            for part, array in _arrays(message):
                content = io.BytesIO()
                np.save(content, array)
                # Only their owner may read raw data and images.
                write(folder / f"{gadget.name}_{number:05d}_{part}.npy", content.getvalue())
        yield message


def _arrays(message: Message) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(message, ImageArray):
        yield "images", message.data
    if isinstance(message, ReconData):
        for place, bit in enumerate(message.bits):
            yield f"data{place}", bit.data.data
            if bit.ref is not None:
                yield f"ref{place}", bit.ref.data
