"""Simulated scans as bytes for either side of the chain, and the answers to them."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from benchmarks import wire
from benchmarks.choosing import NAME
from onebreath.config.stream_config import OWN_MODULE, Execute, External, as_xml
from onebreath.errors import OnebreathError
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.scan import simulate
from onebreath.wire.channel import Channel, encode
from onebreath.wire.messages import ConfigText, HeaderText

CHAIN = "prewhiten compress:upstream_coil_compression_num_modesKept=8 sort calibrate reconstruct:method={} export"
METHODS = {"cg_sense": "cg_sense", "unrolled": f"unrolled,model={NAME},device=cpu,fallback=none"}
"""With a classical method a cold process needs no PyTorch; with a network it does."""
PLACE = b"<configuration/>"  # of a node's configuration within the host's
SIZES = {"cine": {"slices": 1, "phases": 12}, "static": {"slices": 2, "phases": 1, "mode": "static"}}


@dataclass(frozen=True)
class Scan:
    """A scan as bytes: for a node, and for a host."""

    config: bytes
    header: bytes
    lines: bytes

    def for_node(self) -> bytes:
        """CONFIG, HEADER and data, without CLOSE."""
        texts = ((2, self.config), (3, self.header))
        return b"".join(struct.pack("<HI", number, len(text)) + text for number, text in texts) + self.lines

    def for_host(self) -> bytes:
        """The same for the client side; whatever stands in the configuration is left for the worker to judge."""
        whole = as_xml([External(Execute(OWN_MODULE, "chain", "python"), PLACE)]).encode().replace(PLACE, self.config)
        messages = (ConfigText(whole), HeaderText(self.header))
        return b"".join(bytes(part) for message in messages for part in encode(message)) + self.lines

    def for_side(self, side: str) -> bytes:
        """The same for ``gadget``, where nodes are served, or ``client``."""
        return self.for_node() if side == "gadget" else self.for_host()


@dataclass
class Answer:
    """What came back, and when (seconds)."""

    images: list[ismrmrd.Image]
    whole: float
    first: float


def pixels(images: Sequence[ismrmrd.Image]) -> NDArray[np.generic]:
    """All images, sorted by slice and phase."""
    found = sorted(images, key=lambda image: (image.slice, image.phase, image.image_index))
    return np.stack([image.data for image in found])


def make_scan(kind: str, method: str, matrix: int = 128, coils: int = 12) -> Scan:
    """Simulate a scan of a kind of `SIZES`."""
    options = ScanOptions(matrix=(matrix, matrix), coils=coils, acceleration=4, snr=40.0, **SIZES[kind])
    scan = simulate(options)
    lines = b"".join(bytes(part) for line in scan.acquisitions for part in encode(line))
    return Scan(wire.configuration(CHAIN.format(METHODS[method])), scan.header.toXML("utf-8").encode(), lines)


def exchange(sock: socket.socket, data: bytes, begun: float) -> Answer:
    """Send a scan at full speed and take the answer.

    Raises
    ------
    OnebreathError
        If something else than images comes.
    """
    closed: list[float] = []

    def send() -> None:
        sock.sendall(data)
        closed.append(time.perf_counter())
        sock.sendall(wire.CLOSE)

    sender = threading.Thread(target=send)
    sender.start()
    images, first = [], 0.0
    for message in Channel(sock):
        first = first or time.perf_counter()
        if not isinstance(message, ismrmrd.Image):
            raise OnebreathError(f"an image was expected, not {message}")
        images.append(message)
    end = time.perf_counter()
    sender.join()
    return Answer(images, end - begun, first - closed[0])
