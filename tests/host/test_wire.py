"""The gadget's connection, against the `gadgetron` package's own and in the processes that Gadgetron starts."""

import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import ismrmrd
import pytest
from gadgetron import external

from onebreath.errors import ConfigError, ConnectionLost, OnebreathError, ScanError, WireError
from onebreath.wire.channel import Channel
from onebreath.wire.connection import Connection, adopt
from onebreath.wire.messages import ConfigText, ErrorText, HeaderText
from tests.host.wiring import (
    CLOSE,
    HEADER,
    acquisition,
    encoded,
    fed,
    image,
    image_array,
    pair,
    received,
    recon_data,
    start,
    waveform,
)

CONFIG = b'<configuration><property name="verbose" value="true"/></configuration>'


def data_messages():
    return [acquisition(1, dimensions=2), waveform(2), image(a="b"), recon_data(), image_array(None, "<a/>")]


@pytest.mark.filterwarnings("ignore:This function currently returns")  # ismrmrd 1.14 warns of its own matrix_size
def test_stock_connection_reads_what_ours_writes():
    with fed(start(CONFIG) + encoded(*data_messages()) + CLOSE) as sock:
        messages = list(external.Connection(sock))
    assert encoded(*messages) == encoded(*data_messages())


def test_ours_reads_what_the_stock_connection_writes():
    with pair() as (one, two):
        one.sendall(start(CONFIG))
        stock = external.Connection(two)
        for message in data_messages():
            stock.send(message)
        stock.socket.close()
        assert encoded(*Channel(one)) == encoded(*data_messages())


def test_adopt_upgrades_a_stock_connection():
    with fed(start(CONFIG) + encoded(*data_messages()) + CLOSE) as sock:
        stock = external.Connection(sock)
        connection = adopt(stock)
        assert adopt(connection) is connection
        assert connection.config.find("property").get("name") == "verbose"
        assert connection.header is stock.header
        assert encoded(*connection) == encoded(*data_messages())
        with pytest.raises(StopIteration):
            next(connection)


def test_adopt_keeps_readers_writers_and_filters():
    private = 2000
    with pair() as (one, two):
        one.sendall(start() + encoded(acquisition(1), waveform(2)) + struct.pack("<HI", private, 42) + CLOSE)
        stock = external.Connection(two)
        stock.add_reader(private, lambda source: struct.unpack("<I", source.read(4))[0])
        stock.filter(lambda item: not isinstance(item, ismrmrd.Waveform))
        connection = adopt(stock)
        connection.add_writer(lambda item: item == 42, lambda sink, item: sink.write(struct.pack("<HI", private, item)))
        for message in connection:
            connection.send(message)
        stock.socket.close()
        stock.socket.close()
        assert received(one) == encoded(acquisition(1), waveform(2)) + struct.pack("<HI", private, 42) + CLOSE


def test_fail_through_the_stock_with_block_sends_error_and_one_close():
    with pair() as (one, two):
        one.sendall(start() + encoded(acquisition(1)) + CLOSE)
        with external.Connection(two) as stock:
            adopt(stock).fail("no kernel")
        assert received(one) == encoded(ErrorText("no kernel")) + CLOSE


def test_missing_configuration_and_wrong_xml():
    with fed(start()) as sock:
        assert Connection(sock).config is None
    with fed(start(b"<configuration>", b"<other/>")) as sock:
        connection = Connection(sock)
        with pytest.raises(ConfigError, match="cannot be parsed"):
            _ = connection.config
        with pytest.raises(ScanError, match="not an ISMRMRD header"):
            _ = connection.header


def test_entity_bombs_are_refused():
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><configuration>&b;</configuration>'
    with fed(start(bomb, bomb)) as sock:
        connection = Connection(sock)
        with pytest.raises(ConfigError):
            _ = connection.config
        with pytest.raises(ScanError):
            _ = connection.header


@pytest.mark.parametrize("data", [b"", start()[:30], encoded(HeaderText(HEADER)), CLOSE], ids=["none", "cut", "3", "4"])
def test_connection_that_does_not_begin(data):
    with fed(data) as sock, pytest.raises(WireError):
        Connection(sock)


def test_error_from_the_server_is_raised():
    with fed(start() + encoded(ErrorText("storage is full"))) as sock, pytest.raises(OnebreathError, match="storage"):
        list(Connection(sock))


def test_vanished_peer_ends_the_reading():
    with pair(tcp=True) as (one, two):
        one.sendall(encoded(ConfigText(CONFIG), HeaderText(HEADER), acquisition(1)))
        connection = Connection(two)
        assert next(connection)[1] == acquisition(1)
        one.close()
        with pytest.raises(ConnectionLost):
            next(connection)


def run_process(target, config, data, module="onebreath.host.entry"):
    """Start a node exactly as Gadgetron does, and return what it sends and how it ends."""
    root = Path(__file__).parents[2]
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-m", "gadgetron", str(server.getsockname()[1]), module, target]
        path = os.pathsep.join([str(root), str(root / "gadgets")])
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE)
        server.settimeout(30)
        sock, _ = server.accept()
        with sock:
            sender = threading.Thread(target=lambda: sock.sendall(start(config) + data + CLOSE))
            sender.start()
            answer = received(sock)
            sender.join(60)
        _, log = process.communicate(timeout=60)
    return answer, process.returncode, log.decode()


def test_process_reports_an_unknown_gadget():
    config = b'<configuration><gadget name="prewhitten"/></configuration>'
    answer, code, log = run_process("chain", config, encoded(*[acquisition(line) for line in range(50)]))
    (error,) = list_of(answer)
    assert isinstance(error, ErrorText)
    assert "prewhiten" in error
    assert "prewhitten" in log
    assert code == 0


def test_process_passes_messages_through():
    data = encoded(*[acquisition(line) for line in range(50)])
    answer, code, _ = run_process("pass_through", b"", data, module="tests.host.targets")
    assert (answer, code) == (data + CLOSE, 0)


def list_of(data):
    with fed(data) as sock:
        messages = []
        channel = Channel(sock)
        while not messages or not isinstance(messages[-1], ErrorText):
            messages.append(channel.read()[1])
        return messages


def test_entry_needs_neither_torch_nor_scipy():
    # `gadgetron` imports pyfftw where that is installed, and pyfftw scipy: only what comes on top is ours.
    code = (
        "import sys, gadgetron; known = set(sys.modules); import onebreath.host.entry; print(*set(sys.modules) - known)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "gadgets")}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    loaded = found.stdout.decode().split()
    assert "onebreath.host.entry" in loaded, found.stderr.decode()
    assert not {"torch", "scipy"} & set(loaded)
