"""Facts in the meta of all images of a reconstruction, without the patient's names and ids."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from onebreath.images.reading import Series
from onebreath.images.secrets import SPOKEN, Secrets
from onebreath.mrd.meta import CHAIN, WARNINGS, read_chain, read_warnings
from onebreath.names import abridged

_PREFIX = "Onebreath_"
_APART = (CHAIN, WARNINGS)
_SHOWN = 4


class Facts:
    """Facts in images' meta.

    Parameters
    ----------
    metas
        Meta of each image.
    secrets
        What no text may contain; default: the ids in the meta.
    """

    def __init__(self, metas: Iterable[Mapping[str, Any]], secrets: Secrets | None = None) -> None:
        self._metas = [dict(meta) for meta in metas]
        self._secrets = secrets or Secrets.in_meta(self._metas)

    @classmethod
    def of(cls, series: Iterable[Series], secrets: Secrets | None = None) -> Facts:
        """Facts of all images of some series."""
        return cls((meta for one in series for meta in one.metas), secrets)

    def all(self, name: str) -> list[str]:
        """Distinct values of an entry, in the order of the images; lists are joined by spaces."""
        found = (meta[name] for meta in self._metas if name in meta)
        texts = (" ".join(map(str, value)) if isinstance(value, list) else str(value) for value in found)
        hide = self._secrets.hide_spoken if name in SPOKEN else self._secrets.hide
        return [hide(text) for text in dict.fromkeys(texts)]

    def one(self, name: str) -> str:
        """Distinct values of an entry as one text; empty without any."""
        return abridged(self.all(name), _SHOWN)

    def fact(self, gadget: str, name: str) -> str:
        """A gadget's fact as text; if images differ, all values separated by commas."""
        return self.one(f"{_PREFIX}{gadget}_{name}")

    def most(self, gadget: str, name: str) -> float:
        """Maximum of a gadget's numeric fact over all images; 0 without any."""
        return max((_number(text) for text in self.all(f"{_PREFIX}{gadget}_{name}")), default=0.0)

    def total(self, gadget: str, name: str) -> float:
        """Sum of a gadget's numeric fact over all images."""
        return sum(_number(str(meta.get(f"{_PREFIX}{gadget}_{name}", 0))) for meta in self._metas)

    def of_places(self, gadget: str, name: str) -> float:
        """Sum of a gadget's numeric fact over groups of lines of `sort`, each counted once."""
        groups: dict[str, float] = {}
        for meta in self._metas:
            key = json.dumps(
                [meta.get(f"{_PREFIX}sort_{one}") for one in ("slice", "repetition", "contrast", "average", "set")]
            )
            groups[key] = max(groups.get(key, 0.0), _number(str(meta.get(f"{_PREFIX}{gadget}_{name}", 0))))
        return sum(groups.values())

    def warnings(self) -> list[str]:
        """Distinct warnings."""
        found = dict.fromkeys(text for meta in self._metas for text in read_warnings(meta))
        return [self.hide(text) for text in found]

    def seconds(self) -> dict[str, float]:
        """Processing time of each gadget in seconds."""
        names = dict.fromkeys(name for meta in self._metas for name in meta if name.startswith("Onebreath_seconds_"))
        return {name.removeprefix("Onebreath_seconds_"): max(map(_number, self.all(name))) for name in names}

    def table(self) -> dict[str, list[tuple[str, str]]]:
        """All facts by gadget, as pairs of name and text."""
        found: dict[str, list[tuple[str, str]]] = {}
        names = dict.fromkeys(name for meta in self._metas for name in meta)
        for name in sorted(one for one in names if one.startswith(_PREFIX) and one not in _APART):
            gadget, _, fact = name.removeprefix(_PREFIX).partition("_")
            found.setdefault(gadget, []).append((fact.replace("_", " "), self.one(name)))
        return found

    def chain(self) -> list[tuple[str, dict[str, str]]]:
        """Gadgets of the chain with the properties that were set; empty if unknown."""
        try:
            return read_chain({CHAIN: self.all(CHAIN)[0]})
        except (IndexError, ValueError, TypeError):
            return []

    def hide(self, text: str) -> str:
        """A text without the ids of patient, study and measurement, and what else is secret."""
        return self._secrets.hide(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
