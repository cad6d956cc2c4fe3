"""Numbers of images within their series, as Gadgetron gives them."""

from __future__ import annotations

from collections.abc import Mapping

import ismrmrd

from onebreath.errors import ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.meta import COUNTERS
from onebreath.validation import LAST_NUMBER


class ImageNumbers:
    """Numbers the images of each series from 1, uniquely, by their counters as Gadgetron does.

    Where counters alone would give a number twice, or one beyond 65535, the next free number is taken.

    Parameters
    ----------
    scan
        The scan's header.
    """

    def __init__(self, scan: ScanHeader) -> None:
        self._scan = scan
        self._used: dict[int, set[int]] = {}

    def __call__(self, series: int, idx: ismrmrd.EncodingCounters, values: Mapping[str, int]) -> int:
        """Return the number of an image.

        Parameters
        ----------
        series
            Its series.
        idx
            Its counters.
        values
            How many values some counters take, as far as the lines show; the header may announce more.

        Raises
        ------
        ScanError
            If the series holds 65535 images already.
        """
        used = self._used.setdefault(series, set())
        number = image_index(idx, {name: self._most(name, idx, values) for name in COUNTERS})
        if not 0 < number <= LAST_NUMBER or number in used:
            number = max(used, default=0) + 1
        if number > LAST_NUMBER:
            number = next((free for free in range(1, LAST_NUMBER + 1) if free not in used), 0)
        if not number:
            raise ScanError(f"Series {series} has more than {LAST_NUMBER} images, which is as far as numbers go.")
        used.add(number)
        return number

    def _most(self, name: str, idx: ismrmrd.EncodingCounters, values: Mapping[str, int]) -> int:
        limits = self._scan.limits(name)
        return int(max((limits.maximum if limits else 0) + 1, int(values.get(name, 1)), getattr(idx, name) + 1))


def image_index(idx: ismrmrd.EncodingCounters, values: Mapping[str, int]) -> int:
    """Number an image from 1 by its counters, each of which takes that many values."""
    index = 0
    for name in COUNTERS:
        index = index * values[name] + getattr(idx, name)
    return index + 1
