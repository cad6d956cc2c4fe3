"""The ``onebreath completion`` command: shell code that completes commands, options and files."""

from __future__ import annotations

import argparse

from onebreath.optional import required

SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath completion``."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads it")


def run(args: argparse.Namespace) -> int:
    """Print the shell's code; it asks ``onebreath`` itself, so that it fits every version."""
    argcomplete = required("argcomplete", "completion", "Completion")
    print(argcomplete.shellcode(["onebreath"], shell=args.shell))
    return 0
