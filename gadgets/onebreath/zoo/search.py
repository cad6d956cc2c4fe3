"""Search path of models, and search by name."""

from __future__ import annotations

import fnmatch
import logging
import time
from pathlib import Path

from onebreath.errors import ModelError, UnknownModel
from onebreath.folders import installed_share
from onebreath.names import did_you_mean
from onebreath.settings import settings, variable
from onebreath.zoo.card import CARD_FILE, check_name, read_card

log = logging.getLogger("onebreath.zoo")

_INSTALLED = Path("share", "gadgetron", "onebreath", "models")
PARTIAL, REPLACED = ".partial-{}-", "old"
"""Prefix of the folder to which a new version of a model is written, and name of the old version in it. Where the two
cannot change places at once, no model has the name for a moment."""
_ATTEMPTS = 50
_PAUSE_S = 0.02


def search_path() -> list[Path]:
    """Folders that are searched for models, in this order.

    Those of the environment variable ``ONEBREATH_MODELS``, of Gadgetron's installation (``GADGETRON_HOME``) and of the
    Python installation, and ``models/`` of a checked-out repository.
    """
    chosen = settings()
    folders = list(chosen.models)
    if chosen.gadgetron_home:
        folders.append(chosen.gadgetron_home / _INSTALLED)
    folders.append(installed_share() / "onebreath" / "models")
    repository = Path(__file__).parents[3]
    if (repository / "setup.py").is_file():
        folders.append(repository / "models")
    return list(dict.fromkeys(folders))


def models(pattern: str = "*") -> dict[str, Path]:
    """Folders of all models whose name matches a pattern; of equal names the first on the search path."""
    found: dict[str, Path] = {}
    for root in search_path():
        for card in sorted(root.glob(f"*/{CARD_FILE}")):
            if fnmatch.fnmatchcase(card.parent.name, pattern):
                found.setdefault(card.parent.name, card.parent)
    return dict(sorted(found.items()))


def find(name: str) -> Path:
    """Folder of a model, by its name, or by a former name with a warning.

    Raises
    ------
    UnknownModel
        If the name is invalid or no model has it; the text suggests models and how to get one.
    """
    try:
        check_name(name)
    except ModelError as error:
        raise UnknownModel(f"{error}. {_nearest(name, models())}") from error
    found = _present(name)
    if name in found:
        return found[name]
    for present, folder in found.items():
        if name in _former_names(folder):
            log.warning("model '%s' is now called '%s'; use the new name", name, present)
            return folder
    places = ", ".join(str(path) for path in search_path())
    raise UnknownModel(
        f"there is no model '{name}'. {_nearest(name, found)} Looked in: {places}. Put the model's folder there, "
        f"name its place in {variable('models')}, or import weights with: "
        f"onebreath models import --from crunet_mr FILE --name {name}"
    )


def _nearest(name: str, there: dict[str, Path]) -> str:
    return did_you_mean(name, there) if there else "There are no models yet."


def _present(name: str) -> dict[str, Path]:
    """All models, after waiting for one that is being replaced, also if a later place has one of that name.

    Absence needs two looks, as a replacement may begin and end within one.
    """
    absent = 0
    for _ in range(_ATTEMPTS):
        found, places = models(), search_path()
        if name in found:
            places = places[: places.index(found[name].parent)]
        if any(_being_replaced(name, root) for root in places):
            absent = 0
            time.sleep(_PAUSE_S)
            continue
        absent += 1
        if not places or absent == 2:
            break
    return found


def _being_replaced(name: str, root: Path) -> bool:
    return any(root.glob(f"{PARTIAL.format(name)}*/{REPLACED}"))


def _former_names(folder: Path) -> tuple[str, ...]:
    """Former names of a model; none, with a warning, if its card cannot be read."""
    try:
        return read_card(folder).former_names
    except ModelError as error:
        log.warning("%s", error)
        return ()
