"""Argument types of the command line; an invalid value is reported in one line that names the option."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from onebreath.errors import ConfigError

LAST_PORT = 65535


def port(text: str) -> int:
    """Read a TCP port; 0 means any that is free."""
    number = _whole(text)
    if not 0 <= number <= LAST_PORT:
        raise ArgumentTypeError(f"{number} is no port; ports are 0 (any that is free) to {LAST_PORT}")
    return number


def port_or_none(text: str) -> int:
    """Read a TCP port; -1 means none."""
    return -1 if text == "-1" else port(text)


def at_least(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` up."""

    def read(text: str) -> int:
        number = _whole(text)
        if number < least:
            raise ArgumentTypeError(f"{number} is too small; it is a whole number from {least} up")
        return number

    return read


def amount(text: str) -> float:
    """Read a number from 0 up."""
    number = _real(text)
    if number < 0:
        raise ArgumentTypeError(f"{text} is negative; it is a number from 0 up")
    return number


def positive(text: str) -> float:
    """Read a number above 0."""
    number = _real(text)
    if number <= 0:
        raise ArgumentTypeError(f"{text} is too small; it is a number above 0")
    return number


def folder(text: str) -> Path:
    """Read the name of a folder, which need not exist yet."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise ArgumentTypeError(f"{text} is no folder, but a file")
    return path


def folder_beside(file: Path) -> Path:
    """Return the folder beside a file that has its name without the ending; it need not exist yet.

    Raises
    ------
    ConfigError
        If there is a file of this name.
    """
    path = file.with_suffix("")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file; name a folder with -o.")
    return path


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is no whole number") from None


def _real(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ArgumentTypeError(f"'{text}' is no finite number")
    return number
