"""Arguments of ``onebreath evaluate`` from a YAML file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onebreath.zoo.yaml_guard import read_yaml


class ReadSettings(argparse.Action):
    """Read arguments from a YAML file that names them without dashes, ``acceleration: [4, 8]``.

    They are validated like those of the command line, where later arguments override them. Environment variables like
    ``$ONEBREATH_SHARED`` are expanded.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Read the file; ends the program with a message if it is invalid."""
        file = Path(str(values))
        try:
            content = read_yaml(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
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
