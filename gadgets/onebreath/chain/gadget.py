"""The gadget interface: an iterator of messages in, an iterator of messages out.

A gadget is built from the ISMRMRD header and typed properties. To add one, write a subclass of `Gadget` in a file of
its own, give it a `name` and a `Properties` model, and enter it in `onebreath.registry.GADGETS`, or in the entry points
of a package of your own.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, TypeAlias

import ismrmrd
from gadgetron.types import AcquisitionBucket, ImageArray, ReconData
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from onebreath.chain.notes import warning
from onebreath.errors import ConfigError, ScanError
from onebreath.folders import permitted
from onebreath.mrd.blocks import LineBlock
from onebreath.mrd.header import ScanHeader
from onebreath.names import did_you_mean
from onebreath.registry import GADGETS
from onebreath.validation import Problem, problems

Message: TypeAlias = (
    "ismrmrd.Acquisition | LineBlock | ismrmrd.Waveform | ismrmrd.Image | AcquisitionBucket | ReconData | ImageArray"
)

PermittedPath = Annotated[str, AfterValidator(permitted)]
"""Type of a property that names a file or a folder."""


class Properties(BaseModel):
    """Properties that every gadget accepts, under the names that Gadgetron's own gadgets use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verbose: bool = Field(False, description="log every message that the gadget makes")
    perform_timing: bool = Field(False, description="log the time spent in this gadget when the scan ends")
    debug_folder: PermittedPath = Field(
        "", description="folder for the arrays that the gadget makes; empty: none are kept"
    )
    strict: bool = Field(
        False,
        description="an error, where the scan would go on with a warning: lines left out, filled or averaged",
    )


_AnyProperties: TypeAlias = Properties


@dataclass
class Surroundings:
    """What a chain provides to its gadgets.

    Attributes
    ----------
    steps
        Name and property texts of each gadget of the chain, first to last.
    seconds
        Gives how long each of them has worked so far, by name.
    """

    steps: Sequence[tuple[str, Mapping[str, str]]] = ()
    seconds: Callable[[], dict[str, float]] = dict


class Gadget(ABC):
    """One step of the chain.

    Parameters
    ----------
    header
        The scan's ISMRMRD header.
    properties
        An instance of this class's own `Properties`.
    """

    name: ClassVar[str]
    Properties: ClassVar[type[_AnyProperties]] = Properties
    consumes: ClassVar[tuple[str, ...]] = ()
    """Class names of the messages that this gadget works on; all others pass on untouched."""
    emits: ClassVar[tuple[str, ...]] = ()
    """Class names of the messages that it makes."""
    prepares: ClassVar[bool] = False
    """Whether it works before `reconstruct`, on what was acquired: ``onebreath inspect`` runs such gadgets."""
    light: ClassVar[bool] = False
    """Whether it holds few messages at a time: alone in a node of a resident worker it runs without being admitted."""
    usual: ClassVar[bool] = False
    """Whether it is a step of the usual chain, without which no images are made."""
    alone: ClassVar[bool] = False
    """Whether it makes up a chain by itself."""
    takes_blocks: ClassVar[bool] = False
    """Whether it also takes, and may make, lines that came together as one `LineBlock`; else it gets them singly."""

    def __init__(self, header: Any, properties: _AnyProperties) -> None:
        self.header = ScanHeader(header)
        self.properties = properties
        self.surroundings = Surroundings()
        self.log = logging.getLogger(f"onebreath.{self.name}")
        self._warned: set[str] = set()

    @abstractmethod
    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Turn the incoming messages into outgoing ones; a generator, so that the chain overlaps its gadgets."""

    def warn(self, text: str) -> list[Message]:
        """Return the warning to be sent on; none if the same was said before.

        Raises
        ------
        ScanError
            If the property `strict` is set.
        """
        if text in self._warned:
            return []
        self._warned.add(text)
        if self.properties.strict:
            raise ScanError(f"{text} (Gadget '{self.name}' is strict: it goes on with no warning.)")
        return [warning(self.name, text)]


def gadget_class(name: str) -> type[Gadget]:
    """Find a gadget by name.

    Raises
    ------
    ConfigError
        If there is no such gadget; the text lists the nearest names.
    """
    found: type[Gadget] = GADGETS.load(name)
    return found


def usual_order() -> list[str]:
    """Return the names of the gadgets of the usual chain, first to last."""
    return [name for name in GADGETS.own if gadget_class(name).usual]


def parse_properties(cls: type[Gadget], pairs: Mapping[str, str]) -> Properties:
    """Check and convert the properties of a gadget.

    Parameters
    ----------
    cls
        The gadget's class.
    pairs
        Property texts by name, as they stand in the configuration.

    Raises
    ------
    ConfigError
        If a property is unknown or its text does not fit its type; the text names the gadget and the property.
    """
    try:
        return cls.Properties.model_validate(dict(pairs))
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(cls, problem) for problem in problems(error))) from error


def _explain(cls: type[Gadget], problem: Problem) -> str:
    where, name = f"gadget '{cls.name}'", problem.where
    if not name:  # a check of several properties together; its text names them
        return f"{where}: {problem.reason}"
    if problem.unknown:
        known = cls.Properties.model_fields
        return f"{where} has no property '{name}'. {did_you_mean(name, known)}"
    if problem.missing:
        near = get_close_matches(name, problem.value)
        return f"{where} needs the property '{name}'" + (f"; is '{near[0]}' meant for it?" if near else ".")
    return f"{where}, property '{name}': value '{problem.value}' does not fit ({problem.message})"
