"""Bytes played to the wire's readers as if they came from a socket, and seeded mutations of recorded streams."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable
from typing import Any

from onebreath.config.stream_config import parse
from onebreath.errors import OnebreathError
from onebreath.mrd.blocks import singly
from onebreath.wire.connection import Connection

EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 1 << 24, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
EXTREMES_64 = (*EXTREMES, 1 << 35, 1 << 40, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
IDENTIFIERS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 999, 1008, 1009, 1012, 1022, 1023, 1024, 1026, 1050, 4096, 65535)


class Tape:
    """What the readers need of a socket, over bytes; it ends as a closed connection does."""

    family = socket.AF_UNIX

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.place = 0

    def recvmsg_into(self, buffers: list[memoryview]) -> tuple[int]:
        begun = self.place
        for buffer in buffers:
            part = self.data[self.place : self.place + len(buffer)]
            buffer[: len(part)] = part
            self.place += len(part)
        return (self.place - begun,)

    def settimeout(self, _: float | None) -> None:
        """Nothing waits."""

    setsockopt = shutdown = sendall = lambda *_: None

    def sendmsg(self, parts: list[memoryview]) -> int:
        return sum(map(len, parts))

    def close(self) -> None:
        """Nothing is held."""


def play(data: bytes, xml: bool = True) -> int:
    """Read a gadget's stream to its end or its first error; return the number of messages.

    Any exception but an `OnebreathError` is a finding.
    """
    count = 0
    try:
        connection = Connection(Tape(data))  # type: ignore[arg-type]
        if xml:
            _ = connection.config, connection.header
        for _ in singly(connection.in_blocks()):
            count += 1
    except OnebreathError:
        pass
    return count


def parse_all(text: bytes) -> None:
    """Give a text to every parser of XML that a peer can reach; any exception but an `OnebreathError` is a finding."""
    from onebreath.wire.connection import parse_config, parse_header

    parsers: tuple[Callable[[bytes], Any], ...] = (parse, parse_config, parse_header)
    for parser in parsers:
        try:
            parser(text)
        except OnebreathError:
            continue


def places(data: bytes) -> list[int]:
    """Offsets at which messages begin."""
    tape = Tape(data)
    connection = Connection(tape)  # type: ignore[arg-type]
    stream = connection.channel.stream
    found = [0, 6 + struct.unpack_from("<I", data, 2)[0]]
    while True:
        found.append(tape.place - (stream._end - stream._begin))
        try:
            connection.channel.read()
        except StopIteration:
            return found


class Mutator:
    """Damages a stream: mostly where it has structure, seldom inside the samples.

    Parameters
    ----------
    data
        The stream.
    chance
        Where all choices come from.
    """

    def __init__(self, data: bytes, chance: random.Random) -> None:
        self.data, self.chance = data, chance
        self.starts = places(data)

    def __call__(self) -> bytes:
        """Return the next mutant."""
        mutant = bytearray(self.data)
        for _ in range(self.chance.choice((1, 1, 1, 2, 4))):
            mutate = self.chance.choice(
                (self._bit, self._extreme, self._identifier, self._cut, self._insert, self._swap)
            )
            mutate(mutant)
        return bytes(mutant)

    def _place(self, mutant: bytearray, width: int = 1) -> int:
        """Choose an offset, nine times out of ten within a message's first 400 bytes."""
        last = max(0, len(mutant) - width)
        if self.chance.random() < 0.1:
            return self.chance.randint(0, last)
        return min(last, self.chance.choice(self.starts) + self.chance.randrange(400))

    def _bit(self, mutant: bytearray) -> None:
        if mutant:
            mutant[self._place(mutant)] ^= 1 << self.chance.randrange(8)

    def _extreme(self, mutant: bytearray) -> None:
        layout, values = self.chance.choice((("<H", EXTREMES[:9]), ("<I", EXTREMES), ("<Q", EXTREMES_64)))
        width = struct.calcsize(layout)
        if len(mutant) >= width:
            struct.pack_into(layout, mutant, self._place(mutant, width), self.chance.choice(values))

    def _identifier(self, mutant: bytearray) -> None:
        place = self.chance.choice(self.starts)
        if place + 2 <= len(mutant):
            struct.pack_into("<H", mutant, place, self.chance.choice(IDENTIFIERS))

    def _cut(self, mutant: bytearray) -> None:
        place = self._place(mutant)
        if self.chance.random() < 0.5:
            del mutant[place:]
        else:
            del mutant[place : place + self.chance.choice((1, 2, 8, 64, 400))]

    def _insert(self, mutant: bytearray) -> None:
        place = self._place(mutant)
        mutant[place:place] = self.chance.randbytes(self.chance.choice((1, 2, 8, 64)))

    def _swap(self, mutant: bytearray) -> None:
        """Copy one message's beginning over another's."""
        a, b = self.chance.choice(self.starts), self.chance.choice(self.starts)
        mutant[b : b + 400] = mutant[a : a + 400]
