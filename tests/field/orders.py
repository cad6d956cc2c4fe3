"""Scans without odd lines, in every order of acquisition: what tells that a slice is complete is the question."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import ismrmrd
import numpy as np
from hypothesis import strategies as st

from onebreath.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, LAST_IN_SLICE, bit, header_of
from tests.raw import line, scan_header

ROWS, SAMPLES, COILS = 12, 8, 2
LOOPS = ("slice", "phase", "repetition", "set", "average", "segment")
NAVIGATOR, NOISE = 23, 19


@dataclass(frozen=True)
class Scan:
    """A scan without faults but those named.

    Parameters
    ----------
    counts
        Values of each of LOOPS.
    order
        LOOPS from the outermost to the innermost; the lines of a segment are innermost or, with `by_line`, outermost.
    backwards
        Whether slices are acquired from the last to the first.
    step
        Distance of the lines; a block in the middle is for calibration unless all are acquired.
    calibration
        ``flagged``, or lines of its own ``before`` or ``after`` all others, or ``plain``: not flagged at all.
    flags
        Where LAST_IN_SLICE stands: ``slice``, ``repetition``, ``frame`` (the last line of each), ``none``, or wrongly
        at the end of each ``segment``.
    limits
        Counters whose limits the header states.
    beats
        Lines of a heart beat, by which the trigger stamps go; 0: no ECG.
    navigators
        Every how many lines one is in between; 0: none.
    stops
        Part of the lines after which the scan is stopped.
    shuffled
        Seed of the order of arrival; 0: as acquired.
    stray
        Whether the header forgets the last value of a counter, and lines of it come.
    """

    counts: tuple[int, ...]
    order: tuple[str, ...]
    backwards: bool = False
    by_line: bool = False
    step: int = 2
    calibration: str = "flagged"
    flags: str = "slice"
    limits: tuple[str, ...] = LOOPS
    beats: int = 0
    navigators: int = 0
    stops: float = 1.0
    shuffled: int = 0
    stray: str = ""

    @property
    def honest(self) -> bool:
        """Whether flags and header say the truth, and lines come in order."""
        return self.flags != "segment" and not self.shuffled and self.calibration != "after" and not self.stray

    def header(self) -> Any:
        size = dict(zip(LOOPS, self.counts, strict=True))
        stated = {name: (0, 0, size[name] - 1 - (name == self.stray)) for name in self.limits}
        stated = {name: limits for name, limits in stated.items() if limits[2] >= 0}
        stated |= {"contrast": (0, 0, 0), "kspace_encoding_step_1": (0, ROWS // 2, ROWS - 1)}
        modes = {"flagged": "embedded", "before": "separate", "after": "separate" if self.step > 2 else "other"}
        mode = modes.get(self.calibration, "other")  # of which the header says that lines are left out, at R = 2
        return scan_header((SAMPLES, ROWS), limits=stated, calibration=mode if self.step > 1 else None)

    def lines(self) -> list[ismrmrd.Acquisition]:
        made = list(self._lines())
        self._flag(made)
        for number, one in enumerate(made):
            one._head.scan_counter = one._head.acquisition_time_stamp = number + 1
            if self.beats:
                one._head.physiology_time_stamp[0] = 1 + 4 * (number % self.beats)
        made = made[: max(2, round(self.stops * len(made)))]
        if self.navigators:
            for place in range(self.navigators, len(made), self.navigators):
                made.insert(place, line(np.ones((COILS, 3)), 0, NAVIGATOR, slice=0))
        made.insert(0, line(np.ones((COILS, 3)), 0, NOISE))
        if self.shuffled:
            made = [made[place] for place in np.random.default_rng(self.shuffled).permutation(len(made))]
        return made

    def _lines(self) -> Any:
        rows = [row for row in range(ROWS) if row % self.step == 0 or 3 <= row < 9]
        parts = np.array_split(np.array(rows), self.counts[LOOPS.index("segment")])
        size = dict(zip(LOOPS, self.counts, strict=True))
        own = [self._line(row, CALIBRATION, slice=s) for s in range(size["slice"]) for row in range(3, 9)]
        yield from own if self.calibration == "before" else ()
        loops = [[(name, value) for value in range(size[name])] for name in self.order]
        if self.backwards:
            loops = [one[::-1] if one[0][0] == "slice" else one for one in loops]
        longest = max(map(len, parts))
        for outer in range(longest if self.by_line else 1):
            for values in itertools.product(*loops):
                counters = dict(values)
                wanted = parts[counters["segment"]]
                for row in wanted[outer : outer + 1] if self.by_line else wanted:
                    middle = self.calibration == "flagged" and 3 <= row < 9
                    flag = CALIBRATION if row % self.step else CALIBRATION_AND_IMAGING
                    yield self._line(int(row), *([flag] if middle else []), **counters)
        yield from own if self.calibration == "after" else ()

    def _line(self, row: int, *flags: int, **counters: int) -> ismrmrd.Acquisition:
        seed = [row, len(flags), *(counters.get(name, 0) for name in LOOPS if name != "average")]
        noise = np.random.default_rng(seed).standard_normal((2 * COILS, SAMPLES))
        directions = {"read_dir": (1, 0, 0), "phase_dir": (0, 1, 0), "slice_dir": (0, 0, 1)}
        samples, place = noise[:COILS] + 1j * noise[COILS:], (0, 0, 9.0 * counters["slice"])
        return line(samples, row, *flags, position=place, **directions, **counters)

    def _flag(self, lines: list[ismrmrd.Acquisition]) -> None:
        names = {
            "slice": ("slice",),
            "repetition": ("slice", "repetition"),
            "frame": ("slice", "phase", "repetition", "set", "average"),
            "segment": ("slice", "segment"),
            "none": None,
        }[self.flags]
        if names is None:
            return
        imaging = [one for one in lines if len(lines) and not header_of(one).flags & bit(CALIBRATION)]
        last = {tuple(getattr(header_of(one).idx, name) for name in names): one for one in imaging}
        for one in last.values():
            one._head.set_flag(LAST_IN_SLICE)


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    """Draw a scan in any order of acquisition."""
    few = st.sampled_from([1, 1, 1, 1, 2])
    counts = (
        draw(st.integers(2, 4)),
        draw(st.integers(1, 4)),
        *(draw(few) for _ in LOOPS[2:5]),
        draw(st.integers(1, 3)),
    )
    sequential = draw(st.sampled_from([True, True, False]))
    inner = draw(st.permutations(LOOPS[1:]))
    order = ("slice", *inner) if sequential else tuple(draw(st.permutations(LOOPS)))
    usually = st.sampled_from([False, False, False, True])
    return Scan(
        counts,
        order,
        draw(usually),
        draw(usually) and not sequential,
        draw(st.sampled_from([1, 2, 2, 3])),
        draw(st.sampled_from(["flagged", "flagged", "before", "before", "after", "plain"])),
        draw(st.sampled_from(["slice", "slice", "repetition", "frame", "frame", "none", "segment"])),
        LOOPS if not draw(usually) else tuple(draw(st.sets(st.sampled_from(LOOPS)))),
        draw(st.sampled_from([0, 0, 5, 24])),
        draw(st.sampled_from([0, 0, 7])),
        draw(st.sampled_from([1.0, 1.0, 0.4, 0.9])),
        draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2])),
        draw(st.sampled_from([*[""] * 9, *LOOPS])),
    )
