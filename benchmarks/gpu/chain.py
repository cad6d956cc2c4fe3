"""The default cine configuration, served in this process over the wire: time from the last line to the last image.

A resident worker serves a scan that Gadgetron hands over in the same way: libraries and model are loaded before.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import ismrmrd

from onebreath.errors import OnebreathError
from onebreath.host.server import start_host
from onebreath.simulation.mrd_file import header_text
from onebreath.simulation.scan import ScanOptions, simulate
from onebreath.wire.channel import Channel
from onebreath.wire.messages import ConfigText, ErrorText, HeaderText, Text

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "configs" / "Onebreath_Cine.xml"
_PATIENCE = 120.0


class Run(NamedTuple):
    """When a scan began, when the last line of each slice was sent, and when each image came (`time.perf_counter`)."""

    begun: float
    sent: list[float]
    images: list[tuple[float, ismrmrd.Image]]


class Chain:
    """A simulated cine slice and the configuration that reconstructs it.

    Parameters
    ----------
    size
        Frames, lines, columns and coils.
    work
        Folder for what a scan leaves.
    slices
        Number of slices, acquired one after another.
    """

    def __init__(self, size: tuple[int, int, int, int], work: Path, slices: int = 1) -> None:
        self.size, self.slices = size, slices
        frames, ny, nx, coils = size
        os.environ.setdefault("ONEBREATH_STORAGE", str(work / "storage"))
        scan = simulate(
            ScanOptions(matrix=(ny, nx), slices=slices, phases=frames, mode="prospective", coils=coils, acceleration=4)
        )
        order = [(a.scan_counter, 1, a) for a in scan.acquisitions] + [(w.scan_counter, 0, w) for w in scan.waveforms]
        self.messages = [message for *_, message in sorted(order, key=lambda entry: entry[:2])]
        self.header = HeaderText(header_text(scan.header).encode())

    def __str__(self) -> str:
        """The size in words."""
        frames, ny, nx, coils = self.size
        count = "1 slice" if self.slices == 1 else f"{self.slices} slices"
        return f"{count} of {frames} x {ny} x {nx}, {coils} coils, R = 4"

    def variants(self, device: str) -> dict[str, dict[str, str]]:
        """Properties of the gadget `reconstruct` beside those of the configuration, by name."""
        found: dict[str, dict[str, str]] = {"Onebreath_Cine.xml": {}}
        if device == "cuda":
            found["Onebreath_Cine.xml, recorded, bfloat16"] = {"recorded": "true", "precision": "auto"}
        return found

    def seconds_after_the_last_line(self, properties: dict[str, str]) -> float:
        """Send the scan as a client does, and wait for its images; raises as `run`."""
        ran = self.run(configuration({"reconstruct": properties}))
        return ran.images[-1][0] - ran.sent[-1]

    def run(self, config: ConfigText, seconds_per_slice: float = 0.0) -> Run:
        """Send the scan as a client does.

        Parameters
        ----------
        config
            The configuration.
        seconds_per_slice
            Time from the first line of a slice to that of the next one; 0: as fast as lines are taken.

        Raises
        ------
        OnebreathError
            If there are not as many images as frames, or an error came instead.
        """
        sent = [0.0] * self.slices
        with start_host() as host, socket.create_connection(host.address, _PATIENCE) as sock:
            channel = Channel(sock)
            channel.stream.patience(_PATIENCE)
            begun = time.perf_counter()

            def work() -> None:
                for message in (config, self.header):
                    channel.send(message)
                for message, due in self._due(seconds_per_slice):
                    if due > time.perf_counter() - begun:
                        time.sleep(due - (time.perf_counter() - begun))
                    channel.send(message)
                    if isinstance(message, ismrmrd.Acquisition):
                        sent[message.idx.slice] = time.perf_counter()
                channel.stream.end()

            sender = threading.Thread(target=work)
            sender.start()
            answers = [(time.perf_counter(), answer) for answer in channel]
            sender.join(_PATIENCE)
        errors = [str(a) for _, a in answers if isinstance(a, (Text, ErrorText))]
        images = [(when, answer) for when, answer in answers if isinstance(answer, ismrmrd.Image)]
        if len(images) < self.size[0] * self.slices:
            wanted = self.size[0] * self.slices
            raise OnebreathError(f"{len(images)} images of {wanted} came: {'; '.join(errors) or 'no word why'}")
        return Run(begun, sent, images)

    def _due(self, seconds_per_slice: float) -> Iterator[tuple[object, float]]:
        """Messages, and when to send them, in seconds from the start of the scan."""
        lines = [m.idx.slice if isinstance(m, ismrmrd.Acquisition) else -1 for m in self.messages]
        total = {number: lines.count(number) for number in range(self.slices)}
        gone, number = dict.fromkeys(total, 0), 0
        for message, of_slice in zip(self.messages, lines, strict=True):
            if of_slice >= 0:
                number = of_slice
                gone[number] += 1
            yield message, seconds_per_slice * (number + gone[number] / total[number])


def configuration(properties: dict[str, dict[str, str]]) -> ConfigText:
    """The default cine configuration with further properties of gadgets, by their names."""
    tree = ElementTree.parse(CONFIGURATION)
    for gadget in tree.iter("gadget"):
        for name, value in properties.get(gadget.get("name", ""), {}).items():
            ElementTree.SubElement(gadget, "property", name=name, value=value)
    return ConfigText(ElementTree.tostring(tree.getroot()))
