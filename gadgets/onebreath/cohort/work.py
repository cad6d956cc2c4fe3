"""One scan of a cohort: what a worker process does with it, and the row that it leaves."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onebreath.errors import OnebreathError
from onebreath.host.replay import replay
from onebreath.images.reading import read_images
from onebreath.keeping import write, write_text
from onebreath.report.page import leading, page

FACTS = {
    "method": "Onebreath_reconstruct_method",
    "model": "Onebreath_reconstruct_model",
    "fallback": "Onebreath_reconstruct_fallback",
    "acceleration": "Onebreath_reconstruct_acceleration",
    "domain_score": "Onebreath_reconstruct_domain_score",
    "choice": "Onebreath_reconstruct_choice",
    "noise": "Onebreath_prewhiten_noise",
    "dropped_lines": "Onebreath_sort_dropped_lines",
    "missing_lines": "Onebreath_sort_missing_lines",
    "version": "OnebreathVersion",
}
"""Columns of the table, and the meta entry that each is taken from."""


@dataclass(frozen=True)
class Task:
    """One scan to do.

    Attributes
    ----------
    name
        Of its files, unique in the cohort.
    source, group
        Raw data.
    config
        The configuration's text; the worker must not read another one.
    folder
        Of the cohort.
    report
        Whether a page is made of it.
    """

    name: str
    source: str
    group: str
    config: bytes
    folder: str
    report: bool = False

    @property
    def key(self) -> str:
        """What the result depends on: the configuration, and size and time of the raw data."""
        found = Path(self.source).stat()
        text = f"{found.st_size} {found.st_mtime_ns} {self.group} {self.report}".encode()
        return hashlib.sha256(self.config + b"\0" + text).hexdigest()

    @property
    def images(self) -> Path:
        """File of its images."""
        return Path(self.folder) / f"{self.name}_images.h5"

    @property
    def row(self) -> Path:
        """File of its row, which is there once the scan has been done."""
        return Path(self.folder) / "rows" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """File of what was logged."""
        return Path(self.folder) / "logs" / f"{self.name}.log"


@dataclass
class Row:
    """What became of a scan; a row of the table.

    Attributes
    ----------
    status
        ``done``, ``failed`` (the chain said so), or ``lost`` (every worker died with it).
    seconds
        Of the replay.
    worker
        Number of the process that did it.
    """

    scan: str
    source: str
    status: str
    seconds: float = 0.0
    images: int = 0
    attempts: int = 1
    clipped_pixels: int = 0
    warnings: int = 0
    error: str = ""
    worker: int = 0
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def made_by(self) -> str:
        """The model, or the method where none was used."""
        return self.facts.get("model") or self.facts.get("method", "")

    def flat(self) -> dict[str, Any]:
        """Return the columns: those of the row, then the facts; all rows have the same."""
        own = asdict(self)
        facts = own.pop("facts")
        return {**own, **{name: facts.get(name, "") for name in FACTS}}


def known(task: Task) -> Row | None:
    """Return the row of a scan that was done before, with the same data and configuration; None if there is none."""
    try:
        key, row = read_row(task.row)
        return row if key == task.key and row.status == "done" and task.images.exists() else None
    except (OSError, ValueError, TypeError):
        return None


def keep(task: Task, row: Row) -> None:
    """Write the row of a scan, at once or not at all."""
    write(task.row, json.dumps({"key": task.key, **asdict(row)}).encode())


def read_row(path: Path) -> tuple[str, Row]:
    """Return what `keep` wrote, `Task.key` and row; raises OSError, ValueError or TypeError if that is not there."""
    found = json.loads(path.read_text(encoding="utf-8"))
    key = str(found.pop("key", ""))
    return key, Row(**found)


def work(task: Task) -> Row:
    """Reconstruct a scan in this process, which stays warm for the next one; errors are in the row."""
    begun = time.perf_counter()
    with logged(task.log):
        try:
            row = _replayed(task)
        except (OnebreathError, OSError, MemoryError) as error:
            row = Row(task.name, task.source, "failed", error=f"{type(error).__name__}: {error}")
    row.seconds, row.worker = round(time.perf_counter() - begun, 3), os.getpid()
    keep(task, row)
    return row


def _replayed(task: Task) -> Row:
    outcome = replay(
        task.source, config_local=task.config, output=task.images, group="images", in_group=task.group, anew=True
    )
    failed = outcome.failed or not outcome.images
    row = Row(task.name, task.source, "failed" if failed else "done", images=sum(outcome.images.values()))
    row.warnings = len(outcome.warnings)
    if failed:
        row.error = " ".join(outcome.texts) or "no image came back"
        return row
    _tell(row, task)
    return row


def _tell(row: Row, task: Task) -> None:
    """Add what the images' meta say, and make the page if there shall be one."""
    series = read_images(task.images)
    facts = leading(series)
    row.facts = {name: text for name, entry in FACTS.items() if (text := facts.one(entry))}
    row.clipped_pixels = int(facts.total("export", "clipped_pixels"))
    if task.report:
        text = page(series, task.images.name, Path(task.source), task.group)
        write_text(task.images.with_suffix(".html"), text)


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Lead what this process writes to standard error into a file."""
    kept, target = os.dup(2), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.dup2(target, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(target)
