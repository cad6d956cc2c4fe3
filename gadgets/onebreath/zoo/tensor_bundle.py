"""Reader of weights in a TensorFlow checkpoint (a "tensor bundle") without TensorFlow.

``name.index`` is a sorted table of names; ``name.data-00000-of-00001`` and the like hold the values. TensorFlow is the
only maintained library that reads them, and is too large to install for one file. Only the output of TensorFlow 2's
``save_weights`` is supported: uncompressed tables, little-endian, unsliced tensors. Anything else is refused. The
layout is that of TensorFlow's ``tensor_bundle.proto`` and the table format of LevelDB.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from onebreath.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

INDEX = ".index"
_VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
_OPTIMISER = ("optimizer/", "keras_api/", "save_counter/")
_SLOT = "/.OPTIMIZER_SLOT/"
_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_TYPES = {1: ("<f4", 4), 2: ("<f8", 8), 19: ("<f2", 2)}
"""Supported types by TensorFlow's number: numpy's name, and bytes per value."""
_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8


def read_bundle(index: Path) -> dict[str, Tensor]:
    """Variables of a model by their attribute path, without those of its optimiser.

    Parameters
    ----------
    index
        The ``.index`` file; files with values are in the same folder.

    Raises
    ------
    ModelError
        If a file is missing, damaged or not supported.
    """
    import torch

    try:
        entries = dict(_table(index.read_bytes()))
        header = _fields(entries.pop(""))
        shards = int(header.get(1, [1])[0])
        if int(header.get(2, [0])[0]) != 0:
            raise ModelError(f"{index} was written on a big-endian machine; save it again on another")
        files = [index.with_suffix(f".data-{shard:05d}-of-{shards:05d}") for shard in range(shards)]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise ModelError(
                f"beside {index} there is no {missing[0]}; a TensorFlow checkpoint is all its files together"
            )
        contents = [file.read_bytes() for file in files]
        arrays = {}
        for key, entry in entries.items():
            if key.endswith(_VARIABLE) and _SLOT not in key and not key.startswith(_OPTIMISER):
                arrays[key.removesuffix(_VARIABLE)] = _tensor(key, _fields(entry), contents)
    except (IndexError, struct.error, UnicodeDecodeError, KeyError, ValueError) as error:
        raise ModelError(f"{index} is no index of a TensorFlow checkpoint, or it is damaged: {error!r}") from error
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def _tensor(key: str, entry: dict[int, list[int | bytes]], contents: list[bytes]) -> np.ndarray:
    import numpy as np

    kind, offset, size = (int(entry.get(field, [0])[0]) for field in (1, 4, 5))
    if kind not in _TYPES or 7 in entry:
        raise ModelError(f"'{key}' is of TensorFlow's type {kind} or in slices; only whole tensors of floats are read")
    name, width = _TYPES[kind]
    dimensions = _fields(_bytes(entry.get(2, [b""])[0])).get(2, [])
    shape = tuple(int(_fields(_bytes(part)).get(1, [0])[0]) for part in dimensions)
    data = contents[int(entry.get(3, [0])[0])][offset : offset + size]
    if len(data) != size or size != math.prod(shape) * width:
        raise ModelError(f"'{key}' has {len(data)} bytes, its shape {shape} needs another number: a file is damaged")
    if _checksum(data) != int(entry[6][0]):
        raise ModelError(f"the numbers of '{key}' do not fit their checksum: a file is damaged")
    return np.frombuffer(data, name).reshape(shape).copy()


def _table(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield names and entries of a sorted table."""
    footer = content[-_FOOTER:]
    if len(footer) != _FOOTER or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("it does not end as a table does")
    position = 0
    handle = []
    for _ in range(4):
        number, position = _varint(footer, position)
        handle.append(number)
    for _, location in _block(content, handle[2], handle[3]):
        offset, after = _varint(location, 0)
        size, _ = _varint(location, after)
        for key, value in _block(content, offset, size):
            yield key.decode(), value


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a block, in which each key shares a prefix with the previous one."""
    block, kind = content[offset : offset + size], content[offset + size]
    if kind != 0:
        raise ValueError("its table is compressed")
    if _checksum(content[offset : offset + size + 1]) != struct.unpack_from("<I", content, offset + size + 1)[0]:
        raise ValueError("a block does not fit its checksum")
    (restarts,) = struct.unpack("<I", block[-4:])
    end, position, key = len(block) - 4 - 4 * restarts, 0, b""
    while position < end:
        shared, position = _varint(block, position)
        rest, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + rest]
        position += rest + length
        yield key, block[position - length : position]


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """Values of a protocol buffer by field number."""
    found: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        value: int | bytes
        if tag & 7 == 0:
            value, position = _varint(message, position)
        elif tag & 7 == 2:
            length, position = _varint(message, position)
            value, position = message[position : position + length], position + length
        elif tag & 7 == 5:
            (value,) = struct.unpack_from("<I", message, position)
            position += 4
        else:
            raise ValueError(f"field of wire type {tag & 7}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise ValueError("found a number, expected a message")


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


def _checksum(data: bytes) -> int:
    """CRC-32C, masked as TensorFlow stores it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()
