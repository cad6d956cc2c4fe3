"""The first lines of a scan, held until they determine what the header leaves open."""

from __future__ import annotations

import operator
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import DOUBTFUL, IMAGE_COUNTERS, NO_IMAGE, REVERSE, bit, header_of, is_imaging, measured
from onebreath.mrd.quirks import echo_as_acquired, two_dimensional
from onebreath.mrd.readout import Extent

_MOST = 512
_MOST_REVERSED = 256
_PHASE_CORRECTION = 24
_NEAR = 1
"""Lines and partitions by which one may miss the k-space centre and still show where its echo is."""
_MOST_IMAGES = 1 << 16
"""Images whose forward lines are remembered at most, as long as no line is reversed: an endless scan has no end."""
_image = operator.attrgetter(*IMAGE_COUNTERS)


class Opening:
    """Holds lines until one arrives that certainly belongs to the image.

    Parameters
    ----------
    header
        The scan's header.
    kept, encoded
        Samples of a line without and with oversampling.
    """

    def __init__(self, header: ScanHeader, kept: int, encoded: int) -> None:
        self.expected = header.receiver_channels or 0
        """Channels that the header states; 0 if it does not."""
        self.held: list[ismrmrd.Acquisition] = []
        self.cropped: bool | None = None
        """Whether the lines of the image came without oversampling; None if unknown."""
        self._kept, self._encoded = kept, encoded
        self._first: ismrmrd.Acquisition | None = None

    def hold(self, line: ismrmrd.Acquisition) -> None:
        """Take a line."""
        self.held.append(line)
        if self._first is None and self._certain(header_of(line)):
            self._first = line

    def _certain(self, header: Any) -> bool:
        """Return whether a line shows the form of the image's lines."""
        ambiguous = not is_imaging(header.flags) and header.number_of_samples < self._encoded
        unlike = self.expected and header.active_channels != self.expected
        return not (ambiguous or unlike or header.flags & DOUBTFUL)

    def ready(self, lines: int) -> bool:
        """Return whether the lines can be judged, if this many are to be seen."""
        return len(self.held) >= _MOST or (self._first is not None and len(self.held) >= lines)

    def channels(self) -> int:
        """Channels of the image's lines; 0 if not known yet."""
        return header_of(self._first).active_channels if self._first is not None else 0

    def release(self) -> tuple[ismrmrd.Acquisition, list[ismrmrd.Acquisition]]:
        """Return a line representative of the image's lines, and all lines that were held."""
        plain = [line for line in self.held if not header_of(line).flags & DOUBTFUL]
        first = self._first or (plain or self.held)[0]
        header = header_of(first)
        if is_imaging(header.flags) and self._kept < self._encoded:
            fills = any(Extent.of(header, as_acquired).fills(self._kept) for as_acquired in (False, True))
            self.cropped = False if header.number_of_samples > self._kept else fills or None
        held, self.held = self.held, []
        return first, held


class Echoes:
    """Determines how the header counts the echo of reversed lines; lines are held, in their order, until it is known.

    Only a line near the k-space centre shows it: at the edge the object's structure moves the peak by some samples.

    Parameters
    ----------
    header
        The scan's header.
    """

    def __init__(self, header: ScanHeader) -> None:
        sizes = {"1": header.encoded_matrix.y} | ({} if two_dimensional(header) else {"2": header.encoded_matrix.z})
        limits = {axis: header.limits(f"kspace_encoding_step_{axis}") for axis in sizes}
        self._centre = {
            f"kspace_encode_step_{axis}": sizes[axis] // 2 if stated is None else stated.centre
            for axis, stated in limits.items()
        }
        self._known: dict[tuple[int, int], bool] = {}
        self._profiles: dict[tuple[int, int], NDArray[np.float64]] = {}
        self._seen: Counter[tuple[int, int]] = Counter()
        self._held: deque[ismrmrd.Acquisition] = deque()

    @staticmethod
    def _kind(header: Any) -> tuple[int, int]:
        samples = header.number_of_samples
        return samples, header.center_sample or samples // 2

    def as_acquired(self, header: Any) -> bool:
        """Whether the echo of a reversed line is counted as acquired; by the standard, unless lines show otherwise."""
        samples, centre = kind = self._kind(header)
        return self._known.get(kind, abs(samples - 1 - 2 * centre) > 1)

    def settle(self, line: ismrmrd.Acquisition) -> Iterator[ismrmrd.Acquisition]:
        """Yield the lines whose echo position is known, as far as all before them are, too."""
        header = header_of(line)
        self._held.append(line)
        if not self._settled(header):
            self._see(line, header, self._kind(header))
        while self._held and self._settled(header_of(self._held[0])):
            yield self._held.popleft()

    def rest(self) -> Iterator[ismrmrd.Acquisition]:
        """Yield the lines that are still held."""
        for kind in self._profiles.keys() - self._known.keys():
            self._judge(kind)
        held, self._held = self._held, deque()
        yield from held

    def _settled(self, header: Any) -> bool:
        kind = self._kind(header)
        return not header.flags & bit(REVERSE) or kind in self._known or kind[1] >= kind[0]

    def _see(self, line: ismrmrd.Acquisition, header: Any, kind: tuple[int, int]) -> None:
        """Learn from a reversed line."""
        profile = self._profiles.setdefault(kind, np.zeros(kind[0]))
        within = measured(line)
        profile[within] += np.sum(np.abs(line.data[:, within]) ** 2, axis=0, dtype=np.float64)
        self._seen[kind] += 1
        many = self._seen[kind] >= _MOST_REVERSED
        if many or all(abs(getattr(header.idx, name) - centre) <= _NEAR for name, centre in self._centre.items()):
            self._judge(kind)
        if many:
            self._known.setdefault(kind, self.as_acquired(header))

    def _judge(self, kind: tuple[int, int]) -> None:
        found = echo_as_acquired(self._profiles[kind], kind[1])
        if found is not None:
            self._known[kind] = found


class Directions:
    """Watches for lines read in both directions within one image (EPI), which need a phase correction.

    Parameters
    ----------
    space
        Encoding space of the image.
    """

    def __init__(self, space: int) -> None:
        self._space = space
        self._forward: set[tuple[int, ...]] = set()
        self._reversed: set[tuple[int, ...]] = set()
        self._corrections = 0

    def see(self, header: Any) -> None:
        """Record the direction of a line; noise, navigators, and lines of other spaces are of no image.

        Raises
        ------
        ScanError
            If lines for a phase correction came, and lines of one image that need it.
        """
        if header.flags & bit(_PHASE_CORRECTION):
            self._corrections += 1
            return
        if header.flags & NO_IMAGE or header.encoding_space_ref != self._space:
            return
        forward = not header.flags & bit(REVERSE)
        if forward and self._full():
            return
        (self._forward if forward else self._reversed).add(_image(header.idx))
        self._refuse()

    def see_forward(self, headers: NDArray[np.void]) -> None:
        """Record lines (line,) of which none is reversed, nor for a phase correction; raises as `see`."""
        if not self._full():
            self._forward.update(zip(*(headers["idx"][name].tolist() for name in IMAGE_COUNTERS), strict=True))
            self._refuse()

    def _full(self) -> bool:
        return not self._reversed and len(self._forward) >= _MOST_IMAGES

    def _refuse(self) -> None:
        if self._corrections and self._forward & self._reversed:
            raise ScanError(
                f"Lines of one image are read in both directions, and {self._corrections} lines came for the phase "
                "correction that they need (EPI); it is not supported. Use a reconstruction for EPI."
            )

    def warnings(self) -> Iterator[str]:
        """Yield warnings about the lines seen; raises as `see`."""
        both = self._forward & self._reversed
        if both:
            yield (
                f"Lines of one image are read in both directions ({len(both)} images); they are not phase-corrected, "
                "so expect ghosts."
            )
