"""The card of a model: its weights, conventions, domain, training and measured quality."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from onebreath.errors import ModelError
from onebreath.validation import Problem, problems
from onebreath.zoo.domain import Domain
from onebreath.zoo.yaml_guard import read_yaml

CARD_FILE = "card.yaml"
WEIGHTS_FILE = "weights.safetensors"

_NAME = re.compile(r"([a-z0-9][a-z0-9_]*)\.([a-z0-9][a-z0-9_-]*)")
DEFAULT_SCORE_LIMIT = 0.24
"""Score limit of cards that state none; docs/protocols.md describes how it was chosen."""
LARGEST_CARD = 1_000_000
"""Largest size of card.yaml in bytes, which bounds the memory for parsing."""
MOST_PROBLEMS = 20  # of a card, listed in an error


def check_name(name: str) -> str:
    """The name, if it is a valid name of a model.

    Raises
    ------
    ModelError
        If it is not ``architecture.tag``, as it becomes the name of a folder.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"model name {name!r} is not of the form architecture.tag, for example crunet_mr.cine; only lower-case "
            "letters, digits, '_' and (in the tag) '-' may stand in it"
        )
    return name


def _valid_name(name: str) -> str:
    try:
        return check_name(name)
    except ModelError as error:
        raise ValueError(str(error)) from error


def _plain_file(file: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors", file):
        raise ValueError("expected the name of a .safetensors file in the model's own folder; no other format is read")
    return file


ModelName = Annotated[str, AfterValidator(_valid_name)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weights(_Part):
    """The file that holds the weights."""

    file: Annotated[str, AfterValidator(_plain_file)] = Field(
        default=WEIGHTS_FILE, description="file in the model's folder"
    )
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file, 64 hexadecimal digits")


class Conventions(_Part):
    """Data conventions of the network; values used in earlier versions remain valid."""

    fourier: Literal["centred_unitary"] = Field(
        default="centred_unitary", description="Fourier convention of the k-space"
    )
    coil_maps: Literal["unit_sum_of_squares"] = Field(
        default="unit_sum_of_squares", description="sum over coils of |map|^2 is 1 in the body"
    )
    normalisation: Literal["max_zero_filled_coil_images", "max_image"] = Field(
        default="max_zero_filled_coil_images",
        description="max_zero_filled_coil_images: k-space is divided by the largest magnitude of the zero-filled coil "
        "images of all frames; max_image: a magnitude image is divided by its own maximum",
    )
    phase_encoding: Literal["y", "x"] = Field(
        default="y", description="axis of the network's images along which lines are missing"
    )


class Training(_Part):
    """Origin of the weights."""

    data: str = Field(description="training data, with numbers of subjects and how they were split")
    recipe: str = Field(default="", description="command, configuration file or paper that describes the training")
    seed: int | None = Field(default=None, description="seed of the random numbers")


class Measurement(_Part):
    """One measured number."""

    data: str = Field(description="test data and acceleration")
    metric: str = Field(description="for example SSIM strict, PSNR strict (dB), seconds per series on which hardware")
    mean: float = Field(description="mean over slices")
    std: float | None = Field(default=None, description="standard deviation over slices")
    n: int | None = Field(default=None, ge=1, description="number of slices")


class Card(_Part):
    """The content of ``card.yaml``."""

    name: ModelName = Field(description="architecture.tag, also the folder's name")
    former_names: tuple[ModelName, ...] = Field(
        default=(), description="earlier names of this model, which still find it, with a warning"
    )
    version: str = Field(description="version of these weights")
    summary: str = Field(description="one line for lists")
    architecture: str = Field(description="name of the network, see onebreath.zoo.architectures")
    arguments: dict[str, Any] = Field(default={}, description="arguments of the network other than its defaults")
    weights: Weights = Field(description="file and hash")
    conventions: Conventions = Field(default=Conventions(), description="how data must be given to the network")
    domain: Domain = Field(default=Domain(), description="the scans the model may be used on")
    score_limit: float = Field(
        default=DEFAULT_SCORE_LIMIT,
        gt=0,
        description="largest out-of-domain score (the error relative to the image, estimated on held-back lines) at "
        "which images of this model are trusted",
    )
    training: Training = Field(description="where the weights come from")
    measured: tuple[Measurement, ...] = Field(default=(), description="results on data not used for training")
    licence: str = Field(description="licence of the weights")
    intended_use: str = Field(description="what the model is for, and what it is not for")
    references: tuple[str, ...] = Field(default=(), description="papers and source codes")

    @model_validator(mode="after")
    def _name_says_architecture(self) -> Card:
        if self.name.split(".")[0] != self.architecture:
            wanted = f"{self.architecture}.TAG"
            raise ValueError(f"name is {self.name}, but the architecture is {self.architecture}; write {wanted}")
        return self

    def to_yaml(self) -> str:
        """Card as YAML, with fields in their documented order, without unset ones."""
        content = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def read_card(folder: Path) -> Card:
    """Card in a model's folder.

    Raises
    ------
    ModelError
        If there is none, it is not YAML, a field is unknown, missing or of the wrong type, or its name differs from the
        folder's.
    """
    path = folder / CARD_FILE
    try:
        if not path.is_file():
            raise ModelError(f"the card of model '{folder.name}' cannot be read: {path} is no file")
        if path.stat().st_size > LARGEST_CARD:
            raise ModelError(f"{path} has {path.stat().st_size} bytes, a card has at most {LARGEST_CARD}")
        content = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"the card of model '{folder.name}' cannot be read: {error}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not YAML: {error}") from error
    card = parse_card(content, str(path))
    if card.name != folder.name:
        raise ModelError(f"{path}: name is '{card.name}', but the folder is called '{folder.name}'")
    return card


def parse_card(content: Any, where: str) -> Card:
    """Card with validated content.

    Parameters
    ----------
    content
        Parsed YAML.
    where
        Source, for error messages.

    Raises
    ------
    ModelError
        If a field is unknown, missing or of the wrong type; the text names each.
    """
    if not isinstance(content, dict):
        raise ModelError(f"{where}: a card is a mapping of fields, found {type(content).__name__}")
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        texts = list(map(_explain, problems(error)))
        more = f"; and {len(texts) - MOST_PROBLEMS} more" if len(texts) > MOST_PROBLEMS else ""
        raise ModelError(f"{where}: {'; '.join(texts[:MOST_PROBLEMS])}{more}") from error


def _explain(problem: Problem) -> str:
    if problem.unknown:
        return f"there is no field '{problem.where}'"
    if problem.missing:
        return f"field '{problem.where}' is missing"
    if not problem.where:
        return problem.message
    return f"field '{problem.where}': value {problem.value!r} does not fit ({problem.message})"
