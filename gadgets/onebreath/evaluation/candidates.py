"""Candidates of a comparison: classical methods and models, as named on the command line."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onebreath import zoo
from onebreath.errors import ConfigError
from onebreath.methods.base import Method, method_class
from onebreath.registry import METHODS, RESTORATION

LOG = logging.getLogger("onebreath.evaluation")
MODELS = "models"
"""Name that means all models."""
_MAP_CROP = "map_crop"
"""Parameter of every candidate, besides those of its method."""
# Fields of a card on which images and facts depend, besides the weights.
_USED = {"architecture", "arguments", "conventions", "domain", "score_limit"}
# Default eigenvalue at which coil maps are cropped, as in the configurations.
_DEFAULT_CROP = {"cg_sense": 0.8}


@dataclass(frozen=True)
class Candidate:
    """A method to compare.

    Attributes
    ----------
    label
        Name in tables.
    method
        The method, ready to use.
    map_crop
        Coil maps are zero where their eigenvalue is at most this; 0: nowhere.
    identity
        Everything besides the scan on which its images depend.
    """

    label: str
    method: Method
    map_crop: float
    identity: dict[str, object]

    def crop(self, maps: np.ndarray, eigenvalues: np.ndarray) -> np.ndarray:
        """Maps (set, coil, y, x), cropped for this method."""
        return maps * (eigenvalues > self.map_crop)[:, None] if self.map_crop else maps


def parse_candidates(texts: Sequence[str]) -> list[Candidate]:
    """Candidates from texts ``NAME[:PARAMETER=VALUE,...]``; a name after ``?`` may match no model.

    A name is a classical method (zero_filled, grappa, cg_sense), a model (architecture.tag, wildcards allowed), or
    ``models``. Besides the method's own parameters there is ``map_crop``. Models also run outside their domain, as an
    evaluation shows how far they generalise.

    Raises
    ------
    ConfigError
        If a method or parameter is unknown, or one is named twice.
    ModelError
        If a model is missing or damaged.
    """
    found: list[Candidate] = []
    for text in texts:
        optional, text = text.startswith("?"), text.removeprefix("?")
        name, _, rest = text.partition(":")
        if optional and not list(zoo.models(name)):
            LOG.warning("no model matches '%s'; it is left out", name)
            continue
        parameters = dict(_pair(part, text) for part in rest.split(",") if part)
        classical = [known for known in METHODS if not method_class(known).learned]
        if name in classical or ("." not in name and name != MODELS):
            if name not in classical:
                raise ConfigError(f"there is no method '{name}'; name one of {', '.join(classical)}, or a model")
            found.append(_candidate(text, name, parameters))
        else:
            names = _models(name)
            found += [_model(model + text[len(name) :], model, parameters) for model in names]
    labels = [one.label for one in found]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ConfigError(f"methods are named twice: {', '.join(twice)}")
    return found


def _models(name: str) -> list[str]:
    if name != MODELS and not set(name) & set("*?["):
        return [name]
    names = list(zoo.models("*" if name == MODELS else name))
    if not names:
        raise ConfigError(f"no model matches '{name}'; `onebreath models list` shows what there is")
    return names


def _model(label: str, name: str, parameters: dict[str, str]) -> Candidate:
    card = zoo.read_card(zoo.find(name))
    given = {"outside_domain": "allow", **parameters, "model": name}
    made = _candidate(label, "mr_ipt" if card.architecture in RESTORATION else "unrolled", given)
    made.method.prepare()
    used = card.model_dump(mode="json", include=_USED)
    return Candidate(label, made.method, made.map_crop, made.identity | {"sha256": card.weights.sha256, "card": used})


def _candidate(label: str, name: str, parameters: dict[str, str]) -> Candidate:
    text = parameters.pop(_MAP_CROP, str(_DEFAULT_CROP.get(name, 0.0)))
    try:
        crop = float(text)
    except ValueError as error:
        raise ConfigError(f"{label}: {_MAP_CROP} must be a number, not {text!r}") from error
    method = method_class(name)(**parameters)
    identity = {"method": name, _MAP_CROP: crop, **method.parameters.model_dump(mode="json")}
    return Candidate(label, method, crop, identity)


def _pair(part: str, text: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    if not equals:
        raise ConfigError(f"'{part}' in '{text}' is not of the form PARAMETER=VALUE")
    return name.strip(), value.strip()
