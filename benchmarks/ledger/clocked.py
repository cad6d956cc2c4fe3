"""`onebreath` with a clock that jumps: `time.time` is ahead by the seconds that a file holds.

python -m benchmarks.ledger.clocked FILE serve ...
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from onebreath.cli import main


def jumping(clock: Callable[[], float], file: Path) -> Callable[[], float]:
    """Return a clock that is ahead of another one by what a file says at that moment; 0 where it says nothing."""

    def now() -> float:
        try:
            return clock() + float(file.read_text())
        except (OSError, ValueError):  # it is being written
            return clock()

    return now


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)  # where its threads are, for who wonders
    time.time = jumping(time.time, Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
