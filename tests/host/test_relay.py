"""Bytes through a tunnel: all of them arrive, whichever side ends first."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from onebreath.commands.tunnel import forward
from onebreath.host.listener import Listener
from onebreath.worker.relay import relay
from onebreath.worker.secure import Security, server_context
from tests.host.wiring import received

TOKEN = b"correct horse battery"


def test_a_client_that_ends_amid_its_answer_gets_all_of_it(certificate: tuple[Path, Path]) -> None:
    """Images wait in every buffer on the way when the client says that it has sent all."""
    answer = bytes(range(256)) * 100_000

    def eager(sock: socket.socket) -> None:
        asked = sock.recv(3)
        sock.sendall(answer)
        sock.sendall(asked + received(sock))

    security = Security(server_context(*certificate), TOKEN)
    context = ssl.create_default_context(cafile=certificate[0])
    with Listener(security.gate(eager)) as server:
        to = ("localhost", server.address[1])
        tunnel = partial(forward, address=to, context=context, token=TOKEN)
        with Listener(tunnel) as through, socket.create_connection(through.address) as sock:
            sock.sendall(b"abc")
            time.sleep(0.3)  # until the buffers are full
            sock.sendall(b"def")
            sock.shutdown(socket.SHUT_WR)
            time.sleep(0.1)
            assert received(sock) == answer + b"abcdef"


@pytest.mark.parametrize("eager", [False, True])
def test_what_a_server_sent_before_it_died_arrives(certificate: tuple[Path, Path], eager: bool) -> None:
    """It closes its socket without the notice of TLS, after the client has said that it has sent all, or before."""
    secured, answer = server_context(*certificate), bytes(range(256)) * 1000

    def dies(sock: socket.socket) -> None:
        with secured.wrap_socket(sock, server_side=True) as inside:
            if eager:
                assert inside.recv(3) == b"abc"
            else:
                assert received(inside) == b"abc"
            inside.sendall(answer)

    context = ssl.create_default_context(cafile=certificate[0])
    with Listener(dies) as server:
        tunnel = partial(forward, address=("localhost", server.address[1]), context=context, token=None)
        with Listener(tunnel) as through, socket.create_connection(through.address) as sock:
            sock.sendall(b"abc")
            time.sleep(0.2 if eager else 0)
            sock.shutdown(socket.SHUT_WR)
            assert received(sock) == answer


def reset(sock: socket.socket) -> None:
    """Close a connection as a process does that is killed with data unread, or a firewall: by a TCP reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.fixture
def relayed() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two outer ends of a relay over TCP, with small buffers behind it, so that bytes wait in itself."""
    ends, inner = [], []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            ends.append(socket.create_connection(listening.getsockname()))
            inner.append(listening.accept()[0])
        ends[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        inner[-1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 12)
    thread = threading.Thread(target=relay, args=inner)
    thread.start()
    yield ends[0], ends[1]
    for sock in ends:
        sock.close()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("sender", [0, 1], ids=["client", "server"])
def test_what_was_received_before_a_reset_arrives(relayed: tuple[socket.socket, socket.socket], sender: int) -> None:
    sent = bytes(range(256)) * 600
    ends, other = relayed[sender], relayed[1 - sender]
    ends.sendall(sent)
    time.sleep(0.3)  # until the relay has all of it, which is less than it has room for
    reset(ends)
    time.sleep(0.3)
    assert received(other) == sent


def test_what_a_client_sent_arrives_though_it_takes_no_answer(relayed: tuple[socket.socket, socket.socket]) -> None:
    client, server = relayed
    sent = bytes(range(256)) * 600
    client.sendall(sent)
    server.sendall(b"answer" * 100)
    time.sleep(0.3)
    client.close()  # with the answer unread, which is a reset, too
    time.sleep(0.3)
    server.sendall(b"more")
    assert received(server) == sent
