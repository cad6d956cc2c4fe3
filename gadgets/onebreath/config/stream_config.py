"""Gadgetron's stream configurations, parsed into nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError, tostring
from xml.sax.saxutils import quoteattr

from onebreath.config.serialisation import EVERYTHING, elements_for, foreign, messages_of
from onebreath.config.strictness import check_grammar
from onebreath.errors import ConfigError
from onebreath.wire.xml_guard import fromstring, unpadded

OWN_MODULE = "onebreath.host.entry"
UPLOADED = "the uploaded configuration"
MOST_NODES = 32
"""Of one configuration: each is a thread or a process with sockets."""


@dataclass(frozen=True)
class Execute:
    """``<execute>``: a process that the host starts for each connection."""

    module: str
    target: str
    kind: str

    def __str__(self) -> str:
        return f"{self.module}:{self.target}"


@dataclass(frozen=True)
class Connect:
    """``<connect>``: a service that runs already."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True)
class External:
    """An ``<external>`` node: what runs it, and its ``<configuration>`` element as XML (empty: none).

    `takes` are the messages that the node gets, by their ids; others go past it. `gives` are those that it may send.
    """

    action: Execute | Connect
    configuration: bytes
    takes: frozenset[int] = EVERYTHING
    gives: frozenset[int] = EVERYTHING

    def __str__(self) -> str:
        return f"external node {self.action}"

    @property
    def is_particular(self) -> bool:
        """Whether it names readers or writers of its own."""
        return (self.takes, self.gives) != (EVERYTHING, EVERYTHING)


@dataclass(frozen=True)
class Native:
    """A node that only Gadgetron itself can run, with the external nodes nested in it."""

    kind: str
    name: str
    inside: tuple[External, ...] = ()

    def __str__(self) -> str:
        return f"native node '{self.name}' (<{self.kind}>)"


Node = External | Native


@dataclass(frozen=True)
class StreamConfig:
    """A configuration: its nodes in the order of the data.

    `takes` are the messages that can be read from the client, by their ids, `gives` those that can be written to it;
    `foreign` are the readers and writers of which neither is known.
    """

    name: str
    nodes: tuple[Node, ...]
    takes: frozenset[int] = frozenset()
    gives: frozenset[int] = frozenset()
    foreign: tuple[str, ...] = ()

    @property
    def uploaded(self) -> bool:
        """Whether a client sent it, rather than an administrator having put it into the search path."""
        return self.name == UPLOADED


def parse(xml: bytes, name: str = UPLOADED) -> StreamConfig:
    """Parse a configuration of either grammar.

    Parameters
    ----------
    xml
        Text of the file.
    name
        What errors call it.

    Raises
    ------
    ConfigError
        If it is no configuration, or an Onebreath gadget stands in it as Gadgetron's old PythonGadget.
    """
    root = root_of(xml, name)
    check_grammar(root, xml, name)
    if root.tag == "gadgetronStreamConfiguration":
        gadgets = tuple(_legacy_gadget(element, name) for element in root.findall("gadget"))
        return _with_messages(name, gadgets, root, root)
    elements = list(root.iterfind("stream[1]/*"))
    if len(elements) > MOST_NODES:
        raise ConfigError(f"{name}: it has {len(elements)} nodes; at most {MOST_NODES} are run")
    nodes = tuple(_node(element, name) for element in elements)
    return _with_messages(name, nodes, root.find("readers"), root.find("writers"))


def root_of(xml: bytes, name: str) -> Element:
    """Return the root of a configuration's text, and all elements without their namespaces; see `parse`."""
    try:
        root = fromstring(xml)
    except (ParseError, ValueError) as error:
        raise ConfigError(f"{name} is not well-formed XML: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _with_messages(
    name: str, nodes: tuple[Node, ...], readers: Element | None, writers: Element | None
) -> StreamConfig:
    takes, gives = messages_of(readers, "reader", name), messages_of(writers, "writer", name)
    return StreamConfig(name, nodes, takes, gives, (*foreign(readers, "reader"), *foreign(writers, "writer")))


def own_node(target: str, configuration: bytes) -> External:
    """Make a node that runs one of our targets; `configuration` is the message that such a node gets."""
    text = unpadded(configuration)
    inside = tostring(fromstring(text)) if text.strip() else b""  # as it was parsed, whatever stands around it
    return External(Execute(OWN_MODULE, target, "python"), inside)


def as_xml(nodes: Sequence[External]) -> str:
    """Write a configuration of external nodes that `parse` reads back; every message is let in and out."""
    stream = []
    for node in nodes:
        if isinstance(node.action, Execute):
            pairs = {"name": node.action.module, "target": node.action.target, "type": node.action.kind}
            tag = "execute"
        else:
            pairs = {"address": node.action.address, "port": str(node.action.port)}
            tag = "connect"
        action = " ".join(f"{key}={quoteattr(text)}" for key, text in pairs.items())
        configuration = node.configuration.decode("utf-8", "replace")
        own = elements_for("reader", node.gives) + elements_for("writer", node.takes) if node.is_particular else ""
        stream.append(f"<external>{own}<{tag} {action}/>{configuration}</external>")
    everything = elements_for("reader", EVERYTHING) + elements_for("writer", EVERYTHING)
    return f"<configuration><version>2</version>{everything}<stream>{''.join(stream)}</stream></configuration>"


def _node(element: Element, name: str) -> Node:
    if element.tag == "external":
        return _external(element, name)
    label = element.findtext("name") or element.get("key") or element.findtext("classname") or "unnamed"
    inside = tuple(_external(nested, name) for nested in element.iter("external"))
    return Native(element.tag, label.strip(), inside)


def _external(element: Element, name: str) -> External:
    configuration = element.find("configuration")
    text = b"" if configuration is None else tostring(configuration).strip()
    readers, writers = element.find("readers"), element.find("writers")
    gives = messages_of(readers, "reader", name) if readers is not None and len(readers) else EVERYTHING
    takes = messages_of(writers, "writer", name) if writers is not None and len(writers) else EVERYTHING
    return External(_action(element, name), text, takes, gives)


def _action(element: Element, name: str) -> Execute | Connect:
    execute, connect = element.find("execute"), element.find("connect")
    if execute is not None and connect is None:
        module, target = execute.get("name", "").strip(), execute.get("target", "").strip()
        if not module or not target:
            raise ConfigError(f'{name}: <execute> needs name="module" and target="function"')
        return Execute(module, target, execute.get("type", "").strip().lower())
    if connect is not None and execute is None:
        port = connect.get("port", "").strip()
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"{name}: port '{port}' of a <connect> is not a number between 1 and 65535")
        return Connect(connect.get("address", "localhost").strip(), int(port))
    raise ConfigError(f"{name}: an <external> node needs either <execute> or <connect> (Unable to parse valid action)")


def _legacy_gadget(element: Element, name: str) -> Native:
    properties = {
        (p.findtext("name") or "").strip(): (p.findtext("value") or "").strip() for p in element.iter("property")
    }
    label = (element.findtext("name") or "unnamed").strip()
    if properties.get("python_module", "").startswith("onebreath"):
        raise ConfigError(
            f"{name}: gadget '{label}' is an Onebreath gadget in Gadgetron's old grammar (PythonGadget). Write a "
            f'<configuration> with <version>2</version> and <external><execute name="{OWN_MODULE}" .../></external>.'
        )
    return Native("gadget", label)
