"""Table and page of a cohort."""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from onebreath.cohort.work import Row
from onebreath.keeping import whole, write_text
from onebreath.names import as_unicode
from onebreath.optional import required
from onebreath.report.template import rendered

HERE = Path(__file__).parent


def write_table(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write ``table.csv``, and ``table.parquet`` if pyarrow is installed; returns their paths."""
    flat = [
        {name: as_unicode(value) if isinstance(value, str) else value for name, value in row.flat().items()}
        for row in rows
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(flat[0]))
    writer.writeheader()
    writer.writerows(flat)
    paths = [folder / "table.csv"]
    write_text(paths[0], text.getvalue())
    if importlib.util.find_spec("pyarrow") is not None:
        pyarrow = required("pyarrow", "cohort", "A parquet table")
        parquet = required("pyarrow.parquet", "cohort", "A parquet table")
        paths.append(folder / "table.parquet")
        with whole(paths[1]) as part:
            parquet.write_table(pyarrow.Table.from_pylist(flat), part)
    return paths


def summary(rows: Sequence[Row], wall_s: float) -> dict[str, Any]:
    """Summary numbers: counts by status, method and fallback, and times in seconds."""
    done = [row for row in rows if row.status == "done"]
    seconds = sorted(row.seconds for row in done) or [0.0]
    return {
        "scans": len(rows),
        "status": dict(Counter(row.status for row in rows)),
        "methods": dict(Counter(row.made_by for row in done)),
        "fallbacks": sum("fallback" in row.facts for row in done),
        "warnings": sum(row.warnings > 0 for row in rows),
        "clipped": sum(row.clipped_pixels > 0 for row in done),
        "retried": sum(row.attempts > 1 for row in rows),
        "median_s": statistics.median(seconds),
        "longest_s": seconds[-1],
        "sum_s": sum(seconds),
        "wall_s": wall_s,
    }


def write_page(rows: Sequence[Row], folder: Path, config: str, wall_s: float, pages: bool) -> Path:
    """Write ``cohort.html``, a self-contained page with links to the files of each scan; returns its path.

    Raises
    ------
    ConfigError
        If jinja2 is not installed.
    """
    template, numbers = HERE / "cohort.html.j2", summary(rows, wall_s)
    ending = "_images.html" if pages else "_images.h5"
    links = {row.scan: quote(os.fsencode(row.scan + ending)) for row in rows}  # Jinja's own filter takes UTF-8 alone
    text = rendered(template, "The page of a cohort", rows=rows, numbers=numbers, config=config, links=links)
    path = folder / "cohort.html"
    write_text(path, text)
    return path
