"""Round trips: the stand-in for a Gadgetron server, its recorded streams, and the package's own parts as a client."""

import socket
import struct
import threading

import ismrmrd
import numpy as np
import pytest
from gadgetron.external import Connection, constants
from gadgetron.external.readers import read_byte_string
from gadgetron.external.writers import write_byte_string

from onebreath.host import entry
from tests.host import standin, tiny
from tests.host.wiring import CLOSE, encoded, recorded, start
from tests.host.workers import worker


class PackageClient(Connection):
    """A client made of the package's own parts: its socket, readers and writers."""

    def __init__(self, address):
        self.socket = Connection.SocketWrapper(socket.create_connection(address))
        self.readers, self.writers, self.filters = self._default_readers(), self._default_writers(), []
        self.readers[constants.GADGET_MESSAGE_TEXT] = read_byte_string

    def begin(self, config, header):
        for identifier, text in ((constants.GADGET_MESSAGE_CONFIG, config), (constants.GADGET_MESSAGE_HEADER, header)):
            self.socket.write(constants.GadgetMessageIdentifier.pack(identifier))
            write_byte_string(self.socket, text)

    def finish(self):
        self.socket.write(constants.GadgetMessageIdentifier.pack(constants.GADGET_MESSAGE_CLOSE))
        received = list(self)
        self.socket.socket.close()
        return received


@pytest.mark.parametrize("side", ["client", "gadget"])
def test_the_packages_own_parts_as_peer(tmp_path, side):
    with worker(tmp_path) as running:
        with standin.connect(running.listeners["gadget"].address) as server:
            expected = server.exchange(b"".join(tiny.pieces(tiny.configuration()))).images
        client = PackageClient(running.listeners[side].address)
        client.begin(tiny.stream() if side == "client" else tiny.configuration(), tiny.header())
        for line in tiny.lines():
            client.send(line)
        (image,) = client.finish()
    assert isinstance(image, ismrmrd.Image)
    np.testing.assert_array_equal(image.data, expected[0].data)


def test_the_packages_own_parts_get_errors_as_text(tmp_path):
    with worker(tmp_path) as running:
        client = PackageClient(running.listeners["client"].address)
        client.begin(tiny.stream("grapa"), tiny.header())
        client.send(tiny.lines()[0])
        (text,) = client.finish()
    assert b"ERROR: This configuration cannot be used." in text


def exchange_through_shim(data, target):
    """A node as ``python -m gadgetron`` runs it, in a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def node():
            with Connection(socket.create_connection(listening.getsockname())) as connection:
                entry.run_target(connection, target)

        shim = threading.Thread(target=node)
        shim.start()
        sock, _ = listening.accept()
    with sock:
        seen = standin.Server(sock).exchange(data)
    shim.join(60)
    assert not shim.is_alive()
    return seen


def with_configuration(stream, config):
    """A recorded stream with another CONFIG."""
    (length,) = struct.unpack_from("<I", stream, 2)
    return struct.pack("<HI", 2, len(config)) + config + stream[6 + length :]


METHOD = b'<configuration><property name="method" value="zero_filled"/></configuration>'
RECORDED = {
    "siemens_acquisitions": ("chain", tiny.configuration("zero_filled"), 1, "images"),
    "siemens_recon_data_ref": ("calibrate", b"<configuration/>", 1, "messages"),
    "siemens_recon_data": ("reconstruct", METHOD, 1, "messages"),
    "siemens_image_array": ("export", b"<configuration/>", 2, "images"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_streams_of_the_real_server_handed_over_and_not(tmp_path, shared, monkeypatch, name):
    target, config, count, kind = RECORDED[name]
    data = with_configuration(recorded(shared, name), config)
    with worker(tmp_path) as running:
        monkeypatch.setenv("ONEBREATH_WORKER", str(tmp_path / "worker.sock"))
        there = exchange_through_shim(data, target)
        monkeypatch.setenv("ONEBREATH_WORKER", "off")
        here = exchange_through_shim(data, target)
        if target == "chain":
            with standin.connect(running.listeners["gadget"].address) as server:
                connected = server.exchange(data)
            np.testing.assert_array_equal(tiny.pixels(connected.images), tiny.pixels(here.images))
    for seen in (there, here):
        assert seen.text == ""
        assert seen.closed
    assert len(getattr(there, kind)) >= count
    if kind == "images":
        np.testing.assert_array_equal(tiny.pixels(there.images), tiny.pixels(here.images))
        return
    arrays = [[arrays_of(message) for message in seen.messages if not waves(message)] for seen in (there, here)]
    for one, other in zip(*arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def waves(message):
    return isinstance(message, ismrmrd.Waveform)


def arrays_of(message):
    """The array of an ImageArray, or of a ReconData."""
    return message.data if hasattr(message, "data") else message.bits[-1].data.data


def test_error_after_drained_data_arrives_every_time(tmp_path):
    data = b"".join(tiny.pieces(tiny.configuration("grapa"), 4))
    with worker(tmp_path) as running:
        for _ in range(20):
            with standin.connect(running.listeners["gadget"].address) as server:
                assert server.exchange(data).text.startswith("Errors received: This configuration cannot be used.")


def test_stand_in_judges_as_the_real_server_does():
    for sent, text in (
        (CLOSE, ""),
        (b"\0\0", "Received illegal message id"),
        (b"", "Received illegal message id"),
    ):
        listening = socket.create_server(("127.0.0.1", 0))
        with listening, socket.create_connection(listening.getsockname()) as node:
            server = standin.Server(listening.accept()[0])
            node.sendall(sent)
            node.shutdown(socket.SHUT_WR)
            seen = server.receive()
            server.sock.close()
        assert seen.text.startswith(text)
        assert seen.closed == (sent == CLOSE)


def test_plain_gadget_that_raises_looks_like_an_empty_scan():
    with standin.execute("raises", "tests.host.targets") as (server, process, log):
        seen = server.exchange(start(b"<configuration/>") + encoded(*tiny.lines()) + CLOSE)
    assert (seen.images, seen.text) == ([], "")  # which is why ours sends ERROR
    assert process.returncode == 1
    assert "coil 7 is missing" in "".join(log)
