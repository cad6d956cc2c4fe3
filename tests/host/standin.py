"""A stand-in for a Gadgetron server, as `gadgetron/FACTS.md` of the reference data describes the real one.

It starts or dials external nodes as the server does, sends CONFIG, HEADER and data without waiting, and judges what
comes back by the server's rules: an error counts only after the data have been drained, a TEXT is illegal, and whatever
else is no message is what the client sees as ``Received illegal message id``.
"""

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import ismrmrd

from onebreath.errors import OnebreathError
from onebreath.wire.channel import Channel
from onebreath.wire.messages import ErrorText, Text
from tests.host.wiring import CLOSE

ROOT = Path(__file__).parents[2]


@dataclass
class Seen:
    """What the server's client would see of one scan."""

    images: list = field(default_factory=list)
    messages: list = field(default_factory=list)
    text: str = ""
    closed: bool = False


class Server:
    """The server's end of one external node.

    `data` is everything from CONFIG to CLOSE, as bytes.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.drained = threading.Event()

    def send(self, data: bytes) -> None:
        """Send without waiting for answers, as the server does."""
        with suppress(OSError):
            self.sock.sendall(data)
        if data.endswith(CLOSE):
            self.drained.set()

    def receive(self) -> Seen:
        seen = Seen()
        channel = Channel(self.sock)
        try:
            for message in channel:
                if isinstance(message, Text):
                    seen.text = "Received illegal message id from external peer: 5"
                elif isinstance(message, ErrorText):
                    seen.text = f"Errors received: {message}" if self.drained.is_set() else "the text is lost"
                elif isinstance(message, ismrmrd.Image):
                    seen.images.append(message)
                else:
                    seen.messages.append(message)
        except OnebreathError as error:
            seen.text = f"Received illegal message id from external peer: {error}"
            return seen
        seen.closed = True
        return seen

    def exchange(self, data: bytes) -> Seen:
        sender = threading.Thread(target=self.send, args=(data,))
        sender.start()
        seen = self.receive()
        sender.join(60)
        assert not sender.is_alive(), "both sides are stuck on full sockets"
        return seen


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "gadgets"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **more}


@contextmanager
def execute(target: str = "chain", module: str = "onebreath.host.entry", **env: str):
    """Start a node as ``<execute>`` does; gives the server's end, and the process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", "gadgetron", str(listening.getsockname()[1]), module, target]
        listening.settimeout(120)
        with process_of(command, env) as (process, log):
            sock, _ = listening.accept()
            with sock:
                yield Server(sock), process, log
            process.wait(60)


@contextmanager
def process_of(command: list[str], env: dict[str, str]):
    """Run a command; gives the process, and the lines that it logs. It is killed at the end, if it lives."""
    process = subprocess.Popen(
        command, env=environment(**env), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(process.stderr))
    reader.start()
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()
        reader.join(60)
        process.stderr.close()


@contextmanager
def connect(address: tuple[str, int]):
    """Dial a node as ``<connect>`` does."""
    deadline = time.monotonic() + 18
    while True:
        try:
            sock = socket.create_connection(address)
            break
        except OSError:
            assert time.monotonic() < deadline, "Failed to connect to service"
            time.sleep(0.2)
    with sock:
        yield Server(sock)


def reset(sock: socket.socket) -> None:
    """Close a connection so that the peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
