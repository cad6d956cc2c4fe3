"""Stored results of calibration: coil maps and kernels, for later scans with the same calibration lines.

They are stored under a digest of everything they depend on: the lines as they were used (so after whitening, in this
order of channels, of this matrix), all settings, and the version of this software. A scan that finds such an array
would have computed the very same one; one that differs in anything computes its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath import __version__
from onebreath.mrd.header import ScanHeader
from onebreath.storage.base import StorageError, Store, Tags, tags_of
from onebreath.storage.blob import pack, unpack
from onebreath.storage.find import open_store

log = logging.getLogger("onebreath.storage")


class Derived:
    """Computes arrays for one scan, or finds them in storage; a `onebreath.methods.base.Derive`.

    Parameters
    ----------
    header
        The scan's header; it names subject, device and session.
    """

    def __init__(self, header: ScanHeader) -> None:
        self.header = header
        self._facts: dict[str, str] = {}
        self._trouble = ""

    def __call__(
        self,
        name: str,
        inputs: Sequence[NDArray[np.complex64]],
        settings: Mapping[str, Any],
        shape: tuple[int, ...],
        make: Callable[[], NDArray[np.complex64]],
    ) -> NDArray[np.complex64]:
        """Find an array, or compute and store it; errors of the storage do not end the scan.

        Parameters
        ----------
        name
            What it is, for example ``coil_maps``; a-z and _.
        inputs, settings
            All that it depends on; `settings` as JSON has them.
        shape
            Of the array.
        make
            Computes it.
        """
        tags = tags_of(self.header, f"{name}_{digest(inputs, settings)}", self._measurement())
        found, store = (None, None) if self._trouble or tags is None else self._find(tags, shape)
        if found is not None:
            self._facts[f"{name}_storage"] = "found"
            return found
        made = make()
        self._facts[f"{name}_storage"] = f"computed; {self._keep(store, tags, made)}"
        return made

    def pop_facts(self) -> dict[str, str]:
        """Return what happened to each array since the last call, for a note."""
        facts, self._facts = self._facts, {}
        return facts

    def _measurement(self) -> str:
        """Return an id of a scan, in place of a subject that the header does not state."""
        return self.header.measurement_id or self.header.dependency("calibration") or ""

    def _find(self, tags: Tags, shape: tuple[int, ...]) -> tuple[NDArray[np.complex64] | None, Store | None]:
        """Find an array; also return the store, or None if there is none or it does not answer."""
        try:
            store = open_store()
            # The digest says all: whichever scan of the subject computed it, it is the same.
            content = None if store is None else store.latest(Tags(tags.subject, name=tags.name))
            found = None if content is None else _checked(content, shape)
        except StorageError as error:
            log.warning("nothing is taken from storage for this scan any more: %s", error)
            self._trouble = error.told
            return None, None
        return found, store

    def _keep(self, store: Store | None, tags: Tags | None, made: NDArray[np.complex64]) -> str:
        """Store an array; return a text about the outcome."""
        if store is None or tags is None:
            return f"not kept: {self._trouble or 'storage is switched off'}"
        try:
            store.put(tags, pack(made, {}))
        except StorageError as error:
            log.warning("%s is not kept for later scans: %s", tags.name, error)
            self._trouble = error.told
            return f"not kept: {error.told}"
        return f"kept in the {store.kind}"


def digest(inputs: Sequence[NDArray[np.complex64]], settings: Mapping[str, Any]) -> str:
    """Digest of what an array depends on, 32 hexadecimal digits."""
    shapes = [[list(one.shape), str(one.dtype)] for one in inputs]
    found = hashlib.sha256(json.dumps([__version__, dict(settings), shapes], sort_keys=True).encode())
    for one in inputs:
        found.update(np.ascontiguousarray(one).data)
    return found.hexdigest()[:32]


def _checked(content: bytes, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """Unpack an array, which must have this shape and be finite."""
    array, _ = unpack(content)
    if array.shape != shape or not np.isfinite(array).all():
        raise StorageError(f"a stored array is damaged: its shape is {array.shape}, not {shape}, or it is not finite")
    return array
