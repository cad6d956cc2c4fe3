"""Tests on a round phantom: resolution by its edge, and ghosts in the air around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onebreath.acceptance.edge import Disc, EdgeResponse, edge_response, find_disc
from onebreath.acceptance.findings import Finding, judged, not_done
from onebreath.acceptance.limits import GhostLimits, Limits
from onebreath.acceptance.subject import Subject, Trial
from onebreath.errors import OnebreathError, ScanError
from onebreath.evaluation.candidates import Candidate

RESOLUTION, GHOSTS = "resolution", "ghosting"
AXES = {1: "readout", 0: "phase encoding"}
_FINEST_PIXELS = 0.8
"""Least width of a line spread that is believed. The band limit alone makes one of 1.2 pixels, which this test finds
25 % too narrow at most; what is narrower comes from an edge of a few large pixels, and is so by chance."""
_MARGIN = 4
"""Pixels around the edge, and at the ends of the field of view, that count for neither object nor air."""
_LEAST_AIR_MM = 8.0
_LARGE_REGION = 0.8
"""Radius of the region in the object, over that of the object (the ACR's 200 cm2 in a disc of 190 mm is 0.84)."""
_STRIP = 0.6
"""Half of the length of a region of air, over the object's radius."""


@dataclass(frozen=True)
class Ghost:
    """Ghosting ratio, and the mean signal of the object and of the air at the ends of both axes."""

    ratio: float
    signal: float
    phase_encoding: float
    readout: float


def resolution_findings(
    subject: Subject, tests: list[tuple[Trial, list[Candidate]]], limits: Limits
) -> Iterator[tuple[Finding | None, EdgeResponse | None, str]]:
    """Measure the response to the phantom's edge of the full scan and of every method; with curve and name."""
    if not subject.full:
        why = "lines are missing: one would measure the method that makes up for them, not the scan"
        yield not_done(RESOLUTION, why), None, ""
        return
    image = subject.combined.mean(axis=0)
    try:
        disc = find_disc(image, subject.pixel_mm)
        reference = {axis: edge_response(image, subject.pixel_mm, disc, axis) for axis in AXES}
    except ScanError as error:
        yield not_done(RESOLUTION, str(error)), None, ""
        return
    for axis, found in reference.items():
        yield _system(found, axis, subject.pixel_mm[axis], limits), found, f"full scan, {AXES[axis]}"
    reference = {axis: found for axis, found in reference.items() if _believed(found, subject.pixel_mm[axis])}
    for trial, methods in tests:
        for one in methods:
            yield from _of_method(subject, trial, one, disc, reference, limits)


def _believed(found: EdgeResponse, pixel: float) -> bool:
    """Return whether a width is one that images of this pixel size can show."""
    return found.fwhm_mm >= _FINEST_PIXELS * pixel


def _system(found: EdgeResponse, axis: int, pixel: float, limits: Limits) -> Finding:
    chosen = limits.resolution
    good = found.fwhm_mm <= chosen.largest_fwhm_pixels * pixel and found.mtf50 >= chosen.least_mtf50_pixels / pixel
    value = (
        f"width of the line spread (FWHM) {found.fwhm_mm:.2f} +- {found.error_mm:.2f} mm "
        f"({found.fwhm_mm / pixel:.2f} pixels); MTF50 {found.mtf50:.3f} cycles/mm"
    )
    limit = (
        f"at most {chosen.largest_fwhm_pixels * pixel:.2f} mm, at least {chosen.least_mtf50_pixels / pixel:.3f} "
        "cycles/mm"
    )
    what = f"full scan, along {AXES[axis]}"
    if not _believed(found, pixel):
        why = (
            f"cannot be judged with pixels of {pixel:.3g} mm: the width is below what they can show (1.2 pixels), as "
            "the edge holds too few of them; take a finer matrix or a larger phantom"
        )
        return Finding(RESOLUTION, what, value, limit, "not done", why)
    return judged(RESOLUTION, what, value, limit, bool(good))


def _of_method(
    subject: Subject,
    trial: Trial,
    one: Candidate,
    disc: Disc,
    reference: dict[int, EdgeResponse],
    limits: Limits,
) -> Iterator[tuple[Finding | None, EdgeResponse | None, str]]:
    what = f"{one.label}, {trial}"
    if not reference:
        why = f"{what}: there is nothing to compare with, as the full scan cannot be judged at this pixel size"
        yield not_done(RESOLUTION, why), None, ""
        return
    try:
        images = np.asarray(one.method(trial.data).images)
        image = (images * np.conj(subject.phase)).real.mean(axis=0)
        found = {axis: edge_response(image, subject.pixel_mm, disc, axis) for axis in reference}
    except OnebreathError as error:
        yield not_done(RESOLUTION, f"{what}: {error}"), None, ""
        return
    growth = {axis: response.fwhm_mm / reference[axis].fwhm_mm for axis, response in found.items()}
    value = "; ".join(
        f"{AXES[axis]}: FWHM {response.fwhm_mm:.2f} +- {response.error_mm:.2f} mm, {growth[axis]:.2f} times"
        for axis, response in found.items()
    )
    most = limits.resolution.largest_growth
    good = max(growth.values()) <= most
    yield judged(RESOLUTION, what, value, f"at most {most:g} times that of the full scan", good), None, ""
    for axis, response in found.items():
        yield None, response, f"{what}, {AXES[axis]}"


def ghost_findings(subject: Subject, limits: GhostLimits) -> list[Finding]:
    """Measure ghosts in the fully sampled scan."""
    if not subject.full:
        return [not_done(GHOSTS, "lines are missing; ghosts are those of the scan with all of them")]
    image = subject.sum_of_squares
    try:
        found = ghosting(image, subject.pixel_mm, find_disc(image, subject.pixel_mm))
    except ScanError as error:
        return [not_done(GHOSTS, str(error))]
    value = (
        f"{found.ratio:.2%}; mean signal: object {found.signal:.4g}, air along phase encoding "
        f"{found.phase_encoding:.3g}, along readout {found.readout:.3g}"
    )
    return [
        judged(GHOSTS, "percent-signal ghosting", value, f"at most {limits.largest:.1%}", found.ratio <= limits.largest)
    ]


def ghosting(image: NDArray[np.floating], pixel_mm: tuple[float, float], disc: Disc) -> Ghost:
    """Return the ghosting ratio of a magnitude image (y, x; phase encoding along y) of a round phantom.

    ``|(top + bottom) - (left + right)| / (2 object)`` of mean signals, as in the Phantom Test Guidance for the MRI
    Accreditation Program of the American College of Radiology (percent-signal ghosting, at most 0.025). Noise has the
    same mean in all regions of air and cancels.

    Raises
    ------
    ScanError
        If there is too little air on a side.
    """
    y = np.arange(image.shape[0])[:, None] * pixel_mm[0] - disc.centre[0]
    x = np.arange(image.shape[1])[None] * pixel_mm[1] - disc.centre[1]
    inside = np.hypot(y, x) < _LARGE_REGION * disc.radius
    air = {}
    for name, along, across, pixel in (
        ("y", y + 0 * x, x + 0 * y, pixel_mm[0]),
        ("x", x + 0 * y, y + 0 * x, pixel_mm[1]),
    ):
        first = disc.radius + _MARGIN * pixel
        strip = np.abs(across) < _STRIP * disc.radius
        ends = float(along.min()) + _MARGIN * pixel, float(along.max()) - _MARGIN * pixel
        regions = [strip & (along > ends[0]) & (along < -first), strip & (along > first) & (along < ends[1])]
        for region, end in zip(regions, (-ends[0], ends[1]), strict=True):
            if end - first < _LEAST_AIR_MM or not region.any():
                raise ScanError(
                    f"there is too little air along {AXES[0 if name == 'y' else 1]} ({max(end - first, 0):.3g} mm; "
                    f"{_LEAST_AIR_MM:g} mm are needed on every side): centre the phantom, or enlarge the field of view"
                )
        air[name] = sum(float(image[region].mean()) for region in regions)
    signal = float(image[inside].mean())
    return Ghost(abs(air["y"] - air["x"]) / (2 * signal), signal, air["y"] / 2, air["x"] / 2)
