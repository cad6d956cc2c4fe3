"""The nested messages: ReconData, ImageArray and AcquisitionBucket.

Same rules as in `messages`. Arrays are complex64 or float32 in Fortran order, `(RO, E1, E2, CHA, N, S, LOC)`; they are
owned by the message and writable.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.external import constants
from gadgetron.external.constants import uint16, uint64
from gadgetron.types import AcquisitionBucket, ImageArray, ReconData
from gadgetron.types.acquisition_bucket import AcquisitionBucketStats, bucket_meta
from gadgetron.types.recon_data import ReconBit, ReconBuffer, SamplingDescription

from onebreath.errors import WireError
from onebreath.wire.framing import Stream, octets
from onebreath.wire.messages import (
    ACQUISITION_HEADER,
    WAVEFORM_HEADER,
    acquisition_body,
    ascii_meta,
    read_waveform,
    read_waveform_data,
    waveform_parts,
)
from onebreath.wire.sending import Octets
from onebreath.wire.xml_guard import plain_meta

MAX_DIMENSIONS = 32
STATISTICS = 9  # counters in an AcquisitionBucketStats

BITS, STATS, WAVEFORMS = 1 << 12, 64, 1 << 16  # parts of one message; each costs more than its bytes
VALUES = 1 << 18  # of all counters in the statistics of a bucket together


def read_count(source: Stream, name: str) -> int:
    """Read how many items follow."""
    return source.limits.check(f"the number of {name}", source.unpack(uint64), source.limits.items)


def read_shape(source: Stream, name: str) -> tuple[int, ...]:
    """Read the dimensions of an array."""
    count = source.limits.check(f"the number of dimensions of {name}", source.unpack(uint64), MAX_DIMENSIONS)
    return tuple(source.read_array((count,), np.uint64).tolist())


def read_array(source: Stream, dtype: Any, name: str) -> np.ndarray:
    """Read a Fortran-ordered array with its dimensions."""
    shape = read_shape(source, name)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    source.limits.check(f"the size in bytes of {name} of shape {shape}", size, source.limits.array)
    return source.read_array(shape, dtype, order="F")


def read_headers(source: Stream, header: Any, name: str) -> np.ndarray:
    """Read an object array of headers."""
    shape = read_shape(source, name)
    count = source.limits.check(f"the number of {name} of shape {shape}", math.prod(shape), source.limits.items)
    size = ctypes.sizeof(header)
    # The array is made when the headers are here: what is only announced costs no memory.
    heads = [header.from_buffer_copy(source.read(size)) for _ in range(count)]
    flat = np.empty(count, dtype=object)
    for index, head in enumerate(heads):
        flat[index] = head
    return flat.reshape(shape, order="F")


def read_optional(source: Stream, read: Callable[..., Any], *args: Any) -> Any:
    """Read a part that may be missing: one byte says whether it follows."""
    present = source.read(1)[0]
    if present > 1:
        raise WireError(f"{source.reading}: the byte that marks an optional part is {present}, not 0 or 1")
    return read(source, *args) if present else None


def encode_shape(shape: tuple[int, ...]) -> bytes:
    """Encode the dimensions of an array."""
    return np.array([len(shape), *shape], dtype="<u8").tobytes()


def encode_array(array: np.ndarray, dtype: Any) -> list[Octets]:
    """Encode an array with its dimensions."""
    return [encode_shape(array.shape), octets(array, dtype, order="F")]


def encode_headers(headers: np.ndarray) -> list[Octets]:
    """Encode an object array of headers."""
    return [encode_shape(headers.shape), b"".join(bytes(head) for head in headers.ravel(order="F"))]


def encode_optional(value: Any, encode: Callable[..., list[Octets]], *args: Any) -> list[Octets]:
    """Encode a part that may be None."""
    return [b"\0"] if value is None else [b"\1", *encode(value, *args)]


# --- ReconData


def read_recon_data(source: Stream) -> ReconData:
    """Read a ReconData: bits of data and, optionally, reference."""
    bits = []
    for _ in range(source.limits.check("the number of bits", read_count(source, "bits of a ReconData"), BITS)):
        buffer = read_recon_buffer(source)
        bits.append(ReconBit(buffer, read_optional(source, read_recon_buffer)))
    return ReconData(bits)


def read_recon_buffer(source: Stream) -> ReconBuffer:
    """Read one buffer: data, trajectory, density, headers (E1, E2, N, S, LOC), sampling."""
    return ReconBuffer(
        read_array(source, np.complex64, "the data of a ReconData"),
        read_optional(source, read_array, np.float32, "the trajectory of a ReconData"),
        read_optional(source, read_array, np.float32, "the density of a ReconData"),
        read_headers(source, ismrmrd.AcquisitionHeader, "headers of a ReconData"),
        SamplingDescription.from_buffer_copy(source.read(ctypes.sizeof(SamplingDescription))),
    )


def encode_recon_data(recon_data: ReconData) -> list[Octets]:
    """Encode a ReconData; data of another complex type are cast to complex64."""
    parts: list[Octets] = [uint16.pack(constants.GADGET_MESSAGE_RECON_DATA) + uint64.pack(len(recon_data.bits))]
    for bit in recon_data.bits:
        parts += encode_recon_buffer(bit.data)
        parts += encode_optional(bit.ref, encode_recon_buffer)
    return parts


def encode_recon_buffer(buffer: ReconBuffer) -> list[Octets]:
    """Encode one buffer of a ReconData."""
    return [
        *encode_array(buffer.data, np.complex64),
        *encode_optional(buffer.trajectory, encode_array, np.float32),
        *encode_optional(buffer.density, encode_array, np.float32),
        *encode_headers(buffer.headers),
        bytes(buffer.sampling),
    ]


# --- ImageArray


def read_image_array(source: Stream) -> ImageArray:
    """Read an ImageArray: data, headers (N, S, LOC), meta texts, waveforms, acquisition headers."""
    return ImageArray(
        data=read_array(source, np.complex64, "the data of an ImageArray"),
        headers=read_headers(source, ismrmrd.ImageHeader, "headers of an ImageArray"),
        meta=[
            plain_meta(source.read_text(uint64, "a meta of an ImageArray").decode("utf-8"), "a meta of an ImageArray")
            for _ in range(read_count(source, "metas of an ImageArray"))
        ],
        waveform=read_optional(source, _read_waveforms),
        acq_headers=read_optional(
            source, read_headers, ismrmrd.AcquisitionHeader, "acquisition headers of an ImageArray"
        ),
    )


def _read_waveforms(source: Stream) -> list[ismrmrd.Waveform]:
    count = read_count(source, "waveforms of an ImageArray")
    source.limits.check("the number of waveforms of an ImageArray", count, WAVEFORMS)
    return [read_waveform(source) for _ in range(count)]


def encode_image_array(images: ImageArray) -> list[Octets]:
    """Encode an ImageArray; data of another complex type are cast to complex64, metas go out as ASCII."""
    parts: list[Octets] = [uint16.pack(constants.GADGET_MESSAGE_IMAGE_ARRAY)]
    parts += encode_array(images.data, np.complex64)
    parts += encode_headers(images.headers)
    parts.append(uint64.pack(len(images.meta)))
    for text in images.meta:
        meta = ascii_meta(text)
        parts += [uint64.pack(len(meta)), meta]
    parts += encode_optional(images.waveform, _encode_waveforms)
    parts += encode_optional(images.acq_headers, encode_headers)
    return parts


def _encode_waveforms(waveforms: list[ismrmrd.Waveform]) -> list[Octets]:
    parts: list[Octets] = [uint64.pack(len(waveforms))]
    for waveform in waveforms:
        parts += waveform_parts(waveform)
    return parts


# --- AcquisitionBucket


def read_bucket(source: Stream) -> AcquisitionBucket:
    """Read an AcquisitionBucket, waveforms included; a gadget cannot send one back."""
    meta = bucket_meta.from_buffer_copy(source.read(ctypes.sizeof(bucket_meta)))
    return AcquisitionBucket(
        _read_bundle(source, meta.data, "data"),
        _read_statistics(source),
        _read_bundle(source, meta.reference, "reference"),
        _read_statistics(source),
        _read_bucket_waveforms(source, meta.waveforms),
    )


def _read_bundle(source: Stream, sizes: Any, name: str) -> list[ismrmrd.Acquisition]:
    count = source.limits.check(f"the number of {name} acquisitions in a bucket", sizes.count, source.limits.items)
    if sizes.header_bytes != count * ACQUISITION_HEADER:
        raise WireError(f"a bucket announces {sizes.header_bytes} bytes for the headers of {count} acquisitions")
    heads = [ismrmrd.AcquisitionHeader.from_buffer_copy(source.read(ACQUISITION_HEADER)) for _ in range(count)]
    bodies = [acquisition_body(source, head) for head in heads]
    trajectories = [source.read_array((samples, dims), np.float32) for _, samples, dims in bodies]
    data = [source.read_array((channels, samples), np.complex64) for channels, samples, _ in bodies]
    return [ismrmrd.Acquisition(*parts) for parts in zip(heads, data, trajectories, strict=True)]


def _read_statistics(source: Stream) -> list[AcquisitionBucketStats]:
    count = source.limits.check(
        "the number of statistics of a bucket", read_count(source, "statistics of a bucket"), STATS
    )
    left = VALUES
    found = []
    for _ in range(count):
        found.append(_read_counters(source, left))
        left -= sum(len(values) for values in vars(found[-1]).values())
    return found


def _read_counters(source: Stream, most: int) -> AcquisitionBucketStats:
    counters = []
    for _ in range(STATISTICS):
        count = source.limits.check("the number of values of a counter", source.unpack(uint64), min(1 << 16, most))
        most -= count
        counters.append(set(source.read_array((count,), np.uint16).tolist()))
    return AcquisitionBucketStats(*counters)


def _read_bucket_waveforms(source: Stream, sizes: Any) -> list[ismrmrd.Waveform]:
    count = source.limits.check("the number of waveforms in a bucket", sizes.count, source.limits.items)
    if sizes.header_bytes != count * WAVEFORM_HEADER:
        raise WireError(f"a bucket announces {sizes.header_bytes} bytes for the headers of {count} waveforms")
    heads = [source.read(WAVEFORM_HEADER) for _ in range(count)]
    return [read_waveform_data(source, head) for head in heads]
