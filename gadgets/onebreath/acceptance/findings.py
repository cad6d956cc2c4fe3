"""What a test found: a measured value, its limit, and whether it passed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["passed", "failed", "not done", "for information"]
"""``not done``: the scan cannot serve the test; ``for information``: there is no limit."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    test
        Of which test.
    what
        The quantity.
    value, limit
        Measured value with its error, and what it must be, with units.
    outcome
        See `Outcome`.
    why
        What a reader must know about it; for ``not done`` the reason.
    """

    test: str
    what: str
    value: str
    limit: str
    outcome: Outcome
    why: str = ""

    def __str__(self) -> str:
        said = f"{self.outcome:15} {self.test}" + (f": {self.what}" if self.what else "")
        if self.value:
            said += f": {self.value}"
        if self.limit:
            said += f" (limit: {self.limit})"
        return said + (f"; {self.why}" if self.why else "")


def judged(test: str, what: str, value: str, limit: str, good: bool, why: str = "") -> Finding:
    """Return a finding that has passed or failed."""
    return Finding(test, what, value, limit, "passed" if good else "failed", why)


def not_done(test: str, why: str) -> Finding:
    """Return that a scan cannot serve a test, and why."""
    return Finding(test, "", "", "", "not done", why)


def overall(findings: Iterable[Finding]) -> Outcome:
    """Return ``failed`` if anything failed, else ``passed`` if anything passed, else ``not done``."""
    outcomes = {finding.outcome for finding in findings}
    return "failed" if "failed" in outcomes else "passed" if "passed" in outcomes else "not done"
