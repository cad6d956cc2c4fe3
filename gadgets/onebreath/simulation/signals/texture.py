"""A chest whose tissues have structure and whose organs have uneven outlines, as in a body."""

from __future__ import annotations

import numpy as np

from onebreath.simulation.geometry import Grid
from onebreath.simulation.phantom import Canvas, Phantom

_WAVES = 64
_LENGTHS_MM = (4.0, 50.0)
_CONTRAST, _CONTRAST_OF_BLOOD = 0.1, 0.04
"""Standard deviation of the signal inside a tissue, relative to its mean; blood is mixed by its flow."""
_VESSEL_MM = 6.0
_UNEVEN, _UNEVEN_MM = 0.03, 2.5
"""Standard deviation of the radius of an outline, relative to its mean, and at most."""
_HARMONICS = np.arange(2, 8)


class TexturedCanvas(Canvas):
    """A canvas on which every ellipse has a texture and an outline of its own, which move with its centre.

    Parameters
    ----------
    grid
        Positions of the pixels.
    seed
        Of all textures and outlines, which follow one another as the ellipses do.
    blood
        The signal of blood.
    """

    def __init__(self, grid: Grid, seed: list[int], blood: float) -> None:
        super().__init__(grid)
        self._seed, self._blood, self._painted = seed, blood, 0

    def ellipse(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        value: float,
        degrees: float = 0.0,
        outline: np.ndarray | None = None,
    ) -> None:
        """Paint an ellipse as `Canvas` does; those larger than vessels uneven."""
        if max(radii) < _VESSEL_MM:
            super().ellipse(centre, radii, value, degrees, outline)
            return
        rng = np.random.default_rng([*self._seed, self._painted])
        self._painted += 1
        y, x = self.grid.axis(0) - centre[1], self.grid.axis(1) - centre[0]
        contrast = _CONTRAST_OF_BLOOD if np.isclose(value, self._blood) else _CONTRAST
        shade = Canvas(self.grid)
        shade.ellipse(
            centre, radii, 1.0, degrees, _outline(x[None], y[:, None], min(_UNEVEN, _UNEVEN_MM / max(radii)), rng)
        )
        tissue = value * np.maximum(1 + contrast * waves(x, y, rng), 0)
        self.image += shade.image * (tissue - self.image)


class TexturedChest(Phantom):
    """`Phantom` with texture: what lies between edges is seen too, and nothing is piecewise constant."""

    def canvas(self, part: int) -> Canvas:
        """Return an empty canvas for a part of the body, whose textures are the same each time."""
        return TexturedCanvas(self.grid, [self.seed, 5, part], self.signal["blood"])


def waves(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sum of plane waves of random direction and phase, longer ones stronger, ``(y, x)``; mean 0, deviation 1."""
    shortest, longest = np.log(_LENGTHS_MM)
    lengths = np.exp(rng.uniform(shortest, longest, _WAVES))
    angles, phases = rng.uniform(0, 2 * np.pi, (2, _WAVES))
    amplitudes = np.sqrt(lengths / np.sum(lengths) * 2) * np.exp(1j * phases)
    along_y = np.exp(2j * np.pi * np.outer(y, np.sin(angles) / lengths)) * amplitudes
    along_x = np.exp(2j * np.pi * np.outer(np.cos(angles) / lengths, x))
    return np.real(along_y @ along_x).astype(np.float32)


def _outline(x: np.ndarray, y: np.ndarray, uneven: float, rng: np.random.Generator) -> np.ndarray:
    """Radius of the outline in the direction of each pixel, relative to that of the ellipse."""
    angle = np.arctan2(y, x)
    sizes = uneven * np.sqrt(2 / len(_HARMONICS) * _HARMONICS[0] / _HARMONICS) * rng.standard_normal(len(_HARMONICS))
    phases = rng.uniform(0, 2 * np.pi, len(_HARMONICS))
    return 1 + sum(size * np.cos(n * angle + phase) for n, size, phase in zip(_HARMONICS, sizes, phases, strict=True))
