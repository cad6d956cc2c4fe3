"""XML that attacks its reader: entities, files, depth, size, at every place where a peer's XML is parsed."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

import onebreath
from onebreath.config.stream_config import parse
from onebreath.errors import ConfigError, ScanError, WireError
from onebreath.wire.channel import Channel
from onebreath.wire.connection import parse_config, parse_header
from onebreath.wire.xml_guard import DEPTH, fromstring, plain_meta
from tests.fuzz.tape import Tape
from tests.host.wiring import HEADER, encoded, image, image_array

LAUGHS = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
ATTACKS = {
    "entities": b'<!DOCTYPE x [<!ENTITY a0 "ha">%s]><x>&a11;</x>' % LAUGHS,
    "file": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "address": b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><x/>',
    "parameter": b'<!DOCTYPE x [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]><x/>',
    "attribute": b'<!DOCTYPE x [<!ATTLIST x y CDATA "z">]><x/>',
    "deep": b"<x>" * 200_000 + b"</x>" * 200_000,
    "many": b"<x>" + b"<y/>" * 500_000 + b"</x>",
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(
    ("parser", "error"), [(parse, ConfigError), (parse_config, ConfigError), (parse_header, ScanError)]
)
def test_attacks_are_refused_at_once(parser, error, name) -> None:  # type: ignore[no-untyped-def]
    begun = time.monotonic()
    with pytest.raises(error):
        parser(ATTACKS[name])
    assert time.monotonic() - begun < 5


def test_what_is_as_deep_as_permitted_is_read() -> None:
    assert fromstring(b"<x>" * DEPTH + b"</x>" * DEPTH).tag == "x"
    assert parse_header(HEADER).encoding[0].encodedSpace.matrixSize.x == 16


@pytest.mark.parametrize("message", [image(a="b"), image_array(None, "<ismrmrdMeta/>", "<ismrmrdMeta/>")])
def test_metas_declare_no_document_type(message) -> None:  # type: ignore[no-untyped-def]
    data = encoded(message)
    assert Channel(Tape(data)).read()  # type: ignore[arg-type]
    at = data.index(b"<ismrmrdMeta")
    with pytest.raises(WireError, match="document type"):
        # The same length, so that everything else stays right.
        Channel(Tape(data[:at] + b"<!DOCTYPE x> "[:12].ljust(12) + data[at + 12 :])).read()  # type: ignore[arg-type]
    with pytest.raises(WireError, match="document type"):
        plain_meta(ATTACKS["entities"].decode(), "a meta")


def test_no_other_parser_of_xml_is_used() -> None:
    """Only the guard parses; `Meta.deserialize` reads texts that `plain_meta` has passed, or that were made here."""
    parsers = {"fromstring", "XML", "XMLParser", "iterparse", "parseString", "XMLPullParser", "CreateFromDocument"}
    found = set()
    root = Path(onebreath.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in parsers:
                found.add((path.relative_to(root).as_posix(), node.attr))
    assert found == {("wire/connection.py", "CreateFromDocument")}


def test_no_other_parser_of_yaml_is_used() -> None:
    """Only the guard parses, which takes no aliases: cards, rules, recipes, settings and limits may be anybody's."""
    found, root = set(), Path(onebreath.__file__).parent
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in {"safe_load", "load", "full_load", "unsafe_load"}:
                name = node.value.id if isinstance(node.value, ast.Name) else ""
                found |= {path.relative_to(root).as_posix()} if name == "yaml" else set()
    assert found == {"zoo/yaml_guard.py"}
