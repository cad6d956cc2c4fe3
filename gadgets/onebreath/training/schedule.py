"""Schedule of a training with a number of steps or a time limit."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onebreath.errors import ConfigError

# Fraction of a training with a time limit at which the warm-up ends at the latest.
_WARM = 0.1


@dataclass
class Schedule:
    """Progress and end of a training.

    Attributes
    ----------
    steps
        Number of steps of a training without a time limit.
    seconds
        Time limit including earlier runs in the same folder; None: `steps` apply.
    used
        Seconds used up to the last call of `tick`.
    slowest_end
        Longest measured time of validation and checkpoint.
    clock
        Function that returns a time in seconds.
    """

    steps: int
    seconds: float | None = None
    used: float = 0.0
    slowest_end: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()
        self.longest_step = 0.0

    def tick(self) -> float:
        """Add the time since the last call to `used`; returns it."""
        now = self.clock()
        passed, self._last = now - self._last, now
        self.used += passed
        return passed

    def stepped(self) -> None:
        """Record the time of a training step."""
        self.longest_step = max(self.longest_step, self.tick())

    def ended(self) -> None:
        """Record the time of a validation with its checkpoint."""
        self.slowest_end = max(self.slowest_end, self.tick())

    @property
    def times(self) -> list[float]:
        """What this process has measured: `used`, `slowest_end` and the longest step."""
        return [self.used, self.slowest_end, self.longest_step]

    @times.setter
    def times(self, measured: Sequence[float]) -> None:
        self.used, self.slowest_end, self.longest_step = measured

    @property
    def training_seconds(self) -> float:
        """Seconds for steps: the limit minus a reserve for the last step and validation, at least half the limit."""
        assert self.seconds is not None
        return max(self.seconds - 1.2 * self.slowest_end - self.longest_step, self.seconds / 2)

    def progress(self, step: int) -> float:
        """Fraction of the training done before `step`, 0 to 1."""
        if self.seconds is None:
            return min(step / self.steps, 1.0)
        return min(self.used / self.training_seconds, 1.0)

    def warm(self, steps: int) -> float:
        """Largest fraction of the training for a warm-up of this many steps; a tenth with a time limit."""
        return _WARM if self.seconds is not None else min(steps / self.steps, 1.0)

    @property
    def left(self) -> str:
        """What is left of the time that was given, in words; empty where steps decide."""
        return "" if self.seconds is None else f", {max(self.seconds - self.used, 0) / 60:.0f} min left"

    def over(self, step: int) -> bool:
        """Whether the training is over after this many steps."""
        if self.seconds is None:
            return step >= self.steps
        return self.used >= self.training_seconds


def seconds_until(text: str, now: datetime.datetime | None = None) -> float:
    """Seconds until the next occurrence of a time of day ``HH:MM``.

    Raises
    ------
    ConfigError
        If the text is not a time of day.
    """
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    if not found:
        raise ConfigError(f"--until {text}: expected a time of day, HH:MM")
    now = now or datetime.datetime.now()
    end = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    if end <= now:
        end += datetime.timedelta(days=1)
    return (end - now).total_seconds()
