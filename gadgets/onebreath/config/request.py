"""FIRE's JSON: what was chosen at the scanner's user interface for one scan, put into the configuration that it runs.

The message comes as a TEXT after the header::

    {"version": "1.1.0", "parameters": {"config": "Onebreath_Cine.xml", "method": "grappa", "noisemaps": "gfactor"}}

A name that is unknown, or a value that does not fit, is an error before any data flow: the scan would otherwise be
another one than was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from onebreath.chain.gadget import gadget_class, parse_properties
from onebreath.config.interface import AS_CONFIGURED, CONFIG, CUSTOM_CONFIG, parameters, spelled_out
from onebreath.config.properties import CHAIN_TARGET, properties_of
from onebreath.config.stream_config import OWN_MODULE, Connect, External, Native, Node, StreamConfig
from onebreath.errors import ConfigError
from onebreath.methods.base import method_class
from onebreath.names import did_you_mean, shortened
from onebreath.wire.connection import parse_config

VERSION = "1"
"""Of the message, before its first dot."""
REQUESTED = "requested"
"""Property of a node that tells what was chosen."""


@dataclass(frozen=True)
class Request:
    """The choices of one request.

    Attributes
    ----------
    config
        Name of a configuration; empty: none was named.
    settings
        Properties by gadget; what set each is in `origin`.
    origin
        What the user interface calls the parameter that set (gadget, property), and its value.
    """

    config: str = ""
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    origin: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def __str__(self) -> str:
        said = ([f"{CONFIG}={self.config}"] if self.config else []) + list(dict.fromkeys(self.origin.values()))
        return ", ".join(said)


def read_request(text: str) -> Request:
    """Read FIRE's message.

    Raises
    ------
    ConfigError
        If it is no JSON of this kind, or a parameter is unknown or does not fit.
    """
    given = _parameters_in(text)
    known = parameters()
    chosen = {name: _as_text(name, value) for name, value in given.items()}
    config, typed = chosen.pop(CONFIG, ""), chosen.pop(CUSTOM_CONFIG, "")
    config = typed or (config if config != AS_CONFIGURED else "")
    settings: dict[str, dict[str, str]] = {}
    origin: dict[tuple[str, str], str] = {}
    for name, value in chosen.items():
        if place := spelled_out(name):
            gadget, pairs = place[0], {place[1]: value}
        elif name in known:
            gadget, pairs = known[name].gadget, dict(known[name].properties(value))
        else:
            hint = did_you_mean(name, (CONFIG, CUSTOM_CONFIG, *known))
            raise ConfigError(f"The user interface sent the parameter '{name}', which Onebreath does not have. {hint}")
        for key, said in pairs.items():
            if (gadget, key) in origin and settings[gadget][key] != said:
                raise ConfigError(f"The user interface asks for {origin[gadget, key]} and for {name}={value} at once.")
            settings.setdefault(gadget, {})[key] = said
            origin[gadget, key] = f"{name}={value}"
    return Request(config, settings, origin)


def _parameters_in(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"The text after the header is not the JSON of a user interface: {error}.") from error
    if not isinstance(message, dict) or not isinstance(message.get("parameters"), dict):
        raise ConfigError('The JSON of the user interface must be an object with "parameters", which is an object too.')
    if unknown := sorted(set(message) - {"version", "parameters"}):
        raise ConfigError(f'The JSON of the user interface has \'{unknown[0]}\' beside "version" and "parameters".')
    version = str(message.get("version", VERSION))
    if version.partition(".")[0] != VERSION:
        raise ConfigError(f"The JSON of the user interface has version {version}; Onebreath knows version {VERSION}.")
    return message["parameters"]


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"'{shortened(name)}' stands in it twice")
    return found


def _as_text(name: str, value: Any) -> str:
    """Return a JSON value as a property's text."""
    if isinstance(value, str):
        if not value.isprintable():
            raise ConfigError(f"The parameter {name!r} of the user interface has characters that cannot be printed.")
        return value.strip()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)
    raise ConfigError(f"The parameter '{name}' of the user interface must be a text, a number, true or false.")


def apply(config: StreamConfig, request: Request) -> StreamConfig:
    """Put what was chosen into the nodes of a configuration.

    Raises
    ------
    ConfigError
        If no node of ours has a gadget that is spoken of, or its properties do not fit together then.
    """
    missing = set(request.settings)
    nodes: list[Node] = []
    for node in config.nodes:
        if isinstance(node, Native):
            nodes.append(node)
            continue
        changed, found = _changed(node, request)
        missing -= found
        nodes.append(changed)
    if missing:
        gadget = sorted(missing)[0]
        said = next(text for (name, _), text in request.origin.items() if name == gadget)
        raise ConfigError(f"{config.name} has no gadget '{gadget}', which {said} of the user interface speaks of.")
    return replace(config, nodes=tuple(nodes))


def _changed(node: External, request: Request) -> tuple[External, set[str]]:
    """Return the node as it was asked for, and the names of those of its gadgets that were spoken of."""
    element = parse_config(node.configuration)
    element = Element("configuration") if element is None else element
    gadgets = _gadgets(node, element)
    spoken = {name for name, _ in gadgets if name in request.settings}
    for name, holder in gadgets:
        if name in spoken:
            pairs = _joined(name, properties_of(list(holder), name), request)
            for child in list(holder):
                holder.remove(child)
            for key, text in pairs.items():
                SubElement(holder, "property", name=key, value=text)
    if gadgets and gadgets[0][1] is not element and str(request):  # a node of one gadget has no properties of its own
        element.insert(0, Element("property", name=REQUESTED, value=str(request)))
    elif not spoken:
        return node, spoken
    return replace(node, configuration=tostring(element)), spoken


def _gadgets(node: External, element: Element) -> Sequence[tuple[str, Element]]:
    """Our gadgets in a node, each with the element that holds its properties."""
    if not isinstance(node.action, Connect) and node.action.module != OWN_MODULE:
        return []
    if isinstance(node.action, Connect) or node.action.target == CHAIN_TARGET:
        return [(found.get("name", ""), found) for found in element.findall("gadget")]
    return [(node.action.target, element)]


def _joined(gadget: str, configured: Mapping[str, str], request: Request) -> dict[str, str]:
    """Properties of a gadget with what was chosen, checked."""
    chosen = request.settings[gadget]
    try:
        return checked(gadget, configured, chosen)
    except ConfigError as error:
        culprit = next((key for key in chosen if _fits_without(key, gadget, configured, chosen)), None)
        said = dict.fromkeys(request.origin[gadget, key] for key in ([culprit] if culprit else chosen))
        raise ConfigError(f"What the user interface asks for, {', '.join(said)}, does not fit: {error}") from error


def checked(gadget: str, configured: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """Return a gadget's properties with some of them replaced, and check them.

    Raises
    ------
    ConfigError
        If a name is unknown, or a value does not fit.
    """
    cls = gadget_class(gadget)
    pairs = dict(configured)
    if "method" in chosen:
        pairs = _with_method(pairs, chosen["method"], cls.Properties.model_fields)
    pairs |= chosen
    if "method" in chosen:
        _check_whole(chosen["method"], pairs)
    parse_properties(cls, pairs)
    return pairs


def _check_whole(method: str, pairs: Mapping[str, str]) -> None:
    """Raise ConfigError if a method was chosen without a parameter that only who chooses it can name, as its model."""
    for name, described in method_class(method).Parameters.model_fields.items():
        if described.is_required() and name not in pairs:
            raise ConfigError(f"method {method} needs '{name}' beside it. {described.description}")


def _fits_without(key: str, gadget: str, configured: Mapping[str, str], chosen: Mapping[str, str]) -> bool:
    try:
        checked(gadget, configured, {name: text for name, text in chosen.items() if name != key})
    except ConfigError:
        return False
    return True


def _with_method(pairs: Mapping[str, str], method: str, general: Mapping[str, Any]) -> dict[str, str]:
    """Properties of `reconstruct` with another method: parameters and candidates of the one before fall away."""
    if pairs.get("method") == method:
        return dict(pairs)
    kept = {key: text for key, text in pairs.items() if key in general and key != "candidates"}
    if method == "unrolled":
        kept["model"] = "auto"
    elif not method_class(method).learned:
        kept = {key: text for key, text in kept.items() if key not in ("fallback", "deadline_s", "send_out_classical")}
    return {**kept, "method": method}
