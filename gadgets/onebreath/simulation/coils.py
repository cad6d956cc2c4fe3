"""Receive coils: loops around the chest, their fields by the Biot-Savart law, and their noise covariance."""

from __future__ import annotations

import numpy as np

# The loops lie on an elliptic cylinder around the chest (mm); its axis is the slice direction.
_RADII = (235.0, 150.0)
_ROW_DISTANCE = 90.0
_SEGMENTS = 24
_WIRE_WIDTH = 20.0
# Distance of the points at which the field is computed; it is smooth at this scale and interpolated in between.
_SPACING = 10.0


def coil_maps(coils: int, y_mm: np.ndarray, x_mm: np.ndarray, z_mm: float, rings: int = 0) -> np.ndarray:
    """Sensitivities of loop coils in one slice.

    The sensitivity is the transverse field of a unit current in the loop (principle of reciprocity, D. I. Hoult and
    R. E. Richards, J Magn Reson 24:71, 1976), by the Biot-Savart law over straight segments of the loop.

    Parameters
    ----------
    coils
        Number of loops; they fill one to four rings.
    y_mm, x_mm
        Pixel coordinates (y,), (x,) in the slice.
    z_mm
        Position of the slice along the axis of the cylinder.
    rings
        Number of rings along the axis; 0: by the number of loops. One ring does not encode the third direction.

    Returns
    -------
    numpy.ndarray
        ``(coil, y, x)`` complex64; the root sum of squares is 1 on average over the slice.
    """
    from scipy.interpolate import RectBivariateSpline

    if x_mm[0] > x_mm[-1]:  # splines want rising coordinates
        return np.ascontiguousarray(coil_maps(coils, y_mm, x_mm[::-1], z_mm, rings)[..., ::-1])
    coarse_y, coarse_x = _coarse(y_mm), _coarse(x_mm)
    points = np.stack(np.broadcast_arrays(coarse_x[None], coarse_y[:, None], z_mm), axis=-1)
    maps = np.empty((coils, y_mm.size, x_mm.size), np.complex64)
    for index, (centre, normal, radius) in enumerate(_loops(coils, rings)):
        field = _loop_field(points, centre, normal, radius)
        parts = [RectBivariateSpline(coarse_y, coarse_x, part)(y_mm, x_mm) for part in (field[..., 0], -field[..., 1])]
        maps[index] = parts[0] + 1j * parts[1]
    return maps / np.float32(np.sqrt(np.mean(np.sum(np.abs(maps) ** 2, axis=0))))


def noise_covariance(maps: np.ndarray, body: np.ndarray, correlation: float, seed: int) -> np.ndarray:
    """Noise covariance of coils that share the body as their noise source, and differ in gain.

    Parameters
    ----------
    maps
        Coil maps ``(coil, y, x)``.
    body
        Where the body is, ``(y, x)`` bool.
    correlation
        0: channels are independent; towards 1: as correlated as their sensitivities overlap in the body (P. B. Roemer
        et al., Magn Reson Med 16:192, 1990).
    seed
        Seed of the channels' gains, which spread by a factor of two.

    Returns
    -------
    numpy.ndarray
        ``(coil, coil)`` complex128, Hermitian, positive definite, with geometric mean 1 of the variances.
    """
    inside = maps[:, body].astype(np.complex128)
    overlap = inside @ inside.conj().T
    norm = np.sqrt(np.real(np.diag(overlap)))
    overlap = overlap / np.outer(norm, norm)
    coils = maps.shape[0]
    gains = np.exp(np.random.default_rng([seed, 4]).uniform(-0.35, 0.35, coils))
    gains /= np.exp(np.mean(np.log(gains)))
    return np.outer(gains, gains) * ((1 - correlation) * np.eye(coils) + correlation * overlap)


def coil_names(coils: int) -> list[str]:
    """Names of the channels in the style of Siemens scanners: half body array, half spine array."""
    front = (coils + 1) // 2
    return [f"Body_18:1:B{i + 1}" if i < front else f"Spine_32:1:S{i - front + 1}" for i in range(coils)]


def _loops(coils: int, rings: int) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Centre, outward normal and radius of each loop in mm."""
    rings = min(rings, coils) or int(np.clip(round(coils / 9), 1, 4))
    counts = [coils // rings + (ring < coils % rings) for ring in range(rings)]
    loops = []
    for ring, count in enumerate(counts):
        z = (ring - (rings - 1) / 2) * _ROW_DISTANCE
        # Every other ring is rotated by half a loop, as elements of arrays are staggered.
        angles = 2 * np.pi * (np.arange(count) + 0.25 + 0.5 * (ring % 2)) / count
        for angle in angles:
            centre = np.array([_RADII[0] * np.cos(angle), _RADII[1] * np.sin(angle), z])
            normal = np.array([np.cos(angle) / _RADII[0], np.sin(angle) / _RADII[1], 0.0])
            radius = float(np.clip(1.15 * np.pi * np.mean(_RADII) / count, 45, 90))
            loops.append((centre, normal / np.linalg.norm(normal), radius))
    return loops


def _loop_field(points: np.ndarray, centre: np.ndarray, normal: np.ndarray, radius: float) -> np.ndarray:
    """Field (..., 3) of a unit current in a loop at points (..., 3), without the constant factor."""
    first = np.array([-normal[1], normal[0], 0.0])
    second = np.cross(normal, first)
    angles = 2 * np.pi * np.arange(_SEGMENTS) / _SEGMENTS
    wire = centre + radius * (np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second)
    field = np.zeros(points.shape)
    for start, end in zip(wire, np.roll(wire, -1, axis=0), strict=True):
        distance = points - (start + end) / 2
        # Next to the wire the field of a thin conductor diverges; real conductors have a width.
        cube = np.maximum(np.linalg.norm(distance, axis=-1, keepdims=True), _WIRE_WIDTH) ** 3
        field += np.cross(end - start, distance) / cube
    return field


def _coarse(axis_mm: np.ndarray) -> np.ndarray:
    count = max(int(np.ceil((axis_mm[-1] - axis_mm[0]) / _SPACING)) + 1, 5)
    return np.linspace(axis_mm[0], axis_mm[-1], count)
