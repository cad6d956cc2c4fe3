"""Help with names that a person wrote wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which known names are nearest to a wrong one; all of them if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3)
    return f"Did you mean: {', '.join(near)}?" if near else f"Known are: {', '.join(known)}."
