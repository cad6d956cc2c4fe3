"""Checks for everything that a Gadgetron server (4.7.2) refuses in a configuration."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from onebreath.errors import ConfigError

ROOTS = ("configuration", "gadgetronStreamConfiguration")
NODES = ("gadget", "external", "parallel", "parallelprocess", "distributed", "puredistributed")
ONLY_NATIVE = ("parallelprocess", "puredistributed")
"""Nodes whose children are all read as native gadgets, whatever they are."""
REFUSAL = "Gadgetron refuses it (No parser accepted config file)"
_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_PREFIXED = re.compile(rb"<([A-Za-z_][\w.-]*:[\w.-]+)")


def check_grammar(root: Element, xml: bytes, name: str) -> None:
    """Check a configuration's elements, whose names are without namespaces; `xml` is its text.

    Raises
    ------
    ConfigError
        If Gadgetron would refuse it, or would lose a node of it without a word.
    """
    if prefixed := _PREFIXED.search(_COMMENT.sub(b"", xml)):
        tag = prefixed[1].decode("utf-8", "replace")
        raise ConfigError(f"{name}: Gadgetron knows no element with a prefix (<{tag}>); write it without: {REFUSAL}")
    if root.tag not in ROOTS:
        raise ConfigError(f"{name}: its root is <{root.tag}>, not <configuration>: {REFUSAL}")
    if root.tag == "gadgetronStreamConfiguration":
        _check_old(root, name)
    else:
        _check_new(root, name)
    _check_properties(root, name)


def _check_old(root: Element, name: str) -> None:
    if root.find("external") is not None:
        raise ConfigError(
            f"{name}: Gadgetron ignores <external> in the old grammar; write <configuration> with <version>2</version>"
        )
    if root.find("gadget") is None:
        raise ConfigError(f"{name}: it has no <gadget>")


def _check_new(root: Element, name: str) -> None:
    if (root.findtext("version") or "") != "2":
        raise ConfigError(f"{name}: it lacks <version>2</version>, with nothing else between the tags: {REFUSAL}")
    stream = root.find("stream")
    if stream is None or not len(stream):
        raise ConfigError(f"{name}: it has no <stream> with nodes")
    _check_stream(stream, name)


def _check_stream(stream: Element, name: str) -> None:
    texts = [stream.text, *(child.tail for child in stream)]
    for text in texts:
        if text and text.strip():
            raise ConfigError(
                f"{name}: '{text.strip()[:40]}' is between the nodes; Gadgetron takes it for one (unordered_map::at)"
            )
    for node in stream:
        if node.tag not in NODES:
            raise ConfigError(
                f"{name}: <{node.tag}> is no node of a stream, so Gadgetron would refuse it (unordered_map::at)"
            )
        if node.tag in ONLY_NATIVE and next(node.iter("external"), None) is not None:
            raise ConfigError(
                f"{name}: <{node.tag}> takes native gadgets only; Gadgetron cannot load an <external> there"
            )
        if node.tag == "distributed" and next(node.iter("external"), None) is not None:
            raise ConfigError(
                f"{name}: <distributed> loses target, address and configuration of an <external> on the way to the "
                "other server; put it outside"
            )
        for nested in node.findall("stream") if node.tag == "parallel" else ():
            _check_stream(nested, name)


def _check_properties(root: Element, name: str) -> None:
    """Check the properties of everything that Gadgetron reads as a gadget."""
    known = {
        f"{_name(entry)}@{element.findtext('name')}"
        for element in root.iter()
        if element.find("name") is not None
        for entry in element.findall("property")
    }
    for element in root.iter():
        if element.find("name") is None and not (element.tag == "gadget" and element.find("dll") is not None):
            continue
        for entry in element.findall("property"):
            _check_property(entry, known, name)


def _check_property(entry: Element, known: set[str], name: str) -> None:
    attributes = entry.get("name") is not None and entry.get("value") is not None
    children = entry.find("name") is not None and entry.find("value") is not None
    label = _name(entry)
    if attributes and children:
        raise ConfigError(f"{name}: property '{label}' has its value twice; Gadgetron: Ambiguous property parse")
    if not attributes and not children:
        raise ConfigError(f"{name}: property '{label}' lacks its name or value; Gadgetron: Unable to parse property")
    value = entry.get("value", "") if attributes else entry.findtext("value") or ""
    if "@" in value and value not in known:
        raise ConfigError(
            f"{name}: '{value}' of property '{label}' is read as a reference, property@gadget, and there is none such"
        )


def _name(entry: Element) -> str:
    return entry.get("name") or entry.findtext("name") or ""
