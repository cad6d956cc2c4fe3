"""Sockets, messages and recorded streams for the tests of the host."""

import lzma
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.types import ImageArray, ReconData
from gadgetron.types.recon_data import ReconBit, ReconBuffer, SamplingDescription

HEADER = b"""<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
 <encoding>
  <encodedSpace><matrixSize><x>16</x><y>8</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>300</x><y>300</y><z>8</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>16</x><y>8</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>300</x><y>300</y><z>8</z></fieldOfView_mm></reconSpace>
  <encodingLimits/><trajectory>cartesian</trajectory>
 </encoding>
</ismrmrdHeader>"""
CLOSE = struct.pack("<H", 4)


def recorded(shared: Path, name: str) -> bytes:
    """Bytes of a recorded stream, from CONFIG to CLOSE."""
    return lzma.open(shared / "gadgetron" / "streams" / f"{name}.bin.xz").read()


def start(config: bytes = b"", header: bytes = HEADER) -> bytes:
    """CONFIG and HEADER as the server sends them to a gadget."""
    return b"".join(struct.pack("<HI", mid, len(text)) + text for mid, text in ((2, config), (3, header)))


def acquisition(line: int = 0, channels: int = 4, samples: int = 16, dimensions: int = 0) -> ismrmrd.Acquisition:
    """An acquisition with different numbers everywhere."""
    rng = np.random.default_rng(line)
    data = (rng.standard_normal((channels, samples)) + 1j * rng.standard_normal((channels, samples))).astype("c8")
    trajectory = rng.standard_normal((samples, dimensions)).astype("f4")
    made = ismrmrd.Acquisition.from_array(data, trajectory, scan_counter=line, acquisition_time_stamp=10 * line)
    made.idx.kspace_encode_step_1 = line
    return made


def waveform(stamp: int = 0, channels: int = 2, samples: int = 7) -> ismrmrd.Waveform:
    """A waveform with different numbers everywhere."""
    data = np.arange(channels * samples, dtype=np.uint32).reshape(channels, samples) + stamp
    return ismrmrd.Waveform.from_array(data, time_stamp=stamp, waveform_id=1)


def image(
    series: int = 1, dtype: Any = np.float32, shape: tuple[int, ...] = (1, 1, 6, 5), **meta: str
) -> ismrmrd.Image:
    """An image (channel, z, y, x)."""
    head = ismrmrd.ImageHeader()
    head.version, head.image_series_index, head.channels = 1, series, shape[0]
    head.matrix_size[:] = shape[:0:-1]
    head.data_type = {np.uint16: 1, np.float32: 5, np.complex64: 7, np.int16: 2}[dtype]
    made = ismrmrd.Image(head)
    made.data[:] = np.arange(made.data.size).reshape(shape)
    made.meta = meta
    return made


def image_array(waveforms: list[ismrmrd.Waveform] | None = None, *meta: str) -> ImageArray:
    """An ImageArray of two frames."""
    headers = np.empty((2, 1, 1), dtype=object)
    for place, series in enumerate((1, 2)):
        headers[place, 0, 0] = image(series).getHead()
    data = np.arange(60).reshape(6, 5, 1, 1, 2, 1, 1).astype(np.complex64)
    return ImageArray(data=np.asfortranarray(data), headers=headers, meta=list(meta), waveform=waveforms)


def recon_data(dtype: Any = np.complex64) -> ReconData:
    """A ReconData of one bit without reference."""
    headers = np.empty((3, 1, 2, 1, 1), dtype=object)
    for index in np.ndindex(headers.shape):
        headers[index] = acquisition(index[0] + 10 * index[2]).getHead()
    data = np.arange(4 * 3 * 2 * 2).reshape(4, 3, 1, 2, 2, 1, 1).astype(dtype)
    return ReconData([ReconBit(ReconBuffer(data, None, None, headers, SamplingDescription()))])


@contextmanager
def pair(tcp: bool = False) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    if tcp:
        with socket.create_server(("127.0.0.1", 0)) as server:
            one = socket.create_connection(server.getsockname())
            two, _ = server.accept()
    else:
        one, two = socket.socketpair()
    try:
        yield one, two
    finally:
        one.close()
        two.close()


@contextmanager
def fed(data: bytes) -> Iterator[socket.socket]:
    """A socket on which `data` arrive, followed by the end of the stream."""
    with pair() as (ours, theirs):

        def feed() -> None:
            with suppress(OSError):
                theirs.sendall(data)
                theirs.shutdown(socket.SHUT_WR)

        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            yield ours
        finally:
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
            feeder.join(60)
            assert not feeder.is_alive()


def received(sock: socket.socket) -> bytes:
    """Everything that arrives until the other side closes."""
    sock.settimeout(10)
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def encoded(*messages: Any) -> bytes:
    """Messages as the package under test puts them on the wire."""
    from onebreath.wire.channel import encode

    return b"".join(bytes(part) for message in messages for part in encode(message))
