"""Which lines of a slice hold the centre of its k-space, found while they come: by position, checked by energy."""

from __future__ import annotations

from dataclasses import dataclass, field

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath.budget import claim
from onebreath.errors import ScanError
from onebreath.gadgets.sort.centre import strongest
from onebreath.gadgets.sort.layout import LINE, PARTITION, Axis
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import MixedLine, calibrates, header_of
from onebreath.mrd.quirks import two_dimensional
from onebreath.mrd.readout import Line

ENOUGH = 512
"""Lines of a slice after which fewer rows than wanted will do, if the centre is among them."""
_NEAR = 3
"""Rows by which the strongest line may miss the stated centre: phase across the object shifts it."""
_SLIGHT = 1.4
"""Factor by which the outermost lines must be weaker than one so near the stated centre; noise alone makes less."""
_CLEAR = 10.0
"""Factor by which they must be weaker than a strongest line elsewhere; lines off the centre vary by less."""
_MOSTLY = 0.75
"""Part of the wanted rows that must be flagged for calibration to need no check: more than half of them."""

Position = tuple[int, int]
"""Counters of line and partition."""


@dataclass(frozen=True)
class Calibration:
    """What the channels of a slice are compressed by.

    Attributes
    ----------
    lines
        Samples (coil, x) of lines; none if no line that came is fit for it.
    source
        Words for the note.
    warning
        What is to be said about it; empty if nothing.
    """

    lines: list[Line]
    source: str
    warning: str = ""


class Stated:
    """The k-space centre by the header, and the window of calibration around a centre.

    Parameters
    ----------
    header
        The scan's header.
    wanted
        Rows to calibrate with: the width of the window.
    """

    def __init__(self, header: ScanHeader, wanted: int) -> None:
        self.wanted = wanted
        self.axes: tuple[Axis, ...] = (LINE,) if two_dimensional(header) else (LINE, PARTITION)
        limits = [header.limits(axis.limits) for axis in self.axes]
        sizes = [axis.size(header) for axis in self.axes]
        self.centre = tuple(
            n // 2 if stated is None else stated.centre for n, stated in zip(sizes, limits, strict=True)
        )
        self.positions = int(np.prod(sizes))

    @property
    def volume(self) -> bool:
        """Whether there are two phase encodings."""
        return len(self.axes) > 1

    def near(self, position: tuple[int, ...], centre: tuple[int, ...]) -> bool:
        """Return whether a line lies in the window around a centre, in both directions where there are two."""
        offsets = [one - other for one, other in zip(position, centre, strict=False)]
        return all(-self.wanted <= 2 * offset < self.wanted for offset in offsets)


@dataclass
class _Profile:
    """The energy of the strongest line of each counter along one phase encoding."""

    most: dict[int, float] = field(default_factory=dict)

    def add(self, counter: int, energy: float) -> None:
        self.most[counter] = max(energy, self.most.get(counter, 0.0))

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        counters = sorted(self.most)
        return np.array(counters, np.int64), np.array([self.most[one] for one in counters])

    def strongest(self, fall: float) -> int | None:
        """Return the counter of the strongest line if those at both ends are weaker by this factor."""
        return strongest(*self.arrays(), fall=fall, fewest=3)

    def passed(self, centre: int, margin: int) -> bool:
        """Return whether lines on both sides of a centre have come, by more than a margin."""
        return bool(self.most) and min(self.most) + margin < centre < max(self.most) - margin

    def around(self, centre: int) -> float | None:
        """Return the energy of the strongest line at a centre; None if none has come."""
        found = [energy for counter, energy in self.most.items() if abs(counter - centre) <= _NEAR]
        return max(found, default=None)


class CentralLines:
    """Lines of a slice that are held back until those of its k-space centre have come.

    These are the lines flagged for calibration, and those near the centre that the header states. As it may be wrong,
    they are believed only if the strongest line is among them, with weaker ones on both sides; else lines are waited
    for, as edges of k-space show mostly noise, in which a coil that sees the object looks like any other.

    Parameters
    ----------
    stated
        The centre by the header.
    most
        Lines to hold back at most.
    """

    def __init__(self, stated: Stated, most: int) -> None:
        self.held: list[ismrmrd.Acquisition] = []
        self._stated, self._most = stated, most
        self._flagged: list[Line] = []
        self._central: list[Line] = []
        self._rows: set[Position] = set()
        self._flagged_rows: set[Position] = set()
        self._seen: set[Position] = set()
        self._profiles = tuple(_Profile() for _ in stated.axes)
        self._energies = {True: 0.0, False: 0.0}
        """Of the strongest line: of those near the stated centre, and of all others."""

    def take(self, line: ismrmrd.Acquisition) -> Calibration | None:
        """Hold back a line; return what to calibrate with once this is known."""
        header = header_of(line)
        position = header.idx.kspace_encode_step_1, header.idx.kspace_encode_step_2
        known = len(self._seen), len(self._rows)
        self.held.append(line)
        self._seen.add(position)
        central = self._stated.near(position, self._stated.centre)
        if calibrates(header.flags):
            self._flagged.append(line.data)
            self._flagged_rows.add(position)
            self._rows.add(position)
        elif central:
            self._central.append(line.data)
            self._rows.add(position)
        energy = _energy(line)
        self._energies[central] = max(self._energies[central], energy)
        for counter, profile in zip(position, self._profiles, strict=False):
            profile.add(counter, energy)
        if len(self.held) >= self._most:
            return self.settle(f"was not among its first {len(self.held)} lines", "Raise max_buffered of 'compress'")
        if len(self.held) > ENOUGH:  # the first ones are part of what any scan takes
            try:
                samples = header.active_channels * header.number_of_samples
                claim(8 * samples, "lines that wait for the k-space centre", self)
            except ScanError:
                short = f"was not among its first {len(self.held)} lines, and there is no memory to wait for it"
                return self.settle(short, "Give scans more memory")
        if known != (len(self._seen), len(self._rows)) or len(self.held) % ENOUGH == 0:
            return self._judged()
        return None

    def _judged(self) -> Calibration | None:
        if len(self._rows) >= self._stated.wanted or len(self.held) >= ENOUGH:
            mostly = len(self._flagged_rows) >= _MOSTLY * self._stated.wanted and not self._stated.volume
            if mostly or self._hold_centre(ended=False):
                return self._as_stated()
        return self._elsewhere(ended=False)

    def settle(self, lacks: str = "", advice: str = "") -> Calibration:
        """Return what to calibrate with if no more lines can be waited for.

        Parameters
        ----------
        lacks, advice
            Words for the warning if no line is fit: why it is settled now, and what to do. Empty: the scan has ended.
        """
        if self._flagged or self._hold_centre(ended=True):
            return self._as_stated()
        if (found := self._elsewhere(ended=True)) is not None:
            return found
        believed = _CLEAR * self._energies[True] >= self._energies[False]
        if not lacks and self._central and believed:
            return self._as_stated()
        number = header_of(self.held[0]).idx.slice
        return Calibration(
            [],
            "none: no line of the k-space centre",
            f"The k-space centre of slice {number} {lacks or 'is not among its lines'} ({self._named()} by the "
            "header), so all its channels were kept; images only take longer. "
            f"{advice or 'Check that the scan was complete'}, or correct <encodingLimits> if the centre is wrong.",
        )

    def _as_stated(self) -> Calibration:
        return Calibration(self._flagged + self._central, "calibration lines" if self._flagged else "central lines")

    def _named(self, centre: tuple[int, ...] = ()) -> str:
        pairs = zip(self._stated.axes, centre or self._stated.centre, strict=True)
        return ", ".join(f"{axis.name} {counter}" for axis, counter in pairs)

    def _strongest(self, fall: float) -> tuple[int, ...] | None:
        """Return counters of the strongest line if others are weaker on all sides."""
        found = [profile.strongest(fall) for profile in self._profiles]
        return tuple(one for one in found if one is not None) if None not in found else None

    def _hold_centre(self, ended: bool) -> bool:
        """Return whether the energies confirm that the lines to calibrate with hold the centre.

        While a volume is acquired, its last partition is seen in part, and looks weaker than it is: a strongest line is
        then believed at the stated centre only, and once others have come so far beyond it that it stays there.
        """
        growing = self._stated.volume and not self._all_seen(ended)
        stated, margin = self._stated.centre, _NEAR + 1 if growing else 0
        peak = self._strongest(_SLIGHT)
        near = peak is not None and all(abs(one - other) <= _NEAR for one, other in zip(peak, stated, strict=True))
        if near and all(profile.passed(one, margin) for profile, one in zip(self._profiles, stated, strict=True)):
            return True
        peak = None if growing else self._strongest(_CLEAR)
        return peak is not None and self._calibrates(peak)

    def _all_seen(self, ended: bool) -> bool:
        return ended or len(self._seen) >= self._stated.positions

    def _calibrates(self, peak: tuple[int, ...]) -> bool:
        return self._stated.near(peak, self._stated.centre) or any(
            row[: len(peak)] == peak for row in self._flagged_rows
        )

    def _elsewhere(self, ended: bool) -> Calibration | None:
        """Return the lines around the strongest, if that is not where the header says; None if it is, or is not known.

        Before the end it must be beyond doubt: most rows have come, and those where the header says are weak.
        """
        if not self._all_seen(ended) and (self._stated.volume or 2 * len(self._seen) < self._stated.positions):
            return None
        peak = self._strongest(_CLEAR)
        if peak is None or self._calibrates(peak):
            return None
        there = self._profiles[0].around(self._stated.centre[0])
        if not ended and (there is None or _CLEAR * there > self._profiles[0].most[peak[0]]):
            return None
        found: dict[Position, list[Line]] = {}
        for line in self.held:
            idx = header_of(line).idx
            position = idx.kspace_encode_step_1, idx.kspace_encode_step_2
            if self._stated.near(position, peak):
                found.setdefault(position, []).append(line.data)
        if not ended and len(found) < self._stated.wanted and len(self.held) < ENOUGH:
            return None
        return Calibration(
            [line for lines in found.values() for line in lines],
            "lines around the strongest",
            f"The k-space centre is {self._named()} by the header, but the lines are strongest at {self._named(peak)}: "
            "the channels were compressed by the lines around it. Correct <center> in <encodingLimits> of the header.",
        )


def _energy(line: ismrmrd.Acquisition) -> float:
    """Energy of a line; the samples of one that is yet to be mixed are not kept, as few lines need them."""
    kept = not isinstance(line, MixedLine) or "data" in vars(line)
    with np.errstate(invalid="ignore", over="ignore"):
        samples = line.data if kept else line.matrix @ line.samples
        energy = float(np.vdot(samples, samples).real)
    return energy if np.isfinite(energy) else 0.0  # whoever uses the samples reports that they are damaged
