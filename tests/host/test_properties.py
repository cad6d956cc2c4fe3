"""The properties of a node."""

from xml.etree.ElementTree import fromstring

import pytest

from onebreath.config.properties import node_properties, steps_of
from onebreath.errors import ConfigError

TWO_FORMS = '<property name="a" value="1"/><property><name>b</name><value> 2 </value></property>'


def test_both_forms_of_a_property_in_the_order_of_the_gadgets():
    root = fromstring(f'<configuration><gadget name="sort">{TWO_FORMS}</gadget><gadget name="export"/></configuration>')
    assert steps_of(root, "chain") == [("sort", {"a": "1", "b": "2"}), ("export", {})]


def test_single_gadget():
    assert steps_of(fromstring(f"<configuration>{TWO_FORMS}</configuration>"), "sort") == [
        ("sort", {"a": "1", "b": "2"})
    ]
    assert steps_of(None, "sort") == [("sort", {})]


@pytest.mark.parametrize(
    ("target", "inside", "text"),
    [
        ("chain", "", "names no gadgets"),
        ("chain", TWO_FORMS, "names no gadgets"),
        ("chain", '<gadgets name="sort"/>', "<gadgets> stands where <gadget"),
        ("chain", "<gadget/>", "has no name"),
        ("chain", '<gadget name="sort"><proprety/></gadget>', "gadget 'sort': <proprety>"),
        ("sort", '<gadget name="sort"/>', 'use target="chain"'),
        ("sort", '<property name="a"/>', "has no value"),
        ("sort", '<property value="1"/>', "has no name"),
        ("sort", '<property name="a" value="1"/><property name="a" value="2"/>', "'a' is given twice"),
        ("sort", '<property name="a" value="1"><name>a</name></property>', "ambiguous"),
        ("sort", '<property name="a" value="1"><value>2</value></property>', "ambiguous"),
    ],
)
def test_mistakes_name_the_gadget(target, inside, text):
    with pytest.raises(ConfigError, match=text):
        steps_of(fromstring(f"<configuration>{inside}</configuration>"), target)


def test_missing_configuration_of_a_chain():
    with pytest.raises(ConfigError, match="names no gadgets"):
        steps_of(None, "chain")


def test_properties_of_the_node_stand_beside_its_gadgets():
    root = fromstring(f'<configuration>{TWO_FORMS}<gadget name="sort"/></configuration>')
    assert node_properties(root, "chain") == {"a": "1", "b": "2"}
    assert steps_of(root, "chain") == [("sort", {})]
    assert node_properties(root, "sort") == node_properties(None, "chain") == {}
