"""Two configurations over the same cohort: what an upgrade changes, scan by scan, with paired tests.

There is no truth in a cohort. What can be compared are the images with each other, the error at lines that a model was
not shown, fallbacks, warnings and seconds.
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

HERE = Path(__file__).parent
MEASURES = {"domain_score": "error at lines kept back", "seconds": "seconds of the replay"}
"""What both runs of a scan tell by themselves; less is better."""


@dataclass(frozen=True)
class Pair:
    """One scan in both cohorts.

    Attributes
    ----------
    scan
        Its name.
    difference
        ``||new - old|| / ||old||`` over all images; NaN if they cannot be compared.
    scale
        The factor by which new images are brighter, in the mean.
    remark
        Why images cannot be compared, or what else is different.
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
    """Return the rows of a cohort by scan.

    Raises
    ------
    ScanError
        If the folder is none of a cohort.
    """
    try:
        rows = [read_row(path)[1] for path in sorted((folder / "rows").glob("*.json"))]
    except (OSError, ValueError, TypeError) as error:
        raise ScanError(f"{folder} cannot be read as a cohort: {error}") from error
    if not rows:
        raise ScanError(f"{folder} is no folder that 'onebreath cohort' has written: it has no rows/*.json.")
    return {row.scan: row for row in rows}


def pairs(old: Path, new: Path) -> tuple[list[Pair], list[str]]:
    """Compare two cohorts; return what both have done, and a line for each scan that cannot be compared."""
    before, after = read_rows(old), read_rows(new)
    found, left = [], []
    for scan in sorted(before.keys() | after.keys()):
        states = [rows[scan].status if scan in rows else "not in it" for rows in (before, after)]
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
    difference, scale, remark = _differ(*series)
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


def _differ(old: dict[int, Series], new: dict[int, Series]) -> tuple[float, float, str]:
    """Return relative difference and brightness factor of all series, or why there is none."""
    if old.keys() != new.keys():
        return math.nan, math.nan, f"series {sorted(old)} became {sorted(new)}"
    apart = total = cross = 0.0
    for number, series in old.items():
        other = new[number]
        if series.data.shape != other.data.shape:
            return math.nan, math.nan, f"series {number}: {series.data.shape} became {other.data.shape}"
        places = {_place(one): image for image, one in enumerate(other.headers)}
        for image, head in enumerate(series.headers):
            if _place(head) not in places:
                return math.nan, math.nan, f"series {number}: the images have other counters"
            a = np.abs(series.values(image)).astype(np.float64)
            b = np.abs(other.values(places[_place(head)])).astype(np.float64)
            apart, total, cross = apart + ((b - a) ** 2).sum(), total + (a**2).sum(), cross + (a * b).sum()
    return (math.sqrt(apart / total), cross / total, "") if total else (math.nan, math.nan, "the old images are empty")


def _place(head: np.void) -> tuple[int, ...]:
    names = ("slice", "phase", "repetition", "contrast", "set", "average", "image_index")
    return tuple(int(head[name]) for name in names)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:  # several values
        return math.nan


def paired_tests(found: Sequence[Pair]) -> dict[str, Comparison]:
    """Return a paired test (Wilcoxon signed-rank) of each measure that both runs of at least one scan tell."""
    made = {}
    for name in MEASURES:
        values = [(getattr(one, f"old_{name}"), getattr(one, f"new_{name}")) for one in found]
        known = [(a, b) for a, b in values if math.isfinite(a) and math.isfinite(b)]
        if known:
            made[name] = compare([a for a, _ in known], [b for _, b in known])
    return made


def write_comparison(old: Path, new: Path, output: Path) -> tuple[list[Pair], list[str], list[Path]]:
    """Compare two cohorts; write ``compare.csv`` and ``compare.html``.

    Raises
    ------
    ScanError
        If they have no scan in common.
    """
    found, left = pairs(old, new)
    if not found:
        raise ScanError(f"{old} and {new} have no scan in common that both have done.")
    output.mkdir(parents=True, exist_ok=True)
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
