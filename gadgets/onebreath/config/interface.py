"""Choices offered at the scanner's user interface, and the chain properties that each sets.

FIRE and OpenRecon send these choices as JSON; `onebreath openrecon label` tells the scanner what there is to choose.
Names are letters and digits, as OpenRecon demands; texts, types and values are those of the properties themselves.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from onebreath.chain.gadget import gadget_class
from onebreath.errors import ConfigError
from onebreath.methods.base import method_class
from onebreath.registry import GADGETS, METHODS

AS_CONFIGURED = "configured"
"""The choice that leaves a property as the configuration has it; for texts it is the empty one, for numbers -1."""
UNSET = {"choice": AS_CONFIGURED, "string": "", "int": "-1", "double": "-1"}
CONFIG, CUSTOM_CONFIG = "config", "customconfig"
"""Names under which FIRE sends the configuration: one of a list, or, before that, any that is typed in."""
MAPS = {"Gfactor": "send_out_gfactor", "SNR": "send_out_snr_map", "Normality": "send_out_normality_map"}


@dataclass(frozen=True)
class Parameter:
    """One choice at the user interface.

    Attributes
    ----------
    id
        Name, as the JSON has it.
    label
        What the user interface calls it.
    gadget
        Whose properties it sets.
    key
        Which property; empty for a choice that sets several.
    method
        Reconstruction method that describes the property, where it is a parameter of methods.
    kind
        As OpenRecon calls it.
    choices
        Of a choice: what it may be, with what each is called, and the properties that it sets.
    range
        Of a number: smallest and largest value.
    unit
        Of a number.
    information
        What it is for; empty: what the property's documentation says.
    """

    id: str
    label: str
    gadget: str
    key: str = ""
    method: str = ""
    kind: Literal["choice", "string", "int", "double"] = "choice"
    choices: Mapping[str, tuple[str, Mapping[str, str]]] = field(default_factory=dict)
    range: tuple[int, int] = (-1, 1000)
    unit: str = ""
    information: str = ""

    def __str__(self) -> str:
        return f"'{self.id}' ({self.label})"

    @property
    def describes(self) -> FieldInfo:
        """The property as its gadget, or method, declares it."""
        model = method_class(self.method).Parameters if self.method else gadget_class(self.gadget).Properties
        return model.model_fields[self.key]

    @property
    def help(self) -> str:
        """Help text of one or two sentences."""
        return self.information or str(self.describes.description)

    def properties(self, value: str) -> Mapping[str, str]:
        """Return the properties that a value sets; none where it says to leave them.

        Raises
        ------
        ConfigError
            If it is none of the choices, or no number within the range.
        """
        if self.kind in ("int", "double"):
            return self._number(value)
        if value == UNSET[self.kind]:
            return {}
        if self.kind == "choice":
            if value not in self.choices:
                known = ", ".join((AS_CONFIGURED, *self.choices))
                raise ConfigError(f"The parameter {self} cannot be '{value}'; it can be: {known}.")
            return self.choices[value][1]
        return {self.key: value}

    def _number(self, value: str) -> Mapping[str, str]:
        """Return the property that a number sets, however it is written: hosts send whole ones as 8.0, too."""
        low, high = self.range
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if number == float(UNSET[self.kind]):
            return {}
        whole = self.kind == "int"
        if not low <= number <= high or (whole and not number.is_integer()):
            kind = "a whole number" if whole else "a number"
            raise ConfigError(f"The parameter {self} cannot be '{value}'; it is {kind} from {low} to {high}.")
        return {self.key: str(int(number)) if whole else value}


def _one_of(name: str, values: Mapping[str, str] | tuple[str, ...]) -> dict[str, tuple[str, Mapping[str, str]]]:
    """Choices that set one property to their own name."""
    labels = values if isinstance(values, Mapping) else {value: value.replace("_", " ") for value in values}
    return {value: (label, {name: value}) for value, label in labels.items()}


def _maps(*wanted: str) -> dict[str, str]:
    return {name: str(role in wanted).lower() for role, name in MAPS.items()}


def _literals(model: type[BaseModel], name: str) -> tuple[str, ...]:
    return typing.get_args(model.model_fields[name].annotation)


def parameters() -> dict[str, Parameter]:
    """Return everything that can be chosen beside the configuration, by name."""
    reconstruct = gadget_class("reconstruct").Properties
    unrolled = method_class("unrolled").Parameters
    classical = tuple(name for name in METHODS if not method_class(name).learned)
    listed = [
        Parameter("method", "Method", "reconstruct", "method", choices=_one_of("method", tuple(METHODS))),
        Parameter("model", "Model of the network", "reconstruct", "model", "unrolled", kind="string"),
        Parameter(
            "precision",
            "Acceleration of the network",
            "reconstruct",
            "precision",
            "unrolled",
            choices=_one_of("precision", _literals(unrolled, "precision")),
        ),
        Parameter(
            "fallback",
            "Method used otherwise",
            "reconstruct",
            "fallback",
            choices={
                "none": ("none", {"fallback": "none", "deadline_s": "0"}),  # a deadline needs a fallback
                **_one_of("fallback", classical),
            },
        ),
        Parameter(
            "noisemaps",
            "Noise maps",
            "reconstruct",
            choices={
                "none": ("none", _maps()),
                "gfactor": ("g-factor", _maps("Gfactor")),
                "snr": ("g-factor and SNR", _maps("Gfactor", "SNR")),
                "all": ("g-factor, SNR and normality", _maps(*MAPS)),
            },
            information="Maps beside the images: g-factor (series 20), SNR (300), normality of the noise (21).",
        ),
        Parameter("deadline", "Time limit", "reconstruct", "deadline_s", kind="double", range=(-1, 86400), unit="s"),
        Parameter(
            "partialfourier",
            "Partial Fourier",
            "reconstruct",
            "partial_fourier",
            choices=_one_of("partial_fourier", _literals(reconstruct, "partial_fourier")),
        ),
        Parameter(
            "channels",
            "Channels kept",
            "compress",
            "upstream_coil_compression_num_modesKept",
            kind="int",
            range=(-1, 128),
        ),
        Parameter("cardiacphases", "Cardiac phases", "sort", "phases", kind="int", range=(-1, 256)),
        Parameter(
            "output",
            "Images",
            "export",
            "output",
            choices={
                "magnitude": ("magnitude", {"output": "magnitude"}),
                "phase": ("magnitude and phase", {"output": "magnitude,phase"}),
                "realimaginary": ("real and imaginary part", {"output": "real,imaginary"}),
            },
            information="Which parts of the complex images are sent.",
        ),
    ]
    return {parameter.id: parameter for parameter in listed}


def spelled_out(name: str) -> tuple[str, str] | None:
    """Take ``gadget.property``, which names any property of any gadget, apart; None if it is not that."""
    gadget, dot, found = name.partition(".")
    return (gadget, found) if dot and gadget in GADGETS and found else None
