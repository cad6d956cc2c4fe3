"""Five hostile clients of a worker, each in a thread until it is stopped: what `benchmarks.load` runs beside others.

They are silent, send a header byte by byte, stop inside a line, leave in the middle of a scan, and announce a scan that
no computer holds; each again and again.
"""

from __future__ import annotations

import multiprocessing
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.scans import Scan

PAUSE = 0.2  # seconds between two attempts of one hostile client
HELD = 20  # connections that a silent one holds at once
_CONTEXT = multiprocessing.get_context("spawn")
RESET = struct.pack("ii", 1, 0)


class Hostile:
    """Hostile clients of the two sides of a worker.

    Parameters
    ----------
    scan
        What an honest client sends.
    sides
        Address of each side.
    """

    def __init__(self, scan: Scan, sides: dict[str, tuple[str, int]]) -> None:
        self.node, self.sides = scan.for_node(), list(sides.values())
        self.attempts: dict[str, int] = {}
        self._stop = _CONTEXT.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Attack while the body runs, from a process of its own: what honest clients measure is not their own delay."""
        told = _CONTEXT.SimpleQueue()
        process = _CONTEXT.Process(target=self._attack, args=(told,))
        process.start()
        try:
            yield
        finally:
            self._stop.set()
            self.attempts = told.get()
            process.join()

    def _attack(self, told: Any) -> None:
        kinds = (self._silent, self._trickling, self._stopping, self._leaving, self._announcing)
        threads = [threading.Thread(target=self._again, args=(kind,)) for kind in kinds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told.put(self.attempts)

    def _again(self, kind: Callable[[tuple[str, int]], None]) -> None:
        name, number = kind.__name__.strip("_"), 0
        while not self._stop.wait(PAUSE):
            with suppress(OSError):  # being sent away is what it is for
                kind(self.sides[number % len(self.sides)])
            number += 1
            self.attempts[name] = number

    def _dial(self, where: tuple[str, int]) -> socket.socket:
        return socket.create_connection(where, 10, ("127.0.0.9", 0))

    def _silent(self, where: tuple[str, int]) -> None:
        held = [self._dial(where) for _ in range(HELD)]
        self._stop.wait(2.0)
        for sock in held:
            sock.close()

    def _trickling(self, where: tuple[str, int]) -> None:
        with self._dial(where) as sock:
            for place in range(40):
                sock.sendall(self.node[place : place + 1])
                if self._stop.wait(0.1):
                    return

    def _stopping(self, where: tuple[str, int]) -> None:
        with self._dial(self.sides[0]) as sock:
            sock.sendall(self.node[: len(self.node) // 2 + 77])
            self._stop.wait(0.3)

    def _leaving(self, where: tuple[str, int]) -> None:
        with self._dial(self.sides[0]) as sock:
            sock.sendall(self.node)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def _announcing(self, where: tuple[str, int]) -> None:
        large = self.node.replace(b"<y>", b"<y>60000</y><!--", 1).replace(b"</y>", b"</y><!---->", 1)
        with self._dial(self.sides[0]) as sock:
            sock.sendall(large[:4000])
            sock.settimeout(1.0)
            sock.recv(1000)
