"""Properties of `reconstruct` about fallbacks and deadlines, and the objects made from them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from onebreath.chain.gadget import Properties
from onebreath.errors import ConfigError
from onebreath.methods.base import Method, method_class
from onebreath.methods.guarded import Policy, Safety
from onebreath.mrd.header import ScanHeader
from onebreath.validation import SeriesNumber
from onebreath.zoo.rules import Rule

AUTO = "auto"
"""As a model: what the protocol rules say; as a fallback: the default."""
DEFAULT_FALLBACK = "cg_sense"
NO_FALLBACK = "none"
OWN_RULE = "configuration"
"""Name of the rule that a configuration's candidates make."""
_FALLBACK_PREFIX = "fallback_"


class MethodProperties(Properties):
    """Properties that choose the method and its fallback; every further property is a parameter of the method."""

    model_config = ConfigDict(extra="allow", frozen=True)

    method: str = Field(description="zero_filled, cg_sense, grappa, unrolled, ...: how images are made")
    fallback: str = Field(
        "auto",
        description="classical method that makes the images when the method refuses, fails, makes NaN, runs out of "
        f"memory or misses the deadline; auto: {DEFAULT_FALLBACK} for methods with trained models, none for others; "
        f"none: the error ends the scan. Its parameters are the properties {_FALLBACK_PREFIX}<parameter>",
    )
    deadline_s: float = Field(
        0,
        ge=0,
        description="seconds that the reconstruction of a scan may take, waiting for lines not counted; the fallback "
        "begins after half of a slice's share of them, and its images are sent if the method is late; 0: no deadline",
    )
    choose_within: float = Field(
        0.3,
        ge=0,
        le=1000,
        description="share of the reconstruction's time that may be spent on choosing among a rule's candidates by "
        "held-back lines; 0: the rule's own model or method is taken",
    )
    candidates: str = Field(
        "",
        description="further methods and models, in the order of preference and with spaces between: held-back lines "
        "decide between them and the method, as they do for a protocol rule's candidates",
    )
    send_out_classical: bool = Field(
        False, description="always send the fallback's images too, as a series of their own"
    )
    classical_series: SeriesNumber = Field(50, description="series number of the fallback's images")

    @model_validator(mode="after")
    def _methods_accept_the_rest(self) -> MethodProperties:
        try:
            method, fallback = self.make_method(), self.make_fallback()
        except ConfigError as error:
            meant = [get_close_matches(name, type(self).model_fields, n=1) for name in self.model_extra or {}]
            hint = next((f" Did you mean the gadget's own property: {near[0]}?" for near in meant if near), "")
            raise ValueError(f"{error}{hint}") from error
        if fallback is None and (self.deadline_s or self.send_out_classical):
            raise ValueError(f"deadline_s and send_out_classical need a fallback; {method.name} has none")
        return self

    @model_validator(mode="after")
    def _candidates_exist(self) -> MethodProperties:
        for name in self.candidates.split():
            if self.automatic:
                raise ValueError(f"candidates={name}: with model={AUTO} they are those of the protocol rules")
            if "." not in name:
                method_class(name)
        return self

    @property
    def rule(self) -> Rule | None:
        """The configuration's method and candidates as a protocol rule for all scans; None without candidates."""
        if not self.candidates.split():
            return None
        standby = self.method if self.fallback == AUTO and not method_class(self.method).learned else self.fallback
        return Rule(
            name=OWN_RULE,
            model=self.parameters.get("model"),
            method=self.method,
            properties={name: value for name, value in self.parameters.items() if name != "model"},
            candidates=tuple(self.candidates.split()),
            fallback=DEFAULT_FALLBACK if standby in (AUTO, NO_FALLBACK) else standby,
        )

    @property
    def automatic(self) -> bool:
        """Whether protocol rules choose the model."""
        return method_class(self.method).learned and self.parameters.get("model") == AUTO

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the method."""
        return self._extra(of_fallback=False)

    def make_method(self) -> Method:
        """Make the method, with its parameters among the properties."""
        method: Method = method_class(self.method)(**self.parameters)
        return method

    def make_fallback(self) -> Method | None:
        """Make the fallback; None if the configuration wants none."""
        name = self.fallback
        if name == AUTO:
            name = DEFAULT_FALLBACK if method_class(self.method).learned else NO_FALLBACK
        parameters = self._extra(of_fallback=True)
        if name == NO_FALLBACK:
            if parameters:
                raise ConfigError(f"there is no fallback that could use {_FALLBACK_PREFIX}{next(iter(parameters))}")
            return None
        if method_class(name).learned:
            raise ConfigError(f"fallback is {name}, which needs a trained model itself; name a classical method")
        return method_class(name)(**parameters)

    def safety(self, policy: Policy = "fallback") -> Safety:
        """Return the fallback for the method, and when it is used."""
        return Safety(self.make_fallback(), self.deadline_s, self.send_out_classical, policy)

    def _extra(self, of_fallback: bool) -> dict[str, Any]:
        extra = self.model_extra or {}
        return {
            name.removeprefix(_FALLBACK_PREFIX): value
            for name, value in extra.items()
            if name.startswith(_FALLBACK_PREFIX) == of_fallback
        }


def messages_of(header: ScanHeader) -> int:
    """Return the expected number of messages with slices, from the header's counters."""
    slices = header.limits("slice")
    return slices.maximum + 1 if slices else 1
