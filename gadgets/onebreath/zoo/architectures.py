"""Networks by the names used in cards."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from onebreath.errors import ConfigError, ModelError
from onebreath.names import did_you_mean
from onebreath.registry import ARCHITECTURES, RESTORATION
from onebreath.validation import problems

if TYPE_CHECKING:
    from onebreath.networks.shared.network import Network


MOST_MODULES = 20_000  # of a network; the largest here has 2600
LARGEST = 65_536  # number in a card's arguments


def network_class(architecture: str) -> type[Network]:
    """Class of a network, whose module is imported only now.

    Raises
    ------
    ModelError
        If there is no such network; the text lists the nearest ones.
    """
    registry = RESTORATION if architecture in RESTORATION else ARCHITECTURES
    if architecture not in registry:
        known = (*ARCHITECTURES, *RESTORATION)
        raise ModelError(f"There is no architecture called '{architecture}'. {did_you_mean(architecture, known)}")
    try:
        found = registry.load(architecture)
    except ConfigError as error:
        raise ModelError(str(error)) from error
    from onebreath.networks.shared.network import Network
    from onebreath.networks.shared.plain import adapted

    if not (isinstance(found, type) and issubclass(found, Network)):
        found = adapted(found, architecture)
    network: type[Network] = found
    return network


def build(architecture: str, arguments: Mapping[str, Any]) -> Network:
    """Network with new weights.

    Parameters
    ----------
    architecture
        A name in `ARCHITECTURES` or `RESTORATION`.
    arguments
        Keyword arguments of the network's class, as read from YAML (with lists for tuples). A dataclass is given by its
        fields, each by its own name.

    Raises
    ------
    ModelError
        If there is no such network, or an argument is unknown or does not fit its type.
    """
    network = network_class(architecture)
    return network(**_checked(network, architecture, arguments))


def hollow(architecture: str, arguments: Mapping[str, Any]) -> Network:
    """Network whose weights have shapes but no values, on torch's meta device; see `build`.

    Raises
    ------
    ModelError
        Also if it has more than `MOST_MODULES` parts.
    """
    import torch

    from onebreath.networks.valueless import Valueless

    _count_modules()
    _here.room = MOST_MODULES
    try:
        with torch.device("meta"), Valueless():
            return build(architecture, arguments)
    finally:
        _here.room = None


_here = threading.local()
"""`room`: modules that a network made in this thread may still get; None: any number."""


@cache
def _count_modules() -> None:
    """Count the modules of networks; once for all threads, since torch has one list of such hooks."""
    from torch.nn.modules.module import register_module_module_registration_hook

    def count(*_: object) -> None:
        room = getattr(_here, "room", None)
        if room is not None:
            if room == 0:
                raise ModelError(f"the arguments of the card make a network of more than {MOST_MODULES} parts")
            _here.room = room - 1

    register_module_module_registration_hook(count)


def _largest(value: Any) -> int:
    """Largest whole number in an argument."""
    if isinstance(value, (list, tuple)):
        return max(map(_largest, value), default=0)
    return abs(value) if isinstance(value, int) else 0


def _checked(network: type, architecture: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments validated against the signature of the class and converted to its types."""
    hints = get_type_hints(network.__init__)  # type: ignore[misc]
    own = {name: hints.get(name, Any) for name in inspect.signature(network).parameters}
    groups: dict[str, Any] = {name: hint for name, hint in own.items() if is_dataclass(hint)}
    hints = {name: hint for name, hint in own.items() if name not in groups}
    for group in groups.values():
        hints |= get_type_hints(group)
    if large := [name for name, value in arguments.items() if _largest(value) > LARGEST]:
        raise ModelError(f"{architecture}: argument '{large[0]}' is above {LARGEST}")
    known = list(hints)
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise ModelError(f"{architecture} has no argument '{unknown[0]}'. {did_you_mean(unknown[0], known)}")
    types: dict[str, Any] = {name: (hints[name], ...) for name in arguments}
    try:
        model = create_model("Arguments", __config__=ConfigDict(extra="forbid"), **types)(**arguments)
    except ValidationError as error:
        problem = next(problems(error))
        text = f"{architecture}: argument '{problem.where}' is {problem.value!r} ({problem.message})"
        raise ModelError(text) from error
    values = {name: getattr(model, name) for name in arguments}
    for name, group in groups.items():
        parts = {field.name: values.pop(field.name) for field in fields(group) if field.name in values}
        values |= {name: group(**parts)} if parts else {}
    return values
