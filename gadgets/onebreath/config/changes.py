"""Properties of a configuration set for one run: ``sort.phases=20``, as ``onebreath replay --set`` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from onebreath.config.node_options import read_options
from onebreath.config.properties import CHAIN_TARGET, properties_of
from onebreath.config.request import checked
from onebreath.config.stream_config import OWN_MODULE, parse, root_of
from onebreath.errors import ConfigError
from onebreath.names import did_you_mean
from onebreath.registry import GADGETS

NODE = "node"
"""What stands before the dot for properties of the node itself, such as deliver."""


def read_changes(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read texts ``gadget.property=value``; return the values by gadget and property.

    Raises
    ------
    ConfigError
        If a text has another form, names no gadget, or sets a property twice.
    """
    changes: dict[str, dict[str, str]] = {}
    for text in texts:
        place, equals, value = text.partition("=")
        gadget, dot, name = (part.strip() for part in place.partition("."))
        if not (equals and dot and gadget and name):
            raise ConfigError(f"'{text}' sets no property; write gadget.property=value, as in sort.phases=20")
        if gadget not in (NODE, *GADGETS):
            raise ConfigError(f"'{text}': there is no gadget '{gadget}'. {did_you_mean(gadget, (NODE, *GADGETS))}")
        if name in changes.setdefault(gadget, {}):
            raise ConfigError(f"'{text}': {gadget}.{name} is set twice")
        changes[gadget][name] = value.strip()
    return changes


def changed(xml: bytes, name: str, changes: Mapping[str, Mapping[str, str]]) -> bytes:
    """Return a configuration in which some properties are set; all are checked, as when it runs.

    Where a method is set, the parameters of the one before it fall away.

    Parameters
    ----------
    xml
        The configuration's file.
    name
        What errors call it.
    changes
        Values by gadget and property.

    Raises
    ------
    ConfigError
        If the configuration has no such gadget, or the gadget no such property, or the value does not fit.
    """
    parse(xml, name)
    root = root_of(xml, name)
    missing, there = set(changes), set[str]()
    for node in root.iter("external"):
        for gadget, holder in _gadgets(node):
            there.add(gadget)
            if gadget in changes:
                missing.discard(gadget)
                _set(holder, gadget, changes[gadget])
    if missing:
        gadget = sorted(missing)[0]
        listed = ", ".join(sorted(there - {NODE})) or "none of Onebreath's gadgets"
        raise ConfigError(f"{name} has no gadget '{gadget}' whose properties could be set; it has {listed}")
    text: bytes = tostring(root)
    return text


def _gadgets(node: Element) -> list[tuple[str, Element]]:
    """Our gadgets in an external node, and the node itself, each with the element that holds its properties."""
    execute, configuration = node.find("execute"), node.find("configuration")
    if execute is not None and execute.get("name") != OWN_MODULE:
        return []
    if execute is not None and execute.get("target") != CHAIN_TARGET:
        holder = SubElement(node, "configuration") if configuration is None else configuration
        return [(execute.get("target", ""), holder)]
    if configuration is None:
        return []
    inside = [(found.get("name", ""), found) for found in configuration.findall("gadget")]
    ours = [(name, found) for name, found in inside if name in GADGETS]
    return [*ours, (NODE, configuration)] if ours else []


def _set(holder: Element, gadget: str, pairs: Mapping[str, str]) -> None:
    held = [child for child in holder if child.tag == "property"]
    configured = properties_of(held, gadget)
    made = {**configured, **pairs} if gadget == NODE else checked(gadget, configured, pairs)
    for child in held:
        holder.remove(child)
    for place, (name, value) in enumerate(made.items()):
        holder.insert(place, Element("property", name=name, value=value))
    if gadget == NODE:
        read_options(holder, CHAIN_TARGET)
