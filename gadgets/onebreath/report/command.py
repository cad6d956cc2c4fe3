"""The ``onebreath report`` command: a page that shows a reconstruction and how it was made."""

from __future__ import annotations

import argparse
from pathlib import Path

from onebreath.images.completeness import warn_if_incomplete
from onebreath.report.page import write_report
from onebreath.terminal import working
from onebreath.wire.outputs import PAGE, check_folder, check_output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``onebreath report``."""
    parser.add_argument("images", type=Path, help="file of images, as written by onebreath replay")
    parser.add_argument("scan", type=Path, nargs="?", help="raw data of the images: adds header, lines and sampling")
    parser.add_argument("-o", "--output", type=Path, help="HTML file (default: named after the images, next to them)")
    parser.add_argument("-g", "--scan-group", default="dataset", help="group of the raw data (default: %(default)s)")
    parser.add_argument("-G", "--group", help="group of the images (default: the one made last)")


def run(args: argparse.Namespace) -> int:
    """Write the page and print its path; returns the exit status."""
    output = args.output or args.images.with_suffix(".html")
    warn_if_incomplete(args.images, args.group)
    check_folder(output, "The page")
    check_output(output, PAGE, (args.images, args.scan))
    with working(f"making {output}"):
        write_report(args.images, output, args.group, args.scan, args.scan_group)
    print(f"report: {output}")
    return 0
