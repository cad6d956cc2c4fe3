"""Measured numbers in cards, taken from evaluations so that none is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from onebreath.errors import ModelError
from onebreath.zoo.card import Card, Measurement, parse_card, read_card
from onebreath.zoo.search import find
from onebreath.zoo.store import write


def document(name: str, tables: Sequence[Path], changes: dict[str, str]) -> Card:
    """Write measured numbers and texts into the card of a model; returns the new card.

    Parameters
    ----------
    name
        The model.
    tables
        ``table.json`` files of `onebreath evaluate` with the model among the methods, which replace the card's numbers.
        Without tables these are kept.
    changes
        New texts of fields of the card.

    Raises
    ------
    ModelError
        If there is no such model, a table cannot be read or does not hold it, or the new card is not valid.
    """
    folder = find(name)
    card = read_card(folder)
    content = {**card.model_dump(mode="json", exclude_none=True), **changes}
    if tables:
        found = [one for table in tables for one in _measured(table, card.name)]
        content["measured"] = [one.model_dump(exclude_none=True) for one in found]
    fresh = parse_card(content, f"the new card of model '{card.name}'")
    write(fresh, (folder / card.weights.file).read_bytes(), folder.parent, overwrite=True)
    return fresh


def _measured(table: Path, name: str) -> Iterator[Measurement]:
    """Yield the rows of one evaluation: mean over slices by group, region and measure, strict convention."""
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        groups = [one for one in content["groups"] if one["convention"] == "strict" and name in one["methods"]]
        patients = " ".join(content["settings"]["patient"])
        data = f"{content['settings']['data']}, patients {patients}"
        if not groups:
            raise ModelError(f"{table}: model '{name}' is not among the methods of this evaluation")
        for group in groups:
            yield from _rows(group["methods"][name]["values"], content["titles"], f"{data}: {group['group']}")
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ModelError(f"{table} is no table.json of `onebreath evaluate`: {error!r}") from error


def _rows(values: dict[str, Any], titles: dict[str, str], data: str) -> Iterator[Measurement]:
    for region in ("overall", "dynamic"):
        for measure, title in titles.items():
            if found := values.get(region, {}).get(measure):
                metric = f"{title}, strict" if region == "overall" else f"{title}, strict, {region} region"
                mean, std = (float(f"{found[key]:.4g}") for key in ("mean", "std"))
                yield Measurement(data=data, metric=metric, mean=mean, std=std, n=found["n"])
