"""Models: a folder with a card and weights. Finding, checking, loading, saving and importing them."""

from onebreath.zoo.card import Card, read_card
from onebreath.zoo.domain import Domain, Scan
from onebreath.zoo.search import find, models, search_path
from onebreath.zoo.store import LoadedModel, load, save

__all__ = ["Card", "Domain", "LoadedModel", "Scan", "find", "load", "models", "read_card", "save", "search_path"]
