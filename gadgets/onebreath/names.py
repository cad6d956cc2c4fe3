"""Things found by the name that a person wrote: imported only when needed, and helpful when the name is wrong."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from onebreath.errors import ConfigError


def load_named(table: Mapping[str, str], name: str, kind: str) -> Any:
    """Import what `table` calls `name`, given there as ``"module:attribute"``.

    Raises
    ------
    ConfigError
        If the table has no such name; the text says what `kind` of thing was looked for and lists the nearest names.
    """
    if name not in table:
        raise ConfigError(f"There is no {kind} called '{name}'. {did_you_mean(name, table)}")
    module, attribute = table[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which known names are nearest to a wrong one; all of them if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3)
    return f"Did you mean: {', '.join(near)}?" if near else f"Known are: {', '.join(known)}."
