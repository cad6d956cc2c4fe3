"""XML from the wire: no document type, no entities, nothing external, not deeper and not larger than real ones."""

from __future__ import annotations

import re
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder, tostring

import ismrmrd
from defusedxml.ElementTree import DefusedXMLParser

from onebreath.errors import WireError

DEPTH = 100
ELEMENTS = 100_000
ATTRIBUTES = 100


class _BoundedBuilder(TreeBuilder):
    """Builds the tree of a document as long as it stays small."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._elements = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        if len(attrs) > ATTRIBUTES:
            raise ValueError(f"an element has {len(attrs)} attributes, more than {ATTRIBUTES}")
        self._depth += 1
        self._elements += 1
        if self._depth > DEPTH or self._elements > ELEMENTS:
            raise ValueError(f"it is nested deeper than {DEPTH} elements, or has more than {ELEMENTS}")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def unpadded(text: bytes) -> bytes:
    """Return a text without the NULs that the C++ client adds; in UTF-16 every other byte of one is NUL, too."""
    kept = text.rstrip(b"\0")
    return kept + b"\0" if text.startswith((b"\xff\xfe", b"<\0")) and len(kept) % 2 else kept


def fromstring(text: bytes) -> Element:
    """Parse a document that a peer sent.

    Raises
    ------
    ParseError
        If it is no XML.
    ValueError
        If it declares a document type, entities or an unknown encoding, or is too deep or too large.
    """
    parser = DefusedXMLParser(target=_BoundedBuilder(), forbid_dtd=True)
    try:
        parser.feed(unpadded(text))
    except LookupError as error:
        raise ValueError(str(error)) from error
    root: Element = parser.close()
    return root


def as_text(header: bytes) -> str:
    """Return a header as text, whatever its encoding: the text names none but UTF-8, so that it says the same again."""
    octets = unpadded(header)
    declared = octets.lstrip().partition(b"?>")[0] if octets.lstrip().startswith(b"<?xml") else b""
    other = b"encoding" in declared and not re.search(rb"encoding\s*=\s*[\"']utf-?8[\"']", declared, re.IGNORECASE)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        other = True
    return tostring(fromstring(header), encoding="unicode") if other else text


def plain_meta(text: str, name: str) -> str:
    """Return the meta of an image if it declares no document type, without which there are no entities.

    Metas are parsed by the `ismrmrd` package, which trusts what it reads; see `read_meta`.

    Raises
    ------
    WireError
        Naming what was read.
    """
    if "<!DOCTYPE" in text:
        raise WireError(f"{name} declares a document type, which may hide entities; it is not read")
    return text


def read_meta(text: str, name: str = "the meta of an image") -> ismrmrd.Meta:
    """Read the meta of an image; empty if there is no text.

    Empty values are empty texts: the `ismrmrd` package makes None of them, and the text "None" when it writes them.

    Raises
    ------
    WireError
        If it is no meta, or declares a document type.
    """
    try:
        read = ismrmrd.Meta.deserialize(plain_meta(text, name).strip())
    except WireError:
        raise
    except Exception as error:  # the package's readers raise what theirs raise
        raise WireError(f"{name} cannot be read: {error}") from error
    return ismrmrd.Meta({key or "": _without_none(value) for key, value in read.items()})


def _without_none(value: Any) -> Any:
    return [one or "" for one in value] if isinstance(value, list) else value or ""
