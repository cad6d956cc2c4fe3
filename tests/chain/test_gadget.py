from collections.abc import Iterable, Iterator
from typing import ClassVar

import pytest
from pydantic import Field

from onebreath.chain.gadget import Gadget, Message, Properties, gadget_class, parse_properties
from onebreath.errors import ConfigError
from onebreath.registry import GADGETS


class CountProperties(Properties):
    limit: int = Field(3, ge=1, description="how many")


class Count(Gadget):
    name = "count"
    Properties: ClassVar[type[Properties]] = CountProperties

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        yield from messages


def test_properties_are_converted_from_their_texts():
    parsed = parse_properties(Count, {"limit": "5", "verbose": "true"})
    assert parsed.limit == 5
    assert parsed.verbose is True


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({"limt": "5"}, ["'count'", "'limt'", "limit"]),
        ({"limit": "many"}, ["'count'", "'limit'", "'many'"]),
        ({"limit": "0"}, ["'count'", "'limit'", "'0'"]),
    ],
)
def test_a_wrong_property_names_gadget_property_and_value(pairs, words):
    with pytest.raises(ConfigError) as caught:
        parse_properties(Count, pairs)
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_gadget_names_its_neighbours():
    with pytest.raises(ConfigError, match=r"'prewiten'.*prewhiten"):
        gadget_class("prewiten")


@pytest.mark.parametrize("name", GADGETS)
def test_every_gadget_says_what_it_works_on_and_documents_its_properties(name):
    cls = gadget_class(name)
    assert cls.name == name
    assert cls.consumes
    assert cls.emits
    for field in cls.Properties.model_fields.values():
        assert field.description
