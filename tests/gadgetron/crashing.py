"""A gadget of an installed package that crashes in the middle of a scan, as its property says; see `install`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from onebreath.chain.gadget import Gadget, Message, Properties

TEXT = "the gadget of the test crashes"
LINES = 20


class CrashProperties(Properties):
    """Properties of `crash`."""

    how: str


def _raise() -> None:
    raise RuntimeError(TEXT)


WAYS = {"raise": _raise, "exit": lambda: os._exit(3), "kill": lambda: os.kill(os.getpid(), signal.SIGKILL)}


class Crash(Gadget):
    """Passes some lines, then crashes."""

    name = "crash"
    Properties: ClassVar[type[Properties]] = CrashProperties
    consumes = ("Acquisition",)
    emits = ("Acquisition",)

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Pass `LINES` messages."""
        properties: Any = self.properties
        for number, message in enumerate(messages):
            if number == LINES:
                WAYS[properties.how]()
            yield message


def install(folder: Path) -> str:
    """Make an installed package of this file in a folder; gives the ``PYTHONPATH`` on which processes find it."""
    info = folder / "site_crash-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: site-crash\nVersion: 1.0\n", encoding="utf-8")
    points = "[onebreath.gadgets]\ncrash = site_crash:Crash\n"
    (info / "entry_points.txt").write_text(points, encoding="utf-8")
    (folder / "site_crash.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
