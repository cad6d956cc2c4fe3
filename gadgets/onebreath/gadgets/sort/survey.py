"""Checks of a scan's lines against their counters and the header; findings are readable texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import IMAGE_COUNTERS, is_imaging
from onebreath.names import listed

Ints = NDArray[np.int64]
Table = NDArray[np.void]

_SAME_MM = 0.1
"""Positions nearer than this are one position."""
_SAME_DIRECTION = 0.01
_ANNOUNCED = ("slice", "repetition", "set", "contrast", "average")
_IN_A_ROW = ("slice", "phase", "repetition")
"""Counters whose values follow one another."""
OWN_TIME = ("separate", "external")
"""Calibration modes whose lines come before or after those of the image."""
_UNIT = 0.02
"""How far directions may be from unit length and from right angles."""


def imaging_of(table: Table) -> NDArray[np.bool_]:
    """Return which lines (line,) are for more than calibration."""
    return np.asarray(is_imaging(table["flags"]))


def numbered(columns: Iterable[NDArray[Any]]) -> Ints:
    """Number the combinations of values of some columns (line,), in sorted order."""
    stacked = np.stack([np.asarray(column, np.int64) for column in columns])
    return np.unique(stacked, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)


def geometries(table: Table) -> tuple[Ints, NDArray[np.float64]]:
    """Number the positions in space of lines, in the order of acquisition.

    Returns
    -------
    number : (line,)
        Of the position of each line.
    positions : (position, 12)
        Position in mm, then the three directions.
    """
    names = ("position", "read_dir", "phase_dir", "slice_dir")
    each = np.nan_to_num(np.concatenate([table[name] for name in names], axis=1).astype(float))
    unlike, of_line = np.unique(each, axis=0, return_inverse=True)
    of_line = of_line.reshape(-1)
    first = np.full(len(unlike), len(table))
    np.minimum.at(first, of_line, np.arange(len(table)))
    tolerance = np.array([_SAME_MM] * 3 + [_SAME_DIRECTION] * 9)
    positions: list[NDArray[np.float64]] = []
    number = np.zeros(len(unlike), np.int64)
    for index in np.argsort(first):
        known = np.all(np.abs(np.array(positions).reshape(-1, 12) - unlike[index]) < tolerance, axis=1)
        if not known.any():
            positions.append(unlike[index])
            known = np.arange(len(positions)) == len(positions) - 1
        number[index] = int(np.argmax(known))
    return number[of_line], np.array(positions)


def slices_by_position(header: ScanHeader, table: Table) -> tuple[Ints, str] | None:
    """Distinguish slices by position in space, if the slice counter does not.

    Returns
    -------
    slice : (line,)
        The slice of each line, counted along the slice direction.
    warning
        What was done. None in place of both if the counter needs no help.

    Raises
    ------
    ScanError
        If lines of one image lie at different positions, and the header does not announce as many slices as there are
        positions.
    """
    where, positions = geometries(table)
    imaging = imaging_of(table)
    if len(positions) == 1 or not imaging.any():
        return None
    images = numbered([table["idx"][name] for name in IMAGE_COUNTERS])
    mixed = _mixed(images[imaging], where[imaging], positions, tolerance(header))
    lines = numbered([images, table["idx"]["kspace_encode_step_1"], table["idx"]["kspace_encode_step_2"]])
    mixed |= _mixed(lines[imaging], where[imaging], positions, (0.0, 0.0))
    if not mixed:
        return None
    count = len(np.unique(where[imaging]))
    limits = header.limits("slice")
    apart = float(np.linalg.norm(np.ptp(positions[:, :3], axis=0)))
    found = f"Lines with the same counters lie at {count} different positions, up to {apart:.4g} mm apart"
    if limits is None or limits.maximum + 1 != count or len(np.unique(table["idx"]["slice"])) > 1:
        announced = "does not announce" if limits is None else f"announces {limits.maximum + 1}, not"
        raise ScanError(
            f"{found}: they are of different slices that the slice counter does not tell apart, and the header's "
            f"encoding limits {announced} {count} slices. Convert the raw data again with a slice counter, or correct "
            "<encodingLimits><slice> in the header."
        )
    order = np.argsort(np.argsort(_along(positions), kind="stable"), kind="stable")
    return order[where].astype(np.int64), f"{found}; as the header announces {count} slices, positions number them."


def tolerance(header: ScanHeader) -> tuple[float, float]:
    """Return the tolerance in position (mm) and direction between lines of one image, for motion correction."""
    return 0.5 * header.encoded_fov.z / max(header.encoded_matrix.z, 1), 0.1


def _mixed(groups: Ints, where: Ints, positions: NDArray[np.float64], tolerance: tuple[float, float]) -> bool:
    """Return whether a group of lines lies at several positions that are further apart than the tolerance."""
    pairs = np.unique(np.stack([groups, where]), axis=1)
    for group in np.unique(pairs[0][1:][np.diff(pairs[0]) == 0]):
        spread = np.ptp(positions[pairs[1][pairs[0] == group]], axis=0)
        if spread[:3].max() > tolerance[0] or spread[3:].max() > tolerance[1]:
            return True
    return False


def _along(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height of each position along the slice direction; its number where the directions differ."""
    normals = positions[:, 9:12]
    if np.abs(normals - normals[0]).max() > _SAME_DIRECTION or not normals[0].any():
        return np.arange(len(positions), dtype=float)
    return np.asarray(positions[:, :3] @ normals[0])


def echoes_by_order(header: ScanHeader, table: Table) -> tuple[Ints, str] | None:
    """Distinguish echoes by their order, if the contrast counter counts none but the header announces some.

    Every position of k-space must then hold as many lines as there are echoes in the header's limits and echo list.

    Returns
    -------
    contrast : (line,)
        The echo of each line.
    warning
        What was done. None in place of both if the counter needs no help.
    """
    limits, times = header.limits("contrast"), header.sequence("TE")
    if limits is None or limits.maximum < 1 or table["idx"]["contrast"].any():
        return None
    echoes = limits.maximum + 1
    imaging = np.flatnonzero(imaging_of(table))
    _, position, counts = np.unique(_places(table[imaging]), return_inverse=True, return_counts=True)
    if len(times) not in (0, echoes) or (counts != echoes).any():
        return None
    order = np.lexsort((table["scan_counter"][imaging], table["acquisition_time_stamp"][imaging], position.reshape(-1)))
    contrast = np.zeros(len(table), np.int64)
    contrast[imaging[order]] = np.tile(np.arange(echoes), len(counts))
    listed = f" (echo times {', '.join(f'{time:g}' for time in times)} ms)" if times else ""
    return contrast, (
        f"All lines have the contrast counter 0, and each position of k-space holds {echoes} lines; as the header "
        f"announces {echoes} echoes{listed}, their order numbers them."
    )


def _places(table: Table) -> Ints:
    names = ("kspace_encode_step_1", "kspace_encode_step_2", *IMAGE_COUNTERS)
    return numbered([table["idx"][name] for name in names])


def repeats(table: Table) -> list[tuple[int, int]]:
    """List the pairs (first line, later line) of imaging lines that have all counters in common."""
    imaging = np.flatnonzero(imaging_of(table))
    if not imaging.size:
        return []
    _, first, position = np.unique(_places(table[imaging]), return_index=True, return_inverse=True)
    kept = first[position.reshape(-1)]
    return [(int(imaging[one]), int(imaging[two])) for two, one in enumerate(kept) if one != two]


def averages(table: Table) -> list[tuple[int, int]]:
    """List the pairs (line of the first average, line of a later one) of imaging lines that are averaged."""
    imaging = np.flatnonzero(imaging_of(table))
    if not imaging.size:
        return []
    others = [name for name in IMAGE_COUNTERS if name != "average"]
    idx = table["idx"][imaging]
    place = numbered([idx[name] for name in ("kspace_encode_step_1", "kspace_encode_step_2", *others)])
    _, first = np.unique(place, return_index=True)
    pairs = zip(first[place].tolist(), range(len(imaging)), strict=True)
    return [(int(imaging[a]), int(imaging[b])) for a, b in pairs if idx["average"][a] != idx["average"][b]]


def missed(header: ScanHeader, side: Table, held: Mapping[int, Table]) -> str:
    """Describe the k-space positions of the image that are covered only by lines flagged as not imaging.

    Parameters
    ----------
    header
        The scan's header, whose acceleration determines which lines the image needs.
    side
        Headers of lines with such a flag (line,).
    held
        Headers of the lines of each slice, by its number.
    """
    step, count = min(max(int(header.stated_acceleration or 1), 1), 1 << 16), 0  # counters have 16 bits
    examples: set[int] = set()
    for number, table in held.items():
        others = table[imaging_of(table)]
        if not len(others):
            continue
        long = side["number_of_samples"] >= others["number_of_samples"].min()  # oversampling is not removed from these
        alike = side[(side["idx"]["slice"] == number) & long]
        phase = int(others["idx"]["kspace_encode_step_1"][len(others) // 2]) % step
        row = alike["idx"]["kspace_encode_step_1"].astype(np.int64)
        rows = row[(row % step == phase) & ~np.isin(_encodings(alike), _encodings(table))].tolist()
        count += len(rows)
        examples |= set(rows)
    if not count:
        return ""
    return (
        f"{count} of them have positions of k-space that no other line has (kspace_encode_step_1 "
        f"{listed(sorted(examples))}): is their flag right? Without them these positions are empty."
    )


def _encodings(table: Table) -> Ints:
    """Return one number for both phase encodings of each line (line,)."""
    idx = table["idx"]
    return np.asarray(idx["kspace_encode_step_2"].astype(np.int64) << 16 | idx["kspace_encode_step_1"])


def announced(header: ScanHeader, values: Mapping[str, NDArray[Any]]) -> str:
    """Describe counters for which the header announces more values than came; empty if none.

    Parameters
    ----------
    header
        The scan's header.
    values
        Values of counters, by their names; others are not judged.
    """
    short = []
    for name in _ANNOUNCED:
        limits = header.limits(name) if name in values else None
        count = len(np.unique(values[name])) if limits is not None else 0
        if limits is not None and limits.maximum - limits.minimum + 1 > count:
            short.append(f"{limits.maximum - limits.minimum + 1} values of {name}, but lines of {count} came")
    said = [f"The header announces {'; '.join(short)}."] if short else []
    for name in (name for name in _IN_A_ROW if name in values):
        found = np.unique(values[name]).astype(np.int64)
        gaps = np.setdiff1d(np.arange(found[0], found[-1] + 1), found)
        if 0 < len(gaps) < len(found):
            said.append(f"No lines of {name} {listed(gaps.tolist())} came, but of {found[0]} to {found[-1]} otherwise.")
    return " ".join(said)


def orientation_problem(table: Mapping[str, Any] | Table) -> str:
    """Describe errors in the directions and positions of lines; empty if there are none."""
    axes = np.stack([table[name] for name in ("read_dir", "phase_dir", "slice_dir")], axis=1).astype(float)
    unlike = np.unique(axes.reshape(len(axes), 9), axis=0).reshape(-1, 3, 3)
    if not np.isfinite(unlike).all() or not np.isfinite(table["position"]).all():
        return "Directions or positions of lines are not numbers"
    if (np.abs(unlike).max(axis=2) == 0).any():
        return "Directions of lines are (0, 0, 0)"
    products = unlike @ unlike.transpose(0, 2, 1)
    if np.abs(products - np.eye(3)).max() > _UNIT:
        return "Directions of lines are not of unit length, or not at right angles"
    return ""
