"""The ``onebreath report`` command: a page that shows a reconstruction and says how it came about."""

from __future__ import annotations

import argparse
from pathlib import Path

from onebreath.report.page import write_report
from onebreath.terminal import working


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath report``."""
    parser.add_argument("images", type=Path, help="file of images, as onebreath replay writes it")
    parser.add_argument("scan", type=Path, nargs="?", help="raw data they were made from: adds header, lines, sampling")
    parser.add_argument("-o", "--output", type=Path, help="HTML file (default: beside the images, with their name)")
    parser.add_argument("-g", "--scan-group", default="dataset", help="group of the raw data (default: %(default)s)")
    parser.add_argument("-G", "--group", help="group of the images (default: the last one)")


def run(args: argparse.Namespace) -> int:
    """Write the page, and say where it lies."""
    output = args.output or args.images.with_suffix(".html")
    with working(f"making {output}"):
        write_report(args.images, output, args.group, args.scan, args.scan_group)
    print(f"report: {output}")
    return 0
