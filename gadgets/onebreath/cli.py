"""The command line: one module per command, imported only when the command is called."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import TextIO, get_args

from onebreath import __version__
from onebreath.diagnostics import logs
from onebreath.errors import OnebreathError
from onebreath.shim_settings import line_to_complete
from onebreath.threads import settle_process

log = logging.getLogger("onebreath.cli")

COMMANDS = {
    "replay": ("onebreath.commands.replay", "send raw data files through a configuration and keep the images"),
    "serve": ("onebreath.commands.serve", "run the resident worker: for clients, <connect> nodes and <execute> nodes"),
    "tunnel": ("onebreath.commands.tunnel", "lead a port of this machine to a worker on another one, by TLS and token"),
    "status": ("onebreath.commands.status", "say what the resident worker does; also a health check"),
    "configs": ("onebreath.commands.configs", "list, show or check configurations"),
    "inspect": ("onebreath.commands.inspect", "say what a raw file holds, what the chain will do, and what is missing"),
    "install": ("onebreath.commands.install", "link configurations and models into a Gadgetron installation"),
    "openrecon": ("onebreath.commands.openrecon", "say what an OpenRecon container tells the scanner: label and PDF"),
    "selftest": (
        "onebreath.commands.selftest.command",
        "send simulated scans through a server and check what comes back",
    ),
    "simulate": ("onebreath.simulation.command", "write a simulated scan as an ISMRMRD file"),
    "demo": ("onebreath.commands.demo", "simulate a scan, reconstruct it, and leave pictures and a table"),
    "compare": ("onebreath.commands.compare", "all candidates on one scan: estimated errors, seconds, pictures"),
    "evaluate": ("onebreath.evaluation.command", "compare methods and models on the same scans: tables and figures"),
    "images": ("onebreath.evaluation.image_study", "compare networks for magnitude images, or train on few samples"),
    "train": ("onebreath.training.command", "train a network by a recipe; an interrupted run goes on"),
    "finetune": ("onebreath.training.finetune", "train on from a model's weights"),
    "report": ("onebreath.report.command", "make a page of a file of images: pictures, maps, what was decided and why"),
    "import": ("onebreath.vendor.command", "take raw data of a scanner into an ISMRMRD file"),
    "cohort": ("onebreath.cohort.command", "send many scans through a configuration; resumes, and leaves one table"),
    "accept": ("onebreath.acceptance.command", "measure noise, resolution, ghosts and details; a report to sign"),
    "convert": ("onebreath.convert.command", "write images as PNG, GIF, MP4 or NIfTI files"),
    "dicom": ("onebreath.dicom.command", "write images as DICOM files, or send them to a PACS"),
    "provenance": ("onebreath.commands.provenance", "say how the images in a file came about"),
    "reproduce": ("onebreath.commands.reproduce", "make images again from raw data and compare every bit"),
    "models": (
        "onebreath.commands.models",
        "list, show, document, check, import or export models",
    ),
    "completion": ("onebreath.commands.help.completion", "print what a shell needs to complete commands and options"),
}
"""Module and help text of each command; a module offers ``add_arguments(parser)`` and ``run(args) -> int``."""

OWN_OPTIONS = ("-h", "--help", "--version")
"""What may stand in place of a command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 1 after an error whose text went to standard error.

    Where the reader of the output goes away (``| head``) it ends like other programs, without a word.
    """
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads(sys.stdout):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is flushed when Python ends
        return 128 + signal.SIGPIPE


def _run(arguments: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = arguments[0] if arguments else ""
    settle_process(narrow=command not in ("train", "finetune"))
    asked = line_to_complete()
    if asked is not None:
        _complete(asked)
    if command.startswith("-") and command not in OWN_OPTIONS:
        _parser("").error(f"options go behind the command's name: onebreath COMMAND {command} ...")
    try:
        args = _parser(command).parse_args(arguments)
        logs.configure(args.log_level, args.log_format)
        _warn_of_misspelt_variables()
        return int(importlib.import_module(COMMANDS[args.command][0]).run(args))
    except (OnebreathError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads(sys.stdout):
            raise
        print(f"onebreath {command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _complete(line: str) -> None:
    """Answer a shell that asks how a line may go on, and end; only the command that it names is imported."""
    from argcomplete import autocomplete

    words = line.split()
    autocomplete(_parser(words[1] if len(words) > 1 else ""))


def _nobody_reads(output: TextIO) -> bool:
    """Return whether the other end of a pipe has been closed."""
    try:
        descriptor = output.fileno()
    except (OSError, ValueError):  # no file of the system's
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _warn_of_misspelt_variables() -> None:
    from onebreath.settings import misspelt

    for problem in misspelt():
        log.warning("%s", problem)


def _parser(command: str) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of the given command only: no other command's module is imported."""
    parser = argparse.ArgumentParser(prog="onebreath", description="Deep-learning MR reconstruction for Gadgetron.")
    parser.add_argument("--version", action="version", version=f"onebreath {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == command:
            _add_log_arguments(sub)
            importlib.import_module(module).add_arguments(sub)
            importlib.import_module("onebreath.commands.help.style").in_one_style(sub, name)
    return parser


def _add_log_arguments(parser: argparse.ArgumentParser) -> None:
    from onebreath.settings import LogFormat, LogLevel, settings  # pydantic takes longer to import than all the rest

    chosen = settings()
    parser.add_argument(
        "--log-level",
        default=chosen.log_level,
        choices=get_args(LogLevel),
        help="how much is logged to standard error (default: %(default)s)",
    )
    parser.add_argument(
        "--log-format",
        default=chosen.log_format,
        choices=get_args(LogFormat),
        help="text for people, or a JSON object per line (default: %(default)s)",
    )


if __name__ == "__main__":
    sys.exit(main())
