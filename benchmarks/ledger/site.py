"""The worker that the ledger's scans meet: on a folder of its own, with models, stored noise, and a clock."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.choosing import NAME, save_untrained
from benchmarks.ledger.talk import Seen, talk
from benchmarks.scans import CHAIN, Scan, make_scan, pixels
from benchmarks.wire import ROOT, configuration
from benchmarks.worker import address
from onebreath.errors import OnebreathError
from onebreath.host.handover import ask

SIDES = ("gadget", "client")
START = 1800.0  # seconds in which a worker must have started, on a computer that has much else to do
NETWORK = f"unrolled,model={NAME},device=cpu,fallback=none"
QUICK = b'<configuration><property name="deliver" value="later"/><property name="quick_method" value="zero_filled"/>'
RETRIEVE = (
    '<configuration><gadget name="retrieve"><property name="wait_s" value="60"/><property name="scan" value="{}"/>'
)
NO_IMAGE = 1 << 18  # the flag of noise lines


class TooBusy(Exception):
    """A worker has not come up, and has not ended either: the computer is too busy for a ledger."""


class Site:
    """A worker, what it gave when it was idle, and ways to do harm to it.

    Parameters
    ----------
    folder
        For everything that it writes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        self.clock, self.store, self.models = folder / "clock", folder / "store", folder / "models"
        self.models.mkdir(exist_ok=True)
        save_untrained(self.models, 8, 2)
        self.scan = make_scan("static", "cg_sense", 32, 4)
        cine = make_scan("cine", "cg_sense", 32, 4)
        self.network = Scan(configuration(CHAIN.format(NETWORK)), cine.header, cine.lines)
        self.bare = Scan(self.scan.config, self.scan.header, without_noise(self.scan.lines))
        self.later = Scan(self.scan.config.replace(b"<configuration>", QUICK), self.scan.header, self.scan.lines)
        self.process: subprocess.Popen[bytes] | None = None
        self.places: dict[str, tuple[str, int]] = {}
        self.expected: dict[str, NDArray[np.generic]] = {}

    @property
    def pid(self) -> int:
        """Of the worker."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start the worker, if it does not run; the first time, note what it gives."""
        if self.process is not None and self.process.poll() is None:
            return
        self.clock.write_text("0")
        (self.folder / "worker.sock").unlink(missing_ok=True)
        places = ["--port", "0", "--gadget-port", "0", "--socket", str(self.folder / "worker.sock")]
        more = ["--state", str(self.state), "--spool", "always", "--cold", "--rate", "0", "--rate-total", "0"]
        paths = os.pathsep.join([str(ROOT), str(ROOT / "gadgets")])
        chosen = {"MODELS": str(self.models), "STORAGE": str(self.store), "LOG_LEVEL": "ERROR"}
        named = {f"ONEBREATH_{name}": value for name, value in chosen.items()}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.ledger.clocked", str(self.clock), "serve", *places, *more],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "PYTHONPATH": paths, **named},
            )
        self._wait()
        self.places = {side: address(self.folder, side) for side in SIDES}
        if not self.expected:
            self._look()

    def _wait(self) -> None:
        assert self.process is not None
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(OSError):
                ask(self.folder / "worker.sock", "status")
                return
            time.sleep(0.05)
        if self.process.poll() is None:
            self.kill()
            raise TooBusy(f"the worker has not started within {START:.0f} s")
        raise OnebreathError(f"the worker did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _look(self) -> None:
        """Note the images of an idle worker: unwhitened first, as later scans find the noise of earlier ones."""
        for name, scan in {"none": self.bare, "scan": self.scan, "network": self.network}.items():
            seen = self.send(scan)
            if not seen.images or seen.text:
                raise OnebreathError(f"an idle worker gives no images of {name}: {seen.text}")
            self.expected[name] = pixels(seen.images)
        self.expected["storage"] = self.expected["scan"]

    def kill(self) -> None:
        """End the worker as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def send(self, scan: Scan, side: str = "gadget") -> Seen:
        """Send a scan as an honest client would."""
        return talk(self.places[side], [scan.for_side(side)])

    def retrieve(self, scan: str) -> Seen:
        """Ask for the images of a later series."""
        config = RETRIEVE.format(scan).encode() + b"</gadget></configuration>"
        return self.send(Scan(config, self.scan.header, b""))

    def serves(self) -> bool:
        """Whether an honest scan gives what it gave at the beginning."""
        try:
            return self.send(self.scan).outcome(self.expected["scan"]) == "images"
        except OSError:
            return False

    def forget(self) -> None:
        """Remove results, and what was set aside."""
        for path in list((self.state / "results").glob("*")):
            path.unlink(missing_ok=True)

    @contextmanager
    def limited(self, what: int, most: int) -> Iterator[None]:
        """Let the worker have no more of a resource while the body runs."""
        _, hard = resource.prlimit(self.pid, what)
        resource.prlimit(self.pid, what, (most, hard))
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                resource.prlimit(self.pid, what, (hard, hard))

    def virtual_bytes(self) -> int:
        """Address space of the worker."""
        status = (Path("/proc") / str(self.pid) / "status").read_text()
        found = re.search(r"VmSize:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) << 10


def lines_of(data: bytes) -> Iterator[bytes]:
    """Give the messages of lines one by one."""
    place = 0
    while place < len(data):
        channels = int.from_bytes(data[place + 2 + 38 : place + 2 + 40], "little")
        samples = int.from_bytes(data[place + 2 + 34 : place + 2 + 36], "little")
        end = place + 2 + 340 + 8 * channels * samples
        yield data[place:end]
        place = end


def without_noise(lines: bytes) -> bytes:
    """A scan's lines without those of noise."""
    return b"".join(line for line in lines_of(lines) if not int.from_bytes(line[4:12], "little") & NO_IMAGE)
