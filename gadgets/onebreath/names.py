"""Formatting of names and numbers in texts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LONGEST = 200  # characters of a name that are worth a search for similar ones
LISTED = 8  # of many numbers that a text names
QUOTED = 80  # characters of a peer's text that an error or a log line repeats


def shortened(text: object) -> str:
    """Return a peer's text as it may be quoted: not long, on one line, and with nothing that a terminal obeys."""
    try:
        whole = str(text)
    except ValueError:  # a number of more digits than Python spells
        whole = f"{type(text).__name__} of very many digits"
    plain = harmless(whole[:QUOTED]).replace("\n", "\\n")
    return plain if len(whole) <= QUOTED else f"{plain}... ({len(whole)} characters)"


def listed(numbers: Sequence[int] | Sequence[str]) -> str:
    """Return the first of many numbers or names in a row, and dots if there are more."""
    return ", ".join(map(str, numbers[:LISTED])) + (", ..." if len(numbers) > LISTED else "")


def abridged(texts: Sequence[str], most: int, separator: str = ", ") -> str:
    """Return the first `most` of several texts in a row, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


def harmless(text: str) -> str:
    """Return a text in which control and invisible characters, line ends excepted, are spelt out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)


def as_unicode(text: str) -> str:
    """Return a text with U+FFFD for bytes of a file's name that are no UTF-8, which Python holds as surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known names nearest to a wrong one; all of them if none is near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3) if len(name) <= LONGEST else []
    return f"Did you mean: {', '.join(near)}?" if near else f"Known are: {', '.join(known)}."
