"""``onebreath finetune``: run a recipe from the weights of a model."""

from __future__ import annotations

import argparse

from onebreath.training import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath train``, with the start required."""
    command.add_arguments(parser, start_required=True)


def run(args: argparse.Namespace) -> int:
    """Run a recipe; returns the exit code."""
    return command.run(args)
