"""Repair of headers that violate the schema: missing or unknown elements are reported, and the rest is read."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any
from xml.etree.ElementTree import Element, SubElement

from ismrmrd import xsd

NAMESPACE = "http://www.ismrm.org/ISMRMRD"

_FILLED = {
    ("encodingType", "encodingLimits"): ("", "limits and k-space centre are taken from the lines"),
    ("encodingType", "trajectory"): ("cartesian", "the scan is taken to be Cartesian"),
    ("ismrmrdHeader", "experimentalConditions"): ("", "nothing needs it"),
    ("experimentalConditionsType", "H1resonanceFrequency_Hz"): ("0", "nothing needs it"),
}
"""Required sections that the chain can do without: what stands in for them, and what follows."""


def repair(root: Element) -> list[str]:
    """Change a header's tree so that the schema classes can read it; return a description of the changes.

    An element that lacks something is taken out if nothing can stand in for it; the text names it.
    """
    said: list[str] = []
    if not root.tag.startswith("{"):
        for element in root.iter():
            element.tag = f"{{{NAMESPACE}}}{element.tag}"
        said.append("The header has no XML namespace; ISMRMRD's was taken.")
    _repair(root, xsd.ismrmrdHeader, (), said)
    return said


def _repair(element: Element, kind: type, path: tuple[str, ...], said: list[str]) -> bool:
    """Repair an element and what is in it; False if it cannot be used."""
    known = _parts(kind)
    seen: set[str] = set()
    for child in list(element):
        tag = _local(child.tag)
        if tag not in known:
            element.remove(child)
            said.append(f"The header's {_named(*path, tag)} is not in ISMRMRD's schema and was not read.")
        elif tag in seen and not known[tag][2]:
            element.remove(child)
            said.append(f"The header has {_named(*path, tag)} more than once; the first one was read.")
        elif (inner := known[tag][0]) is not None and not _repair(child, inner, (*path, tag), said):
            element.remove(child)
        else:
            seen.add(tag)
    present = {_local(child.tag) for child in element} | set(element.attrib)
    usable = True
    for tag, (_, required, _) in known.items():
        if not required or tag in present:
            continue
        text, follows = _FILLED.get((kind.__name__, tag), (None, ""))
        if text is None:
            usable = False
            said.append(f"The header's {_named(*path) or 'root'} has no usable {_named(tag)} and was not read.")
        else:
            said.append(f"The header has no {_named(*path, tag)}: {follows}.")
            made = SubElement(element, f"{{{NAMESPACE}}}{tag}")
            made.text = text
            if known[tag][0] is not None:
                _repair(made, known[tag][0], (*path, tag), [])
    return usable


@cache
def _parts(kind: type) -> dict[str, tuple[Any, bool, bool]]:
    """Return the parts of a schema class by their name: its class, if any, and whether it is required, and a list."""
    hints = typing.get_type_hints(kind)
    return {
        str(part.metadata.get("name", part.name)): (
            next((one for one in _types(hints[part.name]) if is_dataclass(one)), None),
            part.default is MISSING and part.default_factory is MISSING,
            typing.get_origin(hints[part.name]) is list,
        )
        for part in fields(kind)
    }


def _types(hint: Any) -> Iterator[Any]:
    inner = typing.get_args(hint)
    if not inner:
        yield hint
    for one in inner:
        yield from _types(one)


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def _named(*path: str) -> str:
    return "".join(f"<{tag}>" for tag in path)
