"""The ``onebreath cohort`` command: many scans through one configuration, resumed after an interruption."""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from onebreath.cohort.engine import local, on_ray
from onebreath.cohort.table import write_page, write_table
from onebreath.cohort.work import Row, Task, known
from onebreath.commands.replay import raw_files
from onebreath.config.changes import changed, read_changes
from onebreath.config.finding import find
from onebreath.config.stream_config import parse
from onebreath.errors import ConfigError
from onebreath.optional import required
from onebreath.options import at_least, folder
from onebreath.terminal import Cell, Column, Progress, console, print_table, steps
from onebreath.wire.outputs import check_folder_to_make

COLUMNS = (
    Column("scan"),
    Column("outcome"),
    Column("images", number=True),
    Column("seconds", number=True),
    Column("method"),
    Column("remarks"),
)


def _cells(row: Row) -> list[Cell]:
    fallback = row.facts.get("fallback", "")
    remarks = row.error or (f"fallback: {fallback}" if fallback else "")
    style = "good" if row.status == "done" else "bad"
    return [
        row.scan,
        (row.status, style),
        str(row.images),
        f"{row.seconds:.1f}",
        row.made_by,
        (remarks, "bad" if row.error else "warning"),
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``onebreath cohort``."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="raw data, ISMRMRD HDF5 files, or folders of them")
    parser.add_argument("-c", "--config", help="name of the configuration, or its file")
    parser.add_argument("-o", "--output", type=folder, required=True, help="folder for images, table and page")
    parser.add_argument("-g", "--group", default="dataset", help="group of the raw data (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="GADGET.PROPERTY=VALUE", help="set a property, as in replay"
    )
    parser.add_argument(
        "-j", "--jobs", type=at_least(1), default=os.cpu_count() or 1, help="scans at once (default: %(default)s)"
    )
    parser.add_argument(
        "--retries", type=at_least(0), default=2, help="how often to retry a scan whose worker died (default: 2)"
    )
    parser.add_argument("--report", action="store_true", help="also write a page for each scan")
    parser.add_argument("--again", action="store_true", help="repeat scans that were already done")
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="processes of this computer, or Ray (default: local)",
    )
    parser.add_argument("--compare", action="store_true", help="compare two folders written by this command: OLD NEW")
    parser.add_argument("--address", help="Ray cluster (default: start one on this computer)")


def run(args: argparse.Namespace) -> int:
    """Reconstruct the scans not done yet, then write table and page of all; returns 1 if any failed or was lost."""
    if args.compare:
        return _compare(args)
    if not args.config:
        raise ConfigError("Name the configuration by -c, as in -c Onebreath_Cine.xml.")
    if args.address and args.engine != "ray":
        raise ConfigError("--address is the address of a Ray cluster and needs --engine ray.")
    for name in ("jinja2", *(("matplotlib",) if args.report else ())):
        required(name, "report", "The page of a cohort")
    if args.engine == "ray":
        required("ray", "cohort", "--engine ray")
    tasks = _tasks(args)
    rows: dict[str, Row] = {}
    if not args.again:
        looked = steps(tasks, "looking for what was done before", unit="scans")
        rows = {task.name: row for task in looked if (row := known(task)) is not None}
    left = [task for task in tasks if task.name not in rows]
    if rows:
        print(f"{len(rows)} of {len(tasks)} scans were done before")
    begun = time.perf_counter()
    rows |= _work(args, left)
    ordered = [rows[task.name] for task in tasks]
    wall = time.perf_counter() - begun
    _tell_of_others(args.output, tasks)
    paths = [*write_table(ordered, args.output), write_page(ordered, args.output, args.config, wall, args.report)]
    return _print_outcome(ordered, paths, len(left), wall)


def _tell_of_others(folder: Path, tasks: Sequence[Task]) -> None:
    """Say how many scans of other calls have their images in the folder: table and page are of this call."""
    others = {path.stem for path in (folder / "rows").glob("*.json")} - {task.name for task in tasks}
    if others:
        print(f"{len(others)} scans of earlier calls, not named now, stay in {folder}; table and page leave them out")


def _compare(args: argparse.Namespace) -> int:
    """Compare two cohorts and print the largest change; returns 1 if scans could not be compared."""
    from onebreath.cohort.compare import write_comparison

    if len(args.files) != 2:
        raise ConfigError("--compare takes two folders, the old and the new cohort: onebreath cohort OLD NEW --compare")
    old, new = map(Path, args.files)
    found, left, paths = write_comparison(old, new, args.output)
    most = max(found, key=lambda one: -1 if math.isnan(one.difference) else one.difference)
    print(f"{len(found)} scans compared; most changed: {most.scan}, by {most.difference:.4f} of its images")
    for text in left:
        print(f"not compared: {text}", file=sys.stderr)
    print(f"table and page: {', '.join(map(str, paths))}")
    return 1 if left or any(math.isnan(one.difference) for one in found) else 0


def _tasks(args: argparse.Namespace) -> list[Task]:
    """Tasks of all scans; the configuration is read and checked once, so that all scans have the same.

    Raises
    ------
    ConfigError
        If the configuration cannot be read, or a file is missing.
    """
    path = Path(args.config) if Path(args.config).is_file() else find(args.config)
    text = path.read_bytes()
    if changes := read_changes(args.set):
        text = changed(text, path.name, changes)
    parse(text, path.name)
    named = [source for name in args.files for source in raw_files(Path(name))]
    sources = list({source.resolve(): source for source in named}.values())
    if len(sources) < len(named):
        print(f"{len(named) - len(sources)} of {len(named)} files were named before, and are taken once")
    if missing := [source for source in sources if not source.is_file()]:
        raise ConfigError(f"There is no file {missing[0]}.")
    check_folder_to_make(args.output, "The images")
    for name in ("rows", "logs"):
        (args.output / name).mkdir(parents=True, exist_ok=True)
    where = str(args.output.resolve())
    return [
        Task(name, str(source.resolve()), args.group, text, where, args.report)
        for source, name in zip(sources, names_of(sources), strict=True)
    ]


def names_of(sources: Sequence[Path]) -> list[str]:
    """Name scans by their files: each stem with a digest of the whole path.

    A name depends on its own file alone, so that whatever else is in a cohort, now or at another call, no scan gets
    the images of another one.
    """
    digests = [hashlib.sha256(os.fsencode(source.resolve())).hexdigest() for source in sources]
    return [f"{source.stem}_{digest[:8]}" for source, digest in zip(sources, digests, strict=True)]


def _work(args: argparse.Namespace, left: list[Task]) -> dict[str, Row]:
    """Rows of the tasks by name, with a progress bar on a terminal."""
    if not left:
        return {}
    made = (
        local(left, args.jobs, args.retries)
        if args.engine == "local"
        else on_ray(left, args.jobs, args.retries, args.address)
    )
    found: dict[str, Row] = {}
    with Progress("scans", len(left), "scans") as progress:
        for row in made:
            found[row.scan] = row
            progress.advance()
            if row.status != "done":
                progress.print(f"{row.scan}: {row.status}: {row.error}")
    return found


def _print_outcome(rows: list[Row], paths: list[Path], worked: int, wall: float) -> int:
    """Print counts and paths; returns the exit status."""
    counts = {status: sum(row.status == status for row in rows) for status in ("done", "failed", "lost")}
    retried = sum(row.attempts > 1 for row in rows)
    text = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    print(f"{len(rows)} scans: {text}; {worked} now, in {wall:.1f} s{f'; {retried} tried again' if retried else ''}")
    if console() is not None:
        print_table("", COLUMNS, map(_cells, rows))
    print(f"table and page: {', '.join(map(str, paths))}")
    return 0 if counts["done"] == len(rows) else 1
