"""One style of help for all commands: placeholders in capitals, and examples at the end."""

from __future__ import annotations

import argparse

from onebreath.commands.help.examples import epilog


class _Formatter(argparse.HelpFormatter):
    """Formatter that wraps text, except for the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


def in_one_style(parser: argparse.ArgumentParser, command: str = "") -> None:
    """Apply the common style to the help of a command and of its sub-commands."""
    if command:
        parser.epilog, parser.formatter_class = epilog(command), _Formatter
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                in_one_style(below)
        elif not action.option_strings and action.metavar is None and not action.choices:
            action.metavar = action.dest.upper()
