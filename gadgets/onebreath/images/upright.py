"""Pictures as radiologists hold them, whichever way the scan was read out.

A raw image's rows and columns follow the gradients: those of transverse scans of Siemens scanners are often read out
towards the patient's right, so that the picture is a mirror image. A scanner's own images, and viewers, have
transverse planes seen from the feet, coronal ones from the front, sagittal ones from the left.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from onebreath.images.geometry import Geometry

_SEEN = (
    ((0, 1, 0), (0, 0, -1)),
    ((1, 0, 0), (0, 0, -1)),
    ((1, 0, 0), (0, 1, 0)),
)
"""LPS directions to the right and down in a sagittal, a coronal and a transverse picture."""
_Pixel = TypeVar("_Pixel", bound=np.generic)


class Turn(NamedTuple):
    """A quarter turn or mirror image, without interpolation: x and y are exchanged first, then axes are reversed.

    Attributes
    ----------
    exchanged
        Whether x and y change places.
    reversed_x, reversed_y
        Whether the axes of the turned picture run the other way.
    """

    exchanged: bool
    reversed_x: bool
    reversed_y: bool

    def pixels(self, values: NDArray[_Pixel]) -> NDArray[_Pixel]:
        """Return pixels (..., y, x), turned."""
        turned = values.swapaxes(-1, -2) if self.exchanged else values
        turned = turned[..., ::-1] if self.reversed_x else turned
        return np.ascontiguousarray(turned[..., ::-1, :] if self.reversed_y else turned)

    def geometry(self, place: Geometry) -> Geometry:
        """Return the place of the turned pixels, each of which stays where it is in the patient."""
        x, y = (1, 0) if self.exchanged else (0, 1)
        size, spacing = place.size, place.spacing
        size, spacing = (size[x], size[y], size[2]), (spacing[x], spacing[y], spacing[2])
        axes, centre = place.axes[:, [x, y, 2]], place.centre.copy()
        for axis in (axis for axis, is_reversed in enumerate(self[1:]) if is_reversed):
            # Of an even number of pixels another one is that which the header's position is of.
            centre += axes[:, axis] * spacing[axis] * (size[axis] - 1 - 2 * (size[axis] // 2))
            axes[:, axis] *= -1
        return replace(place, size=size, spacing=spacing, axes=axes, centre=centre)


def upright(axes: NDArray[np.floating]) -> Turn:
    """Return how a picture is to be turned to be seen as usual; an oblique one as the plane that it is nearest to.

    Parameters
    ----------
    axes
        Columns are the unit vectors (LPS) along which the index of x, y and z grows; zeros: not known, nothing is
        turned.
    """
    right, down = np.array(_SEEN[int(np.abs(axes[:, 2]).argmax())], float)
    x, y = axes[:, 0], axes[:, 1]

    def likeness(turn: Turn) -> float:
        first, second = (y, x) if turn.exchanged else (x, y)
        return float(first @ right) * (-1) ** turn.reversed_x + float(second @ down) * (-1) ** turn.reversed_y

    # Rounding does not decide between pictures that are alike: the one that is turned less comes first.
    return max((Turn(*each) for each in product((False, True), repeat=3)), key=lambda turn: round(likeness(turn), 3))


def stood_up(place: Geometry) -> tuple[Turn, Geometry]:
    """Return how a picture is to be turned, see `upright`, and where its pixels are then."""
    turn = upright(place.axes)
    return turn, turn.geometry(place)
