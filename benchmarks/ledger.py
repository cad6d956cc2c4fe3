"""A public ledger of replayed scans with injected faults: how many gave images, how many a clear error, and whether any
failed in silence.

Each scan of a numbered series meets a fault that its number draws: none, a cut, a reset, a pause, bytes that belong to
nobody, samples that are no numbers, channels that change, a header or a configuration that is wrong, or a worker that
is killed. After it, an honest scan must give the images of an idle worker. One line of JSON per scan is appended to the
ledger, so that a run that was broken off resumes where it ended:

    python -m benchmarks.ledger --scans 10000 --ledger ledger.jsonl
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import ismrmrd
import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from benchmarks.load import pixels
from benchmarks.table import table
from benchmarks.wire import CLOSE
from benchmarks.worker import Scan, address, dialled, make_scan, worker
from onebreath.errors import OnebreathError
from onebreath.wire.channel import Channel

FAULTS = ("none", "cut", "reset", "pause", "garbage", "nan", "channels", "header", "configuration", "killed")
OUTCOMES = ("images", "clear error", "left", "silent failure")
"""Images equal to those of an idle worker; a text; a client that left by itself, so that nobody can be told; else."""
PATIENCE = 120.0  # seconds for an answer
SIDES = ("gadget", "client")


def with_fault(scan: Scan, fault: str, chance: random.Random) -> tuple[Scan, float]:
    """Return a scan with a fault in its bytes, and the part of it that is sent."""
    header, config, lines = scan.header, scan.config, scan.lines
    place = chance.randrange(len(lines))
    if fault in ("cut", "reset", "killed"):
        return scan, chance.random()
    if fault == "garbage":
        lines = lines[:place] + chance.randbytes(64) + lines[place:]
    elif fault == "nan":
        place -= place % 4
        lines = _last_sample(lines, struct.pack("<f", float("nan")))
    elif fault == "channels":
        lines += _one_more_channel(lines)
    elif fault == "header":
        header = header.replace(b"<x>", chance.choice([b"<x>-", b"<x>NaN", b"<q>"]), 1)
    elif fault == "configuration":
        config = config.replace(b"reconstruct", chance.choice([b"reconstrukt", b"sort"]), 1)
    return Scan(config, header, lines), 1.0


def _last_sample(lines: bytes, sample: bytes) -> bytes:
    return lines[: -len(sample)] + sample


def _one_more_channel(lines: bytes) -> bytes:
    head = ismrmrd.AcquisitionHeader.from_buffer_copy(lines[2:342])
    head.active_channels += 1
    return lines[:2] + bytes(head) + struct.pack("<f", 1.0) * (2 * head.active_channels * head.number_of_samples)


def attempt(scan: Scan, side: str, where: tuple[str, int], fault: str, part: float) -> tuple[list[ismrmrd.Image], str]:
    """Send a scan, or a part of it; return the images and the text that came."""
    data = (scan.for_node() if side == "gadget" else scan.for_host()) + CLOSE
    images: list[ismrmrd.Image] = []
    with socket.create_connection(where, PATIENCE) as sock, closing(sock.dup()) as twin:
        try:
            sock.sendall(data[: int(part * len(data))] if part < 1 else data[:-1000])
            if fault == "pause":
                time.sleep(0.5)
            if fault == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if part < 1:
                return [], ""
            sock.sendall(data[-1000:])
            for message in Channel(twin):
                if not isinstance(message, ismrmrd.Image):
                    return images, str(message)
                images.append(message)
        except (OSError, OnebreathError) as error:
            return images, f"{type(error).__name__}: {error}"
    return images, ""


def judge(fault: str, part: float, images: list[ismrmrd.Image], text: str, expected: NDArray[np.generic]) -> str:
    """Return which of `OUTCOMES` an attempt had."""
    if part < 1:
        return "left"
    if text:
        return "clear error"
    same = bool(images) and np.array_equal(_pixels(images), expected)
    return "images" if same else "silent failure"


def _pixels(images: list[ismrmrd.Image]) -> NDArray[np.generic]:
    found = sorted(images, key=lambda image: (image.slice, image.phase, image.image_index))
    return np.stack([image.data for image in found])


def run(count: int, ledger: Path, seconds: float) -> None:
    """Append lines to the ledger until it has `count` of them, or the time is over."""
    whole = list(entries(ledger))
    done = len(whole)
    ledger.write_text("".join(json.dumps(entry) + "\n" for entry in whole))  # without a line that was cut off
    scan, ends = make_scan("static", "cg_sense", 32, 4), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as name, ExitStack() as workers, ledger.open("a") as file:
        folder, places, expected = Path(name), {}, None
        for number in range(done, count):
            if time.monotonic() > ends:
                return
            if not places:
                workers.enter_context(_survivor(folder))
                places = {side: address(folder, side) for side in SIDES}
            if expected is None:
                expected = pixels(dialled(places["gadget"], scan.for_node()))
            chance = random.Random(number)
            fault, side = FAULTS[number % len(FAULTS)], SIDES[number // len(FAULTS) % 2]
            changed, part = with_fault(scan, fault, chance)
            images, text = attempt(changed, side, places[side], fault, part)
            outcome = judge(fault, part, images, text, expected)
            if fault == "killed":
                workers.close()
                places = {}
            elif not _serves(scan, places, expected):
                outcome = "silent failure"
            file.write(
                json.dumps({"scan": number, "fault": fault, "side": side, "outcome": outcome, "text": text}) + "\n"
            )
            file.flush()


def _serves(scan: Scan, places: dict[str, tuple[str, int]], expected: NDArray[np.generic]) -> bool:
    """Whether an honest scan gives what it gave an idle worker."""
    try:
        return np.array_equal(pixels(dialled(places["gadget"], scan.for_node())), expected)
    except (OSError, OnebreathError, ValueError):
        return False


class _survivor:
    """A worker that is killed at the end, as a crash would."""

    def __init__(self, folder: Path) -> None:
        rates = ("--rate", "0", "--rate-total", "0")
        self._worker = worker(folder, "--cold", "--spool", "always", *rates)

    def __enter__(self) -> None:
        self._process = self._worker.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._worker.__exit__(None, None, None)


def entries(ledger: Path) -> Iterator[dict[str, str]]:
    """Give the entries of a ledger; a last line that was cut off is none."""
    for line in ledger.read_text().splitlines() if ledger.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            return


def interval(found: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a proportion."""
    rest = (1 - confidence) / 2
    low = 0.0 if found == 0 else float(beta.ppf(rest, found, count - found + 1))
    high = 1.0 if found == count else float(beta.ppf(1 - rest, found + 1, count - found))
    return low, high


def main(arguments: list[str] | None = None) -> int:
    """Run, print the table; 1 if a scan failed in silence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__)
    parser.add_argument("--scans", type=int, default=100, help="of the whole ledger (default: %(default)s)")
    parser.add_argument("--ledger", type=Path, default=Path("ledger.jsonl"), help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1e9, help="after which to stop; run again to resume")
    args = parser.parse_args(arguments)
    run(args.scans, args.ledger, args.seconds)
    found = list(entries(args.ledger))
    counts = Counter(entry["outcome"] for entry in found)
    rows = []
    for outcome in OUTCOMES:
        low, high = interval(counts[outcome], max(1, len(found)))
        target = "0" if outcome == "silent failure" else ""
        rows.append((outcome, str(counts[outcome]), f"{100 * low:.2f} to {100 * high:.2f} %", target))
    title = f"{len(found)} replayed scans with injected faults"
    print(table(title, ("outcome", "scans", "95 % confidence", "target"), rows, ("numpy", "gadgetron")))
    return int(counts["silent failure"] > 0)


if __name__ == "__main__":
    sys.exit(main())
