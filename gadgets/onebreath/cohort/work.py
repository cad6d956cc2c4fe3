"""One scan of a cohort: its task, and the row of its results."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from onebreath.errors import OnebreathError
from onebreath.host.replay import replay
from onebreath.images.reading import read_images
from onebreath.keeping import digest_of_file, write, write_text
from onebreath.report.page import leading, page
from onebreath.wire.outputs import IMAGES, check_output

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
"""Columns of the table, with the meta entry of each."""


@dataclass(frozen=True)
class Task:
    """One scan to reconstruct.

    Attributes
    ----------
    name
        Stem of its files, unique in the cohort.
    source, group
        File of raw data, and group in it.
    config
        Text of the configuration, so that all workers use the same.
    folder
        Folder of the cohort.
    report
        Whether to write a page of the scan.
    """

    name: str
    source: str
    group: str
    config: bytes
    folder: str
    report: bool = False

    @cached_property
    def key(self) -> str:
        """Hash of everything on which the result depends: the configuration, and place and content of the raw data.

        It is that of the content when it was first asked for; raises OSError if that cannot be read.
        """
        text = f"{self.source}\0{digest_of_file(Path(self.source))}\0{self.group}\0{self.report}"
        return hashlib.sha256(self.config + b"\0" + os.fsencode(text)).hexdigest()

    @property
    def images(self) -> Path:
        """File of its images."""
        return Path(self.folder) / f"{self.name}_images.h5"

    def clear(self) -> None:
        """Remove the images and page of an earlier run, lest they lie beside a row that tells of another one.

        Raises
        ------
        ConfigError
            If the file does not hold images, and so is not of an earlier run.
        """
        check_output(self.images, IMAGES, (Path(self.source),))
        for path in (self.images, self.images.with_suffix(".html")):
            path.unlink(missing_ok=True)

    @property
    def row(self) -> Path:
        """File of its row, which exists once the scan has been processed."""
        return Path(self.folder) / "rows" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """Log file."""
        return Path(self.folder) / "logs" / f"{self.name}.log"


@dataclass
class Row:
    """Results of a scan; a row of the table.

    Attributes
    ----------
    status
        ``done``, ``failed`` (an error of the chain), or ``lost`` (all workers died).
    seconds
        Duration of the replay.
    worker
        Id of the worker process.
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
        """The model, or the method if no model was used."""
        return self.facts.get("model") or self.facts.get("method", "")

    def flat(self) -> dict[str, Any]:
        """All columns: fields of the row, then facts; the same for all rows."""
        own = asdict(self)
        facts = own.pop("facts")
        return {**own, **{name: facts.get(name, "") for name in FACTS}}


def known(task: Task) -> Row | None:
    """Row of a scan already done with the same data and configuration; None without one."""
    try:
        key, row = read_row(task.row)
        whole = row.status == "done" and task.images.exists()
        return row if whole and key == task.key else None  # the key is last, as all raw data are read for it
    except (OSError, ValueError, TypeError):
        return None


def keep(task: Task, row: Row) -> None:
    """Write the row of a scan atomically."""
    try:
        key = task.key
    except OSError:  # the raw data cannot be read: the row tells, and fits no later run
        key = ""
    write(task.row, json.dumps({"key": key, **asdict(row)}).encode())


def read_row(path: Path) -> tuple[str, Row]:
    """`Task.key` and row, as written by `keep`; OSError, ValueError or TypeError if the file is missing or invalid."""
    found = json.loads(path.read_text(encoding="utf-8"))
    key = str(found.pop("key", ""))
    return key, Row(**found)


def work(task: Task) -> Row:
    """Reconstruct a scan in this process; errors are in the row."""
    begun = time.perf_counter()
    with logged(task.log):
        try:
            task.clear()
            task.key  # noqa: B018  of the raw data as they are now
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
    _add_facts(row, task)
    return row


def _add_facts(row: Row, task: Task) -> None:
    """Add facts from the images' meta to a row, and write the page if requested."""
    series = read_images(task.images)
    facts = leading(series)
    row.facts = {name: text for name, entry in FACTS.items() if (text := facts.one(entry))}
    row.clipped_pixels = int(facts.total("export", "clipped_pixels"))
    if task.report:
        text = page(series, task.images.name, Path(task.source), task.group)
        write_text(task.images.with_suffix(".html"), text)


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Redirect this process's standard error to a file."""
    kept, target = os.dup(2), os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.dup2(target, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(target)
