"""Arriving lines: which belong to the images, the slice of each, and lines that do not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.gadgets.sort import survey
from onebreath.gadgets.sort.centre import centre_line, readout_warning, telling
from onebreath.gadgets.sort.checks.lacking import ENDS, incomplete, short_of_limits, short_slices, unended
from onebreath.gadgets.sort.checks.readouts import leave_out_odd
from onebreath.gadgets.sort.collected import Lines
from onebreath.gadgets.sort.gating import go_on_over_midnight
from onebreath.gadgets.sort.layout import LINE, PARTITION, Axis, Layout, stated_centre
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import DOUBTFUL, header_of, header_table, side_line
from onebreath.mrd.quirks import flagged_image_lines, two_dimensional
from onebreath.mrd.trajectory import Trajectories
from onebreath.names import listed

_PAIRS = 256
_MOVED = 0.1
"""Averages hold the same if no more than this part of the energy of their strong lines is in their difference."""
_UNLIKE = 0.5
"""Lines with the same counters are no repeats if more than this part of their energy is in their difference."""


class Intake:
    """Collects the lines of each slice, and counts lines that belong to none.

    Parameters
    ----------
    header
        The scan's header.
    frames
        Frames to be expected in a slice.
    """

    def __init__(self, header: ScanHeader, frames: int) -> None:
        self.header, self.frames = header, frames
        self.slices: dict[int, Lines] = {}
        self.sent: dict[int, Lines] = {}
        """Those of slices sent early; what still comes of them is put in `slices`: k-space that was sent stays."""
        self.dropped: Counter[str] = Counter()
        """Lines that are no part of an image, by kind."""
        self.left_out: Counter[str] = Counter()
        """Lines that do not fit the scan, by what is wrong with them."""
        self.usual_rows = 0
        self.doubtful: list[ismrmrd.Acquisition] = []
        """Lines whose flags contradict each other; see `take_doubtful`."""
        self._side: dict[str, list[Any]] = {}
        self._trajectories = Trajectories()
        self._layout: Layout | None = None
        self._came: set[tuple[str, int]] = set()
        self._ends: dict[int, int] = {}
        self._short: set[int] = set()
        self._latest: int | None = None

    def judge(self, line: ismrmrd.Acquisition) -> bool:
        """Return whether a line belongs to an image; others are counted or set aside.

        Raises
        ------
        ScanError
            If its trajectory is not Cartesian.
        """
        header = header_of(line)
        kind = side_line(header.flags)
        if kind is not None and header.flags & DOUBTFUL:
            self.doubtful.append(line)
            return False
        if kind is not None:
            self.dropped[kind] += 1
            if kind != "noise" and header.encoding_space_ref == self.header.space:
                self._side.setdefault(kind, []).append(header)
            return False
        if not header.number_of_samples or not header.active_channels:
            self._note_end(header)
            self.left_out["lines without samples"] += 1
            return False
        if header.encoding_space_ref != (space := self.header.space):
            self.left_out[f"lines of encoding space {header.encoding_space_ref} (only {space} is reconstructed)"] += 1
            return False
        self._trajectories.check(line)
        return True

    def add(self, line: ismrmrd.Acquisition) -> None:
        """Keep a line; see `Lines.add` for what it raises."""
        header = header_of(line)
        number = header.idx.slice
        self._note_end(header)
        self._came |= {("slice", number), ("repetition", header.idx.repetition)}
        if number not in self.slices:
            if self._layout is None:
                table = header_table([header])
                centres = [stated_centre(self.header, table, axis)[0] for axis in (PARTITION, LINE)]
                self._layout = self._laid(*centres)
            self.slices[number] = Lines(self._layout, self.frames)
        if not self.slices[number].add(line):
            self.left_out["lines that hold only zeros (they count as not acquired)"] += 1
            if not len(self.slices[number]):
                del self.slices[number]

    def _note_end(self, header: Any) -> None:
        """Record whether a line is flagged as the last one of its slice."""
        number = header.idx.slice
        self._ends[number] = self._ends.get(number, 0) | header.flags & ENDS

    def reunite(self) -> set[int]:
        """Put the slices sent early among the others again; return those of which lines came after that."""
        late = self.sent.keys() & self.slices.keys()
        self.slices |= {n: own.joined(self.slices[n]) if n in late else own for n, own in self.sent.items()}
        return late

    def still_missing(self, later: str) -> str:
        """Describe, at the end, values of the counter `later` that the header announces and that did not come."""
        return survey.announced(self.header, {later: np.array([one for name, one in self._came if name == later])})

    def take_doubtful(self) -> Iterator[str]:
        """Add lines to the images whose flags and positions contradict each other; yields a warning."""
        lines, self.doubtful = self.doubtful, []
        if not lines:
            return
        known = [held.table() for held in (*self.sent.values(), *self.slices.values())]
        taken = flagged_image_lines(header_table([header_of(line) for line in lines]), known)
        for line, is_image in zip(lines, taken.tolist(), strict=True):
            if is_image:
                self.add(line)
            else:
                self.dropped[side_line(header_of(line).flags) or ""] += 1
        if taken.any():
            yield (
                f"{int(taken.sum())} lines are flagged as {side_line(header_of(lines[0]).flags)} lines, but fill "
                "positions of k-space that no other line has: they were taken for imaging lines."
            )

    def put_right(self, tick_ms: float) -> Iterator[str]:
        """Leave out lines with an odd readout, have time stamps (in `tick_ms`) go on over midnight; yields warnings."""
        left_out, texts = leave_out_odd(self.header, self.slices)
        self.left_out.update(left_out)
        text, self._latest = go_on_over_midnight(list(self.slices.values()), tick_ms, self._latest)
        yield from [*texts, text] if text else texts

    def settle(self, later: str) -> Iterator[str]:
        """Correct wrong counters where the header confirms it; `later` is a counter of which more is to come, or none.

        Raises
        ------
        ScanError
            If lines of one image lie at different positions.
        """
        numbers = sorted(self.slices)
        table = np.concatenate([self.slices[number].table() for number in numbers])
        if (apart := survey.slices_by_position(self.header, table)) is not None:
            whole = self.slices.pop(numbers[0])
            for number in np.unique(apart[0]).tolist():
                self.slices[number] = whole.take(np.flatnonzero(apart[0] == number).tolist())
                self.slices[number].count_anew(slice=np.full(len(self.slices[number]), number))
            yield apart[1]
        for number in sorted(self.slices):
            if (echoes := survey.echoes_by_order(self.header, self.slices[number].table())) is not None:
                self.slices[number].count_anew(contrast=echoes[0])
                yield echoes[1]
        if problem := survey.orientation_problem(table):
            yield f"{problem}: the images' headers do not tell how they lie in the patient."
        idx = np.concatenate([lines.table() for lines in self.slices.values()])["idx"]
        if said := survey.announced(self.header, {name: idx[name] for name in survey.IMAGE_COUNTERS if name != later}):
            yield said
        rows = [self._rows(lines) for lines in self.slices.values()]
        self.usual_rows = int(np.median(rows)) if len(rows) > 2 else max(rows)

    @staticmethod
    def _rows(lines: Lines) -> int:
        table = lines.table()
        idx = table["idx"][survey.imaging_of(table)]
        return len(np.unique(np.stack([idx["kspace_encode_step_2"], idx["kspace_encode_step_1"]]), axis=1).T)

    def _laid(self, partition: int, line: int) -> Layout:
        """Return the layout with this centre; a two-dimensional scan has only one partition."""
        return Layout.of(self.header, (0 if two_dimensional(self.header) else partition, line))

    def repeated(self) -> Iterator[str]:
        """Warn of repeated lines that the average counter does not count.

        Raises
        ------
        ScanError
            If they hold something else than the lines whose counters they have.
        """
        pairs = {number: survey.repeats(lines.table()) for number, lines in sorted(self.slices.items())}
        surplus = sum(map(len, pairs.values()))
        if not surplus:
            return
        difference, energy = 0.0, 0.0
        for number, found in pairs.items():
            lines = self.slices[number]
            for one, two in found[:: len(found) // _PAIRS + 1]:
                first, second = lines.samples(one), lines.samples(two)
                if first.shape == second.shape:
                    difference += float(np.linalg.norm(first - second) ** 2)
                    energy += float(np.linalg.norm(first) ** 2 + np.linalg.norm(second) ** 2)
        positions = sum(len({one for one, _ in found}) for found in pairs.values())
        count = (
            f"{positions} positions of k-space (slice {', '.join(str(n) for n in pairs if pairs[n])}) have more lines "
            f"than the counter average says: {surplus} surplus lines"
        )
        if difference > _UNLIKE * energy:
            raise ScanError(
                f"{count}, and these are no repeats: {difference / energy:.0%} of their energy is in the difference "
                "from the lines whose counters they share. Did lines of another kind (navigators, phase stabilisation, "
                "another slice or echo) lose their flag or counter? Convert the raw data again."
            )
        yield (
            f"{count} were averaged with the lines whose counters they share; {difference / max(energy, 1e-30):.0%} of "
            "their energy is in the difference."
        )

    def unlike_averages(self) -> Iterator[str]:
        """Warn of averages that hold something else than the first one: by the strongest lines, where noise is weak."""
        found: list[tuple[float, float]] = []
        for lines in self.slices.values():
            pairs = survey.averages(lines.table())
            for one, two in pairs[:: len(pairs) // _PAIRS + 1]:
                first, second = lines.samples(one), lines.samples(two)
                if first.shape == second.shape:
                    energy = float(np.linalg.norm(first) ** 2 + np.linalg.norm(second) ** 2)
                    found.append((energy, float(np.linalg.norm(first - second) ** 2)))
        strongest = sorted(found, reverse=True)[: len(found) // 8 + 1]
        energy = sum(one for one, _ in strongest)
        share = sum(two for _, two in strongest) / energy if energy else 0.0
        if share > _MOVED:
            yield (
                f"Averages differ: {share / 2:.0%} of the energy of the strongest lines is in the difference (100 % if "
                "they cancel each other). They were combined; did the patient move, or are they no averages? "
                "averages=separate of gadget 'sort' shows each."
            )

    def centre(self) -> tuple[Layout, str, list[str]]:
        """Find the k-space centre; return the layout with it, the source of this information, and warnings."""
        lines = self.slices[min(self.slices)]
        table = lines.table()
        chosen = telling(self.header, table)
        chosen = chosen[:: len(chosen) // 4096 + 1]
        values: list[float] = []

        def energy(axis: Axis) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
            if not values:
                values.extend(float(np.vdot(one, one).real) for one in map(lines.samples, chosen.tolist()))
            counters, position = np.unique(table["idx"][axis.counter][chosen].astype(np.int64), return_inverse=True)
            return counters, np.bincount(position.reshape(-1), values) / np.bincount(position.reshape(-1))

        line, source, warning = centre_line(self.header, table, energy)
        warnings = [warning] if warning else []
        imaging = chosen[survey.imaging_of(table)[chosen]]
        warnings += readout_warning(
            [(lines.headers[one], lines.samples(one)) for one in imaging[:: len(imaging) // 256 + 1]]
        )
        partition = 0
        if not two_dimensional(self.header):
            partition, other, warning = centre_line(self.header, table, energy, PARTITION)
            source += f"; partition: {other}"
            warnings += [warning] if warning else []
        layout = self._laid(partition, line)
        return layout, source, [*warnings, *self._short_slices(layout)]

    def _short_slices(self, layout: Layout) -> Iterator[str]:
        """Name slices that lack lines at the ends of k-space; those that are incomplete are named later."""
        whole = {number: lines for number, lines in self.slices.items() if self._rows(lines) >= self.usual_rows}
        for text, numbers in short_slices(self.header, layout, whole).items():
            self._short |= set(numbers)
            yield f"slice {listed(numbers)}: {text}"

    def incomplete(self, table: NDArray[Any], rows: NDArray[np.int64], layout: Layout) -> tuple[str, bool]:
        """Describe what a slice lacks, and return whether it can be reconstructed; see `lacking.incomplete`."""
        known = int(table["idx"]["slice"][0]) in self._short
        short = "" if known else short_of_limits(self.header, layout, table)
        return incomplete(self.header, table, rows, layout.centre_row, self.usual_rows, short)

    def warnings(self) -> Iterator[str]:
        """Warn of the lines that were left out."""
        for what, count in sorted(self.left_out.items()):
            yield f"{count} {what} were left out."
        if unfinished := unended(self._ends):
            yield unfinished
        held = {number: lines.table() for number, lines in self.slices.items()} if self._side else {}
        for kind, headers in sorted(self._side.items()):
            missed = survey.missed(self.header, header_table(headers), held)
            if missed:
                yield f"{len(headers)} lines are flagged as {kind} lines and were left out, but {missed}"

    def text(self) -> str:
        """List the lines that are no part of an image, and those that do not fit."""
        counts = sorted((self.dropped + self.left_out).items())
        return ", ".join(f"{kind} {count}" for kind, count in counts) or "none"
