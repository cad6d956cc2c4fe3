"""A client that tells what it saw: images, a text, or how its connection ended."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from benchmarks.scans import pixels
from benchmarks.wire import CLOSE
from onebreath.errors import OnebreathError
from onebreath.host.client_messages import PREFIX
from onebreath.wire.channel import Channel
from onebreath.wire.messages import ErrorText, Text

PATIENCE = 900.0  # seconds for an answer, on a computer that has much else to do
PIECE = 1 << 15  # bytes that are sent at once
RESET = struct.pack("ii", 1, 0)
SILENCE = "nothing came any more"
OUTCOMES = ("images", "clear error", "broken connection", "left", "silent failure")
"""Images equal to those of an idle worker; a text; a connection that broke without one, which a client reports as an
error of its own; a client that left by itself, so that nobody can be told; anything else."""


@dataclass
class Seen:
    """What came of a scan.

    Attributes
    ----------
    images
        In the order in which they came.
    text
        Of the worker; its warnings come beside images, and are told apart.
    warned
        Whether a warning came, to the client or in the images.
    broken
        How the connection ended, if not by CLOSE.
    left
        Whether the client left by itself.
    """

    images: list[ismrmrd.Image] = field(default_factory=list)
    text: str = ""
    broken: str = ""
    left: bool = False
    warned: bool = False

    def take(self, message: object) -> None:
        """Note what came."""
        if isinstance(message, ismrmrd.Image):
            self.images.append(message)
            self.warned |= "Onebreath_warnings" in message.meta
        elif isinstance(message, (Text, ErrorText)):
            if str(message).startswith(PREFIX):
                self.warned = True
            else:
                self.text = self.text or str(message)

    def outcome(self, expected: NDArray[np.generic] | None) -> str:
        """Return which of `OUTCOMES` it is; no pixels are expected where there must not be images."""
        if self.left:
            return "left"
        if self.text:
            return "clear error"
        if self.broken:
            return "silent failure" if SILENCE in self.broken or "TimeoutError" in self.broken else "broken connection"
        same = expected is not None and bool(self.images) and np.array_equal(pixels(self.images), expected)
        return "images" if same else "silent failure"

    def described(self, expected: NDArray[np.generic] | None) -> str:
        """Say what is wrong with images, for who looks into it."""
        if not self.images or expected is None:
            return f"{len(self.images)} images where {'none' if expected is None else len(expected)} must be"
        found, noise = pixels(self.images), self.images[0].meta.get("Onebreath_prewhiten_noise")
        off = float(np.abs(found - expected).max()) if found.shape == expected.shape else "other shape"
        return f"images {found.shape}, {off} off of {np.abs(expected).max()}, noise {noise}"


def talk(where: tuple[str, int], parts: Iterable[bytes | float], *, deaf: float = 0.0) -> Seen:
    """Send a scan and CLOSE, and take what comes.

    Parameters
    ----------
    where
        Address of a side.
    parts
        Bytes, and seconds to wait between them.
    deaf
        Seconds for which nothing is read.
    """
    seen = Seen()
    with socket.create_connection(where, PATIENCE) as sock, closing(sock.dup()) as twin:
        sender = threading.Thread(target=_send, args=(sock, [*parts, CLOSE]))
        sender.start()
        time.sleep(deaf)
        try:
            for message in _patient(twin):
                seen.take(message)
        except (OSError, OnebreathError) as error:
            cause = error.__cause__ or error
            seen.broken = f"{type(cause).__name__}: {error}"
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sender.join()
    return seen


def _patient(sock: socket.socket) -> Channel:
    channel = Channel(sock)
    channel.stream.patience(PATIENCE)
    return channel


def _send(sock: socket.socket, parts: Iterable[bytes | float]) -> None:
    with suppress(OSError):  # the reader sees why
        for part in parts:
            if isinstance(part, float):
                time.sleep(part)
                continue
            for place in range(0, len(part), PIECE):
                sock.sendall(part[place : place + PIECE])


def leave(where: tuple[str, int], data: bytes, *, reset: bool) -> Seen:
    """Send a part of a scan, and go away."""
    with socket.create_connection(where, PATIENCE) as sock, suppress(OSError):
        sock.sendall(data)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return Seen(left=True)


def half_close(where: tuple[str, int], data: bytes) -> Seen:
    """Send a part of a scan and no more, and take what comes."""
    seen = Seen()
    with socket.create_connection(where, PATIENCE) as sock, closing(sock.dup()) as twin:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            for message in _patient(twin):
                seen.take(message)
        except (OSError, OnebreathError) as error:
            seen.broken = f"{type(error.__cause__ or error).__name__}: {error}"
    return seen
