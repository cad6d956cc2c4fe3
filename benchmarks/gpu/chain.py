"""The default cine configuration, served in this process over the wire: time from the last line to the last image.

A resident worker serves a scan that Gadgetron hands over in the same way: libraries and model are loaded before.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
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


class Chain:
    """A simulated cine slice and the configuration that reconstructs it.

    Parameters
    ----------
    size
        Frames, lines, columns and coils.
    work
        Folder for what a scan leaves.
    """

    def __init__(self, size: tuple[int, int, int, int], work: Path) -> None:
        self.size = size
        frames, ny, nx, coils = size
        os.environ.setdefault("ONEBREATH_STORAGE", str(work / "storage"))
        scan = simulate(
            ScanOptions(matrix=(ny, nx), slices=1, phases=frames, mode="prospective", coils=coils, acceleration=4)
        )
        order = [(a.scan_counter, 1, a) for a in scan.acquisitions] + [(w.scan_counter, 0, w) for w in scan.waveforms]
        self.messages = [message for *_, message in sorted(order, key=lambda entry: entry[:2])]
        self.header = HeaderText(header_text(scan.header).encode())

    def __str__(self) -> str:
        """The size in words."""
        frames, ny, nx, coils = self.size
        return f"1 slice of {frames} x {ny} x {nx}, {coils} coils, R = 4"

    def variants(self, device: str) -> dict[str, dict[str, str]]:
        """Properties of the gadget `reconstruct` beside those of the configuration, by name."""
        found: dict[str, dict[str, str]] = {"Onebreath_Cine.xml": {}}
        if device == "cuda":
            found["Onebreath_Cine.xml, recorded, bfloat16"] = {"recorded": "true", "precision": "auto"}
        return found

    def seconds_after_the_last_line(self, properties: dict[str, str]) -> float:
        """Send the scan as a client does, and wait for its images.

        Raises
        ------
        OnebreathError
            If there are not as many images as frames, or an error came instead.
        """
        sent = [0.0]
        with start_host() as host, socket.create_connection(host.address, _PATIENCE) as sock:
            channel = Channel(sock)
            channel.stream.patience(_PATIENCE)

            def work() -> None:
                for message in (configuration(properties), self.header, *self.messages):
                    channel.send(message)
                sent[0] = time.perf_counter()
                channel.stream.end()

            sender = threading.Thread(target=work)
            sender.start()
            answers = [(time.perf_counter(), answer) for answer in channel]
            sender.join(_PATIENCE)
        errors = [str(a) for _, a in answers if isinstance(a, (Text, ErrorText))]
        times = [when for when, answer in answers if isinstance(answer, ismrmrd.Image)]
        if len(times) < self.size[0]:
            raise OnebreathError(f"{len(times)} images of {self.size[0]} came: {'; '.join(errors) or 'no word why'}")
        return times[-1] - sent[0]


def configuration(properties: dict[str, str]) -> ConfigText:
    """The default cine configuration with further properties of the gadget `reconstruct`."""
    tree = ElementTree.parse(CONFIGURATION)
    (gadget,) = [one for one in tree.iter("gadget") if one.get("name") == "reconstruct"]
    for name, value in properties.items():
        ElementTree.SubElement(gadget, "property", name=name, value=value)
    return ConfigText(ElementTree.tostring(tree.getroot()))
