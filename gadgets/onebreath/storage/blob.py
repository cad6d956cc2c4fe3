"""SFNDAM, Gadgetron's container for stored arrays: one array and a JSON document.

Layout (little endian): ``SFNDAM``, uint32 version 1, uint32 data type (7: complex64), uint32 number of dimensions,
uint64 per dimension, uint64 length of the JSON, the array in C order, the JSON.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.storage.base import StorageError

MAGIC = b"SFNDAM" + struct.pack("<I", 1)
COMPLEX64 = 7
MAX_DIMENSIONS = 8
DIGEST = "onebreath_sha256"


def pack(array: NDArray[np.complex64], facts: dict[str, Any]) -> bytes:
    """Pack a complex64 array of any shape with a JSON document, and a digest of both in that."""
    array = np.ascontiguousarray(array, "<c8")
    text = json.dumps({**facts, DIGEST: _digest(array, facts)}).encode()
    head = struct.pack(f"<II{array.ndim}QQ", COMPLEX64, array.ndim, *array.shape, len(text))
    return MAGIC + head + array.tobytes() + text


def _digest(array: NDArray[np.complex64], facts: dict[str, Any]) -> str:
    described = json.dumps([array.shape, facts], sort_keys=True).encode()
    return hashlib.sha256(array.tobytes() + described).hexdigest()


def unpack(content: bytes) -> tuple[NDArray[np.complex64], dict[str, Any]]:
    """Read what `pack`, or Gadgetron, packed.

    Raises
    ------
    StorageError
        If the content is cut, holds another type of array, or is something else.
    """
    try:
        if content[: len(MAGIC)] != MAGIC:
            raise ValueError("it does not begin like an array")
        kind, dimensions = struct.unpack_from("<II", content, len(MAGIC))
        if kind != COMPLEX64 or dimensions > MAX_DIMENSIONS:
            raise ValueError(f"data type {kind} with {dimensions} dimensions is not a complex64 array")
        *shape, length = struct.unpack_from(f"<{dimensions}QQ", content, len(MAGIC) + 8)
        begin = len(MAGIC) + 16 + 8 * dimensions
        size = 8 * math.prod(shape)
        if begin + size + length != len(content):
            raise ValueError(f"{len(content)} bytes are not the {begin + size + length} that it announces")
        array = np.frombuffer(content, "<c8", size // 8, begin).reshape(shape).astype(np.complex64)
        facts = json.loads(content[begin + size :])
        if not isinstance(facts, dict):
            raise ValueError("its description is no JSON object")
        digest = facts.pop(DIGEST, None)  # Gadgetron writes none
        if digest is not None and digest != _digest(array, facts):
            raise ValueError("it is damaged: its digest does not fit its content")
    except (ValueError, struct.error, RecursionError) as error:
        raise StorageError(f"the stored array cannot be read: {error}") from error
    return array, facts
