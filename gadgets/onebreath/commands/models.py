"""The ``onebreath models`` command: manage models, and show which one a scan would get."""

from __future__ import annotations

import argparse

from onebreath.zoo import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands of ``onebreath models``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    command.add_actions(actions)
    matching = actions.add_parser("match", help="tell which protocol rule fires for a scan, and why the others do not")
    matching.add_argument("file", help="raw data, an ISMRMRD HDF5 file")
    matching.add_argument("-c", "--config", default="Onebreath_Cine.xml", help="configuration (%(default)s)")
    matching.add_argument("-g", "--group", default="dataset", help="group of the raw data (default: %(default)s)")
    actions.add_parser(
        "rules", help="list the protocol rules in force and what is wrong with them; exit status 1 if so"
    )


def run(args: argparse.Namespace) -> int:
    """Run a sub-command; return the exit status.

    Raises
    ------
    OnebreathError
        If a model, a file or the rules are wrong.
    """
    if args.action not in ("match", "rules"):
        return command.run(args)
    from onebreath.commands import matching  # imports the gadgets: too slow for a list of models

    return matching.match(args.file, args.group, args.config) if args.action == "match" else matching.rules()
