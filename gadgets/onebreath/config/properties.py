"""Parser for the ``<configuration>`` of an Onebreath node: gadgets in order, and their properties.

A node of target ``chain`` holds ``<gadget name="...">`` elements with ``<property>`` children, and ``<property>``
elements of the node itself; a node whose target is one gadget holds that gadget's ``<property>`` elements directly. A
property is written ``<property name="x" value="y"/>`` or ``<property><name>x</name><value>y</value></property>``.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from onebreath.errors import ConfigError

CHAIN_TARGET = "chain"
MOST_GADGETS = 32
"""Of one chain: each may be a thread, and the order needs but six."""
MOST_PROPERTIES = 500
"""Of one gadget."""


def steps_of(configuration: Element | None, target: str) -> list[tuple[str, dict[str, str]]]:
    """Read the gadgets of a node, first to last, with their property texts.

    Parameters
    ----------
    configuration
        The ``<configuration>`` element; None if the node has none.
    target
        ``chain``, or the name of the only gadget.

    Raises
    ------
    ConfigError
        If an element does not belong there, or a property is given twice or in both forms.
    """
    if target != CHAIN_TARGET:
        children = [] if configuration is None else list(configuration)
        if any(child.tag == "gadget" for child in children):
            raise ConfigError(
                f'The node of gadget "{target}" holds <gadget> elements; write its <property> elements directly into '
                f'<configuration>, or use target="{CHAIN_TARGET}".'
            )
        return [(target, properties_of(children, target))]
    gadgets = [] if configuration is None else [element for element in configuration if element.tag != "property"]
    if not gadgets:
        raise ConfigError(
            'The node of target "chain" names no gadgets; write <configuration><gadget name="prewhiten"/>...'
        )
    if len(gadgets) > MOST_GADGETS:
        raise ConfigError(f'The node of target "chain" names {len(gadgets)} gadgets; at most {MOST_GADGETS} are run.')
    return [_gadget(element) for element in gadgets]


def node_properties(configuration: Element | None, target: str) -> dict[str, str]:
    """Read the properties of the node itself; only a node of target ``chain`` has any."""
    if configuration is None or target != CHAIN_TARGET:
        return {}
    return properties_of([element for element in configuration if element.tag == "property"], "the node")


def _gadget(element: Element) -> tuple[str, dict[str, str]]:
    if element.tag != "gadget":
        raise ConfigError(f'<{element.tag}> stands where <gadget name="..."> belongs in the configuration of a chain.')
    name = element.get("name", "").strip()
    if not name:
        raise ConfigError('A <gadget> in the configuration of a chain has no name; write <gadget name="prewhiten">.')
    return name, properties_of(list(element), name)


def properties_of(elements: list[Element], gadget: str) -> dict[str, str]:
    """Read ``<property>`` elements of a gadget, in either form.

    Raises
    ------
    ConfigError
        If an element is no property, has no name or no value, comes twice, or is written in both forms at once.
    """
    if len(elements) > MOST_PROPERTIES:
        raise ConfigError(f"gadget '{gadget}': it has {len(elements)} properties; at most {MOST_PROPERTIES} are read")
    pairs: dict[str, str] = {}
    for element in elements:
        if element.tag != "property":
            raise ConfigError(f"gadget '{gadget}': <{element.tag}> stands where <property> belongs")
        name, value = _part(element, "name", gadget), _part(element, "value", gadget)
        if name in pairs:
            raise ConfigError(f"gadget '{gadget}': property '{name}' is given twice")
        pairs[name] = value
    return pairs


def _part(element: Element, part: str, gadget: str) -> str:
    """Name or value of a property: an attribute or a child, not both."""
    attribute, child = element.get(part), element.find(part)
    if attribute is not None and child is not None:
        raise ConfigError(f"gadget '{gadget}': ambiguous property: its {part} is both an attribute and an element")
    text = attribute if child is None else (child.text or "")
    if text is None or (part == "name" and not text.strip()):
        raise ConfigError(f"gadget '{gadget}': a property has no {part}")
    return text.strip()
