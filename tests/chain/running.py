"""Whole chains at work: in this process, or in the embedded host as its clients see it."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.sax.saxutils import quoteattr

import ismrmrd
import numpy as np

from onebreath.chain.chain import build
from onebreath.chain.gadget import Message, usual_order
from onebreath.host.listener import Listener
from onebreath.simulation.mrd_file import header_text
from onebreath.simulation.scan import ScanOptions, SimulatedScan, simulate
from onebreath.wire.channel import Channel
from onebreath.wire.messages import ConfigName, ConfigText, HeaderText, Text
from tests.helpers import READERS_AND_WRITERS

Steps = list[tuple[str, dict[str, str]]]
PATIENCE = 30.0
"""Seconds without a byte after which a test takes a connection to hang."""


def steps(method: str, first: str = "prewhiten", last: str = "export", **changes: Mapping[str, str]) -> Steps:
    """The gadgets from `first` to `last`, all channels kept and pixels as they are, and what a test sets otherwise."""
    chosen: dict[str, dict[str, str]] = {name: {} for name in usual_order()}
    chosen["compress"] = {"upstream_coil_compression_thres": "0"}
    chosen["reconstruct"] = {"method": method}
    for name, properties in changes.items():
        chosen[name] |= properties
    order = usual_order()
    return [(name, chosen[name]) for name in order[order.index(first) : order.index(last) + 1]]


def run(header: Any, messages: Iterable[Message], chain: Steps) -> list[Message]:
    """Everything that a chain in this process makes of messages."""
    return list(build(header, chain).run(messages))


def images_of(messages: Iterable[Message], series: int = 1) -> list[ismrmrd.Image]:
    """The images of one series, in the order of their number."""
    found = [m for m in messages if isinstance(m, ismrmrd.Image) and m.image_series_index == series]
    return sorted(found, key=lambda image: image.image_index)


def pixels(images: Iterable[ismrmrd.Image]) -> np.ndarray:
    """Pixels (image, y, x)."""
    return np.stack([image.data[0, 0] for image in images])


def cine(scan: SimulatedScan, images: list[ismrmrd.Image]) -> np.ndarray:
    """Pixels (slice, phase, y, x), by the counters in the images' headers."""
    slices, phases = len(scan.truth["image"]), len(images) // len(scan.truth["image"])
    ordered = sorted(images, key=lambda image: (image.slice, image.phase))
    assert [(i.slice, i.phase) for i in ordered] == [(s, p) for s in range(slices) for p in range(phases)]
    return pixels(ordered).reshape(slices, phases, *ordered[0].data.shape[2:])


def simulated(**options: Any) -> SimulatedScan:
    """A small simulated scan: one slice of a heart at rest, fully sampled; options change that."""
    small: dict[str, Any] = {
        "matrix": (48, 56), "slices": 1, "phases": 1, "mode": "static", "coils": 8, "acceleration": 1,
        "acs_mode": "none", "acs_lines": 16, "ecg": False, "noise_lines": 64,
    }  # fmt: skip
    return simulate(ScanOptions(**small | options))


def stream_of(scan: SimulatedScan) -> list[Message]:
    """Acquisitions and waveforms of a scan in the order in which a client sends them."""
    order = [(a.scan_counter, 1, a) for a in scan.acquisitions] + [(w.scan_counter, 0, w) for w in scan.waveforms]
    return [message for *_, message in sorted(order, key=lambda entry: entry[:2])]


def xml(*nodes: Steps) -> ConfigText:
    """A configuration with one external node for each list of steps."""
    text = ""
    for chain in nodes:
        gadgets = ""
        for name, properties in chain:
            inside = "".join(f"<property name={quoteattr(k)} value={quoteattr(v)}/>" for k, v in properties.items())
            gadgets += f"<gadget name={quoteattr(name)}>{inside}</gadget>"
        execute = '<execute name="onebreath.host.entry" target="chain" type="python"/>'
        text += f"<external>{execute}<configuration>{gadgets}</configuration></external>"
    return ConfigText(
        f"<configuration><version>2</version>{READERS_AND_WRITERS}<stream>{text}</stream></configuration>".encode()
    )


def header_bytes(header: Any) -> HeaderText:
    """A header as a client sends it."""
    return HeaderText(header_text(header).encode())


def send(
    host: Listener, config: ConfigName | ConfigText, header: HeaderText, messages: Iterable[Any]
) -> tuple[list[ismrmrd.Image], list[str]]:
    """Send a scan as a client does; the images and the texts that come back. Fails rather than hangs."""
    with socket.create_connection(host.address, PATIENCE) as sock:
        channel = Channel(sock)
        channel.stream.patience(PATIENCE)

        def work() -> None:
            for message in (config, header, *messages):
                channel.send(message)

        with ThreadPoolExecutor(1) as sender:
            sending = sender.submit(work)
            sending.add_done_callback(lambda _: channel.stream.end())
            answers = list(channel)
            sending.result(PATIENCE)
    return [a for a in answers if isinstance(a, ismrmrd.Image)], [a for a in answers if isinstance(a, Text)]
