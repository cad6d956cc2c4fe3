"""``onebreath finetune``: run a recipe, starting from the weights of a model."""

from __future__ import annotations

import argparse

from onebreath.training import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``onebreath train``; ``--start`` is required."""
    command.add_arguments(parser, start_required=True)


def run(args: argparse.Namespace) -> int:
    """Run a recipe; returns the exit code."""
    return command.run(args)
