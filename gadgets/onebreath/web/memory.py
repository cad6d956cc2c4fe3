"""Memory of this computer, of this process, and of its GPUs, now and in the last hour."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import NamedTuple

from onebreath.worker.metrics import gpu_memory

SAMPLES = 360  # that are remembered: an hour


class Memory(NamedTuple):
    """Bytes: of the host, what this process has of it, and of each GPU its number, what is used, and all of it."""

    total: int
    available: int
    own: int
    gpus: tuple[tuple[int, int, int], ...]


def measured() -> Memory:
    """Return what is so now; zeros where the system does not say."""
    host = _table(Path("/proc/meminfo"))
    own = _table(Path("/proc/self/status"))
    gpus = tuple((number, total - free, total) for number, free, total, _ in gpu_memory())
    return Memory(host.get("MemTotal", 0), host.get("MemAvailable", 0), own.get("VmRSS", 0), gpus)


def _table(path: Path) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    entries = (line.split() for line in lines)
    return {words[0].rstrip(":"): int(words[1]) << 10 for words in entries if words[-1:] == ["kB"]}


class MemoryTrend:
    """Remembers what was measured."""

    def __init__(self) -> None:
        self.samples: deque[Memory] = deque(maxlen=SAMPLES)

    def look(self) -> None:
        """Measure once more."""
        self.samples.append(measured())
