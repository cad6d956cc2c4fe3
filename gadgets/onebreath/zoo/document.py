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
        If there is no such model, a table cannot be read, does not hold it or was measured with other weights, or the
        new card is not valid.
    """
    folder = find(name)
    card = read_card(folder)
    content = {**card.model_dump(mode="json", exclude_none=True), **changes}
    if tables:
        found = [one for table in tables for one in _measured(table, card)]
        content["measured"] = [one.model_dump(exclude_none=True) for one in found]
    fresh = parse_card(content, f"the new card of model '{card.name}'")
    write(fresh, (folder / card.weights.file).read_bytes(), folder.parent, overwrite=True)
    return fresh


def _measured(table: Path, card: Card) -> Iterator[Measurement]:
    """Yield the rows of one evaluation: mean over slices by group, region and measure, strict convention."""
    name = card.name
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        groups = [one for one in content["groups"] if one["convention"] == "strict" and name in one["methods"]]
        patients = " ".join(content["settings"]["patient"])
        data = f"{content['settings']['data']}, patients {patients}"
        if not groups:
            raise ModelError(f"{table}: model '{name}' is not among the methods of this evaluation")
        _check_weights(table, content.get("weights", {}).get(name), card)
        for group in groups:
            yield from _rows(group["methods"][name]["values"], content["titles"], f"{data}: {group['group']}")
    except OSError as error:
        raise ModelError(f"{table} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{table} is no table.json of `onebreath evaluate`: {error!r}") from error


def _check_weights(table: Path, measured: str | None, card: Card) -> None:
    """Raise ModelError if a table was not measured with the weights of the card."""
    again = "Run `onebreath evaluate` again: numbers in a card are those of its weights."
    if measured is None:
        raise ModelError(f"{table} does not say which weights of '{card.name}' it was measured with. {again}")
    if measured != card.weights.sha256:
        raise ModelError(
            f"{table} was measured with other weights of '{card.name}': their SHA-256 is {measured:.12}..., that in "
            f"the card {card.weights.sha256:.12}... {again}"
        )


def _rows(values: dict[str, Any], titles: dict[str, str], data: str) -> Iterator[Measurement]:
    for region in ("overall", "dynamic"):
        for measure, title in titles.items():
            if found := values.get(region, {}).get(measure):
                metric = f"{title}, strict" if region == "overall" else f"{title}, strict, {region} region"
                mean, std = (float(f"{found[key]:.4g}") for key in ("mean", "std"))
                yield Measurement(data=data, metric=metric, mean=mean, std=std, n=found["n"])
