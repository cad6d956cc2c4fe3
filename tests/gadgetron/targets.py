"""A gadget that keeps what a server sends it, and sends back one image whose every fact is known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np

FOLDER = "RECORD_FOLDER"
META = {"Text": "a & b < c", "Number": "0.1", "List": ["1", "2"], "Empty": "", "Blank": " x "}


def known_image() -> ismrmrd.Image:
    """An image with another value in each field of its header."""
    image = ismrmrd.Image.from_array(np.arange(24, dtype=np.float32).reshape(4, 6), transpose=False)
    head = image.getHead()
    for number, (name, *_) in enumerate(head._fields_, 1):
        value = getattr(head, name)
        if name in ("version", "data_type", "matrix_size", "channels", "attribute_string_len"):
            continue
        if isinstance(value, int):
            setattr(head, name, number)
        else:
            for index in range(len(value)):
                value[index] = number + index / 4 if name not in ("physiology_time_stamp", "user_int") else number
    head.flags, head.image_type, head.image_series_index = 5, ismrmrd.IMTYPE_REAL, 7
    image.setHead(head)
    image.meta = ismrmrd.Meta(META)
    return image


def record(connection: Any) -> None:
    """Keep header and lines; the last message is the image."""
    folder = Path(os.environ[FOLDER])
    (folder / "header.xml").write_bytes(connection.raw_bytes.header)
    heads, data = b"", b""
    for message in connection:
        if isinstance(message, ismrmrd.Acquisition):
            heads += bytes(message.getHead())
            data += message.data.tobytes()
    (folder / "heads").write_bytes(heads)
    (folder / "data").write_bytes(data)
    connection.send(known_image())
