"""Facts: decisions and measurements of a gadget, typed where code reads them and texts where people do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from onebreath.errors import WireError
from onebreath.validation import as_text


class Decision(BaseModel):
    """A decision that other gadgets act on, and its text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    yes: bool
    text: str


class Facts(BaseModel):
    """Base of each gadget's facts: fields that are None are left out of the note; unknown facts are refused.

    Fields are numbers, texts, or a `Decision`: each becomes ``Onebreath_<gadget>_<field>`` in the images' meta.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyFacts = TypeVar("AnyFacts", bound=Facts)


def facts_of(kind: type[AnyFacts], notes: Mapping[str, Mapping[str, Any]], gadget: str) -> AnyFacts | None:
    """Return the facts of a gadget among the notes that came; None if it wrote none.

    Raises
    ------
    WireError
        If the facts are not those that the gadget writes.
    """
    found = notes.get(gadget)
    if found is None:
        return None
    try:
        return kind.model_validate(dict(found))
    except ValidationError as error:
        raise WireError(f"The note of gadget '{gadget}' is not what this version writes: {as_text(error)}") from error


def readable(facts: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return facts as the meta, the log and reports have them: decisions by their text."""
    return {name: value["text"] if isinstance(value, Mapping) else value for name, value in facts.items()}
