"""Lines that measured less of the readout than the others of their image: what all have is decided without them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.gadgets.sort.collected import Lines
from onebreath.gadgets.sort.layout import LINE, PARTITION, stated_centre
from onebreath.gadgets.sort.survey import imaging_of, numbered
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.quirks import two_dimensional
from onebreath.names import listed

Bools = NDArray[np.bool_]

_FEW = 0.25
"""Lines that are odd are at most this part of those of their image; else there is no usual readout."""
_SLIGHT = 1 / 16
"""Part of the samples that all lines may lose to keep an odd one."""
_SAME_DWELL = 1.01
"""Dwell times that differ by less are one."""
_NEAR = 1
"""Lines next to the k-space centre, without which there is no image."""


def leave_out_odd(header: ScanHeader, slices: dict[int, Lines]) -> tuple[Counter[str], list[str]]:
    """Leave lines out of slices, which are changed in place, as `odd_lines` says.

    Returns
    -------
    left_out
        Number of lines left out, by what is wrong with them.
    warnings
        Those of `odd_lines`.
    """
    left_out, warnings = Counter[str](), []
    for number, lines in sorted(slices.items()):
        odd, texts = odd_lines(header, lines.table())
        if odd.any():
            slices[number] = lines.take(np.flatnonzero(~odd).tolist())
            left_out["lines with a shorter readout than the others"] += int(odd.sum())
        warnings += [*texts, *_unlike_dwell(lines.table(), header.calibration_mode)]
    return left_out, warnings


def _unlike_dwell(table: NDArray[np.void], calibration_mode: str | None) -> list[str]:
    """Warn of lines of one image that were sampled at other speeds: whitening gave them other scales.

    Lines for calibration only are lines of the image, too, as methods take them for data, unless they are a scan of
    their own, which is another measurement; but their own speed must be one.
    """
    said = []
    imaging, apart = imaging_of(table), calibration_mode in ("separate", "external")
    for of_image in _images(table, apart):
        dwell = np.unique(table["sample_time_us"][of_image])
        if dwell[-1] > _SAME_DWELL * dwell[0]:
            kind = "calibration lines of one image"
            if imaging[of_image].any():
                kind = "lines of one image" + ("" if imaging[of_image].all() else ", with those for its calibration,")
            said.append(
                f"slice {int(table['idx']['slice'][0])}: {kind} have dwell times of {dwell[0]:.4g} to "
                f"{dwell[-1]:.4g} us (sample_time_us in their headers). Noise is 1 in all of them, so that their "
                "signals do not fit together: expect a wrong image. Convert the raw data again if they were acquired "
                "alike."
            )
    return said


def odd_lines(header: ScanHeader, table: NDArray[np.void]) -> tuple[Bools, list[str]]:
    """Find lines whose readout is shorter than that of most lines of their image.

    K-space says of all lines together which samples were measured. A line that lacks many of them is left out, as it
    would take resolution from all, unless it alone holds the k-space centre; for one that lacks few, all do without.

    Parameters
    ----------
    header
        The scan's header.
    table
        Headers of the lines of a slice, uniform as `prewhiten` makes them (line,).

    Returns
    -------
    left_out : (line,)
        The lines to be left out.
    warnings
        Sentences that name all odd lines.
    """
    lacking, samples = _lacking(table)
    odd = lacking > 0
    if not odd.any():
        return odd, []
    kept = odd & ((lacking <= _SLIGHT * samples) | _alone_in_centre(header, table, odd))
    for of_image in _images(table):
        if odd[of_image].sum() > _FEW * of_image.sum():
            kept |= odd & of_image
    left_out = odd & ~kept
    warnings = []
    if left_out.any():
        warnings.append(f"{_named(table, lacking, samples, left_out)}. They were left out, as if not acquired.")
    if kept.any():
        warnings.append(
            f"{_named(table, lacking, samples, kept)}. No line of their image keeps the samples that these lack: it "
            "is less sharp along the readout."
        )
    return left_out, warnings


def _images(table: NDArray[np.void], apart: bool = True) -> list[Bools]:
    """Return the lines (line,) of each contrast and set, with those for its calibration only, or these by themselves.

    Parameters
    ----------
    table
        Headers of the lines of a slice.
    apart
        Whether the lines for calibration only are by themselves.
    """
    parts = [table["idx"]["contrast"], table["idx"]["set"]]
    number = numbered([*parts, imaging_of(table)] if apart else parts)
    return [number == one for one in range(int(number.max()) + 1)]


def _lacking(table: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many samples each line lacks (line,) that most lines of its image have, and its length."""
    names = "number_of_samples", "center_sample", "discard_pre", "discard_post"
    samples, centre, before, after = (table[name].astype(np.int64) for name in names)
    centre = np.where(centre > 0, centre, samples // 2)
    reach = np.stack([centre - before, samples - 1 - after - centre])
    lacking = np.zeros(len(table), np.int64)
    for of_image in _images(table):
        extents, counts = np.unique(reach[:, of_image], axis=1, return_counts=True)
        usual = extents[:, counts.argmax()]
        lacking[of_image] = np.maximum(usual[:, None] - reach[:, of_image], 0).sum(axis=0)
    return lacking, samples


def _alone_in_centre(header: ScanHeader, table: NDArray[np.void], odd: Bools) -> Bools:
    """Return which odd lines are next to the stated k-space centre, in rows that no other line has."""
    idx = table["idx"]
    places = numbered([idx["kspace_encode_step_2"], idx["kspace_encode_step_1"], imaging_of(table)])
    found = odd & ~np.isin(places, places[~odd])
    for axis in (LINE,) if two_dimensional(header) else (LINE, PARTITION):
        centre = stated_centre(header, table, axis)[0]
        found &= np.abs(idx[axis.counter].astype(np.int64) - centre) <= _NEAR
    return found


def _named(table: NDArray[np.void], lacking: NDArray[np.int64], samples: NDArray[np.int64], chosen: Bools) -> str:
    """Name some lines and what they lack."""
    rows: list[Any] = np.unique(table["idx"]["kspace_encode_step_1"][chosen]).tolist()
    most = int(np.argmax(np.where(chosen, lacking, -1)))
    return (
        f"slice {int(table['idx']['slice'][0])}: {int(chosen.sum())} of {len(table)} lines (kspace_encode_step_1 "
        f"{listed(rows)}) measured up to {lacking[most]} of {samples[most]} samples of the readout less than "
        "the others (discard_pre, discard_post or number_of_samples in their headers)"
    )
