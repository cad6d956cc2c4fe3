"""Gadget: lines to k-space, one message per slice. Acquisition (or AcquisitionBucket) -> ReconData (data + ref).

Lines are grouped by their counters, never by their arrival. Axis N holds the frames: cardiac phases or repetitions as
they were counted, or phases binned from the trigger stamps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.types import AcquisitionBucket, ReconData
from gadgetron.types.recon_data import ReconBit

from onebreath.chain.gadget import Gadget, Message
from onebreath.chain.notes import note
from onebreath.errors import ScanError
from onebreath.gadgets.facts import SortFacts
from onebreath.gadgets.sort.assemble import Matrix, clear_averages, number_frames
from onebreath.gadgets.sort.collected import Lines, expected_frames
from onebreath.gadgets.sort.early import Complete
from onebreath.gadgets.sort.frames import FrameChoice, place_frames
from onebreath.gadgets.sort.gating import irregular
from onebreath.gadgets.sort.groups import Averages, groups_of, lend, unlike_slices
from onebreath.gadgets.sort.intake import Intake
from onebreath.gadgets.sort.layout import Layout, line_limits, lines_in_matrix, rows_of
from onebreath.gadgets.sort.properties import SortProperties
from onebreath.mrd.blocks import LineBlock
from onebreath.mrd.lines import CALIBRATION, bit, calibrates, describe, header_of, is_imaging
from onebreath.mrd.meta import COUNTERS
from onebreath.mrd.spaces import spaces
from onebreath.names import listed


class Sort(Gadget):
    """Sort lines into one k-space per slice, and per value of every counter that is neither axis N nor S.

    Navigators, dummies and other lines that are no part of an image are dropped and counted. Calibration lines
    (flag 20 or 21) form the reference; those for calibration only (20 without 21) are not in the data.
    """

    name = "sort"
    usual = prepares = True
    Properties = SortProperties
    consumes = ("Acquisition", "AcquisitionBucket")
    emits = ("ReconData",)
    takes_blocks = True
    properties: SortProperties

    def __init__(self, header: Any, properties: SortProperties) -> None:
        super().__init__(header, properties)
        self._intake = Intake(self.header, expected_frames(self.header, properties.trigger_dimension))
        self._complete = Complete(self.header)
        if properties.trigger_dimension != "auto":
            self._complete.stop()
        self._sent: set[tuple[int, int]] = set()
        self._choice: FrameChoice | None = None
        self._layout = Layout.of(self.header, (0, 0))
        self._centre_from = ""
        self._made = 0
        self._values: dict[str, int] = {}
        self._lacking: list[str] = []
        self._calibrated: Counter[int] = Counter()
        self._calibration: dict[int, Lines] = {}
        self._averages = Averages(self.header)
        self._imaged: set[int] = set()
        if self.header.trajectory != "cartesian":
            raise ScanError(f"The trajectory is '{self.header.trajectory}'; only Cartesian scans can be sorted.")
        if self.header.simultaneous_slices > 1:
            raise ScanError(
                f"{self.header.simultaneous_slices} slices were excited together (multiband factor in the header), so "
                "they lie on top of each other; simultaneous slices are not supported."
            )

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Collect lines and yield k-space; waveforms and other messages are passed on at once."""
        for message in messages:
            if isinstance(message, ismrmrd.Acquisition):
                yield from self._take(message)
            elif isinstance(message, LineBlock):
                for line in message:
                    yield from self._take(line)
            elif isinstance(message, AcquisitionBucket):
                # Gadgetron puts lines for calibration and imaging into both lists.
                for line in [*message.data, *(ref for ref in message.ref if header_of(ref).flags & bit(CALIBRATION))]:
                    yield from self._take(line)
                yield from message.waveforms
            else:
                yield message
        yield from self._at_the_end()

    def _at_the_end(self) -> Iterator[Message]:
        """Send the slices that have not left yet."""
        yield from self._warn_all(self._intake.take_doubtful())
        late, slices = self._intake.reunite(), self._intake.slices
        if not slices and not self._sent:
            raise ScanError(f"The scan holds no imaging lines; dropped: {self._intake.text()}.")
        yield from self._warn_all(self._intake.warnings())
        again = set[int]()
        if self._complete.sent:
            again = yield from self._decide_again(late)
        elif slices:
            yield from self._decide("none")
        for number in sorted(slices):
            lines = slices.pop(number)
            if number not in self._intake.sent or number in again:
                yield from self._send(number, lines)
        if self._lacking and not self._made:
            raise ScanError(f"No slice is complete: {' '.join(self._lacking)} Repeat the scan.")
        yield from self._warn_all(self._missing())

    def _missing(self) -> Iterator[str]:
        """Name slices that have calibration lines only, and what did not come after something had been sent."""
        if self._sent and (text := self._intake.still_missing(self.properties.trigger_dimension)):
            yield text
        alone = {number: count for number, count in sorted(self._calibrated.items()) if number not in self._imaged}
        texts = ", ".join(f"slice {number} has {count} calibration lines" for number, count in alone.items())
        if alone and not self._made:
            raise ScanError(f"The scan holds no imaging lines: {texts}. Send them with the scan that they calibrate.")
        if alone:
            yield f"{texts}, but no imaging lines: no image was made of it."

    def _warn_all(self, texts: Iterable[str]) -> Iterator[Message]:
        for text in texts:
            yield from self.warn(text)

    def _take(self, line: ismrmrd.Acquisition) -> Iterator[Message]:
        if not self._intake.judge(line):
            return
        header = header_of(line)
        yield from self._send_earlier(header.idx.slice, header)
        self._intake.add(line)
        if self._complete.note(header):
            yield from self._send_complete()

    def _send_earlier(self, number: int, header: Any) -> Iterator[Message]:
        """Send the slices or groups that the trigger counter has completed."""
        trigger = self.properties.trigger_dimension
        if trigger in ("auto", "none"):
            return
        repetition = header.idx.repetition if trigger == "repetition" else 0
        if (number, repetition) in self._sent:
            raise ScanError(
                f"{describe(header)} came after its k-space was sent. Set trigger_dimension of gadget 'sort' to none."
            )
        slices = self._intake.slices
        if trigger == "slice":
            done = [other for other in slices if other != number]
        else:
            lines = slices.get(number)
            done = [number] if lines and lines.headers[-1].idx.repetition != repetition else []
        if done:
            yield from self._decide(trigger)
        for other in done:
            lines = slices.pop(other)
            self._sent.add((other, lines.headers[-1].idx.repetition if trigger == "repetition" else 0))
            yield from self._send(other, lines)

    def _send_complete(self) -> Iterator[Message]:
        """Send the slices of which all lines came, in the order of their numbers."""
        intake, ready = self._intake, True
        while ready and (number := self._complete.next) is not None:
            if intake.left_out or intake.doubtful or min(intake.slices) != number:
                self._complete.stop()
                return
            lines = intake.slices[number]
            if not self._complete.holds(lines) or not self._known_frames(lines):
                return
            others, intake.slices = intake.slices, {number: lines}
            yield from self._decide("slice")  # by the first slice alone
            intake.slices = {other: held for other, held in others.items() if other != number}
            intake.sent[number] = lines
            ready = self._complete.advance()
            yield from self._send(number, lines)

    def _known_frames(self, lines: Lines) -> bool:
        """Return whether a slice alone tells the frames of the scan; binning needs the heart beats of all."""
        known, table = self._choice is not None, lines.table()
        with suppress(ScanError):  # said at the end
            known = known or FrameChoice.of(self.header, self.properties, table).frames != "physiology"
        table = np.concatenate([table, *(held.table() for held in self._intake.sent.values())])
        if known and not irregular(table, self.properties.time_tick):
            return True
        self._complete.stop()
        return False

    def _decide_again(self, late: set[int]) -> Generator[Message, None, set[int]]:
        """Decide by the whole scan after slices were sent early; return those whose images do not hold."""
        before = self._choice, self._layout
        self._choice = None
        yield from self._decide("none")
        again, why = late, "more lines of it came"
        if (self._choice, self._layout) != before:
            again, why, self._values["decided_again"] = set(self._intake.sent), "the others have other frames", 1
        if again:
            yield from self.warn(
                f"slice {listed(sorted(again))} had all lines that the header announces and was sent early, but {why}: "
                "its images are made again, and the later ones hold. trigger_dimension=none of gadget 'sort' waits."
            )
        return again

    def _decide(self, later: str) -> Iterator[Message]:
        """Choose layout and frames before the first slice is sent, and check the lines so far; see `Intake.settle`."""
        intake = self._intake
        yield from self._warn_all(intake.put_right(self.properties.time_tick))
        if self._choice is None:
            yield from self._warn_all([*self.header.warnings, *intake.settle(later)])
            everything = np.concatenate([lines.table() for lines in intake.slices.values()])
            self._choice = FrameChoice.of(self.header, self.properties, everything)
            self._layout, self._centre_from, moved = intake.centre()
            stated = {name: self.header.limits(name) if later != "none" else None for name in COUNTERS}
            most = {name: 0 if limits is None else limits.maximum for name, limits in stated.items()}
            came = everything["idx"]
            self._values = {f"values_{name}": max(int(came[name].max()), most[name]) + 1 for name in COUNTERS}
            self._values["values_phase"] = max(self._values["values_phase"], self._choice.phases)
            yield from self._warn_all([text for text in (self._choice.warning, *moved) if text])
        if self._choice.frames != "physiology":
            yield from self._warn_all(intake.repeated())
            yield from self._warn_all(intake.unlike_averages() if self._choice.averages > 1 else ())
            yield from self._warn_all(unlike_slices(intake.slices) if later == "none" and not self._sent else ())

    def _send(self, number: int, lines: Lines) -> Iterator[Message]:
        """Make the messages of one slice."""
        choice = self._choice
        assert choice is not None
        if self.properties.trigger_dimension == "repetition":
            lines = lend(lines, self._calibration, number)
        groups = groups_of(choice, lines.table())
        parts = [group.take(lines) for group in groups]
        del lines  # what a group holds shall go with it
        for group in groups:
            yield from self._group(parts.pop(0), {"slice": number, **group.key}, group.said)

    def _note(self, facts: dict[str, Any]) -> Message:
        return note(self.name, SortFacts.model_validate(facts))

    def _group(self, lines: Lines, key: dict[str, int], said: str) -> Iterator[Message]:
        assert self._choice is not None
        layout = self._layout
        where = ", ".join(f"{name} {value}" for name, value in key.items() if name == "slice" or value)
        table = lines.table()
        inside, outside = lines_in_matrix(self.header, layout, table, where)
        if outside:
            self._intake.left_out["lines outside the matrix"] += int((~inside).sum())
            lines, table = lines.take(np.flatnonzero(inside).tolist()), table[inside]
            yield from self.warn(outside)
        matrix = Matrix.of(self.header, layout, lines)
        imaging = is_imaging(table["flags"])
        if not imaging.any():
            self._calibrated[key["slice"]] += len(table)
            yield self._note({**key, "lines": 0, "calibration_lines": len(table), "skipped": "no imaging lines"})
            return
        own_scan = ~imaging & (self._choice.separate and not imaging.all())
        rows, by = rows_of(layout, table, own_scan)
        moved = {"calibration_rows_moved_by": by[1]} if own_scan.any() else {}
        moved |= {"calibration_partitions_moved_by": by[0]} if by[0] else {}
        lacks, usable = self._intake.incomplete(table[imaging], rows[imaging], layout)
        if not usable:
            self._lacking.append(lacks)
            yield from self.warn(f"{lacks[:-1]}; it was left out.")
            return
        placed = place_frames(self._choice, self.properties, table, rows, imaging, layout.centre_row)
        yield from self._warn_all([*([lacks] if lacks else []), *([f"{where}: {said}."] if said else [])])
        yield from self._warn_all(f"{where}: {text}" for text in placed.warnings)
        yield from self._warn_all(self._averages.unlike(where, placed.facts.get("averages_combined", 1), table))
        limits = line_limits(self.header, layout, rows[imaging])
        data = matrix.buffer(lines, placed.data, placed.frames, placed.sets, limits)
        reference = None
        if len(placed.reference) and layout.partitions > 1:
            reference = matrix.cropped(lines, placed.reference, placed.sets, placed.reference_frames)
        elif len(placed.reference):
            reference = matrix.buffer(lines, placed.reference, placed.reference_frames, placed.sets, limits)
        del lines  # a volume's calibration lines are now in the reference, and may be a large part of the scan
        if self._choice.combine:
            clear_averages(data)
        if placed.counter:
            number_frames(data, placed.counter, placed.values)
        flagged = int(np.count_nonzero(calibrates(table["flags"])))
        facts = {
            **key,
            "lines": int(imaging.sum()),
            "calibration_lines": flagged,
            "dropped_lines": self._intake.text(),
            "centre_line": layout.centre[1],
            "centre_line_from": self._centre_from,
            "sets": placed.sets,
            "frames": placed.frames,
        }
        if spaces(self.header.xml) > 1:
            facts["encoding_space"] = self.header.space
        if layout.partitions > 1:
            facts |= {"partitions": layout.partitions, "centre_partition": layout.centre[0]}
        yield self._note({**facts, **moved, **self._values, **placed.facts})
        self._made += 1
        self._imaged.add(key["slice"])
        yield ReconData([ReconBit(data, reference)])
