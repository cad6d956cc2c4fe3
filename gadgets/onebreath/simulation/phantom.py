"""Phantom of a chest with a beating heart, drawn from ellipses with smooth edges on any grid, at any time.

Coordinates are in mm in the slice plane: x towards the patient's left, y towards posterior, z from apex (negative) to
base. The pixel value is the signal of the tissue (balanced SSFP, unless spoiled), scaled so that blood
has magnitude 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from onebreath.simulation.geometry import Grid
from onebreath.simulation.physiology import contraction
from onebreath.simulation.tissue import TISSUES, bssfp_signal, spoiled_signal

# Left ventricle at end-diastole: radii in mm, length of the cavity from base to apex, displacement of the base.
_EPICARDIUM, _ENDOCARDIUM = 33.0, 24.0
_ENDOCARDIUM_SYSTOLE = 15.5
_BASE, _LENGTH, _SHORTENING = 30.0, 85.0, 12.0
_HEART_CENTRE = (22.0, -22.0)
# Fraction of the organs' displacement along x; the rest is along y.
_BREATHING_X = 0.3


@dataclass
class Canvas:
    """An image on which ellipses are painted.

    Attributes
    ----------
    grid
        Positions of the pixels.
    image
        ``(y, x)`` float32.
    """

    grid: Grid
    image: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.image = np.zeros(self.grid.shape, np.float32)

    def ellipse(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        value: float,
        degrees: float = 0.0,
        outline: np.ndarray | None = None,
    ) -> None:
        """Paint an ellipse over the image, with an edge one pixel wide.

        Parameters
        ----------
        centre, radii
            ``(x, y)`` in mm; nothing is painted if a radius is not positive.
        value
            Signal inside.
        degrees
            Rotation from x towards y.
        outline
            Factor of the radii in the direction of each pixel ``(y, x)``.
        """
        if min(radii) <= 0:
            return
        reach = max(radii) * (1 if outline is None else float(outline.max())) + 2 * max(self.grid.pixel_mm)
        y, x = self.grid.axis(0) - centre[1], self.grid.axis(1) - centre[0]
        rows, columns = np.flatnonzero(np.abs(y) < reach), np.flatnonzero(np.abs(x) < reach)
        if rows.size == 0 or columns.size == 0:
            return
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        factor = 1.0 if outline is None else outline[window]
        along_x, along_y = x[None, window[1]] / factor, y[window[0], None] / factor
        cover = _coverage(along_x, along_y, radii, np.radians(degrees), self.grid.pixel_mm)
        part = self.image[window]
        part += cover * (value - part)


class Phantom:
    """The chest of one subject.

    Parameters
    ----------
    grid
        Pixels to draw on.
    field_t, tr_ms, te_ms, flip_deg
        Field strength and timing, which determine the contrast.
    seed
        Seed of the vessels in lung and liver, and of textures.
    spoiled
        The contrast of a spoiled gradient echo, in place of balanced SSFP.
    """

    def __init__(
        self,
        grid: Grid,
        field_t: float = 1.5,
        tr_ms: float = 3.0,
        te_ms: float = 1.5,
        flip_deg: float = 50.0,
        seed: int = 0,
        spoiled: bool = False,
    ) -> None:
        self.grid, self.seed = grid, seed
        steady = spoiled_signal if spoiled else bssfp_signal
        signals = {name: steady(t, tr_ms, te_ms, flip_deg) for name, t in TISSUES[field_t].items()}
        self.signal = {name: value / signals["blood"] for name, value in signals.items()}
        self.t2_blood = TISSUES[field_t]["blood"].t2
        rng = np.random.default_rng([seed, 3])
        self._lung_vessels = rng.uniform((-1, -1, 0.8), (1, 1, 2.2), (90, 3))
        self._liver_vessels = rng.uniform((-1, -1, 1.0), (1, 1, 3.0), (22, 3))
        chest = self.canvas(0)
        self._chest(chest)
        self._still = chest.image
        self._phase = background_phase(grid)

    def draw(self, z_mm: float, phase: float, shift_mm: float = 0.0) -> np.ndarray:
        """Image of the slice at height z.

        Parameters
        ----------
        z_mm
            Height along the heart's long axis; the base lies at 30 mm, the apex at -55 mm.
        phase
            Cardiac phase in [0, 1), see `physiology.cardiac_phase`.
        shift_mm
            Displacement of heart and liver by breathing.

        Returns
        -------
        numpy.ndarray
            ``(y, x)`` complex64.
        """
        canvas = self.canvas(1)
        canvas.image[:] = self._still
        shift = (_BREATHING_X * shift_mm, float(np.sqrt(1 - _BREATHING_X**2)) * shift_mm)
        self._abdomen(canvas, z_mm, shift)
        self._heart(canvas, z_mm, float(contraction(phase)), shift)
        return canvas.image * self._phase

    def canvas(self, part: int) -> Canvas:
        """Return an empty canvas for a part of the body: 0 what is still, 1 what moves."""
        return Canvas(self.grid)

    def heart_mask(self, z_mm: float) -> np.ndarray:
        """Region of the beating heart ``(y, x)`` bool over all phases, with a margin of 5 mm; without breathing."""
        canvas = Canvas(self.grid)
        # The section is largest at end-diastole, when the ventricle is filled and the base is furthest up.
        scale = _height_scale(z_mm)
        for centre, radii, degrees in _outline(scale, _EPICARDIUM * scale, 0.0, (0, 0)) if scale else ():
            canvas.ellipse(centre, (radii[0] + 5, radii[1] + 5), 1.0, degrees)
        return canvas.image > 0.5

    def blood_pixel(self) -> tuple[int, int]:
        """Row and column of the pixel in the middle of the left ventricle, which is blood at every phase."""
        x, y = _HEART_CENTRE
        return int(np.argmin(np.abs(self.grid.axis(0) - y))), int(np.argmin(np.abs(self.grid.axis(1) - x)))

    def _chest(self, canvas: Canvas) -> None:
        s = self.signal
        for radii, tissue in (((168, 112), "fat"), ((158, 101), "muscle"), ((150, 92), "fat"), ((146, 88), "muscle")):
            canvas.ellipse((0, 0), radii, s[tissue])
        for side in (-1, 1):
            canvas.ellipse((side * 195, 30), (34, 40), s["fat"])
            canvas.ellipse((side * 195, 30), (29, 34), s["muscle"])
            canvas.ellipse((side * 195, 30), (11, 11), s["marrow"])
            canvas.ellipse((side * 52, 78), (36, 16), s["muscle"], side * -8)
        for centre, radii, tilt in (((-72, -4), (62, 74), 8), ((76, -2), (60, 76), -8)):
            canvas.ellipse(centre, radii, s["lung"], tilt)
            for u, v, size in self._lung_vessels:
                canvas.ellipse((centre[0] + 40 * u, centre[1] + 48 * v), (size, size), 0.55 * s["blood"])
        self._mediastinum(canvas)

    def _mediastinum(self, canvas: Canvas) -> None:
        s = self.signal
        canvas.ellipse((0, -50), (24, 34), s["fat"])
        canvas.ellipse((4, 14), (26, 44), s["muscle"])
        canvas.ellipse((0, -88), (26, 9), s["muscle"])
        canvas.ellipse((0, -89), (18, 5), s["marrow"])
        canvas.ellipse((0, 62), (24, 20), s["muscle"])
        canvas.ellipse((0, 58), (21, 17), s["marrow"])
        canvas.ellipse((0, 82), (10, 8), s["fat"])
        canvas.ellipse((0, 82), (8, 6.5), s["fluid"])
        canvas.ellipse((0, 82), (4.5, 3.8), s["spleen"])
        canvas.ellipse((0, 100), (5, 9), s["marrow"])
        canvas.ellipse((26, 42), (13, 13), s["muscle"])
        canvas.ellipse((26, 42), (11.5, 11.5), s["blood"])

    def _abdomen(self, canvas: Canvas, z_mm: float, shift: tuple[float, float]) -> None:
        s = self.signal
        # The dome of the diaphragm: sections nearer to the apex cut more of the liver.
        size = float(np.clip(0.95 - z_mm / 150, 0.4, 1.15))
        x, y = -74 + shift[0], 30 + shift[1]
        canvas.ellipse((x, y), (60 * size, 50 * size), s["muscle"], -15)
        canvas.ellipse((x, y), (58 * size, 48 * size), s["liver"], -15)
        for u, v, radius in self._liver_vessels:
            if u * u + v * v < 0.8:
                canvas.ellipse((x + 48 * size * u, y + 38 * size * v), (radius * 1.4, radius), 0.9 * s["blood"], 40 * u)
        x, y = 84 + shift[0], 46 + shift[1]
        canvas.ellipse((x, y), (34 * size, 26 * size), s["fat"], 25)
        canvas.ellipse((x, y), (31 * size, 23 * size), s["spleen"], 25)

    def _heart(self, canvas: Canvas, z_mm: float, contracted: float, shift: tuple[float, float]) -> None:
        s = self.signal
        scale = _height_scale(z_mm - _SHORTENING * contracted)
        if scale == 0:
            return
        x, y = _HEART_CENTRE[0] + shift[0], _HEART_CENTRE[1] + shift[1]
        inner = (_ENDOCARDIUM + (_ENDOCARDIUM_SYSTOLE - _ENDOCARDIUM) * contracted) * scale
        # The wall keeps its volume: its section grows as the ventricle shortens along its axis.
        wall = (_EPICARDIUM**2 - _ENDOCARDIUM**2) * (1 + _SHORTENING * contracted / _LENGTH) * scale**2
        outer = float(np.sqrt(inner**2 + wall))
        for centre, radii, degrees in _outline(scale, outer, contracted, shift):
            canvas.ellipse(centre, radii, s["fat"], degrees)
        centre, radii, degrees = _right_ventricle(scale, contracted, shift)
        canvas.ellipse(centre, (radii[0] + 3.2, radii[1] + 3.2), s["myocardium"], degrees)
        canvas.ellipse(centre, radii, s["blood"], degrees)
        canvas.ellipse((centre[0] - 2, centre[1] + 8), (2.5, 7 * scale), s["myocardium"], 60)
        canvas.ellipse((x, y), (outer * 1.02, outer * 0.98), s["myocardium"], 30)
        canvas.ellipse((x, y), (inner * 1.03, inner * 0.97), s["blood"], 30)
        for degrees, size in ((35.0, 5.2), (120.0, 4.6)):
            at = np.radians(degrees)
            reach = 0.74 * inner
            radius = size * scale * (1 + 0.12 * contracted)
            canvas.ellipse(
                (x + reach * float(np.cos(at)), y + reach * float(np.sin(at))),
                (radius, 0.8 * radius),
                s["myocardium"],
                degrees,
            )


def background_phase(grid: Grid) -> np.ndarray:
    """Phase factor of receiver delay and off-resonance: a smooth polynomial, about one cycle over the chest.

    Most of it is the receiver's, so x runs along the readout, whichever way that looks in the body.
    """
    y, x = grid.axis(0)[:, None] / 150, replace(grid, mirrored=False).axis(1)[None] / 150
    return np.exp(1j * (0.4 + 0.7 * x - 0.5 * y + 0.5 * x * y - 0.4 * y * y)).astype(np.complex64)


def _height_scale(z_mm: float) -> float:
    """Size of the section relative to the widest one: half an ellipsoid that is widest at the base."""
    below = np.clip((_BASE - z_mm) / _LENGTH, 0, 1)
    return float(np.sqrt(1 - below**2))


def _outline(
    scale: float, outer: float, contracted: float, shift: tuple[float, float]
) -> list[tuple[tuple[float, float], tuple[float, float], float]]:
    """Ellipses (centre, radii, rotation) of the fat around both ventricles and in the groove between them."""
    x, y = _HEART_CENTRE[0] + shift[0], _HEART_CENTRE[1] + shift[1]
    (right_x, right_y), (right_a, right_b), degrees = _right_ventricle(scale, contracted, shift)
    return [
        ((x + 2, y), (outer + 4, outer + 3), 0.0),
        ((right_x - 3, right_y + 2), (right_a + 6, right_b + 7), degrees),
        ((x - 20 * scale, y + 32 * scale), (12 * scale, 7 * scale), 30.0),
    ]


def _right_ventricle(
    scale: float, contracted: float, shift: tuple[float, float]
) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Centre, radii and rotation of the ellipse that the left ventricle cuts to a crescent."""
    centre = (_HEART_CENTRE[0] + shift[0] - (28 - 3 * contracted) * scale, _HEART_CENTRE[1] + shift[1] - 7 * scale)
    radii = ((30 - 7 * contracted) * scale, (34 - 5 * contracted) * scale)
    return centre, radii, -20.0


def _coverage(
    x: np.ndarray, y: np.ndarray, radii: tuple[float, float], angle: float, pixel_mm: tuple[float, float]
) -> np.ndarray:
    """Fraction of each pixel inside an ellipse, from the first-order distance to its edge."""
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    norm = np.hypot(along / radii[0], across / radii[1])
    slope = np.hypot(along / radii[0] ** 2, across / radii[1] ** 2)
    distance = norm * (norm - 1) / np.maximum(slope, 1e-9)
    cover = np.clip(0.5 - distance / float(np.mean(pixel_mm)), 0, 1)
    return np.where(norm < 1e-6, 1.0, cover).astype(np.float32)
