"""Evaluations to repeat: the arguments of ``onebreath evaluate`` from a YAML file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml


class ReadSettings(argparse.Action):
    """Take arguments from a YAML file that names them without dashes, ``acceleration: [4, 8]``.

    They are checked as those of the command line are, and those that follow there replace them. Environment variables
    like ``$ONEBREATH_SHARED`` are filled in.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Read the file; ends the program with what is wrong and where."""
        file = Path(str(values))
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            parser.error(f"settings {file} cannot be read: {error}")
        if not isinstance(content, dict):
            parser.error(f"settings {file}: expected arguments and values, found {type(content).__name__}")
        if "settings" in content:
            parser.error(f"settings {file}: settings cannot name other settings")
        words = []
        for name, value in content.items():
            words.append(f"--{name}")
            words += [os.path.expandvars(str(one)) for one in (value if isinstance(value, list) else [value])]
        parser.parse_args(words, namespace)
