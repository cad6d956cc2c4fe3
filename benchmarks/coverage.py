"""How often the true error is in the interval that is published with it, over cine and static scans together.

    python -m benchmarks.regret
    python -m benchmarks.regret_static
    python -m benchmarks.coverage

Adds up what the first two have measured, and measures nothing itself. Nominal is 90 %. Scans of cine that have no
calibration lines are left out, as no interval is published for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import Kept
from benchmarks.table import table

CINE, STATIC = "12", "40 slices"
"""Which of the choices counts, in each table."""


@dataclass(frozen=True)
class Told:
    """One scan: what kind, what it is (source, harm, SNR, mask), the true error, the estimate and its interval."""

    kind: str
    parts: tuple[str, ...]
    error: float
    estimated: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, kind: str, result: dict[str, Any], which: str) -> Told | None:
        """Return what was published of a scan; None if nothing was."""
        choice = result["choice"][which]
        parts = tuple(result["key"].split(", "))
        if not choice["interval"]:
            return None
        low, high = choice["interval"]
        return cls(kind, parts, choice["error"], choice["estimated"], (low, high))

    @property
    def inside(self) -> bool:
        """Whether the true error is in the interval."""
        return self.interval[0] <= self.error <= self.interval[1]


def groups(found: list[Told]) -> Iterator[tuple[str, list[Told]]]:
    """Rows of the table."""
    yield "all", found
    for kind in ("cine", "static"):
        these = [one for one in found if one.kind == kind]
        plain = [one for one in these if one.parts[1] == "none"]
        yield kind, these
        for source in dict.fromkeys(one.parts[0].split(":")[0].split(" ")[0] for one in these):
            yield f"{kind}, {source}", [one for one in these if one.parts[0].startswith(source)]
        for place in (2, 3):
            for value in dict.fromkeys(one.parts[place] for one in plain):
                yield f"{kind}, {value}", [one for one in plain if one.parts[place] == value]
        for harm in dict.fromkeys(one.parts[1].rstrip(" 1234x") for one in these if one.parts[1] != "none"):
            yield f"{kind}, harm: {harm}", [one for one in these if one.parts[1].startswith(harm)]


def row(name: str, found: list[Told]) -> tuple[object, ...]:
    """Coverage, misses at both sides, and how wide the intervals are."""
    inside = np.mean([one.inside for one in found])
    below = np.mean([one.error < one.interval[0] for one in found])
    above = np.mean([one.error > one.interval[1] for one in found])
    low, high = (np.median([one.interval[side] / one.estimated for one in found]) for side in (0, 1))
    return name, len(found), f"{inside:.0%}", f"{below:.0%}", f"{above:.0%}", f"{low:.2f} to {high:.2f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cine", type=Path, default=Path("runs/regret.jsonl"), help="results of benchmarks.regret")
    parser.add_argument("--static", type=Path, default=Path("runs/regret_static.jsonl"), help="of regret_static")
    options = parser.parse_args()
    both = (("cine", options.cine, CINE), ("static", options.static, STATIC))
    told = [Told.of(kind, one, which) for kind, path, which in both for one in Kept(path).known.values()]
    found = [one for one in told if one is not None]
    print(
        table(
            "Published interval of the error (nominal 90 %): scans whose true error is in it, below and above it; last "
            "its ends over the estimate, median. cine: 12 slices; static: 40",
            ("scans", "number", "inside", "below", "above", "interval over the estimate"),
            [row(name, these) for name, these in groups(found)],
            ("numpy",),
        )
    )


if __name__ == "__main__":
    main()
