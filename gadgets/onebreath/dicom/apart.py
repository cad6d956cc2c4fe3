"""Sets and averages of a series become series of their own: no attribute of MR images tells them apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onebreath.dicom.pixels import Scaled
from onebreath.images.reading import Series

COUNTERS = ("set", "average")
NEXT_SERIES = 10000
"""Added to the series number for the second set or average, twice for the third, ..."""


@dataclass(frozen=True)
class Part:
    """The images of one set and average.

    Attributes
    ----------
    series
        Of these images only, with a number of its own.
    images
        Their places in the whole series.
    title
        What tells them from the others, as in ``set 2``; empty if the series has one set and average.
    """

    series: Series
    images: NDArray[np.intp]
    title: str

    def of(self, scale: Scaled) -> Scaled:
        """Return their pixels, with scale and window of the whole series."""
        slopes, intercepts = ([values[image] for image in self.images] for values in (scale.slopes, scale.intercepts))
        return replace(scale, pixels=scale.pixels[self.images], slopes=slopes, intercepts=intercepts)


def parts(series: Series) -> Iterator[Part]:
    """Yield the parts of a series, in the order of their counters; the first keeps its number."""
    names = [name for name in COUNTERS if len(np.unique(series.headers[name])) > 1]
    if not names:
        yield Part(series, np.arange(len(series.data)), "")
        return
    counters = np.stack([series.headers[name] for name in names], axis=1)
    for count, values in enumerate(np.unique(counters, axis=0)):
        images = np.flatnonzero((counters == values).all(axis=1))
        own = replace(
            series,
            number=series.number + count * NEXT_SERIES,
            data=series.data[images],
            metas=[series.metas[image] for image in images],
            headers=series.headers[images],
        )
        yield Part(own, images, " ".join(f"{name} {value + 1}" for name, value in zip(names, values, strict=True)))
