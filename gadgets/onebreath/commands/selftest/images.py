"""Images received from a server, and their error relative to the ground truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onebreath.errors import OnebreathError
from onebreath.images.reading import Series, read_series

if TYPE_CHECKING:
    from onebreath.commands.selftest.scans import Truth

IMAGES = 1
FALLBACK = "Onebreath_reconstruct_fallback"
LARGEST_SCALE = 0.15  # by which images in SNR units may be too bright or too dark as a whole
LARGEST_SHIFT = 0.01  # mm between where an image is said to lie and where it was simulated


class Wrong(OnebreathError):
    """The images received are not those expected."""


@dataclass(frozen=True)
class ReceivedImages:
    """All series that a server sent for a scan."""

    series: dict[int, Series]

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(len(series.metas) for series in self.series.values())

    @property
    def software(self) -> str:
        """Version and code of what made them."""
        return f"{self.fact('OnebreathVersion')} {self.fact('OnebreathCode')}"

    def fact(self, name: str) -> str:
        """An entry of the first image's meta; empty if there is none."""
        first = next(iter(self.series.values()))
        return str(first.metas[0].get(name, ""))


def read(path: Path) -> ReceivedImages:
    """Read what a server sent."""
    return ReceivedImages({series.number: series for series in read_series(path)})


def compare(made: ReceivedImages, truth: Truth, limit: float, *, in_snr_units: bool = True) -> float:
    """Return the difference of the images from the truth, as a fraction of it, after the best common scale.

    Raises
    ------
    Wrong
        If the images are not all there, lie elsewhere, were made by a fallback, differ by more than `limit`, or have
        another scale although they are `in_snr_units` (Gadgetron's own gadgets scale images as they like).
    """
    for series in made.series.values():
        if reason := series.metas[0].get(FALLBACK):
            raise Wrong(f"another method stood in: {reason}")
    if IMAGES not in made.series:
        raise Wrong(f"no images came as series {IMAGES}, only series {', '.join(map(str, made.series))}")
    found = _pixels(made.series[IMAGES])
    if found.shape != truth.images.shape:
        raise Wrong(f"images of shape {found.shape} (frame, y, x) came; {truth.images.shape} were due")
    if not np.isfinite(found).all() or not found.any():
        raise Wrong("the images are empty or hold numbers that are none")
    for name, due in (("PatientPosition", truth.position), ("read_dir", truth.read_dir)):
        told = np.array([float(part) for part in made.series[IMAGES].metas[0].get(name, [np.nan] * 3)])
        if not np.allclose(told, due, atol=LARGEST_SHIFT):
            raise Wrong(f"the geometry is wrong: {name} is {told}, but should be {due}")
    scale = np.vdot(found, truth.images) / np.vdot(found, found)
    difference = float(np.linalg.norm(scale * found - truth.images) / np.linalg.norm(truth.images))
    if difference > limit:
        raise Wrong(f"the images differ from the truth by {100 * difference:.1f} %, which may be {100 * limit:.0f} %")
    if in_snr_units and abs(1 / scale - 1) > LARGEST_SCALE:
        raise Wrong(f"the images' brightness is {1 / scale:.2f} of what it should be in SNR units: see the noise scan")
    return difference


def _pixels(series: Series) -> np.ndarray:
    """Magnitude (frame, y, x) in the order of the images' numbers, their integer scaling undone."""
    numbers = [int(float(meta.get("GADGETRON_ImageNumber", place))) for place, meta in enumerate(series.metas)]
    ratios = np.array([float(meta.get("GADGETRON_ScaleRatio", 1)) for meta in series.metas])
    pixels = series.data[:, 0, 0].astype(np.float64) / ratios[:, None, None]
    return pixels[np.argsort(numbers)]
