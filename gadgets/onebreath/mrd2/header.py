"""Headers of MRD 2 and of ISMRMRD (MRD 1): the same fields under names that differ only in how they are written."""

from __future__ import annotations

import base64
import datetime
import enum
import functools
import typing
from types import ModuleType
from typing import Any

import numpy as np
from ismrmrd import xsd
from xsdata.models.datatype import XmlDate, XmlTime

from onebreath.errors import ScanError
from onebreath.optional import required

_FLOAT32 = "Float32"
_SECOND_NS = 10**9


def mrd_package() -> ModuleType:
    """Return mrd-python; raises ConfigError if it is not installed."""
    return required("mrd", "mrd2", "A stream of MRD 2")


def to_v1(header: Any) -> xsd.ismrmrdHeader:
    """Return a header of MRD 2 as one of ISMRMRD.

    Single-precision numbers become the shortest decimal that rounds to them, as 0.793 does.

    Raises
    ------
    ScanError
        If it holds what ISMRMRD cannot: the text names the field.
    """
    return typing.cast(xsd.ismrmrdHeader, _record(header, type(header), xsd.ismrmrdHeader, "header"))


def to_v2(header: xsd.ismrmrdHeader) -> Any:
    """Return a header of ISMRMRD as one of MRD 2; raises ScanError if it holds what that cannot."""
    return _record(header, type(header), mrd_package().Header, "header")


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Types of a record's fields, with what its annotations add."""
    return typing.get_type_hints(kind, include_extras=True)


def _record(value: Any, source: type, target: type, where: str) -> Any:
    """Convert a record field by field; a field that is set and has no counterpart is an error."""
    theirs = {_plain(name): (name, hint) for name, hint in _hints(source).items()}
    made: dict[str, Any] = {}
    for name, wanted in _hints(target).items():
        if _plain(name) in theirs:
            other, given = theirs.pop(_plain(name))
            made[name] = _value(getattr(value, other), given, wanted, f"{where}.{other}")
    left = [name for name, _ in theirs.values() if getattr(value, name) not in (None, [])]
    if left:
        raise ScanError(
            f"{where}.{left[0]} is {getattr(value, left[0])!r}, which the other version of MRD has no field for"
        )
    return target(**made)


def _value(value: Any, given: Any, wanted: Any, where: str) -> Any:
    """Convert one value from its type in one version to that in the other."""
    if value is None:
        return None
    single = _FLOAT32 in _notes(given)
    given, wanted = _inner(given), _inner(wanted)
    if typing.get_origin(wanted) is list:
        inner = typing.get_args(given)[0], typing.get_args(wanted)[0]
        return [_value(one, *inner, f"{where}[{number}]") for number, one in enumerate(value)]
    if XmlDate in (wanted, type(value)):
        return _date(value, wanted, where)
    if XmlTime in (wanted, type(value)):
        return _time(value, wanted, where)
    if isinstance(value, enum.Enum) or (isinstance(wanted, type) and issubclass(wanted, enum.Enum)):
        return _choice(value, wanted, where)
    if bytes in (wanted, type(value)):
        return _bytes(value, where)
    if isinstance(value, (str, int, float, np.generic)):
        if wanted is float:
            return float(str(np.float32(value))) if single else float(value)
        return wanted(value)
    return _record(value, type(value), wanted, where)


def _notes(hint: Any) -> tuple[Any, ...]:
    """Notes of an annotated type, also inside ``Optional``."""
    found = tuple(getattr(hint, "__metadata__", ()))
    for inner in typing.get_args(hint):
        if typing.get_origin(hint) is not list:
            found += _notes(inner)
    return found


def _inner(hint: Any) -> Any:
    """A type without ``Optional`` and annotations."""
    if hasattr(hint, "__metadata__"):
        return _inner(hint.__origin__)
    inner = [one for one in typing.get_args(hint) if one is not type(None)]
    if len(inner) == 1 and type(None) in typing.get_args(hint):
        return _inner(inner[0])
    return hint


def _choice(value: Any, wanted: Any, where: str) -> Any:
    """Convert one of several names; texts that one version leaves free are checked against the other's list."""
    text = value.name if isinstance(value, enum.Enum) else value
    if wanted is str:
        return text
    names = {_plain(one.name): one for one in wanted}
    if not isinstance(text, str) or _plain(text) not in names:
        known = ", ".join(one.name for one in wanted)
        raise ScanError(f"{where} is {text}, which the other version of MRD has no value for (it has {known})")
    return names[_plain(text)]


def _bytes(value: Any, where: str) -> Any:
    """ISMRMRD's base64 is bytes in Python, that of MRD 2 the text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    try:
        return base64.b64decode(value, validate=True)
    except ValueError as error:
        raise ScanError(f"{where} is no base64: {error}") from error


def _date(value: Any, wanted: Any, where: str) -> Any:
    if wanted is XmlDate:
        return XmlDate(value.year, value.month, value.day)
    _without_zone(value, where)
    return datetime.date(value.year, value.month, value.day)


def _time(value: Any, wanted: Any, where: str) -> Any:
    if wanted is XmlTime:
        seconds, fraction = divmod(int(value.numpy_value.astype(np.int64)), _SECOND_NS)
        return XmlTime(seconds // 3600, seconds // 60 % 60, seconds % 60, fraction)
    _without_zone(value, where)
    return wanted(((value.hour * 60 + value.minute) * 60 + value.second) * _SECOND_NS + value.fractional_second)


def _without_zone(value: Any, where: str) -> None:
    if value.offset is not None:
        raise ScanError(f"{where} is {value}, whose time zone MRD 2 cannot hold")
