"""Reader of untrusted YAML: plain values only, without aliases, deep nesting or keys that stand twice."""

from __future__ import annotations

from typing import Any

import yaml

DEPTH = 50


class _PlainLoader(yaml.SafeLoader):
    """YAML loader that refuses aliases, by which few bytes become gigabytes, deep nesting, and keys that stand twice.

    YAML itself takes the last of two values without a word, and its author believes in the first.
    """

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

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                line, before = key.start_mark.line + 1, lines.get((key.tag, key.value))
                if before is not None:
                    where = f"in line {line}" if before == line else f"in lines {before} and {line}"
                    raise ValueError(f"'{key.value}' stands in it twice, {where}; leave one of them")
                lines[key.tag, key.value] = line
        return dict(super().construct_mapping(node, deep))


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
