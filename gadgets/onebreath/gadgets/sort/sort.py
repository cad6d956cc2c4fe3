"""Gadget: lines to k-space, one message per slice. Acquisition (or AcquisitionBucket) -> ReconData (data + ref).

Lines are grouped by their counters, never by their arrival. Axis N holds the frames: cardiac phases or repetitions as
they were counted, or phases binned from the trigger stamps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import ismrmrd
import numpy as np
from gadgetron.types import AcquisitionBucket, ReconData
from gadgetron.types.recon_data import ReconBit
from numpy.typing import NDArray
from pydantic import Field

from onebreath.chain import gadget
from onebreath.chain.gadget import Gadget, Message
from onebreath.chain.notes import note
from onebreath.errors import ScanError
from onebreath.gadgets.facts import SortFacts
from onebreath.gadgets.sort.assemble import Matrix, number_frames, runs
from onebreath.gadgets.sort.collected import FRAME_COUNTERS, Lines
from onebreath.gadgets.sort.frames import FrameChoice, place_frames
from onebreath.gadgets.sort.intake import Intake
from onebreath.gadgets.sort.layout import Layout, inside_matrix, line_limits, rows_of
from onebreath.mrd.blocks import LineBlock
from onebreath.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, bit, describe, header_of
from onebreath.mrd.meta import COUNTERS
from onebreath.mrd.spaces import spaces

Dimension = Literal["auto", "none", "phase", "repetition", "average", "contrast", "set", "segment"]


_FITTING = 0.75
"""Part of the lines that lies in the matrix at least; else the header is not that of the lines."""


class SortProperties(gadget.Properties):
    """Properties of `sort`."""

    N_dimension: Dimension | Literal["physiology"] = Field(
        "auto",
        description="counter that numbers the frames; physiology: bin into cardiac phases by the trigger stamps; auto: "
        "physiology if `phases` is set, else phase or repetition, the first of them that has several values",
    )
    S_dimension: Dimension = Field("auto", description="counter on axis S; auto: set and contrast")
    averages: Literal["combine", "separate"] = Field(
        "combine", description="combine averages into one k-space whose noise keeps standard deviation 1, or keep each"
    )
    trigger_dimension: Literal["none", "slice", "repetition"] = Field(
        "none", description="send a k-space as soon as this counter moves on; none: at the end of the scan"
    )
    phases: int = Field(
        0, ge=0, le=1000, description="cardiac phases to bin into; 0: as many as were counted for most rows"
    )
    binning: Literal["nearest", "linear"] = Field(
        "nearest", description="take the line nearest in cardiac phase, or interpolate between two"
    )
    arrhythmia_rejector_factor: float = Field(
        0.25,
        gt=0,
        le=1e6,
        description="reject heart beats whose RR deviates from the median RR by more than this part of it",
    )
    time_tick: float = Field(2.5, gt=0, le=1e6, description="unit of the time stamps in ms")
    incomplete_phases: Literal["keep", "fill", "drop", "error"] = Field(
        "fill",
        description="frames that lack lines which most frames have: fill from the nearest frame, keep them so (the "
        "mask tells), drop them, or stop with an error",
    )


class Sort(Gadget):
    """Sort lines into one k-space per slice, and per value of every counter that is neither axis N nor S.

    Navigators, dummies and other lines that are no part of an image are dropped and counted. Calibration lines
    (flag 20 or 21) form the reference; those for calibration only (20) are not in the data, as in Gadgetron.
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
        self._intake = Intake(self.header, self._expected_frames())
        self._sent: set[tuple[int, int]] = set()
        self._choice: FrameChoice | None = None
        self._layout = Layout.of(self.header, (0, 0))
        self._centre_from = ""
        self._made = 0
        self._values: dict[str, int] = {}
        self._lacking: list[str] = []
        self._calibrated: Counter[int] = Counter()
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
        yield from self._warn_all(self._intake.take_doubtful())
        slices = self._intake.slices
        if not slices and not self._sent:
            raise ScanError(f"The scan holds no imaging lines; dropped: {self._intake.text()}.")
        yield from self._warn_all(self._intake.warnings())
        if slices:
            yield from self._decide("none")
        for number in sorted(slices):
            yield from self._send(number, slices.pop(number))
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

    def _expected_frames(self) -> int:
        """Frames of one k-space by the header's counters."""
        counters = {*FRAME_COUNTERS} - {self.properties.trigger_dimension}
        stated = [limits.maximum + 1 for limits in map(self.header.limits, counters) if limits is not None]
        return math.prod(stated)

    def _send_earlier(self, number: int, header: Any) -> Iterator[Message]:
        """Send the slices or groups that the trigger counter has completed."""
        trigger = self.properties.trigger_dimension
        if trigger == "none":
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

    def _decide(self, later: str) -> Iterator[Message]:
        """Choose layout and frames before the first slice is sent, and check the lines so far; see `Intake.settle`."""
        intake = self._intake
        if self._choice is None:
            yield from self._warn_all([*self.header.warnings, *intake.settle(later)])
            everything = np.concatenate([lines.table() for lines in intake.slices.values()])
            self._choice = FrameChoice.of(self.header, self.properties, everything)
            self._layout, self._centre_from, moved = intake.centre()
            self._values = {f"values_{name}": int(everything["idx"][name].max()) + 1 for name in COUNTERS}
            self._values["values_phase"] = max(self._values["values_phase"], self._choice.phases)
            yield from self._warn_all([text for text in (self._choice.warning, *moved) if text])
        if self._choice.frames != "physiology":
            yield from self._warn_all(intake.repeated())
            yield from self._warn_all(intake.unlike_averages() if self._choice.averages > 1 else ())

    def _send(self, number: int, lines: Lines) -> Iterator[Message]:
        """Make the messages of one slice."""
        choice = self._choice
        assert choice is not None
        table = lines.table()
        keys, groups = runs([table["idx"][counter] for counter in choice.keys])
        parts = [lines.take(members) for members in groups]
        del lines  # what a group holds shall go with it
        for key in keys:
            yield from self._group(parts.pop(0), {"slice": number, **dict(zip(choice.keys, key, strict=True))})

    def _note(self, facts: dict[str, Any]) -> Message:
        return note(self.name, SortFacts.model_validate(facts))

    def _group(self, lines: Lines, key: dict[str, int]) -> Iterator[Message]:
        assert self._choice is not None
        layout = self._layout
        where = ", ".join(f"{name} {value}" for name, value in key.items() if name == "slice" or value)
        table = lines.table()
        inside, outside = self._inside(table, where)
        if outside:
            lines, table = lines.take(np.flatnonzero(inside).tolist()), table[inside]
            yield from self.warn(outside)
        matrix = Matrix.of(self.header, layout, lines)
        imaging = table["flags"] & bit(CALIBRATION) == 0
        if not imaging.any():
            self._calibrated[key["slice"]] += len(table)
            yield self._note({**key, "lines": 0, "calibration_lines": len(table), "skipped": "no imaging lines"})
            return
        own_scan = ~imaging & (self._choice.separate and not imaging.all())
        rows, by = rows_of(layout, table, own_scan)
        moved = {"calibration_rows_moved_by": by[1]} if own_scan.any() else {}
        moved |= {"calibration_partitions_moved_by": by[0]} if by[0] else {}
        lacks, usable = self._intake.incomplete(table[imaging], rows[imaging], layout.centre_row)
        if not usable:
            self._lacking.append(lacks)
            yield from self.warn(f"{lacks[:-1]}; it was left out.")
            return
        placed = place_frames(self._choice, self.properties, table, rows, imaging, layout.centre_row)
        yield from self._warn_all([lacks] if lacks else [])
        yield from self._warn_all(f"{where}: {text}" for text in placed.warnings)
        limits = line_limits(self.header, layout, rows[imaging])
        data = matrix.buffer(lines, placed.data, placed.frames, placed.sets, limits)
        reference = None
        if len(placed.reference) and layout.partitions > 1:
            reference = matrix.cropped(lines, placed.reference, placed.sets, placed.reference_frames)
        elif len(placed.reference):
            reference = matrix.buffer(lines, placed.reference, placed.reference_frames, placed.sets, limits)
        del lines  # a volume's calibration lines are now in the reference, and may be a large part of the scan
        if placed.counter:
            number_frames(data, placed.counter, placed.values)
        flagged = int(np.count_nonzero(table["flags"] & (bit(CALIBRATION) | bit(CALIBRATION_AND_IMAGING))))
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

    def _inside(self, table: NDArray[np.void], where: str) -> tuple[NDArray[np.bool_], str]:
        """Return which lines (line,) lie inside the matrix, and a sentence about the others; empty if all do.

        Raises
        ------
        ScanError
            If many lie outside, so that the header cannot be that of the lines, if the lines count partitions that the
            header does not know of.
        """
        inside, text = inside_matrix(self._layout, table)
        if not text:
            return inside, ""
        advice = "Correct the encoded matrix or the encoding limits in the header."
        if self._layout.partitions == 1 and table["idx"]["kspace_encode_step_2"].any():
            last = int(table["idx"]["kspace_encode_step_2"].max())
            raise ScanError(
                f"{where}: the lines count partitions up to kspace_encode_step_2 = {last}, but the header says that "
                f"there are none (encoded matrix {tuple(self.header.encoded_matrix)}). {advice}"
            )
        if inside.mean() < _FITTING:
            raise ScanError(f"{where}: {text}. {advice}")
        self._intake.left_out["lines outside the matrix"] += int((~inside).sum())
        return inside, f"{where}: {text} and were left out. {advice}"
