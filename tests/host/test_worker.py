"""The resident worker, as Gadgetron servers and clients see it."""

import socket
import stat
import threading
import time

import numpy as np
import pytest

from onebreath.errors import OnebreathError
from onebreath.host.handover import ask, receive, send
from onebreath.host.listener import open_port
from onebreath.wire.channel import Channel, encode
from onebreath.wire.messages import ConfigText, HeaderText, Text
from onebreath.worker.worker import Worker, WorkerOptions
from tests.host import standin, tiny
from tests.host.workers import at_rest, books, spooled_bytes, wait_for, worker

CHAIN = tiny.configuration()


def gadget_scan(running, data=None, *properties):
    """Send a scan as a Gadgetron server with a ``<connect>`` node."""
    data = b"".join(tiny.pieces(tiny.configuration("zero_filled", *properties))) if data is None else data
    with standin.connect(running.listeners["gadget"].address) as server:
        return server.exchange(data)


def client_scan(running, config, lines=None):
    """Send a scan as a client; the answers."""
    with socket.create_connection(running.listeners["client"].address) as sock:
        channel = Channel(sock)
        for message in (ConfigText(config), HeaderText(tiny.header()), *(lines or tiny.lines())):
            channel.send(message)
        channel.stream.end()
        return list(channel)


def beginning(config):
    """What a client sends before its data."""
    return b"".join(part for message in (ConfigText(config), HeaderText(tiny.header())) for part in encode(message))


def test_all_sides_give_the_same_images_and_say_who_served(tmp_path):
    with worker(tmp_path) as running:
        connected = gadget_scan(running).images
        client = client_scan(running, tiny.stream())
        assert books(running, "ended") == ["done", "done"]
        sides = [scan["side"] for scan in running.service.scheduler.snapshot()["ended"]]
    assert sides == ["connect", "client"]
    np.testing.assert_array_equal(tiny.pixels(connected), tiny.pixels(client))
    assert connected[0].data.any()
    for image in (*connected, *client):
        assert image.meta["Onebreath_host_served_by"].startswith("worker ")


def test_eight_clients_at_once_get_what_one_gets(tmp_path):
    with worker(tmp_path, slots=2, queue=32) as running:
        alone = [tiny.pixels(gadget_scan(running).images), tiny.pixels(client_scan(running, tiny.stream()))]
        found = []

        def client(number):
            images = gadget_scan(running).images if number % 2 else client_scan(running, tiny.stream())
            found.append(np.array_equal(tiny.pixels(images), alone[0]))

        clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join(60)
        assert found == [True] * 8
        assert running.service.scheduler.snapshot()["counts"] == {"done": 10}


def test_nodes_of_others_and_several_nodes_are_entered_once(tmp_path):
    foreign = b'<external><execute name="tests.host.targets" target="pass_through" type="python"/></external>'
    config = tiny.stream().replace(b"<stream>", b"<stream>" + foreign)
    with worker(tmp_path, slots=1) as running:
        (image,) = client_scan(running, config)
        assert books(running, "ended") == ["done"]
        assert np.array_equal(image.data, gadget_scan(running).images[0].data)


def test_connect_node_to_the_same_worker_is_refused(tmp_path):
    with worker(tmp_path, slots=1) as running:
        port = running.listeners["gadget"].address[1]
        execute = b'<execute name="onebreath.host.entry" target="chain" type="python"/>'
        config = tiny.stream().replace(execute, f'<connect address="127.0.0.1" port="{port}"/>'.encode())
        (text,) = client_scan(running, config)
    assert "is this host itself, which does not connect to itself" in text


def test_errors_come_in_three_texts_after_the_data_were_drained(tmp_path):
    with worker(tmp_path) as running:
        seen = gadget_scan(running, None, '<property name="deadline" value="3"/>')
        assert seen.text.startswith("Errors received: This configuration cannot be used.")
        assert "a node has no property 'deadline'. Did you mean: deadline_s" in seen.text
        assert "For the developer: log id " in seen.text
        (text,) = client_scan(running, tiny.stream("grapa"))
        assert isinstance(text, Text)
        assert text.startswith("ERROR: This configuration cannot be used.")
        assert gadget_scan(running).images
        assert at_rest(running)


def hold(running, lines=3):
    """A scan whose client has not sent everything: it keeps its slot."""
    sock = socket.create_connection(running.listeners["gadget"].address)
    sock.sendall(b"".join(tiny.pieces(CHAIN)[: 1 + lines]))
    wait_for(lambda: books(running, "running"))
    return sock


def test_scan_waits_for_its_slot_while_its_data_go_to_the_disk(tmp_path):
    with worker(tmp_path, slots=1) as running:
        holding = hold(running)
        found = []
        waiting = threading.Thread(target=lambda: found.append(gadget_scan(running)))
        waiting.start()
        wait_for(lambda: books(running, "waiting"))
        data = b"".join(tiny.pieces(CHAIN)[1:])
        wait_for(lambda: spooled_bytes(tmp_path / "state") == [len(data)])
        assert not found
        holding.close()
        waiting.join(60)
        assert len(found[0].images) == 1
        assert not list((tmp_path / "state/spool").iterdir())
        assert sorted(books(running, "ended")) == ["done", "lost"]


def test_too_many_scans_are_refused_with_a_clear_text(tmp_path):
    with worker(tmp_path, slots=1, queue=0) as running:
        holding = hold(running)
        seen = gadget_scan(running)
        assert "The reconstruction is busy." in seen.text
        holding.close()
        wait_for(lambda: at_rest(running))
        assert gadget_scan(running).images


def test_deadline_reaches_a_scan_that_waits_and_one_that_runs(tmp_path):
    soon = '<property name="deadline_s" value="0.3"/>'
    with worker(tmp_path, slots=1) as running:
        holding = hold(running)
        assert "took too long" in gadget_scan(running, None, soon).text
        holding.close()
        wait_for(lambda: at_rest(running))
        pieces = tiny.pieces(tiny.configuration("zero_filled", soon))
        with standin.connect(running.listeners["gadget"].address) as server:
            server.send(b"".join(pieces[:4]))
            time.sleep(0.8)  # the scanner is slow: the deadline passes in the middle of the scan
            seen = server.exchange(b"".join(pieces[4:]))
        assert "was not ready within 0.3 s" in seen.text
        wait_for(lambda: at_rest(running))
        assert books(running, "ended")[-1] == "overdue"


def test_waiting_scan_is_cancelled_when_its_client_goes(tmp_path):
    with worker(tmp_path, slots=1) as running:
        holding = hold(running)
        sock = socket.create_connection(running.listeners["gadget"].address)
        sock.sendall(b"".join(tiny.pieces(CHAIN)[:5]))
        wait_for(lambda: books(running, "waiting"))
        standin.reset(sock)
        wait_for(lambda: books(running, "ended") == ["lost"])
        holding.close()


def test_status_names_scans_but_no_patient(tmp_path):
    with worker(tmp_path) as running:
        gadget_scan(running)
        wait_for(lambda: at_rest(running))
        status = ask(tmp_path / "worker.sock", "status")
    assert status["counts"] == {"done": 1}
    assert status["ended"][0]["title"] == "chain"
    assert not status["stopping"]
    assert "test" not in str(status["ended"])  # the protocol's name


def test_socket_is_for_this_user_only_and_one_worker(tmp_path):
    path = tmp_path / "worker.sock"
    with worker(tmp_path) as running:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(OnebreathError, match="another worker listens"):
            Worker(WorkerOptions(port=None, path=path, state=tmp_path / "other"))
        assert gadget_scan(running).images
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as left:  # by a killed worker
        left.bind(str(path))
    with worker(tmp_path):
        ask(path, "status")


def test_port_in_use_leaves_nothing_behind(tmp_path):
    with open_port() as taken, pytest.raises(OnebreathError, match="cannot listen on"):
        Worker(WorkerOptions(port=taken.getsockname()[1], path=tmp_path / "w", state=tmp_path))
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "offer",
    [
        {"ask": "what"},
        {"ask": "serve", "target": "chain"},
        {"ask": "serve", "target": "os.system", "config": "", "header": ""},
        {"ask": "serve", "target": ["chain"], "config": "", "header": ""},
    ],
)
def test_nonsense_on_the_workers_socket_is_refused(tmp_path, offer):
    with worker(tmp_path), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "worker.sock"))
        send(sock, offer)
        with pytest.raises(ConnectionError):
            receive(sock)
        ask(tmp_path / "worker.sock", "status")


@pytest.mark.parametrize("junk", [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1x", b"\0\0"])
def test_junk_on_the_workers_socket_is_refused(tmp_path, junk):
    with worker(tmp_path), socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "worker.sock"))
        sock.sendall(junk)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(10) == b""
        ask(tmp_path / "worker.sock", "status")
