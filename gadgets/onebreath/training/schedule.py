"""Progress of a training, by its steps or by the time that it was given."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from onebreath.errors import ConfigError

# Share of a training by time after which it has warmed up, however few its steps are.
_WARM = 0.1


@dataclass
class Schedule:
    """Says when a training is over, and how much of it is done.

    Attributes
    ----------
    steps
        Steps of a training that is not given a time.
    seconds
        Time for everything, earlier runs in the same folder included; None: the steps decide.
    used
        Seconds of it that are spent, up to the last call of `tick`.
    slowest_end
        Longest measured time of the work at the end: validation, checkpoint and export.
    clock
        Seconds since any moment.
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
        """Count the time since the last call; returns it."""
        now = self.clock()
        passed, self._last = now - self._last, now
        self.used += passed
        return passed

    def stepped(self) -> None:
        """Count the time of a training step: the next one may take as long."""
        self.longest_step = max(self.longest_step, self.tick())

    def ended(self) -> None:
        """Count the time of a validation with its checkpoint: the last one may take as long."""
        self.slowest_end = max(self.slowest_end, self.tick())

    @property
    def training_seconds(self) -> float:
        """Seconds for steps: the total less the time for the end, at least half of it."""
        assert self.seconds is not None
        return max(self.seconds - 1.2 * self.slowest_end - self.longest_step, self.seconds / 2)

    def progress(self, step: int) -> float:
        """Share that is done before `step`, 0 to 1."""
        if self.seconds is None:
            return min(step / self.steps, 1.0)
        return min(self.used / self.training_seconds, 1.0)

    def warm(self, steps: int) -> float:
        """Share of the training that a warm-up of this many steps may take: a tenth at most, where time decides."""
        return _WARM if self.seconds is not None else min(steps / self.steps, 1.0)

    def over(self, step: int) -> bool:
        """Return whether the training is over after this many steps."""
        if self.seconds is None:
            return step >= self.steps
        return self.used >= self.training_seconds


def seconds_until(text: str, now: datetime.datetime | None = None) -> float:
    """Seconds until a time of day ``HH:MM``, today or else tomorrow.

    Raises
    ------
    ConfigError
        If it is no time of day.
    """
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    if not found:
        raise ConfigError(f"--until {text}: expected a time of day, HH:MM")
    now = now or datetime.datetime.now()
    end = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
    if end <= now:
        end += datetime.timedelta(days=1)
    return (end - now).total_seconds()
