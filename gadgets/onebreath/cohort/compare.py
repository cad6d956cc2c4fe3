"""Comparison of two runs of the same cohort, scan by scan, with paired tests.

A cohort has no ground truth. The comparison uses differences of the images, the error on held-back lines, and times.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from onebreath.cohort.work import Row, read_row
from onebreath.errors import ScanError
from onebreath.evaluation.statistics import Comparison, compare
from onebreath.images.reading import Series, read_images
from onebreath.keeping import write_text
from onebreath.report.template import rendered
from onebreath.wire.outputs import check_folder_to_make

HERE = Path(__file__).parent
MEASURES = {"domain_score": "error on held-back lines", "seconds": "seconds of the replay"}
"""Measures of a single run; less is better."""


@dataclass(frozen=True)
class Pair:
    """One scan in both cohorts.

    Attributes
    ----------
    scan
        Name of the scan.
    difference
        ``||new - old|| / ||old||`` over all images; NaN if they cannot be compared.
    scale
        Mean factor by which new images are brighter.
    remark
        Reason why images cannot be compared; empty if they can.
    """

    scan: str
    difference: float
    scale: float
    old_method: str
    new_method: str
    old_domain_score: float
    new_domain_score: float
    old_seconds: float
    new_seconds: float
    remark: str = ""


def read_rows(folder: Path) -> dict[str, Row]:
    """Rows of a cohort by scan.

    Raises
    ------
    ScanError
        If the folder is not that of a cohort.
    """
    try:
        rows = [read_row(path)[1] for path in sorted((folder / "rows").glob("*.json"))]
    except (OSError, ValueError, TypeError) as error:
        raise ScanError(f"{folder} cannot be read as a cohort: {error}") from error
    if not rows:
        raise ScanError(f"{folder} was not written by 'onebreath cohort': it has no rows/*.json.")
    return {row.scan: row for row in rows}


def pairs(old: Path, new: Path) -> tuple[list[Pair], list[str]]:
    """Pairs of the scans done in both cohorts, and a line of text for each scan that cannot be compared."""
    before, after = read_rows(old), read_rows(new)
    found, left = [], []
    for scan in sorted(before.keys() | after.keys()):
        states = [rows[scan].status if scan in rows else "missing" for rows in (before, after)]
        if states != ["done", "done"]:
            left.append(f"{scan}: old {states[0]}, new {states[1]}")
        elif before[scan].source != after[scan].source:
            left.append(f"{scan}: made from different files, {before[scan].source} and {after[scan].source}")
        else:
            found.append(_pair(before[scan], after[scan], old, new))
    return found, left


def _pair(before: Row, after: Row, old: Path, new: Path) -> Pair:
    series = [
        {one.number: one for one in read_images(folder / f"{before.scan}_images.h5") if one.role == "Image"}
        for folder in (old, new)
    ]
    difference, scale, remark = _difference(*series)
    return Pair(
        scan=before.scan,
        difference=difference,
        scale=scale,
        old_method=before.made_by,
        new_method=after.made_by,
        old_domain_score=_number(before.facts.get("domain_score")),
        new_domain_score=_number(after.facts.get("domain_score")),
        old_seconds=before.seconds,
        new_seconds=after.seconds,
        remark=remark,
    )


def _difference(old: dict[int, Series], new: dict[int, Series]) -> tuple[float, float, str]:
    """Relative difference and brightness factor of all series, and the reason if they are NaN."""
    if old.keys() != new.keys():
        return math.nan, math.nan, f"series {sorted(old)} became {sorted(new)}"
    apart = total = cross = 0.0
    for number, series in old.items():
        other = new[number]
        if series.data.shape != other.data.shape:
            return math.nan, math.nan, f"series {number}: {series.data.shape} became {other.data.shape}"
        others = {_counters(one): image for image, one in enumerate(other.headers)}
        for image, head in enumerate(series.headers):
            if _counters(head) not in others:
                return math.nan, math.nan, f"series {number}: the images have other counters"
            a = np.abs(series.values(image)).astype(np.float64)
            b = np.abs(other.values(others[_counters(head)])).astype(np.float64)
            apart, total, cross = apart + ((b - a) ** 2).sum(), total + (a**2).sum(), cross + (a * b).sum()
    return (math.sqrt(apart / total), cross / total, "") if total else (math.nan, math.nan, "the old images are empty")


def _counters(head: np.void) -> tuple[int, ...]:
    names = ("slice", "phase", "repetition", "contrast", "set", "average", "image_index")
    return tuple(int(head[name]) for name in names)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:  # several values
        return math.nan


def paired_tests(found: Sequence[Pair]) -> dict[str, Comparison]:
    """Paired test (Wilcoxon signed-rank) of each measure known for both runs of at least one scan."""
    made = {}
    for name in MEASURES:
        values = [(getattr(one, f"old_{name}"), getattr(one, f"new_{name}")) for one in found]
        known = [(a, b) for a, b in values if math.isfinite(a) and math.isfinite(b)]
        if known:
            made[name] = compare([a for a, _ in known], [b for _, b in known])
    return made


def write_comparison(old: Path, new: Path, output: Path) -> tuple[list[Pair], list[str], list[Path]]:
    """Write ``compare.csv`` and ``compare.html`` of two cohorts; returns the results of `pairs` and the paths.

    Raises
    ------
    ScanError
        If no scan was done in both.
    """
    found, left = pairs(old, new)
    if not found:
        raise ScanError(f"{old} and {new} have no scan that was done in both.")
    check_folder_to_make(output, "The comparison")
    output.mkdir(exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(asdict(found[0])))
    writer.writeheader()
    writer.writerows(asdict(one) for one in found)
    differences = [one.difference for one in found if math.isfinite(one.difference)]
    page = rendered(
        HERE / "compare.html.j2",
        "The page of a comparison",
        old=old,
        new=new,
        pairs=sorted(found, key=lambda one: -one.difference if math.isfinite(one.difference) else -math.inf),
        left=left,
        tests=paired_tests(found),
        measures=MEASURES,
        median=float(np.median(differences)) if differences else math.nan,
        largest=max(differences, default=math.nan),
    )
    paths = [output / "compare.csv", output / "compare.html"]
    for path, content in zip(paths, (text.getvalue(), page), strict=True):
        write_text(path, content)
    return found, left, paths
