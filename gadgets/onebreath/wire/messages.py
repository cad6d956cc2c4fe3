"""The plain messages: acquisition, waveform, image, and the control messages around them.

``read_*`` take a `Stream` positioned behind the message id. ``encode_*`` return the parts of the whole message, checked
and cast before the first byte is sent. Arrays are read straight from the socket, owned by the message and writable.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.external import constants
from gadgetron.external.constants import uint16, uint32, uint64

from onebreath.errors import WireError
from onebreath.wire.framing import Stream, octets
from onebreath.wire.sending import Octets
from onebreath.wire.xml_guard import read_meta

ACQUISITION_HEADER = ctypes.sizeof(ismrmrd.AcquisitionHeader)
IMAGE_HEADER = ctypes.sizeof(ismrmrd.ImageHeader)
WAVEFORM_HEADER = ctypes.sizeof(ismrmrd.WaveformHeader)
FILENAME_LENGTH = 1024

IMAGE_TYPES: dict[int, np.dtype[Any]] = {
    ismrmrd.DATATYPE_USHORT: np.dtype("uint16"),
    ismrmrd.DATATYPE_FLOAT: np.dtype("float32"),
    ismrmrd.DATATYPE_CXFLOAT: np.dtype("complex64"),
}
"""Pixel types that a Gadgetron server takes back from a gadget; others break its stream."""
CLIENT_IMAGE_TYPES: dict[int, np.dtype[Any]] = {
    **IMAGE_TYPES,
    ismrmrd.DATATYPE_SHORT: np.dtype("int16"),
    ismrmrd.DATATYPE_UINT: np.dtype("uint32"),
    ismrmrd.DATATYPE_INT: np.dtype("int32"),
    ismrmrd.DATATYPE_DOUBLE: np.dtype("float64"),
    ismrmrd.DATATYPE_CXDOUBLE: np.dtype("complex128"),
}
"""Pixel types that may be read."""


class ConfigName(str):
    """FILENAME: the name of a configuration on the server."""


class ConfigText(bytes):
    """CONFIG: a configuration as XML, or a gadget's ``<configuration>`` element."""


class HeaderText(bytes):
    """HEADER: the ISMRMRD header as XML."""


class Text(str):
    """TEXT: a line for the person at the client."""


class ErrorText(str):
    """ERROR: the error of a node; the last message on its connection."""


@dataclass(frozen=True)
class Query:
    """QUERY: a question that needs no scan, e.g. ``gadgetron::info``."""

    text: str
    correlation: int = 0


@dataclass(frozen=True)
class Response:
    """RESPONSE: the answer to the query of the same correlation id."""

    text: str
    correlation: int = 0


def ascii_meta(text: str) -> bytes:
    """Meta XML in ASCII; other characters become XML character references, which every reader understands."""
    return text.encode("ascii", "xmlcharrefreplace")


# --- acquisition


def acquisition_body(source: Stream, head: ismrmrd.AcquisitionHeader) -> tuple[int, int, int]:
    """Return channels, samples and trajectory dimensions of an acquisition, if they are believable."""
    channels, samples, dimensions = head.active_channels, head.number_of_samples, head.trajectory_dimensions
    limits = source.limits
    limits.check("active_channels of an acquisition", channels, limits.channels)
    limits.check("size of an acquisition (samples x channels x 8 bytes)", samples * channels * 8, limits.acquisition)
    limits.check("size of a trajectory (samples x dimensions x 4 bytes)", samples * dimensions * 4, limits.acquisition)
    return channels, samples, dimensions


def read_acquisition(source: Stream) -> ismrmrd.Acquisition:
    """Read an acquisition: data (coil, sample) complex64, trajectory (sample, dimension) float32."""
    head = ismrmrd.AcquisitionHeader.from_buffer_copy(source.read(ACQUISITION_HEADER))
    channels, samples, dimensions = acquisition_body(source, head)
    trajectory = source.read_array((samples, dimensions), np.float32)
    return ismrmrd.Acquisition(head, source.read_array((channels, samples), np.complex64), trajectory)


def encode_acquisition(acquisition: ismrmrd.Acquisition) -> list[Octets]:
    """Encode an acquisition; data of another complex type are cast to complex64.

    Raises
    ------
    WireError
        If the arrays do not have the shapes that the header announces.
    """
    head = acquisition._head  # getHead() makes a deep copy, which costs more than the sending
    data, trajectory = acquisition.data, acquisition.traj
    if data.shape != (head.active_channels, head.number_of_samples):
        announced = f"({head.active_channels}, {head.number_of_samples})"
        raise WireError(f"an acquisition's data have shape {data.shape}, but its header says {announced}")
    if trajectory.shape != (head.number_of_samples, head.trajectory_dimensions):
        announced = f"({head.number_of_samples}, {head.trajectory_dimensions})"
        raise WireError(f"an acquisition's trajectory has shape {trajectory.shape}, but its header says {announced}")
    start = uint16.pack(constants.GADGET_MESSAGE_ISMRMRD_ACQUISITION) + bytes(head)
    return [start, octets(trajectory, np.float32), octets(data, np.complex64)]


# --- waveform


def read_waveform(source: Stream) -> ismrmrd.Waveform:
    """Read a waveform: data (channel, sample) uint32."""
    return read_waveform_data(source, source.read(WAVEFORM_HEADER))


def read_waveform_data(source: Stream, head: bytes) -> ismrmrd.Waveform:
    """Read the samples that belong to a waveform header."""
    parsed = ismrmrd.WaveformHeader.from_buffer_copy(head)
    source.limits.check(
        "size of a waveform (samples x channels x 4 bytes)",
        parsed.number_of_samples * parsed.channels * 4,
        source.limits.acquisition,
    )
    waveform = ismrmrd.Waveform(head)
    waveform.data[:] = source.read_array(waveform.data.shape, np.uint32)
    return waveform


def waveform_parts(waveform: ismrmrd.Waveform) -> list[Octets]:
    """Encode a waveform's header and samples, without a message id."""
    head = waveform._head
    if waveform.data.shape != (head.channels, head.number_of_samples):
        announced = f"({head.channels}, {head.number_of_samples})"
        raise WireError(f"a waveform's data have shape {waveform.data.shape}, but its header says {announced}")
    return [bytes(head), octets(waveform.data, np.uint32)]


def encode_waveform(waveform: ismrmrd.Waveform) -> list[Octets]:
    """Encode a waveform; raises WireError if data and header disagree."""
    return [uint16.pack(constants.GADGET_MESSAGE_ISMRMRD_WAVEFORM), *waveform_parts(waveform)]


# --- image


def read_image(source: Stream) -> ismrmrd.Image:
    """Read an image: data (channel, z, y, x) in the type its header says."""
    head = ismrmrd.ImageHeader.from_buffer_copy(source.read(IMAGE_HEADER))
    if head.data_type not in CLIENT_IMAGE_TYPES:
        raise WireError(f"an image has the unknown data_type {head.data_type}")
    meta = read_meta(source.read_text(uint64, "an image's meta").decode("utf-8"), "an image's meta")
    dtype = CLIENT_IMAGE_TYPES[head.data_type]
    shape = (head.channels, *reversed(list(head.matrix_size)))
    size = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
    source.limits.check(f"size of an image of shape {shape}", size, source.limits.array)
    return ismrmrd.Image(head, meta=meta, data=source.read_array(shape, dtype))


def encode_image(image: ismrmrd.Image) -> list[Octets]:
    """Encode an image; its meta is sent as ASCII.

    Raises
    ------
    WireError
        If the pixel type is none that Gadgetron takes, or data and header disagree.
    """
    head = ismrmrd.ImageHeader.from_buffer_copy(image._head)
    dtype = IMAGE_TYPES.get(head.data_type)
    if dtype is None or image.data.dtype != dtype:
        allowed = ", ".join(str(known) for known in IMAGE_TYPES.values())
        raise WireError(f"an image of {image.data.dtype} pixels cannot be sent; Gadgetron takes {allowed}")
    if image.data.shape != (head.channels, *reversed(list(head.matrix_size))):
        raise WireError(f"an image's data have shape {image.data.shape}, but its matrix is {list(head.matrix_size)}")
    meta = ascii_meta(image.attribute_string)
    head.attribute_string_len = len(meta)
    start = uint16.pack(constants.GADGET_MESSAGE_ISMRMRD_IMAGE) + bytes(head) + uint64.pack(len(meta)) + meta
    return [start, octets(image.data, dtype)]


# --- control messages


def read_filename(source: Stream) -> ConfigName:
    """Read the name of a configuration from its 1024 bytes."""
    name = source.read(FILENAME_LENGTH).split(b"\0", 1)[0]
    return ConfigName(name.decode("utf-8"))


def read_query(source: Stream) -> Query:
    """Read a query: reserved, correlation id, text; all numbers uint64."""
    source.unpack(uint64)
    correlation = source.unpack(uint64)
    return Query(source.read_text(uint64, "a query").decode("utf-8"), correlation)


def read_response(source: Stream) -> Response:
    """Read the answer to a query: correlation id, text."""
    correlation = source.unpack(uint64)
    return Response(source.read_text(uint64, "a response").decode("utf-8"), correlation)


def _words(encoded: bytes) -> str:
    return encoded.decode("utf-8", "replace")


CONTROL_READERS: dict[int, Any] = {
    constants.GADGET_MESSAGE_FILENAME: read_filename,
    constants.GADGET_MESSAGE_CONFIG: lambda source: ConfigText(
        source.read_text(uint32, "a configuration", source.limits.config)
    ),
    constants.GADGET_MESSAGE_HEADER: lambda source: HeaderText(
        source.read_text(uint32, "the header", source.limits.header)
    ),
    constants.GADGET_MESSAGE_TEXT: lambda source: Text(_words(source.read_text(uint32, "a text"))),
    constants.GADGET_MESSAGE_ERROR: lambda source: ErrorText(_words(source.read_text(uint64, "an error"))),
    constants.GADGET_MESSAGE_QUERY: read_query,
    constants.GADGET_MESSAGE_RESPONSE: read_response,
}


def encode_filename(name: str) -> list[Octets]:
    """Encode the name of a configuration; raises WireError if it is longer than its field."""
    encoded = name.encode("utf-8")
    if len(encoded) >= FILENAME_LENGTH:
        raise WireError(f"the name of a configuration may have {FILENAME_LENGTH - 1} bytes, this has {len(encoded)}")
    return [uint16.pack(constants.GADGET_MESSAGE_FILENAME), encoded.ljust(FILENAME_LENGTH, b"\0")]


def _text_message(identifier: int, length: struct.Struct, text: bytes) -> list[Octets]:
    return [uint16.pack(identifier), length.pack(len(text)), text]


def encode_control(message: Any) -> list[Octets] | None:
    """Encode a control message; return None for any other."""
    match message:
        case ConfigName():
            return encode_filename(message)
        case ConfigText():
            return _text_message(constants.GADGET_MESSAGE_CONFIG, uint32, message)
        case HeaderText():
            return _text_message(constants.GADGET_MESSAGE_HEADER, uint32, message)
        case Text():
            return _text_message(constants.GADGET_MESSAGE_TEXT, uint32, message.encode("utf-8", "replace"))
        case ErrorText():
            return _text_message(constants.GADGET_MESSAGE_ERROR, uint64, message.encode("utf-8", "replace"))
        case Query():
            numbers = uint64.pack(0) + uint64.pack(message.correlation)
            return [uint16.pack(constants.GADGET_MESSAGE_QUERY) + numbers, *_text(message.text)]
        case Response():
            number = uint64.pack(message.correlation)
            return [uint16.pack(constants.GADGET_MESSAGE_RESPONSE) + number, *_text(message.text)]
    return None


def _text(text: str) -> list[Octets]:
    encoded = text.encode("utf-8")
    return [uint64.pack(len(encoded)), encoded]
