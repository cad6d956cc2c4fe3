"""Options of the worker's page; without them nothing of it is imported."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from onebreath.options import amount, port, positive


@dataclass(frozen=True)
class WebOptions:
    """Options of the page.

    Parameters
    ----------
    port
        Where it is served, on this computer only; 0: any free one.
    token_file
        File with the token; None: one that is made in the state folder.
    days
        For how long scans are in the history.
    hours
        For how long images are kept for thumbnails and reports; 0: not at all.
    """

    port: int
    token_file: Path | None = None
    days: float = 400.0
    hours: float = 48.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments for the page."""
    usual = WebOptions(0)
    parser.add_argument("--web", type=port, metavar="PORT", help="serve a page on this port of this computer")
    parser.add_argument(
        "--web-token-file", type=Path, help="file with the token of the page (default: one is made in STATE/web)"
    )
    parser.add_argument(
        "--web-days", type=positive, default=usual.days, help="days that the page remembers (default: %(default)g)"
    )
    parser.add_argument(
        "--web-pictures",
        type=amount,
        default=usual.hours,
        metavar="HOURS",
        help="hours that images are kept for thumbnails and reports; 0: not at all (default: %(default)g)",
    )


def options_of(args: argparse.Namespace) -> WebOptions | None:
    """Return the options that the arguments ask for; None: no page."""
    if args.web is None:
        return None
    return WebOptions(args.web, args.web_token_file, args.web_days, args.web_pictures)
