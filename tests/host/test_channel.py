"""Messages on the wire: what goes in comes out, and what is broken is refused."""

import struct
import threading
import time

import ismrmrd
import numpy as np
import pytest
from gadgetron.types import AcquisitionBucket

from onebreath.errors import ConnectionLost, OnebreathError, WireError
from onebreath.wire.channel import Channel, encode
from onebreath.wire.client_channel import ClientChannel
from onebreath.wire.limits import Limits
from onebreath.wire.messages import ConfigName, ConfigText, ErrorText, HeaderText, Query, Response, Text
from tests.host.wiring import (
    CLOSE,
    acquisition,
    encoded,
    fed,
    image,
    image_array,
    pair,
    received,
    recon_data,
    recorded,
    waveform,
)

STREAMS = [
    "siemens_acquisitions",
    "siemens_acquisitions_whitened",
    "siemens_recon_data",
    "siemens_recon_data_ref",
    "siemens_image_array",
]
CONTROL = [
    ConfigName("Onebreath/cine.xml"),
    ConfigText(b"<configuration/>"),
    HeaderText(b"<ismrmrdHeader/>"),
    Text("all is well: Müller"),
    Query("gadgetron::info", 7),
    Response("Version", 1 << 40),
    ErrorText("no kernel"),
]


def messages_of(data: bytes) -> list:
    with fed(data) as sock:
        return list(Channel(sock))


@pytest.mark.parametrize("name", STREAMS)
def test_recorded_stream_is_written_back_byte_by_byte(shared, name):
    data = recorded(shared, name)
    assert encoded(*messages_of(data)) + CLOSE == data


def test_recorded_bucket_holds_acquisitions_and_waveforms(shared):
    (bucket,) = messages_of(recorded(shared, "shepp_bucket_waveforms"))[2:]
    assert isinstance(bucket, AcquisitionBucket)
    assert len(bucket.data) == 128
    assert bucket.data[0].data.shape == (8, 128)
    assert len(bucket.waveforms) == 20
    assert bucket.waveforms[1].data.shape == (2, 5)
    assert bucket.datastats[0].kspace_encode_step_1 == set(range(128))


def test_recorded_bucket_equals_its_acquisitions(shared):
    (bucket,) = messages_of(recorded(shared, "siemens_bucket"))[2:]
    lines = messages_of(recorded(shared, "siemens_acquisitions_whitened"))[2:]
    found = {line.scan_counter: line for line in bucket.data + bucket.ref}
    assert len(found) == len(lines)
    assert found[lines[5].scan_counter].data.shape == lines[5].data.shape
    assert set(found) == {line.scan_counter for line in lines}


@pytest.mark.parametrize("message", CONTROL, ids=lambda message: type(message).__name__)
def test_control_message_comes_back(message):
    (back,) = messages_of(encoded(message) + CLOSE)
    assert back == message
    assert type(back) is type(message)


def test_data_messages_come_back_writable():
    sent = [acquisition(3, dimensions=2), waveform(5), image(meta="Müller"), image_array([waveform(9)], "<a>ü</a>")]
    back = messages_of(encoded(*sent) + CLOSE)
    assert back[0] == sent[0]
    assert back[1] == sent[1]
    np.testing.assert_array_equal(back[2].data, sent[2].data)
    assert back[2].meta["meta"] == "Müller"
    assert back[3].meta == ["<a>&#252;</a>"]
    assert back[3].waveform == [waveform(9)]
    np.testing.assert_array_equal(back[3].data, sent[3].data)
    for message in back:
        assert message.data.flags.writeable


def test_double_precision_is_cast_before_it_goes_out():
    line = acquisition(1)
    wide = ismrmrd.Acquisition(line.getHead(), line.data.astype(np.complex128))
    assert encoded(wide) == encoded(line)
    assert encoded(recon_data(np.complex128)) == encoded(recon_data())
    assert encoded(recon_data()) == encoded(*messages_of(encoded(recon_data()) + CLOSE))


def test_length_with_the_clients_final_nul():
    (back,) = messages_of(encoded(HeaderText(b"<ismrmrdHeader/>\0")) + CLOSE)
    assert back == b"<ismrmrdHeader/>"


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.complex64])
def test_image_types_that_gadgetron_takes(dtype):
    (back,) = messages_of(encoded(image(dtype=dtype)) + CLOSE)
    assert back.data.dtype == dtype


def test_unsendable_messages_are_refused_before_a_byte_goes_out():
    short = ismrmrd.Acquisition(acquisition(0, samples=16).getHead(), np.zeros((4, 15), np.complex64))
    with pair() as (one, two):
        channel = Channel(one)
        for bad, text in [
            (image(dtype=np.int16), "int16 pixels"),
            (short, r"\(4, 15\)"),
            (object(), "type object"),
            (ConfigName("x" * 1024), "1023 bytes"),
        ]:
            with pytest.raises(WireError, match=text):
                channel.send(bad)
        channel.close()
        assert received(two) == CLOSE


def test_large_message_is_sent_in_one_piece():
    big = acquisition(0, channels=30, samples=4000)
    with pair() as (one, two):
        channel = Channel(one)
        sender = threading.Thread(target=lambda: (channel.send(big), channel.close()))
        sender.start()
        assert received(two) == encoded(big) + CLOSE
        sender.join(60)


def test_reading_after_close_ends_again():
    with fed(CLOSE) as sock:
        channel = Channel(sock)
        for _ in range(3):
            with pytest.raises(StopIteration):
                channel.read()


@pytest.mark.parametrize("cut", [0, 1, 2, 100, 342, 343, 800, -1])
def test_truncated_stream_names_the_message(cut):
    data = encoded(acquisition())
    with (
        fed(data[:cut]) as sock,
        pytest.raises(ConnectionLost, match="ACQUISITION" if abs(cut) > 1 or cut < 0 else "without CLOSE"),
    ):
        list(Channel(sock))


def test_recorded_streams_truncated_anywhere(shared):
    for name in ("siemens_recon_data_ref", "siemens_image_array", "shepp_bucket_waveforms"):
        data = recorded(shared, name)
        for cut in np.linspace(1, len(data) - 1, 25).astype(int):
            with fed(data[:cut]) as sock, pytest.raises(ConnectionLost):
                list(Channel(sock))


def test_absurd_lengths_are_refused_with_field_value_and_limit():
    many = acquisition(0).getHead()
    many.active_channels = 60000
    huge = image()
    head = huge.getHead()
    head.matrix_size[:], head.channels = (65535, 65535, 65535), 65535
    shape = struct.pack("<4Q", 3, 1 << 20, 1 << 20, 1 << 20)
    cases = {
        "active_channels of an acquisition is 60000, above the limit of 1024": struct.pack("<H", 1008) + bytes(many),
        "the length of the header is 4294967295": struct.pack("<HI", 3, 0xFFFFFFFF),
        "the length of an error is 9223372036854775808": struct.pack("<HQ", 8, 1 << 63),
        "size of an image of shape": struct.pack("<H", 1022) + bytes(head) + struct.pack("<Q", 0),
        "the length of an image's meta": struct.pack("<H", 1022) + bytes(head) + struct.pack("<Q", 1 << 40),
        "the number of bits of a ReconData": struct.pack("<HQ", 1023, 1 << 50),
        "the number of dimensions of the data of a ReconData": struct.pack("<HQQ", 1023, 1, 33),
        "the size in bytes of the data of an ImageArray": struct.pack("<H", 1024) + shape,
        "the number of data acquisitions in a bucket": struct.pack("<H13Q", 1050, *[1 << 60] * 13),
        "999 is not the id of any message": struct.pack("<H", 999),
    }
    for text, data in cases.items():
        with fed(data) as sock, pytest.raises(WireError, match=text) as caught:
            list(Channel(sock))
        assert not isinstance(caught.value, ConnectionLost)


def test_limits_can_be_set():
    with fed(encoded(acquisition(channels=9))) as sock, pytest.raises(WireError, match="is 9, above the limit of 8"):
        list(Channel(sock, Limits(channels=8)))


def test_fail_drains_and_then_sends_error():
    with pair() as (one, two):
        failing = threading.Thread(target=lambda: Channel(one).fail("no kernel"))
        failing.start()
        for line in range(200):
            two.sendall(encoded(acquisition(line)))
        two.sendall(CLOSE)
        assert received(two) == encoded(ErrorText("no kernel")) + CLOSE
        failing.join(60)
        assert not failing.is_alive()


def test_fail_after_broken_bytes_still_reports():
    with pair() as (one, two):
        failing = threading.Thread(target=lambda: Channel(one).fail("not Gadgetron's"))
        failing.start()
        two.sendall(struct.pack("<H", 999) + b"x" * 100)
        assert received(two) == encoded(ErrorText("not Gadgetron's")) + CLOSE
        failing.join(60)


def test_fail_without_a_peer_returns():
    with pair() as (one, two):
        two.close()
        Channel(one).fail("nobody listens")


def test_client_hears_of_errors_and_gets_answers():
    with pair() as (one, two):
        channel = ClientChannel(one, lambda text: f"about {text}")
        two.sendall(encoded(Query("info", 5), acquisition(1)) + CLOSE)
        assert channel.read()[1] == acquisition(1)
        channel.fail("no such configuration")
        assert messages_of(received(two)) == [Response("about info", 5), Text("ERROR: no such configuration")]


@pytest.mark.parametrize("tcp", [True, False], ids=["tcp", "local"])
def test_round_trip_of_one_acquisition_is_quick(tcp):
    with pair(tcp) as (one, two):
        near, far = Channel(one), Channel(two)
        echo = threading.Thread(target=lambda: [far.send(message) for message in far])
        echo.start()
        times = []
        for line in range(10):
            begun = time.perf_counter()
            near.send(acquisition(line))
            near.read()
            times.append(time.perf_counter() - begun)
        near.stream.end()
        echo.join(60)
        assert sorted(times)[5] < 0.02  # 42 ms with Nagle's algorithm and delayed ACKs


def test_mutated_streams_end_in_an_error_of_ours():
    pieces = [acquisition(2, dimensions=2), waveform(1), image(a="b"), recon_data(), image_array([waveform(2)], "<a/>")]
    clean = encoded(*pieces, *CONTROL) + CLOSE
    rng = np.random.default_rng(4)
    outcomes = set()
    for _ in range(300):
        data = bytearray(clean)
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.integers(256)
        try:
            with fed(bytes(data)) as sock:
                list(Channel(sock, Limits(array=1 << 28)))
            outcomes.add("read")
        except OnebreathError as error:
            outcomes.add(type(error).__name__)
    assert outcomes == {"read", "WireError", "ConnectionLost"}


def test_every_piece_of_a_message_is_plain_bytes():
    for message in (acquisition(), waveform(), image(), recon_data(), image_array()):
        assert all(len(part) == memoryview(part).nbytes for part in encode(message))
