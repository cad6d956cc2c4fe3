"""Groups of a slice's lines: counters that get messages of their own, and sets that have other frames than others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onebreath.gadgets.sort.assemble import runs
from onebreath.gadgets.sort.collected import FRAME_COUNTERS, Lines
from onebreath.gadgets.sort.complete import SHORT
from onebreath.gadgets.sort.frames import FrameChoice
from onebreath.gadgets.sort.survey import geometries, imaging_of, tolerance
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import calibrates
from onebreath.names import abridged, listed

Bools = NDArray[np.bool_]
Members = NDArray[np.intp]


_NAMED = 4
"""Images that a warning names."""


class Group(NamedTuple):
    """Some lines of a slice: what distinguishes them, their numbers, and what is to be said of them.

    Those of its lines that are lent by another group are for calibration only, whatever they are there.
    """

    key: dict[str, int]
    members: Members
    said: str = ""
    lent: Members = np.zeros(0, np.intp)

    def take(self, lines: Lines) -> Lines:
        """Return its lines, of those of the slice."""
        taken = lines.take(self.members.tolist())
        taken.only_calibrate(np.flatnonzero(np.isin(self.members, self.lent)).tolist())
        return taken


def groups_of(choice: FrameChoice, table: NDArray[np.void]) -> list[Group]:
    """Return the groups of the lines of a slice.

    A group without calibration lines of its own gets those of the nearest group before it, else after it.

    Parameters
    ----------
    choice
        The axes; its keys distinguish groups. Sets share one if they have the same frames.
    table
        Headers of the lines (line,).
    """
    keys, members = runs([table["idx"][counter] for counter in choice.keys])
    made = [
        part
        for key, found in zip(keys, members, strict=True)
        for part in _sets_apart(choice, table, Group(dict(zip(choice.keys, key, strict=True)), found))
    ]
    calibrating, alone = calibrates(table["flags"]), ~imaging_of(table)
    having = [number for number, group in enumerate(made) if alone[group.members].any()]
    for number, group in enumerate(made):
        if having and not calibrating[group.members].any():
            lender = made[min(having, key=lambda other: (other > number, abs(other - number)))].members
            lent = lender[calibrating[lender]]
            made[number] = group._replace(members=np.sort(np.concatenate([group.members, lent])), lent=lent)
    return made


def lend(lines: Lines, kept: dict[int, Lines], number: int) -> Lines:
    """Return the lines of a slice with calibration lines that were sent with it before, if it has none now.

    Parameters
    ----------
    lines
        The lines.
    kept
        Calibration lines by slice, which those of `lines` replace.
    number
        The slice.
    """
    table = lines.table()
    calibrating = calibrates(table["flags"])
    if not imaging_of(table).all():
        kept[number] = lines.take(np.flatnonzero(calibrating).tolist())
        kept[number].only_calibrate(range(len(kept[number])))
    return lines if calibrating.any() or number not in kept else lines.joined(kept[number])


def unlike_slices(slices: Mapping[int, Lines]) -> list[str]:
    """Name images that some slices have and others lack, as no line of them came."""
    own = {}
    for number, lines in sorted(slices.items()):
        table = lines.table()
        idx = table["idx"][imaging_of(table)]
        if len(idx):
            own[number] = set(zip(*(idx[name].tolist() for name in FRAME_COUNTERS), strict=True))
    every: set[tuple[int, ...]] = set().union(*own.values())
    telling = [place for place in range(len(FRAME_COUNTERS)) if len({image[place] for image in every}) > 1]
    said = []
    for number, images in own.items():
        lacks = sorted(every - images)
        named = [", ".join(f"{FRAME_COUNTERS[place]} {image[place]}" for place in telling) for image in lacks]
        if lacks:
            said.append(
                f"slice {number} has no line of {abridged(named, _NAMED, '; ')}, which other slices have: there is no "
                "image of it. Was the scan broken off?"
            )
    return said


class Averages:
    """Averages of the groups of a scan, to tell where they differ."""

    def __init__(self, header: ScanHeader) -> None:
        self._header = header
        self._first: tuple[str, int] | None = None

    def unlike(self, where: str, count: int, table: NDArray[np.void]) -> list[str]:
        """Return what is to be said of a group with some number of averages, and of the place of its lines (line,)."""
        first, before = self._first = self._first or (where, count)
        said = [] if count == 1 else self._apart(where, table[imaging_of(table)])
        if count != before:
            said.append(
                f"{where} has {count} averages, {first} has {before}: noise is 1 in both, so that the same signal is "
                f"{(count / before) ** 0.5:.3g} times as large here."
            )
        return said

    def _apart(self, where: str, table: NDArray[np.void]) -> list[str]:
        """Warn of averages that are further apart than the motion that a scanner follows."""
        numbers, positions = geometries(table)
        _, parts = runs([table["idx"]["average"]])
        middles = np.array([positions[numbers[part], :3].mean(axis=0) for part in parts])
        apart = float(np.linalg.norm(np.ptp(middles, axis=0)))
        if apart <= tolerance(self._header)[0]:
            return []
        return [
            f"{where}: its averages lie {apart:.4g} mm apart, and were combined; the images tell the place of one of "
            "them. averages=separate of gadget 'sort' shows each."
        ]


def _sets_apart(choice: FrameChoice, table: NDArray[np.void], group: Group) -> list[Group]:
    """Divide a group by its sets if these have unlike frames, which one array cannot hold."""
    of = table[group.members]
    imaging = imaging_of(of)
    if not choice.sets or not imaging.any():
        return [group]
    values, parts = runs([of["idx"][counter] for counter in choice.sets])
    unlike = _unlike(choice, of["idx"], [part[imaging[part]] for part in parts])
    if not unlike:
        return [group]
    return [
        Group({**group.key, **dict(zip(choice.sets, value, strict=True))}, group.members[part], text)
        for value, part, text in zip(values, parts, unlike, strict=True)
    ]


def _unlike(choice: FrameChoice, idx: NDArray[np.void], sets: list[Members]) -> list[str]:
    """Say of each set which frames or lines it lacks beside others; nothing if they are alike."""
    counts = [len(lines) for lines in sets]
    if choice.frames in ("none", "physiology"):
        if min(counts) >= SHORT * max(counts):
            return []
        return ["" if count == max(counts) else f"{count} lines, where others have {max(counts)}" for count in counts]
    frames = [np.unique(idx[choice.frames][lines]) for lines in sets]
    every = np.unique(np.concatenate(frames))
    lacks = [np.setdiff1d(every, own) for own in frames]
    if not any(one.size for one in lacks) and min(counts) >= SHORT * max(counts):
        return []
    return [
        f"no line is of {choice.frames} {listed(one.tolist())}: there is no image of it" if one.size else ""
        for one in lacks
    ]
