"""Reader of untrusted YAML: plain values only, without aliases or deep nesting."""

from __future__ import annotations

from typing import Any

import yaml

DEPTH = 50


class _PlainLoader(yaml.SafeLoader):
    """YAML loader that refuses aliases, by which a few bytes expand to gigabytes, and deep nesting."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise ValueError("it has aliases (*name); write what they stand for")
        self.depth += 1
        if self.depth > DEPTH:
            raise ValueError(f"it is nested deeper than {DEPTH}")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def read_yaml(text: str | bytes) -> Any:
    """Content of a document.

    Raises
    ------
    ValueError
        If it is not YAML, contains an invalid date or a too long number, or anything that `_PlainLoader` refuses.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError, LookupError, AttributeError) as error:
        raise ValueError(str(error)) from error
