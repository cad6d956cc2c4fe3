"""The faults that the ledger's scans meet, each by name and by how many of 200 scans it meets."""

from __future__ import annotations

import random
import resource
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from benchmarks import wire
from benchmarks.choosing import NAME
from benchmarks.ledger.site import NETWORK, Site, lines_of
from benchmarks.ledger.talk import Seen, half_close, leave, talk
from benchmarks.scans import CHAIN, Scan

Pixels: TypeAlias = NDArray[np.generic] | None
Fault: TypeAlias = Callable[[Site, str, random.Random], tuple[Seen, Pixels]]
"""Sends one scan to a side; what came of it, and the pixels that images must have (None: there must be none)."""

DAY = 86400.0
READY = 60.0  # seconds for a later series


# --- on the wire


def _damaged(change: Callable[[Scan, random.Random], Scan]) -> Fault:
    def fault(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
        return site.send(change(site.scan, chance), side), None

    return fault


def garbage(scan: Scan, chance: random.Random) -> Scan:
    """64 bytes that belong to nobody, between any two."""
    place = chance.randrange(len(scan.lines))
    return replace(scan, lines=scan.lines[:place] + chance.randbytes(64) + scan.lines[place:])


def sample(scan: Scan, chance: random.Random) -> Scan:
    """One number of a line's samples that is none."""
    lines = list(lines_of(scan.lines))
    which = chance.randrange(len(lines) // 2, len(lines))  # no noise lines there
    place = 342 + 4 * chance.randrange((len(lines[which]) - 342) // 4)
    bad = struct.pack("<f", chance.choice([float("nan"), float("inf"), -float("inf")]))
    lines[which] = lines[which][:place] + bad + lines[which][place + 4 :]
    return replace(scan, lines=b"".join(lines))


def channels(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """One more line, of another number of channels: it is left out with a warning, or refused."""
    scan = site.scan
    head = ismrmrd.AcquisitionHeader.from_buffer_copy(list(lines_of(scan.lines))[-1][2:342])
    head.active_channels += chance.choice([-1, 1, 2])
    samples = struct.pack("<f", 1.0) * (2 * head.active_channels * head.number_of_samples)
    more = struct.pack("<H", 1008) + bytes(head) + samples
    seen = site.send(replace(scan, lines=scan.lines + more), side)
    return seen, site.expected["scan"] if seen.warned else None


def header(scan: Scan, chance: random.Random) -> Scan:
    """A header with a size that is none, or an element that nobody knows."""
    wrong = chance.choice([b"<x>-", b"<x>NaN", b"<x>1e", b"<q>", b"<x>&#0;", b"<x></x><x>"])
    return replace(scan, header=scan.header.replace(b"<x>", wrong, 1))


def configuration(scan: Scan, chance: random.Random) -> Scan:
    """A configuration that names what there is not, or in no order that works."""
    wrong = chance.choice([b"reconstrukt", b"sort", b"", b"\xff"])
    return replace(scan, config=scan.config.replace(b"reconstruct", wrong, 1))


def model(scan: Scan, chance: random.Random) -> Scan:
    """A network that is not there."""
    missing = NETWORK.replace(NAME, f"{NAME}{chance.randrange(9)}")
    return replace(scan, config=wire.configuration(CHAIN.format(missing)))


def none(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """No fault."""
    return site.send(site.scan, side), site.expected["scan"]


def noise(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """No noise lines; the images say whether those of an earlier scan were used, and must be as they say."""
    seen = site.send(site.bare, side)
    return seen, _as_they_say(site, seen)


def _as_they_say(site: Site, seen: Seen) -> Pixels:
    said = str(seen.images[0].meta["Onebreath_prewhiten_noise"]) if seen.images else ""
    return site.expected.get(said)


def cut(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """The client goes away in the middle."""
    return _left(site, side, chance, reset=False)


def reset(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """The client's connection is reset in the middle."""
    return _left(site, side, chance, reset=True)


def _left(site: Site, side: str, chance: random.Random, *, reset: bool) -> tuple[Seen, Pixels]:
    data = site.scan.for_side(side)
    return leave(site.places[side], data[: int(chance.random() * len(data))], reset=reset), None


def half(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """The client sends a part only, ends its sending, and waits."""
    data = site.scan.for_side(side)
    return half_close(site.places[side], data[: chance.randrange(len(data) // 50, len(data))]), None


def slow(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """The client sends with pauses, and is deaf for a while."""
    data, parts = site.scan.for_side(side), list[bytes | float]()
    for place in range(0, len(data), len(data) // 8 + 1):
        parts += [data[place : place + len(data) // 8 + 1], chance.random() * 0.05]
    return talk(site.places[side], parts, deaf=0.5 * chance.random()), site.expected["scan"]


# --- on the disk


def full(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """No file takes more than so many bytes; half of the scans are to be made later."""
    later = chance.random() < 0.5
    with site.limited(resource.RLIMIT_FSIZE, chance.randrange(int(1.5 * len(site.scan.lines)))):
        seen = site.send(site.later if later else site.scan, side)
        if later and seen.images and not seen.text:
            seen = site.retrieve(_name(seen))
    return seen, site.expected["scan"]


def late(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """A bit of what is kept for later changes on the disk, or a file is cut off, before somebody asks for it."""
    seen = site.send(site.later, side)
    if not seen.images or seen.text:
        return seen, None
    name = _name(seen)
    results = site.state / "results"
    end = time.monotonic() + READY
    while time.monotonic() < end and not (results / f"{name}.h5").exists():
        time.sleep(0.02)
    if chance.random() < 0.7:  # else before the images are whole
        site.retrieve(name)
    _harm(chance.choice([results / f"{name}.h5", results / f"{name}.json"]), chance)
    seen = site.retrieve(name)
    site.forget()
    return seen, site.expected["scan"]


def stored(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """A bit of the noise that earlier scans have left changes on the disk; the scan has none of its own."""
    found = [path for path in site.store.rglob("*") if path.is_file() and not path.name.startswith(".")]
    if found:
        _harm(chance.choice(found), chance)
    return noise(site, side, chance)


def weights(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """A network's weights are changed, cut off, or as they were."""
    path = site.models / NAME / "weights.safetensors"
    content = path.read_bytes()
    try:
        if chance.random() < 0.7:
            _harm(path, chance)
        seen = site.send(site.network, side)
    finally:
        path.write_bytes(content)
    again = site.send(site.network, side)
    if again.outcome(site.expected["network"]) != "images":
        return Seen(text=""), None  # the right weights are there again
    return seen, site.expected["network"]


def _harm(path: Path, chance: random.Random) -> None:
    with suppress(FileNotFoundError):
        content = bytearray(path.read_bytes())
        if not content:
            return
        place = chance.randrange(len(content))
        if chance.random() < 0.2:
            del content[place:]
        else:
            content[place] ^= 1 << chance.randrange(8)
        path.write_bytes(content)


def _name(seen: Seen) -> str:
    return str(seen.images[0].meta["Onebreath_host_scan"])


# --- the process and its computer


def memory(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """The computer gives the worker little more memory than it has."""
    with site.limited(resource.RLIMIT_AS, site.virtual_bytes() + (chance.choice([0, 1, 4, 16, 64]) << 20)):
        return site.send(site.scan, side), site.expected["scan"]


def clock(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """The computer's clock jumps in the middle of a scan, and back after it."""
    scan = site.later if chance.random() < 0.5 else site.scan
    data = scan.for_side(side)
    middle = chance.randrange(len(data))
    with _jump(site, chance.choice([-400 * DAY, -3 * DAY, -3600.0, 3600.0, 3 * DAY, 400 * DAY])):
        seen = talk(site.places[side], [data[:middle], 0.05, data[middle:]])
        if scan is site.later and seen.images and not seen.text:
            seen = site.retrieve(_name(seen))
    return seen, site.expected["scan"]


@contextmanager
def _jump(site: Site, seconds: float) -> Iterator[None]:
    site.clock.write_text(str(seconds))
    try:
        yield
    finally:
        site.clock.write_text("0")


def killed(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """The worker is killed in the middle of the data, and started again."""
    data = site.scan.for_side(side)
    seen = leave(site.places[side], data[: int(chance.random() * len(data))], reset=False)
    site.kill()
    site.start()
    return seen, None


def killed_later(site: Site, side: str, chance: random.Random) -> tuple[Seen, Pixels]:
    """The worker is killed while it makes a later series; what it left on the disk is harmed, or not."""
    seen = site.send(site.later, side)
    time.sleep(0.2 * chance.random())
    site.kill()
    left = [path for path in site.state.rglob("*") if path.is_file()]
    if left and chance.random() < 0.7:
        _harm(chance.choice(sorted(left)), chance)
    site.start()
    if seen.images and not seen.text:
        seen = site.retrieve(_name(seen))
    site.forget()
    return seen, site.expected["scan"]


FAULTS: dict[str, tuple[int, Fault]] = {
    "none": (14, none),
    "client cut off": (14, cut),
    "client reset": (14, reset),
    "client sends a part": (14, half),
    "slow client": (8, slow),
    "bytes of nobody": (16, _damaged(garbage)),
    "sample that is no number": (14, _damaged(sample)),
    "other channels": (14, channels),
    "wrong header": (14, _damaged(header)),
    "wrong configuration": (14, _damaged(configuration)),
    "model missing": (8, _damaged(model)),
    "noise missing": (14, noise),
    "disk full": (12, full),
    "stored noise harmed": (8, stored),
    "late images harmed": (8, late),
    "weights harmed": (4, weights),
    "clock jumps": (4, clock),
    "no memory": (4, memory),
    "worker killed": (1, killed),
    "killed, data harmed": (1, killed_later),
}
TURNS = [name for name, (share, _) in FAULTS.items() for _ in range(share)]


def of_scan(number: int) -> str:
    """Return the fault that a scan of this number meets; each 200 meet all, in an order of their own."""
    round_, place = divmod(number, len(TURNS))
    order = list(TURNS)
    random.Random(round_).shuffle(order)
    return order[place]
