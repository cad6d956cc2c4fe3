"""Speed of the wire: acquisitions per second through a Python node, and the round trip of a single one.

The driver plays the Gadgetron server: it starts each node as Gadgetron does (``python -m gadgetron PORT MODULE
TARGET``), with the socket options of the C++ server, and reads back what the node sends. Compared are a pass-through on
the plain `gadgetron` package and one on Onebreath's connection; ``--chain`` adds a row for a chain:

    python -m benchmarks.wire --chain "prewhiten compress:upstream_coil_compression_num_modesKept=12 sort"
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from xml.sax.saxutils import quoteattr

import ismrmrd
import numpy as np
from gadgetron import external

from benchmarks.table import table
from onebreath.wire.channel import encode
from onebreath.wire.connection import adopt

ROOT = Path(__file__).parents[1]
LINES = 192  # phase-encoding lines of a frame of the synthetic scan
CLOSE = struct.pack("<H", 4)
HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
 <experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
 <encoding>
  <encodedSpace><matrixSize><x>{samples}</x><y>{lines}</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>400</x><y>300</y><z>8</z></fieldOfView_mm></encodedSpace>
  <reconSpace><matrixSize><x>{samples}</x><y>{lines}</y><z>1</z></matrixSize>
   <fieldOfView_mm><x>400</x><y>300</y><z>8</z></fieldOfView_mm></reconSpace>
  <encodingLimits>
   <kspace_encoding_step_1><minimum>0</minimum><maximum>{last}</maximum><center>{centre}</center></kspace_encoding_step_1>
   <phase><minimum>0</minimum><maximum>{last_phase}</maximum><center>0</center></phase>
  </encodingLimits>
  <trajectory>cartesian</trajectory>
 </encoding>
</ismrmrdHeader>"""


def plain(connection: external.Connection) -> None:
    """Pass through on the `gadgetron` package's own connection."""
    for message in connection:
        connection.send(message)


def ours(connection: external.Connection) -> None:
    """Pass through on Onebreath's connection."""
    plain(adopt(connection))


def scan(count: int, channels: int, samples: int) -> tuple[bytes, list[bytes]]:
    """Header and encoded acquisitions of a fully sampled synthetic cine."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((2, channels, samples)).astype(np.float32)
    encoded = []
    for number in range(count):
        line = ismrmrd.Acquisition.from_array(noise[0] + 1j * noise[1], scan_counter=number, center_sample=samples // 2)
        line.idx.kspace_encode_step_1, line.idx.phase = number % LINES, number // LINES
        line.sample_time_us = 5.0
        if number == count - 1:
            line.set_flag(ismrmrd.ACQ_LAST_IN_MEASUREMENT)
        encoded.append(b"".join(encode(line)))
    text = HEADER.format(
        samples=samples, lines=LINES, last=LINES - 1, centre=LINES // 2, last_phase=(count - 1) // LINES
    )
    return text.encode(), encoded


def configuration(chain: str) -> bytes:
    """Configuration of a chain from its short form: ``gadget:property=value,property=value gadget ...``."""
    gadgets = []
    for step in chain.split():
        name, _, rest = step.partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",") if pair]
        inside = "".join(f"<property name={quoteattr(key)} value={quoteattr(value)}/>" for key, _, value in pairs)
        gadgets.append(f"<gadget name={quoteattr(name)}>{inside}</gadget>")
    return f"<configuration>{''.join(gadgets)}</configuration>".encode()


@contextmanager
def node(module: str, target: str, config: bytes, header: bytes) -> Iterator[socket.socket]:
    """Start a node as Gadgetron does and give the server's end of its connection."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "gadgets"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "GADGETRON_EXTERNAL_LOG_LEVEL": "WARNING"}
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-m", "gadgetron", str(server.getsockname()[1]), module, target]
        process = subprocess.Popen(command, env=environment)
        server.settimeout(60)
        sock, _ = server.accept()
    with sock:
        for identifier, text in ((2, config), (3, header)):
            sock.sendall(struct.pack("<HI", identifier, len(text)) + text)
        yield sock
    process.wait(60)


def rate(sock: socket.socket, acquisitions: list[bytes]) -> float:
    """Send all acquisitions at full speed; return acquisitions per second, until the node has ended."""
    data = b"".join(acquisitions) + CLOSE
    scratch = bytearray(1 << 20)
    begun = time.perf_counter()
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    while sock.recv_into(scratch):
        pass
    seconds = time.perf_counter() - begun
    sender.join()
    return len(acquisitions) / seconds


def latency(sock: socket.socket, acquisition: bytes, repeats: int = 25) -> float:
    """Median round trip of one acquisition in ms; the next is sent when it has come back."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        sock.sendall(acquisition)
        missing = len(acquisition)
        while missing:
            missing -= len(sock.recv(missing))
        times.append(1e3 * (time.perf_counter() - begun))
    sock.sendall(CLOSE)
    while sock.recv(1 << 16):
        pass
    return statistics.median(times)


def children_seconds() -> float:
    """Processor time of all nodes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(title: str, start: tuple[str, str, bytes], args: argparse.Namespace) -> tuple[str, ...]:
    """Measure one node; a row of the table."""
    header, acquisitions = scan(args.count, args.channels, args.samples)
    rates, costs = [], []
    for _ in range(args.repeats):
        spent = []
        for count in (1, args.count):  # the first run costs the start of the process
            before = children_seconds()
            with node(*start, header) as sock:
                per_second = rate(sock, acquisitions[-count:])
            spent.append(children_seconds() - before)
        rates.append(per_second)
        costs.append(1e6 * (spent[1] - spent[0]) / (args.count - 1))
    trip = "-"
    if start[1] != "chain":
        header, small = scan(1, 16, 256)
        with node(*start, header) as sock:
            trip = f"{latency(sock, small[0]):.2f}"
    megabytes = max(rates) * len(acquisitions[0]) / 1e6
    return title, f"{max(rates):.0f}", f"{megabytes:.0f}", f"{min(costs):.0f}", trip


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3840, help="acquisitions (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=30, help="channels (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=512, help="samples of a readout (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the best counts (default: %(default)s)")
    parser.add_argument("--chain", help="also measure a chain, e.g. 'prewhiten compress:property=value sort'")
    args = parser.parse_args(arguments)
    nothing = b"<configuration/>"
    nodes = {
        f"pass-through, gadgetron {version('gadgetron')}": ("benchmarks.wire", "plain", nothing),
        "pass-through, Onebreath": ("benchmarks.wire", "ours", nothing),
    }
    if args.chain:
        nodes[args.chain] = ("onebreath.host.entry", "chain", configuration(args.chain))
    rows = [measure(title, start, args) for title, start in nodes.items()]
    title = (
        f"{args.count} acquisitions of {args.channels} channels x {args.samples} samples over TCP on one machine; best "
        f"of {args.repeats} runs. Round trip: one acquisition of 16 x 256, median."
    )
    columns = ("node", "acquisitions/s", "MB/s each way", "CPU per acquisition (us)", "round trip (ms)")
    print(table(title, columns, rows, ("numpy", "ismrmrd", "gadgetron")))


if __name__ == "__main__":
    main()
