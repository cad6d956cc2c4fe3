"""Options of a node as a whole, read from its ``<configuration>``: its priority, and when images are delivered.

A node of target ``chain`` may hold ``<property>`` elements beside its gadgets::

    <configuration>
      <property name="deliver" value="later"/>
      <gadget name="prewhiten"/> ...
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal
from xml.etree.ElementTree import Element

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onebreath.config.properties import node_properties, steps_of
from onebreath.errors import ConfigError
from onebreath.names import did_you_mean
from onebreath.validation import Problem, SeriesNumber, problems

Steps = list[tuple[str, dict[str, str]]]


class Priority(IntEnum):
    """Which scans go first; late ones are those that nobody waits for."""

    LIVE = 0
    REPLAY = 1
    LATE = 2


_USUAL = "cg_sense"
# Of a cine of 12 frames CG-SENSE takes three times as long as GRAPPA, and GRAPPA without these a third of GRAPPA.
_SOONER = {"method": "grappa", "gfactor": "false", "grappa_validation": "false"}


class NodeProperties(BaseModel):
    """Properties of a node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deliver: Literal["now", "later"] = Field(
        "now", description="later: send a quick series at once, and keep that of the named method for retrieval"
    )
    quick_method: str = Field(
        "auto",
        description="method of the quick series, with its default parameters; auto: cg_sense, and where GRAPPA is "
        "named, which is sooner, GRAPPA without validation and g-factor map",
    )
    quick_series: SeriesNumber = Field(60, description="series number of the quick series")
    priority: Literal["auto", "live", "replay"] = Field(
        "auto",
        description="live goes before replay; auto: scans that come through Gadgetron are live, and no others may be",
    )
    deadline_s: float = Field(
        0.0, ge=0, le=86_400, description="seconds after which the client gets an error instead of late images; 0: none"
    )
    requested: str = Field("", description="what was chosen at the scanner's user interface; the host writes it")


@dataclass(frozen=True)
class NodeOptions:
    """A node's properties, and its gadgets with their property texts."""

    properties: NodeProperties
    steps: Steps

    @property
    def asked_for(self) -> dict[str, str]:
        """Choices made at the scanner's user interface, for the images' meta."""
        return {"requested": self.properties.requested} if self.properties.requested else {}

    def quick(self) -> Steps:
        """Return the gadgets with the quick method in place of the one that is named.

        Properties of `reconstruct` that describe the images stay. Those that guard the named method, or ask for maps of
        its noise, go with it: the quick series would fail for want of a fallback, or take longer than the one it is
        quick for.

        Raises
        ------
        ConfigError
            If there is no `reconstruct` among them.
        """
        from onebreath.chain.gadget import Properties
        from onebreath.gadgets.reconstruct.guard import MethodProperties
        from onebreath.gadgets.reconstruct.noise_maps import NoiseMapProperties
        from onebreath.gadgets.reconstruct.reconstruct import ReconstructProperties

        of_method = (MethodProperties.model_fields.keys() | NoiseMapProperties.model_fields.keys()) - {
            *Properties.model_fields
        }
        general = ReconstructProperties.model_fields.keys() - of_method
        if not any(name == "reconstruct" for name, _ in self.steps):
            raise ConfigError('deliver="later" needs the gadget "reconstruct" in the same node')
        quick = []
        for name, pairs in self.steps:
            if name == "reconstruct":
                kept = {key: text for key, text in pairs.items() if key in general}
                if kept.get("partial_fourier") == "method":  # said of the named one; others amplify noise there
                    kept["partial_fourier"] = "pocs"
                pairs = {**kept, **self._quick_method(), "image_series": str(self.properties.quick_series)}
            quick.append((name, pairs))
        return quick

    def _quick_method(self) -> dict[str, str]:
        """Properties that name the quick method."""
        if self.properties.quick_method != "auto":
            return {"method": self.properties.quick_method}
        named = next((pairs.get("method") for name, pairs in self.steps if name == "reconstruct"), None)
        return dict(_SOONER) if named == _SOONER["method"] else {"method": _USUAL}

    def priority(self, live: bool) -> Priority:
        """Return the node's priority; `live`: it came through Gadgetron, the only peer whose claim counts."""
        return Priority.LIVE if live and self.properties.priority != "replay" else Priority.REPLAY


def read_options(configuration: Element | None, target: str) -> NodeOptions:
    """Read the ``<configuration>`` of one of our nodes.

    Raises
    ------
    ConfigError
        If an element does not belong there, or a property of the node is unknown or does not fit.
    """
    pairs = node_properties(configuration, target)
    try:
        properties = NodeProperties.model_validate(pairs)
    except ValidationError as error:
        raise ConfigError("; ".join(map(_explain, problems(error)))) from None
    return NodeOptions(properties, steps_of(configuration, target))


def _explain(problem: Problem) -> str:
    if problem.unknown:
        return f"a node has no property '{problem.where}'. {did_you_mean(problem.where, NodeProperties.model_fields)}"
    return f"property '{problem.where}' of the node: {problem.message}"
