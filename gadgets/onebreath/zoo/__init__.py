"""Models, each a folder with a card and weights: search, validation, loading, saving and import."""

from onebreath.zoo.card import Card, read_card
from onebreath.zoo.domain import Domain, Scan
from onebreath.zoo.search import find, models, search_path
from onebreath.zoo.store import save
from onebreath.zoo.versions import LoadedModel, Version, current, load

__all__ = [
    "Card",
    "Domain",
    "LoadedModel",
    "Scan",
    "Version",
    "current",
    "find",
    "load",
    "models",
    "read_card",
    "save",
    "search_path",
]
