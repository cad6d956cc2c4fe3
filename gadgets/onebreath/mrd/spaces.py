"""Scans with several encoding spaces: choice of the image's one, by the header and the lines."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import ismrmrd
from gadgetron.types import AcquisitionBucket, ReconData

from onebreath.errors import ScanError
from onebreath.mrd.blocks import LineBlock
from onebreath.mrd.buffers import scan_bits
from onebreath.mrd.header_values import matrix_of, trajectory_of
from onebreath.mrd.lines import NO_IMAGE, header_of, is_imaging

_UNSTATED = 8.0
"""Acceleration to be reckoned with where the header states none."""
_WHOLE = 0.5
"""Part of the lines to be expected that makes a space the image's before the scan has ended."""


def spaces(xml: Any) -> int:
    """Return how many encoding spaces a header describes."""
    return len(getattr(xml, "encoding", None) or ())


def with_space(xml: Any, space: int, why: str = "") -> Any:
    """Return a header whose image is that of another encoding space; `why` is reported with its other repairs."""
    chosen = copy.copy(xml)
    chosen.space = space
    chosen.repairs = [*getattr(xml, "repairs", []), *([why] if why else [])]
    return chosen


class SpaceChoice:
    """Finds the encoding space to be reconstructed: the first Cartesian one with imaging lines.

    If of none enough lines come, it is the one with the most.

    Parameters
    ----------
    xml
        The scan's header.
    """

    def __init__(self, xml: Any) -> None:
        self.xml = xml
        self._needed: dict[int, float] = {}
        self._unfit: dict[int, str] = {}
        for number, encoding in enumerate(xml.encoding):
            try:
                matrix = matrix_of(encoding.encodedSpace, "encodedSpace")
                matrix_of(encoding.reconSpace, "reconSpace")
            except ScanError as error:
                self._unfit[number] = str(error).rstrip(".")
                continue
            kind = trajectory_of(encoding)
            if kind != "cartesian":
                self._unfit[number] = f"its trajectory is '{kind}'"
                continue
            self._needed[number] = max(1.0, _WHOLE * matrix.y * max(matrix.z, 1) / _acceleration(encoding))
        self._places: dict[int, set[tuple[int, int]]] = {}
        self._lines: Counter[int] = Counter()

    @property
    def likely(self) -> int:
        """The space by the header alone."""
        return min(self._needed, default=0)

    def see(self, header: Any) -> None:
        """Record a line's header."""
        if header.flags & NO_IMAGE or not is_imaging(header.flags) or not header.number_of_samples:
            return
        idx, space = header.idx, int(header.encoding_space_ref)
        self._lines[space] += 1
        self._places.setdefault(space, set()).add((idx.kspace_encode_step_1, idx.kspace_encode_step_2))

    @property
    def certain(self) -> bool:
        """Whether later lines cannot change the choice."""
        return self._whole(self.likely)

    def _whole(self, space: int) -> bool:
        return len(self._places.get(space, ())) >= self._needed.get(space, float("inf"))

    def chosen(self) -> tuple[int, str]:
        """Return the space, and why it is not the first one; an empty text if it is."""
        whole = [space for space in sorted(self._needed) if self._whole(space)]
        known = [space for space in sorted(self._needed) if self._lines[space]]
        most = max(known, key=lambda space: self._lines[space], default=self.likely)
        space = whole[0] if whole else most
        if space == 0:
            return 0, ""
        others = "; ".join(f"space {other}: {self._reason(other)}" for other in range(space))
        # Not how many: the choice is often made before all have come, and with how many depends on the network.
        has = "the first with enough" if whole else "the one with most"
        return space, (
            f"Of {spaces(self.xml)} encoding spaces, number {space} is reconstructed: it is {has} imaging lines "
            f"({others})."
        )

    def _reason(self, space: int) -> str:
        return self._unfit.get(space) or f"{self._lines[space]} imaging lines"


def _acceleration(encoding: Any) -> float:
    factors: Any = encoding.parallelImaging.accelerationFactor if encoding.parallelImaging else None
    try:
        stated = float(factors.kspace_encoding_step_1) * float(factors.kspace_encoding_step_2 or 1)
    except (AttributeError, TypeError, ValueError):
        return _UNSTATED
    return stated if stated >= 1 else _UNSTATED


def space_of_message(message: Any) -> int | None:
    """Return the encoding space of k-space that has been sorted already; None of other messages."""
    if not isinstance(message, ReconData):
        return None
    for one in scan_bits(message):
        for header in one.data.headers.flat:
            if header.number_of_samples:
                return int(header.encoding_space_ref)
    return None


def headers_in(message: Any) -> list[Any]:
    """Return the headers of the lines that a message holds."""
    if isinstance(message, AcquisitionBucket):
        return [header_of(line) for line in [*message.data, *message.ref]]
    if isinstance(message, LineBlock):
        return [message.header(number) for number in range(len(message))]
    return [header_of(message)] if isinstance(message, ismrmrd.Acquisition) else []
