"""Scans with odd headers and counters, drawn by hypothesis: what goes wrong in each is a plan that can be printed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ismrmrd
import numpy as np
from hypothesis import strategies as st

from onebreath.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, LAST_IN_MEASUREMENT, REVERSE
from onebreath.wire.connection import parse_header

COILS = 2
COUNTERS = ("slice", "phase", "repetition", "set", "contrast", "average")
SLICE, AVERAGE = COUNTERS.index("slice"), COUNTERS.index("average")
LARGEST = 65535
NAVIGATOR = 23
LAST_IN_SLICE = 8
MOST_FRAMES = 12

FAULTS = (
    "zero", "empty", "space", "twice", "foreign", "missing", "navigator", "nan", "channels", "long", "row", "partition",
    "moved", "nowhere",
)  # fmt: skip
"""What may be wrong with a line; see `Plan.lines`."""
WORDLESS = ("navigator",)
"""Faults that are none: such lines are dropped because their flags ask for it."""
NUMBERS = ("1", "2", "2.3", "two", "0", "-1", "NaN", "INF", "1e400", "2,5", " 2 ")
"""Texts that stand in headers where a number belongs."""


@dataclass(frozen=True)
class Plan:
    """One scan.

    Parameters
    ----------
    counts
        Values that each of COUNTERS takes.
    rows, samples
        The matrix.
    step, first
        Distance of the lines, and the first of them (partial Fourier).
    limits
        Largest value of counters as the header has it, as text.
    rows_stated
        Minimum, maximum and centre of the phase encoding counter as the header has them; None: not stated.
    section
        Whether the header has encoding limits at all.
    factor, fov, matrix
        Acceleration, field of view along y and lines of the matrix as the header has them; empty: right, or none.
    offsets
        What is added to the values of each counter.
    faults
        Frame, line and fault.
    shuffled
        Seed of the order of the lines; 0: as they were acquired.
    directions
        ``right``, ``zero`` or ``nan``.
    reverse
        Whether every second line is acquired from right to left, and flagged so.
    stamps
        Whether lines have time stamps and scan counters.
    last_flags
        Whether the last lines are flagged as such.
    calibration
        ``none``, ``also`` (the middle lines are flagged as calibration and imaging) or ``extra`` (they come once more,
        for calibration only).
    beat
        Lines of a heart beat, by which the trigger stamps go; 0: no ECG.
    """

    counts: tuple[int, ...] = (1,) * len(COUNTERS)
    rows: int = 16
    samples: int = 16
    step: int = 1
    first: int = 0
    limits: dict[str, str] = field(default_factory=dict)
    rows_stated: tuple[str, str, str] | None = None
    section: bool = True
    factor: str = ""
    fov: str = ""
    matrix: str = ""
    offsets: tuple[int, ...] = (0,) * len(COUNTERS)
    faults: dict[tuple[int, int], str] = field(default_factory=dict)
    shuffled: int = 0
    directions: str = "right"
    reverse: bool = False
    stamps: bool = True
    last_flags: bool = True
    calibration: str = "none"
    beat: int = 0

    @property
    def acquired(self) -> list[int]:
        """Rows that every frame has."""
        centre = self.rows // 2
        near = range(centre - 3, centre + 3)
        return [row for row in range(self.first, self.rows) if (row - centre) % self.step == 0 or row in near]

    @property
    def frames(self) -> list[tuple[int, ...]]:
        """Values of COUNTERS of each frame, and of each average of it."""
        return list(np.ndindex(*self.counts))[:MOST_FRAMES]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong, so that every image must come and be right, without a warning."""
        stated = self.rows_stated in (None, ("0", str(self.rows - 1), str(self.rows // 2)))
        return (
            all(fault in WORDLESS for fault in self.faults.values())
            and not (self.fov or self.matrix or self.limits)
            and (self.factor in ("", "1", "2", "2.3", "2,5", " 2 "))
            and (self.section and stated)
            and (self.rows_stated is None or self.acquired[0] <= self.step)
            and self.directions == "right"
            and not self.reverse
            and len(self.frames) == np.prod(self.counts)
            and (self.stamps or not self.shuffled)
            and not self.beat
        )

    @property
    def odd(self) -> bool:
        """Whether something about the lines must be told."""
        held = self._held()
        return any(held[key] not in ("missing", *WORDLESS) for key in held)

    def _held(self) -> dict[tuple[int, int], str]:
        frames, rows = len(self.frames), len(self.acquired)
        return {key: fault for key, fault in self.faults.items() if key[0] < frames and key[1] < rows}

    def header(self) -> Any:
        """Make the header."""
        return parse_header(self._xml().encode())

    def _xml(self) -> str:
        limit = "<{0}><minimum>{1}</minimum><maximum>{2}</maximum><center>{3}</center></{0}>"
        stated = "" if self.rows_stated is None else limit.format("kspace_encoding_step_1", *self.rows_stated)
        stated += "".join(limit.format(name, 0, last, 0) for name, last in self.limits.items())
        space = (
            f"<matrixSize><x>{self.samples}</x><y>{self.matrix or self.rows}</y><z>1</z></matrixSize>"
            f"<fieldOfView_mm><x>300</x><y>{self.fov or 300}</y><z>8</z></fieldOfView_mm>"
        )
        parallel = (
            f"<parallelImaging><accelerationFactor><kspace_encoding_step_1>{self.factor}</kspace_encoding_step_1>"
            "<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor></parallelImaging>"
        )
        return (
            '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions>'
            "<H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions><encoding>"
            f"<encodedSpace>{space}</encodedSpace><reconSpace>{space}</reconSpace>"
            f"{f'<encodingLimits>{stated}</encodingLimits>' if self.section else ''}<trajectory>cartesian</trajectory>"
            f"{parallel if self.factor else ''}</encoding></ismrmrdHeader>"
        )

    def image(self) -> np.ndarray:
        """Return the object (y, x)."""
        image = np.zeros((self.rows, self.samples))
        image[4 : self.rows - 5, 6 : self.samples - 5] = 1
        image[5, 7] = 3  # nothing is symmetric
        return image

    def kspace(self) -> np.ndarray:
        """K-space of the object (y, x), with its centre at row ``rows // 2``."""
        image: np.ndarray = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(self.image())))
        return image

    def truth(self) -> np.ndarray:
        """Zero-filled magnitude of the object (y, x), of one scale."""
        mask = np.isin(np.arange(self.rows), self.acquired)
        return np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(self.kspace() * mask[:, None]))))

    @staticmethod
    def brightness(frame: tuple[int, ...]) -> float:
        """Return what a frame's object is multiplied with; averages are alike."""
        return 1.0 + float(np.dot(frame[:AVERAGE], (1, 2, 4, 8, 16)))

    def lines(self) -> list[ismrmrd.Acquisition]:
        """Make the lines in the order in which they are sent."""
        made = list(self._lines())
        if self.shuffled:
            made = [made[place] for place in np.random.default_rng(self.shuffled).permutation(len(made))]
        return made

    def _lines(self) -> Iterator[ismrmrd.Acquisition]:
        kspace, rows, number = self.kspace(), self.acquired, 0
        for index, frame in enumerate(self.frames):
            for place, row in enumerate(rows):
                fault = self.faults.get((index, place), "")
                for copy in range({"missing": 0, "twice": 2, "foreign": 2, "navigator": 2}.get(fault, 1)):
                    samples = self.brightness(frame) * np.stack([kspace[row], 1j * kspace[row]])
                    if fault == "foreign" and copy:
                        samples = np.random.default_rng(number).standard_normal((2 * COILS, self.samples)) * 50
                        samples = samples[:COILS] + 1j * samples[COILS:]
                    line = self._line(frame, row, fault, samples, number)
                    if fault == "navigator" and copy:
                        line._head.set_flag(NAVIGATOR)
                    line._head.physiology_time_stamp[0] = 10 * (number % self.beat) + 1 if self.beat else 0
                    if -3 <= row - self.rows // 2 < 3 and not fault and self.calibration != "none":
                        if self.calibration == "also":
                            line._head.set_flag(CALIBRATION_AND_IMAGING)
                        else:
                            extra = self._line(frame, row, "", samples, number)
                            extra._head.set_flag(CALIBRATION)
                            yield extra
                    if self.last_flags and place == len(rows) - 1:
                        line._head.set_flag(LAST_IN_SLICE)
                        if index == len(self.frames) - 1:
                            line._head.set_flag(LAST_IN_MEASUREMENT)
                    number += 1
                    yield line

    def _line(
        self, frame: tuple[int, ...], row: int, fault: str, samples: np.ndarray, number: int
    ) -> ismrmrd.Acquisition:
        data = samples.astype(np.complex64)
        backwards = self.reverse and number % 2 == 1
        if backwards:
            data = np.roll(data[:, ::-1], 1 - self.samples % 2, axis=1)
        if fault == "zero":
            data = 0 * data
        elif fault == "nan":
            data[0, 3] = np.nan
        elif fault == "empty":
            data = data[:, :0]
        elif fault == "channels":
            data = data[:1]
        elif fault == "long":
            data = np.concatenate([data, data[:, :4]], axis=1)
        made = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data))
        head = made._head
        head.sample_time_us, head.center_sample = 2.5, self.samples // 2 if data.shape[1] else 0
        if backwards:
            head.set_flag(REVERSE)
        if self.stamps:
            head.scan_counter, head.acquisition_time_stamp = number, 1000 + number
        axes = {"right": np.eye(3), "zero": np.zeros((3, 3)), "nan": np.full((3, 3), np.nan)}[self.directions]
        head.read_dir, head.phase_dir, head.slice_dir = (tuple(axis) for axis in axes.tolist())
        head.position = (0.0, 0.0, 10.0 * frame[SLICE] + (15.0 if fault == "moved" else 0.0))
        if fault == "nowhere":
            head.position = (float("nan"),) * 3
        head.idx.kspace_encode_step_1 = LARGEST if fault == "row" else row
        head.idx.kspace_encode_step_2 = int(fault == "partition")
        for name, value, offset in zip(COUNTERS, frame, self.offsets, strict=True):
            setattr(head.idx, name, min(value + offset, LARGEST))
        head.encoding_space_ref = int(fault == "space")
        return made


def _mostly(usual: Any, others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw the usual value three times out of four, so that few things are wrong at once."""
    return st.integers(0, 3).flatmap(lambda draw: others if draw == 3 else st.just(usual))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Draw a scan in which anything may be wrong."""
    counts = tuple(draw(_mostly(1, st.integers(2, 4))) for _ in COUNTERS)
    rows = draw(st.sampled_from([16, 16, 15, 17, 20]))
    right = ("0", str(rows - 1), str(rows // 2))
    number = st.sampled_from(("0", "1", "3", str(rows // 2 - 1), str(rows - 1), "65535", "-3", "99999999999", *NUMBERS))
    wrong = st.tuples(number, number, number)
    return Plan(
        counts=counts,
        rows=rows,
        samples=draw(st.sampled_from([16, 16, 17, 20])),
        step=draw(st.sampled_from([1, 1, 2, 3])),
        first=draw(_mostly(0, st.integers(1, rows // 2 - 5))),
        limits=draw(_mostly({}, st.dictionaries(st.sampled_from(COUNTERS), number, max_size=3))),
        rows_stated=draw(_mostly(right, st.none() | wrong | st.builds(lambda c: (right[0], right[1], c), number))),
        section=draw(_mostly(True, st.booleans())),
        factor=draw(_mostly("", st.sampled_from(NUMBERS))),
        fov=draw(_mostly("", _mostly("300.0", st.sampled_from([*NUMBERS, "1e9"])))),
        matrix=draw(_mostly("", _mostly(f"{rows}.0", st.sampled_from([*NUMBERS, str(rows + 4), str(rows - 3)])))),
        offsets=tuple(draw(_mostly(0, st.sampled_from([1, 7, 100, 65530]))) for _ in COUNTERS),
        faults=draw(
            _mostly(
                {},
                st.dictionaries(
                    st.tuples(st.integers(0, min(MOST_FRAMES, int(np.prod(counts))) - 1), st.integers(0, rows - 1)),
                    st.sampled_from(FAULTS),
                    max_size=6,
                ),
            )
        ),
        shuffled=draw(_mostly(0, st.integers(1, 99))),
        directions=draw(_mostly("right", st.sampled_from(["right", "zero", "nan"]))),
        reverse=draw(_mostly(False, st.booleans())),
        stamps=draw(_mostly(True, st.booleans())),
        last_flags=draw(st.booleans()),
        calibration=draw(_mostly("none", st.sampled_from(["also", "extra"]))),
        beat=draw(_mostly(0, st.integers(1, 40))),
    )
