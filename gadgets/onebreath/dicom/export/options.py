"""Options of a worker that sends images to a PACS."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from onebreath.options import folder


@dataclass(frozen=True)
class ExportOptions:
    """How images are sent.

    Parameters
    ----------
    pacs
        Each PACS, as ``AETITLE@HOST:PORT``.
    calling
        AE title of this sender.
    folder
        Where instances wait; None: ``pacs`` in the state folder.
    anonymise
        Name that replaces the patient's; empty: one is derived from the images; None: names are kept.
    enhanced
        Whether each series becomes one enhanced MR instance.
    """

    pacs: tuple[str, ...]
    calling: str = "ONEBREATH"
    folder: Path | None = None
    anonymise: str | None = None
    enhanced: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments for sending to a PACS."""
    usual = ExportOptions(())
    parser.add_argument(
        "--pacs",
        action="append",
        default=[],
        metavar="AETITLE@HOST:PORT",
        help="send the images of every scan that has ended to this PACS; may be repeated",
    )
    parser.add_argument(
        "--pacs-calling",
        default=usual.calling,
        metavar="AETITLE",
        help="AE title of this sender (default: %(default)s)",
    )
    parser.add_argument(
        "--pacs-folder", type=folder, help="folder in which instances wait (default: pacs in the state folder)"
    )
    parser.add_argument(
        "--pacs-anonymise",
        nargs="?",
        const="",
        metavar="NAME",
        help="send without patient, study and dates; NAME replaces the patient's (default: derived from the images)",
    )
    parser.add_argument(
        "--pacs-enhanced", action="store_true", help="send enhanced MR instances, one for each place of a series"
    )


def options_of(args: argparse.Namespace) -> ExportOptions | None:
    """Return the options that the arguments ask for; None: nothing is sent."""
    if not args.pacs:
        return None
    return ExportOptions(
        tuple(dict.fromkeys(args.pacs)), args.pacs_calling, args.pacs_folder, args.pacs_anonymise, args.pacs_enhanced
    )
