"""The ``onebreath accept`` command: measured tests of scans, configuration and models, for a physicist to sign."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onebreath.acceptance.examination import Examination, examine
from onebreath.acceptance.findings import overall
from onebreath.acceptance.limits import as_yaml, read_limits
from onebreath.acceptance.page import write_page, write_table
from onebreath.acceptance.pdf import write_pdf
from onebreath.acceptance.subject import read_subject
from onebreath.errors import ConfigError, OnebreathError
from onebreath.keeping import write_text
from onebreath.optional import required
from onebreath.options import folder
from onebreath.wire.outputs import earlier, remove

PASSED, FAILED, ERROR = 0, 1, 2
_NAMES = ("acceptance.html", "acceptance.json", "acceptance.pdf", "limits.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath accept``."""
    parser.add_argument("scans", nargs="+", type=Path, metavar="SCAN.h5", help="raw data, best of a round phantom with "
        "air around it, fully sampled, several frames, with noise lines")  # fmt: skip
    parser.add_argument("-o", "--output", type=folder, required=True, metavar="DIR", help="folder for report and table")
    parser.add_argument("--overwrite", action="store_true", help="replace a report of before that lies in the folder")
    parser.add_argument("-c", "--config", help="configuration that prepares the scans (default: the one that suits)")
    parser.add_argument("-g", "--group", default="dataset", help="group of the raw data (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", default=[], metavar="METHOD", help="methods and models to test, as in "
        "onebreath evaluate (default: GRAPPA and the candidates of the protocol rule)")  # fmt: skip
    parser.add_argument("--limits", type=Path, metavar="FILE.yaml", help="the site's limits; those that are left out "
        "have their default. DIR/limits.yaml tells all that were used")  # fmt: skip
    parser.add_argument("--pdf", action=argparse.BooleanOptionalAction, default=None, help="also make a PDF, by "
        "Chromium or WeasyPrint; without this option: if one of them is there")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Test and write the report; 0: nothing failed and something passed, 1: a test failed, 2: no verdict."""
    try:
        return _accept(args)
    except (OnebreathError, OSError) as error:
        print(f"onebreath accept: {error}", file=sys.stderr)
        return ERROR


def _accept(args: argparse.Namespace) -> int:
    for name in ("jinja2", "matplotlib", "skimage"):
        required(name, "report", "An acceptance report")
    limits = read_limits(args.limits)
    if args.limits is not None and args.limits.resolve() == (args.output / "limits.yaml").resolve():
        raise ConfigError(
            f"{args.limits} is what is read here, and would be written over; name another folder with -o."
        )
    before = earlier(args.output, _NAMES, args.overwrite)
    found: list[Examination] = []
    for path in args.scans:
        subject = read_subject(path, args.group, args.config)
        print(f"{path}: prepared by {subject.config}")
        one = examine(subject, limits, args.methods, lambda text: print(f"  testing {text}", file=sys.stderr))
        for finding in one.findings:
            print(f"  {finding}")
        found.append(one)
    args.output.mkdir(exist_ok=True)
    remove(before)  # all of it: a PDF of a run that passed must not lie beside the page of one that failed
    write_text(args.output / "limits.yaml", as_yaml(limits))
    page = write_page(args.output / "acceptance.html", found, limits)
    paths = [page, write_table(args.output / "acceptance.json", found), args.output / "limits.yaml"]
    if args.pdf is not False:
        made, why = write_pdf(page, page.with_suffix(".pdf"))
        if made is None and args.pdf:
            raise ConfigError(f"no PDF could be made: {why}")
        if made is None:
            print(f"no PDF: {why}", file=sys.stderr)
        else:
            paths.insert(1, made)
    outcome = overall(finding for one in found for finding in one.findings)
    counts = {
        kind: sum(f.outcome == kind for one in found for f in one.findings) for kind in ("passed", "failed", "not done")
    }
    print(f"{outcome}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items() if count))
    print(f"report: {', '.join(map(str, paths))}")
    return {"passed": PASSED, "failed": FAILED}.get(outcome, ERROR)
