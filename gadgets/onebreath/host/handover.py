"""Handover of a connected socket to the resident worker, for both sides.

This file imports the standard library only, and what itself does: the process that Gadgetron starts for a node pays
for every import. Messages are JSON texts with their length before them; the socket travels beside one (SCM_RIGHTS).
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from onebreath.shim_settings import storage, worker_sockets

ANSWER_TIME = 20.0  # seconds in which a worker says whether it takes a scan; it may be restarting
LONGEST = 64 << 20  # bytes of one message: a configuration and a header with room to spare

_length = struct.Struct("!I")


class HandoverFailed(Exception):
    """No worker took the scan; nothing was read from its socket."""


def send(sock: socket.socket, message: dict[str, Any], descriptor: int | None = None) -> None:
    """Send a message, with an open socket beside it if one is given."""
    text = json.dumps(message).encode("ascii")
    if descriptor is not None:
        socket.send_fds(sock, [b"\0"], [descriptor])
    sock.sendall(_length.pack(len(text)) + text)


def receive(sock: socket.socket) -> dict[str, Any]:
    """Receive a message without a socket.

    Raises
    ------
    OSError
        If the other side is gone, is silent for the socket's timeout, or sends nonsense.
    """
    size = _length.unpack(_exactly(sock, _length.size))[0]
    if size > LONGEST:
        raise ConnectionError(f"a message of {size} bytes was announced")
    try:
        message = json.loads(_exactly(sock, size))
    except ValueError as error:
        raise ConnectionError("a message is no JSON") from error
    if not isinstance(message, dict):
        raise ConnectionError("a message is no JSON object")
    return message


def receive_socket(sock: socket.socket) -> tuple[dict[str, Any], socket.socket]:
    """Receive a message and the socket beside it; see `receive`."""
    _, descriptors, _, _ = socket.recv_fds(sock, 1, 1, socket.MSG_CMSG_CLOEXEC)
    if not descriptors:
        raise ConnectionError("no socket was handed over")
    handed = socket.socket(fileno=descriptors[0])
    try:
        return receive(sock), handed
    except OSError:
        handed.close()
        raise


def _exactly(sock: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = sock.recv(min(1 << 20, count - len(parts)))
        if not part:
            raise ConnectionError("the other side went away")
        parts += part
    return bytes(parts)


def hand_over(sock: socket.socket, target: str, config: bytes, header: bytes) -> tuple[socket.socket, dict[str, Any]]:
    """Offer a scan to the workers, first to last, and hand its socket to the one that takes it.

    The socket goes to a worker only after it has agreed, so that never two processes read from it.

    Parameters
    ----------
    sock
        The node's connection, of which CONFIG and HEADER have been read.
    target
        What the node runs.
    config, header
        Texts of the messages that have been read.

    Returns
    -------
    tuple
        The connection to the worker, on which it says when it is done, and what it said.

    Raises
    ------
    HandoverFailed
        Why each of them did not take it.
    """
    reasons = []
    texts = {"config": as_text(config), "header": as_text(header)}
    # Gadgetron has a process for each scan: nodes with the same parent work on the same one.
    offer = {"ask": "serve", "target": target, **texts, "storage": storage(), "origin": os.getppid()}
    for path in worker_sockets():
        worker = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        worker.settimeout(ANSWER_TIME)
        try:
            worker.connect(str(path))
            send(worker, offer)
            answer = receive(worker)
            if answer.get("state") == "accepted":
                send(worker, {"state": "handed over"}, sock.fileno())
                worker.settimeout(None)
                return worker, answer
            reasons.append(f"the worker at {path} refused: {answer.get('why')}")
        except OSError as error:
            reasons.append(f"no worker at {path}: {error}")
        worker.close()
    raise HandoverFailed("; ".join(reasons) or "workers are switched off (ONEBREATH_WORKER=off)")


def ask(path: Path, question: str, timeout: float = ANSWER_TIME) -> dict[str, Any]:
    """Ask the worker at a path; raises OSError if none answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as worker:
        worker.settimeout(timeout)
        worker.connect(str(path))
        send(worker, {"ask": question})
        return receive(worker)


def wait_until_done(worker: socket.socket) -> bool:
    """Wait until the worker is done with the scan; False if it died."""
    with worker, suppress(OSError):
        return receive(worker).get("state") == "done"
    return False


def as_text(octets: bytes) -> str:
    """Return bytes as a text for JSON; `as_bytes` restores them."""
    return octets.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """Bytes of a text that `as_text` made."""
    return text.encode("utf-8", "surrogateescape")
