"""Lengths that a peer announces: refused above the limit, and costing no memory before the bytes are there."""

from __future__ import annotations

import resource
import struct

import ismrmrd
import numpy as np
import pytest

from onebreath.budget import Budget, counted
from onebreath.errors import ConnectionLost, ScanError, WireError
from onebreath.wire.channel import Channel
from onebreath.wire.limits import Limits
from tests.fuzz.tape import Tape
from tests.host.wiring import acquisition, encoded, image, waveform


def waveform_header(channels: int, samples: int) -> bytes:
    head = ismrmrd.WaveformHeader()
    head.channels, head.number_of_samples = channels, samples
    return bytes(head)


def image_header(side: int) -> bytes:
    head = ismrmrd.ImageHeader()
    head.matrix_size[:] = (side, side, 1)
    head.channels, head.data_type = 1, ismrmrd.DATATYPE_CXFLOAT
    return bytes(head)


def test_announced_sizes_cost_no_memory() -> None:
    claims = {
        "text": struct.pack("<HI", 3, 16 << 20),
        "waveform": struct.pack("<H", 1026) + waveform_header(1000, 60000),
        "image": struct.pack("<H", 1022) + image_header(50000) + struct.pack("<Q", 0),
        "k-space": struct.pack("<HQQ7Q", 1023, 1, 7, 60000, 60000, 1, 1, 1, 1, 1),
        "headers": struct.pack("<HQQ7QbbQ5Q", 1023, 1, 7, *[1] * 7, 0, 0, 5, 1 << 22, 1, 1, 1, 1)[:-50] + bytes(8),
        "metas": struct.pack("<HQ7QQ3Q", 1024, 7, *[0] * 7, 3, 0, 1, 1) + struct.pack("<Q", 1 << 22),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for claim in claims.values():
        for _ in range(3):
            with pytest.raises(WireError):
                Channel(Tape(claim)).read()  # type: ignore[arg-type]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize(("channels", "samples"), [(65535, 65535), (65535, 2000), (2000, 65535)])
def test_absurd_waveforms_are_refused_before_memory_is_asked_for(channels: int, samples: int) -> None:
    head = bytearray(waveform_header(channels, samples))
    with pytest.raises(WireError):
        Channel(Tape(struct.pack("<H", 1026) + bytes(head))).read()  # type: ignore[arg-type]


def test_a_message_is_no_longer_than_its_limit() -> None:
    """Metas are each within their limit, and together without end."""
    text = b"x" * 60_000
    metas = struct.pack("<HQ7QQ3Q", 1024, 7, *[0] * 7, 3, 0, 1, 1) + struct.pack("<Q", 1 << 20)
    stream = metas + (struct.pack("<Q", len(text)) + text) * 100
    with pytest.raises(ConnectionLost):
        Channel(Tape(stream)).read()  # type: ignore[arg-type]
    with pytest.raises(WireError, match=r"the size in bytes of IMAGE_ARRAY is .* above the limit"):
        Channel(Tape(stream), Limits(message=1 << 20)).read()  # type: ignore[arg-type]


def test_the_limit_of_a_message_counts_anew_for_each() -> None:
    stream = encoded(*[acquisition(n, 16, 2000) for n in range(20)], waveform(1)) + b"\4\0"
    assert len(list(Channel(Tape(stream), Limits(message=300_000)))) == 21  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "message", [acquisition(samples=2000), image(shape=(2, 1, 100, 50)), image(dtype=np.uint16, shape=(2, 1, 100, 100))]
)
def test_a_large_message_asks_for_its_memory_before_it_is_read(message: ismrmrd.Acquisition | ismrmrd.Image) -> None:
    size = message.data.nbytes
    data = encoded(message)
    with counted(Budget(lambda held: held <= size)):
        _, came = Channel(Tape(data)).read()  # type: ignore[arg-type]
        assert (came.data == message.data).all()
    announced = Tape(data[:-size])
    with counted(Budget(lambda held: held < size)), pytest.raises(ScanError, match="more memory than its header"):
        Channel(announced).read()  # type: ignore[arg-type]
