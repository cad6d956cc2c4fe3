"""The embedded host, as its clients and its nodes see it."""

import socket
import threading
import time
from pathlib import Path

import ismrmrd
import pytest

from onebreath.config.stream_config import OWN_MODULE
from onebreath.errors import ConnectionLost, OnebreathError
from onebreath.host.listener import Listener
from onebreath.host.server import HostOptions, serve_client, start_gadget_service, start_host
from onebreath.wire.channel import Channel
from onebreath.wire.connection import Connection
from onebreath.wire.messages import ConfigName, ConfigText, ErrorText, HeaderText, Query, Response, Text
from tests.helpers import READERS_AND_WRITERS
from tests.host import targets
from tests.host.wiring import CLOSE, HEADER, acquisition, encoded, image, pair, recon_data, waveform

PASS = '<external><execute name="tests.host.targets" target="{}" type="python"/><configuration/></external>'
NATIVE = "<gadget><name>AccTrig</name><dll>gadgetron_mricore</dll><classname>AccTrigGadget</classname></gadget>"


def config(*nodes: str) -> ConfigText:
    return ConfigText(
        f"<configuration><version>2</version>{READERS_AND_WRITERS}<stream>{''.join(nodes)}</stream></configuration>".encode()
    )


def execute(target: str) -> str:
    return PASS.format(target)


def connect(port: int) -> str:
    return f'<external><connect address="127.0.0.1" port="{port}"/><configuration/></external>'


@pytest.fixture
def host(tmp_path):
    before = set(threading.enumerate())
    (tmp_path / "pass.xml").write_bytes(config(execute("pass_through")))
    with start_host(options=HostOptions([tmp_path], patience=2, connect_patience=0.1)) as listener:
        yield listener
    wait_for(lambda: not {t for t in threading.enumerate() if t.name.startswith("onebreath")} - before)


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still running: {threading.enumerate()}"
        time.sleep(0.01)


def talk(host, *messages, close=True):
    """Send messages as a client does, and return the answers."""
    with socket.create_connection(host.address, 60) as sock:
        channel = Channel(sock)

        def send():
            for message in messages:
                channel.send(message)
            if close:
                channel.stream.end()

        sender = threading.Thread(target=send)
        sender.start()
        answers = list(channel)
        sender.join(60)
        assert not sender.is_alive()
        return answers


SCAN = [acquisition(line) for line in range(30)]


@pytest.mark.parametrize(
    "chosen",
    [
        ConfigName("pass.xml"),
        config(execute("pass_through")),
        config(execute("PassThrough")),
        config(execute("PassThrough"), execute("pass_through"), execute("pass_through")),
    ],
    ids=["by name", "uploaded", "class", "three nodes"],
)
def test_scan_passes_through(host, chosen):
    messages = [*SCAN, waveform(3), image(), recon_data()]
    answers = talk(host, chosen, HeaderText(HEADER), *messages)
    assert encoded(*answers) == encoded(*messages)


def test_node_gets_its_configuration_and_the_header(host):
    node = execute("image_of_configuration").replace("<configuration/>", "<configuration><a b='c'/></configuration>")
    (answer,) = talk(host, config(node), HeaderText(HEADER + b"\0"), *SCAN)
    assert answer.data.max() == len(SCAN)
    assert '<a b="c"' in answer.meta["configuration"]
    assert answer.meta["patient"] == "cartesian"


def test_nodes_work_in_their_order(host):
    answers = talk(host, config(execute("doubler"), execute("doubler")), HeaderText(HEADER), SCAN[0])
    assert (answers[0].data == 4 * SCAN[0].data).all()


def test_connect_node(host):
    def serve(sock):
        connection = Connection(sock)
        targets.doubler(connection)
        connection.socket.close()

    with Listener(serve) as service:
        answers = talk(host, config(connect(service.address[1]), execute("doubler")), HeaderText(HEADER), *SCAN)
    assert (answers[29].data == 4 * SCAN[29].data).all()


def test_gadget_service_reports_a_wrong_configuration(host):
    with start_gadget_service() as service:
        answers = talk(host, config(connect(service.address[1])), HeaderText(HEADER), *SCAN)
    assert isinstance(answers[-1], Text)
    assert "names no gadgets" in answers[-1]


FAILURES = {
    "unknown configuration": ([ConfigName("pas.xml"), HeaderText(HEADER)], "Did you mean: pass.xml"),
    "path escape": ([ConfigName("../pass.xml"), HeaderText(HEADER)], "not the name of a configuration"),
    "not XML": ([ConfigText(b"<configuration>"), HeaderText(HEADER)], "not well-formed"),
    "header first": ([HeaderText(HEADER)], "no configuration before it"),
    "data first": ([ConfigName("pass.xml"), acquisition()], "before the header"),
    "native node": ([config(execute("pass_through"), NATIVE), HeaderText(HEADER)], "native nodes (AccTrig)"),
    "unknown module": ([config(execute("x").replace("tests.", "test.")), HeaderText(HEADER)], "cannot be loaded"),
    "unknown target": ([config(execute("nobody")), HeaderText(HEADER)], "cannot be loaded"),
    "not callable": ([config(execute("not_callable")), HeaderText(HEADER)], "cannot be loaded"),
    "unreachable service": ([config(connect(9)), HeaderText(HEADER)], "cannot be reached"),
    "node raises": ([config(execute("raises")), HeaderText(HEADER)], "coil 7 is missing"),
    "second node raises": ([config(execute("pass_through"), execute("raises")), HeaderText(HEADER)], "coil 7"),
    "first node raises": ([config(execute("raises"), execute("pass_through")), HeaderText(HEADER)], "coil 7"),
    "second header": ([ConfigName("pass.xml"), HeaderText(HEADER), HeaderText(HEADER)], "HEADER"),
    "wrong header": ([config(execute("image_of_configuration")), HeaderText(b"<x/>")], "not an ISMRMRD header"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_reaches_the_client_and_the_host_goes_on(host, name):
    messages, text = FAILURES[name]
    answers = talk(host, *messages, *SCAN)
    (error,) = [answer for answer in answers if isinstance(answer, Text)]
    assert error.startswith("ERROR: ")
    assert text in error
    assert encoded(*talk(host, ConfigName("pass.xml"), HeaderText(HEADER), *SCAN)) == encoded(*SCAN)


@pytest.mark.parametrize("later", [["sends_at_the_end"], ["pass_through", "sends_at_the_end"], []])
def test_what_a_node_made_before_it_failed_goes_through_the_later_nodes(host, later):
    nodes = ["pass_through", "raises_at_the_fourth", *later]
    *made, error = talk(host, config(*map(execute, nodes)), HeaderText(HEADER), *SCAN)
    assert encoded(*made) == encoded(*SCAN[:3])
    assert "coil 7 is missing" in error


def test_what_was_made_before_a_service_died_goes_through_the_later_nodes(host):
    def dies(sock):
        connection = Connection(sock)
        (line,) = connection
        connection.send(line)
        sock.close()

    with Listener(dies) as service:
        chosen = config(connect(service.address[1]), execute("sends_at_the_end"))
        made, error = talk(host, chosen, HeaderText(HEADER), SCAN[0])
    assert encoded(made) == encoded(SCAN[0])
    assert f"{service.address[1]}" in error


def test_what_was_made_before_broken_bytes_goes_through_the_later_nodes(host):
    with socket.create_connection(host.address, 60) as sock:
        channel = Channel(sock)
        for message in (config(execute("pass_through"), execute("sends_at_the_end")), HeaderText(HEADER), *SCAN[:3]):
            channel.send(message)
        sock.sendall(b"\xff\xff")
        channel.stream.end()
        *made, error = channel
    assert encoded(*made) == encoded(*SCAN[:3])
    assert "65535 is not the id of any message" in error


def test_marks_of_a_node_stay_between_nodes(host):
    compress = execute("compress").replace("tests.host.targets", OWN_MODULE)
    answers = talk(host, config(compress, execute("pass_through")), HeaderText(HEADER), *SCAN, waveform(3))
    assert [answer.waveform_id for answer in answers if isinstance(answer, ismrmrd.Waveform)] == [1]
    assert sum(isinstance(answer, ismrmrd.Acquisition) for answer in answers) == len(SCAN)


def test_node_that_returns_early_loses_nothing_else(host):
    assert talk(host, config(execute("returns_early")), HeaderText(HEADER), *SCAN) == []
    chain = config(execute("pass_through"), execute("returns_early"), execute("pass_through"))
    assert talk(host, chain, HeaderText(HEADER), *SCAN) == []


def test_killed_service_is_reported(host):
    with Listener(lambda sock: (Connection(sock), sock.close())) as service:
        answers = talk(host, config(connect(service.address[1]), execute("pass_through")), HeaderText(HEADER), *SCAN)
    assert "failed" in answers[-1]
    assert str(service.address[1]) in answers[-1]


def test_queries_need_no_scan_and_do_not_disturb_one(host):
    (answer,) = talk(host, Query("gadgetron::info", 5))
    assert (answer.correlation, answer.text.splitlines()[0]) == (5, "Gadgetron Version Info")
    assert talk(host, Query("who are you", 1 << 60)) == [Response("unknown query: who are you", 1 << 60)]
    for nodes in (1, 2):
        chosen = config(*[execute("pass_through")] * nodes)
        answers = talk(host, chosen, HeaderText(HEADER), SCAN[0], Query("gadgetron::info", 3), SCAN[1])
        assert [type(answer).__name__ for answer in answers].count("Response") == 1
        assert encoded(*[a for a in answers if not isinstance(a, Response)]) == encoded(*SCAN[:2])


def test_connection_without_a_word_is_no_error(host, caplog):
    socket.create_connection(host.address).close()
    assert talk(host) == []
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_many_clients_at_once(host):
    results = []

    def client(number):
        scan = [acquisition(100 * number + line) for line in range(20)]
        chosen = config(*[execute("pass_through")] * (1 + number % 2))
        results.append(encoded(*talk(host, chosen, HeaderText(HEADER), *scan)) == encoded(*scan))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(60)
    assert results == [True] * 8


@pytest.mark.parametrize("nodes", [1, 2])
def test_vanished_client_ends_the_nodes(host, nodes):
    targets.waiting.clear()
    with socket.create_connection(host.address) as sock:
        channel = Channel(sock)
        chosen = config(*[execute("pass_through")] * (nodes - 1), execute("never_ready"))
        for message in (chosen, HeaderText(HEADER), *SCAN):
            channel.send(message)
        assert targets.waiting.wait(60)
    wait_for(lambda: {t.name for t in threading.enumerate() if t.name.startswith("onebreath")} <= {"onebreath-accept"})


def test_many_scans_leave_no_sockets_behind(host):
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("needs /proc to count open files")
    two = config(execute("pass_through"), execute("pass_through"))
    talk(host, two, HeaderText(HEADER), SCAN[0])
    before = len(list(descriptors.iterdir()))
    for number in range(40):
        talk(host, config(execute("raises")) if number % 4 == 0 else two, HeaderText(HEADER), SCAN[0])
    wait_for(lambda: len(list(descriptors.iterdir())) <= before)


def test_closing_the_host_breaks_a_running_scan(host):
    targets.waiting.clear()
    with socket.create_connection(host.address) as sock:
        channel = Channel(sock)
        for message in (config(execute("never_ready")), HeaderText(HEADER), *SCAN):
            channel.send(message)
        assert targets.waiting.wait(60)
        host.close()
        with pytest.raises((ConnectionLost, StopIteration)):
            channel.read()


def test_port_in_use_is_a_clear_error(host):
    with pytest.raises(OnebreathError, match="cannot listen on"):
        start_host(port=host.address[1])


def test_broken_bytes_from_a_client(host):
    with pair() as (one, two):
        thread = threading.Thread(target=serve_client, args=(two,))
        thread.start()
        one.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answers = list(Channel(one))
        one.close()
        thread.join(60)
        assert not thread.is_alive()
    assert "is not the id of any message" in answers[0]
    assert not isinstance(answers[0], ErrorText)


def test_close_alone_is_answered_with_close():
    with pair() as (one, two):
        one.sendall(CLOSE)
        serve_client(two)
        assert one.recv(10) == CLOSE
