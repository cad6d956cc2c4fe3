"""Schedule of a training with a number of steps or a time limit."""

from __future__ import annotations

import datetime
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from onebreath.errors import ConfigError

# Fraction of a training with a time limit at which the warm-up ends at the latest.
_WARM = 0.1
# Time of an export in that of writing a checkpoint.
_EXPORT = 2.0
LOG = logging.getLogger("onebreath.training")


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
        Longest measured time of validation and checkpoint; 0: none was measured yet.
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
        self.longest_step = self.longest_write = 0.0

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
        """Record the time of a validation with its checkpoint; a warning if it is too long for the limit."""
        self.slowest_end = max(self.slowest_end, self.tick())
        if self.seconds is not None and self.reserve > self.seconds / 2:
            LOG.warning(
                "the end of the training takes %.0f s, more than half of the %.0f s given: it will be late; lower "
                "validation_examples, or give more time",
                self.reserve,
                self.seconds,
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Record the time of writing a checkpoint."""
        begun = self.clock()
        yield
        self.longest_write = max(self.longest_write, self.clock() - begun)

    @property
    def times(self) -> list[float]:
        """What this process has measured: `used`, `slowest_end`, the longest step and the longest write."""
        return [self.used, self.slowest_end, self.longest_step, self.longest_write]

    @times.setter
    def times(self, measured: Sequence[float]) -> None:
        self.used, self.slowest_end, self.longest_step, self.longest_write = measured

    @property
    def training_seconds(self) -> float:
        """Seconds for steps: the limit minus a reserve for what follows, at least half the limit."""
        assert self.seconds is not None
        return max(self.seconds - self.reserve, self.seconds / 2)

    @property
    def reserve(self) -> float:
        """Seconds for the last step, its validation, and the export, which reads two checkpoints and writes a model."""
        return 1.2 * self.slowest_end + self.longest_step + _EXPORT * self.longest_write

    def asks(self, step: int) -> bool:
        """Whether a validation is needed only to measure its time: right after the warm-up if there is a time limit."""
        return self.seconds is not None and not self.slowest_end and self.progress(step) >= _WARM

    def progress(self, step: int) -> float:
        """Fraction of the training done before `step`, 0 to 1."""
        if self.seconds is None:
            return min(step / self.steps, 1.0)
        return 1.0 if self.over(step) else self.used / self.training_seconds

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
