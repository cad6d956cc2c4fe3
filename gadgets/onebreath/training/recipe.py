"""Recipes: all settings of a training run, read from YAML and validated before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from onebreath.errors import ConfigError
from onebreath.folders import expanded
from onebreath.training.data.examples import ExampleSettings
from onebreath.training.data.masks import MaskFamily
from onebreath.training.data.scanning import ScanSettings
from onebreath.training.data.ssdu import SplitSettings
from onebreath.training.losses import LossWeights
from onebreath.training.restoration import RestorationSettings
from onebreath.training.synthesis.settings import SynthesisSettings
from onebreath.validation import as_text
from onebreath.zoo.yaml_guard import read_yaml

SourceKind = Literal[
    "cine_npz",
    "static_npz",
    "clips_npz",
    "views_npz",
    "images",
    "dicom",
    "mrd",
    "cmrxrecon",
    "fastmri",
    "kspace_npy",
    "simulator",
]

MEASURED = ("mrd", "cmrxrecon", "fastmri", "kspace_npy")
"""Kinds of measured k-space, from which no scans are simulated."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkSettings(_Part):
    """The network to train."""

    architecture: str = Field(description="name of the network, see `onebreath.zoo.architectures`")
    arguments: dict[str, Any] = Field({}, description="arguments of the network other than its defaults")


class Source(_Part):
    """Source of series: files, or a simulator."""

    kind: SourceKind = Field(
        description="cine_npz: magnitude stacks (slice, phase, row, column); static_npz: single magnitude images; "
        "clips_npz: one array (frame, row, column) per clip; views_npz: one array of single images per patient; "
        "images: a folder of pictures, NIfTI, npz or DICOM files; "
        "dicom: a folder of DICOM files; mrd: ISMRMRD files; cmrxrecon: FullSample .mat files of CMRxRecon 2023; "
        "fastmri: multi-coil .h5 files; kspace_npy: full k-space in .npy files; simulator: phantoms"
    )
    path: str = Field("", description="file or folder; environment variables like $ONEBREATH_SHARED are expanded")
    patients: tuple[str, ...] = Field(("*",), description="patterns of the patients to use, like SCD*")
    exclude: tuple[str, ...] = Field((), description="patterns of patients to leave out")
    views: tuple[str, ...] = Field(
        ("*",), description="patterns of the views to use, lax or sax; only for files that state them (cmrxrecon)"
    )
    per_patient: int | None = Field(None, ge=1, description="largest number of series per patient, evenly chosen")
    variants: int | None = Field(None, ge=1, description="scans simulated from each series; None: `scan.variants`")
    subjects: int = Field(8, ge=1, description="simulator: number of phantoms")
    first_seed: int = Field(0, ge=0, description="simulator: seed of the first phantom; each seed is a patient")
    spoiled: bool = Field(False, description="simulator: spoiled gradient echo in place of balanced SSFP")

    @model_validator(mode="after")
    def _fields_of_the_kind(self) -> Source:
        if self.kind == "simulator":
            _refuse_set(self, ("path",), "phantoms are read from no file")
            return self
        if not self.path:
            raise ValueError(f"path is missing; give the file or folder of kind {self.kind}")
        _refuse_set(self, ("subjects", "first_seed", "spoiled"), "only the kind simulator has it")
        if self.kind in MEASURED:
            _refuse_set(self, ("variants",), f"no scans are simulated from the k-space of kind {self.kind}")
        return self


class Optimiser(_Part):
    """AdamW with warm-up and cosine decay."""

    learning_rate: float = Field(3e-4, gt=0, description="largest learning rate")
    smallest_rate: float = Field(1e-4, ge=0, description="learning rate at the end of the cosine")
    warm_up: int = Field(200, ge=0, description="steps until the largest learning rate is reached")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay; none on biases and scalars")
    scalar_factor: float = Field(1.0, gt=0, description="learning rate of scalar parameters relative to the others")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradients, which are scaled down to it")
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the moving average of the weights; 0: none")


class Recipe(_Part):
    """A training run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", description="name of the run, for example crunet_mr.robust")
    seed: int = Field(0, ge=0, description="seed of weights, scans, examples and masks")
    network: NetworkSettings = Field(description="the network")
    train: tuple[Source, ...] = Field((), description="training data; may be empty if synthesis needs no files")
    validate_on: tuple[Source, ...] = Field(
        (), description="other patients, on whom the best weights are chosen; without any, the last ones are exported"
    )
    report_only: tuple[str, ...] = Field((), description="patterns of patients never to train on or choose by")
    scan: ScanSettings = Field(ScanSettings(), description="how scans are simulated from images")
    synthesis: SynthesisSettings | None = Field(
        None,
        description="make new examples in every step on the training device, from the images of the sources, "
        "phantoms and procedural clips; `scan`, `examples`, `workers` and the sources' `variants` are left out then",
    )
    examples: ExampleSettings = Field(ExampleSettings(), description="how examples are drawn from scans")
    masks: tuple[MaskFamily, ...] = Field(
        (),
        description="mask families and their weights; for multi-coil series. Slices that lack lines keep their own "
        "masks, and these say which scans the card is for",
    )
    restoration: RestorationSettings | None = Field(
        None, description="train a network for magnitude images (mr_ipt, unet, vit) and how its examples are made"
    )
    loss: LossWeights = Field(LossWeights(), description="weights of the loss")
    self_supervised: SplitSettings | None = Field(
        None,
        description="train without full samples (SSDU): part of the acquired lines is used for the loss only; also in "
        "validation if the slices of `validate_on` lack lines",
    )
    optimiser: Optimiser = Field(Optimiser(), description="optimiser and learning rate")
    steps: int = Field(10000, ge=1, description="steps of the whole training; the cosine ends there")
    batch: int = Field(1, ge=1, description="examples of a step, over all processes")
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        "float32", description="format of convolutions; Fourier transforms and data consistency stay in float32"
    )
    workers: int = Field(0, ge=0, description="processes that draw examples during training")
    checkpoint_every: int = Field(100, ge=1, description="steps from one checkpoint to the next")
    validate_every: int = Field(500, ge=1, description="steps from one validation to the next")
    validation_examples: int = Field(16, ge=1, description="examples of a validation")

    @property
    def validates(self) -> bool:
        """Whether there is anything to choose the best weights by."""
        return bool(self.validate_on) or self.synthesis is not None

    @model_validator(mode="after")
    def _masks_where_needed(self) -> Recipe:
        if not self.masks and self.restoration is None:
            raise ValueError("masks is missing; give at least one family")
        if not self.train and (self.synthesis is None or self.synthesis.hearts):
            raise ValueError("train is missing; give at least one source")
        if self.synthesis is not None and self.self_supervised is not None:
            raise ValueError("synthesis makes complete examples; leave self_supervised out")
        return self

    @model_validator(mode="after")
    def _fields_of_the_task(self) -> Recipe:
        """Refuse fields that the kind of training does not use."""
        idle: tuple[str, ...]
        if self.restoration is not None:
            idle = ("scan", "synthesis", "examples", "masks", "loss", "self_supervised")
            reason = "the examples and the loss are those of restoration"
        elif self.synthesis is not None:
            idle, reason = ("scan", "examples", "workers"), "the examples are made by synthesis"
        else:
            return self
        _refuse_set(self, idle, reason)
        for source in (*self.train, *self.validate_on):
            _refuse_set(source, ("variants",), reason)
        if self.synthesis is not None and not self.synthesis.hearts and self.train:
            raise ValueError("train does nothing here: no examples are made of it where synthesis.hearts is 0")
        return self


def _refuse_set(part: BaseModel, names: Sequence[str], reason: str) -> None:
    """Raise ValueError if fields that do nothing have other values than their defaults."""
    given = [name for name in names if getattr(part, name) != type(part).model_fields[name].get_default()]
    if given:
        raise ValueError(f"{', '.join(given)}: does nothing here, as {reason}; leave it out")


def read_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Recipe of a file; with `based_on: FILE` missing fields are taken from that file in the same folder.

    Parameters
    ----------
    path
        The recipe.
    changes
        ``FIELD=VALUE`` each, overriding values of the file; dots separate names of nested fields and indices of lists,
        as in ``masks.0.accelerations=[4]``. Values are YAML.

    Raises
    ------
    ConfigError
        If a file cannot be read, or a field is unknown, missing or of the wrong type; the text names each.
    """
    fields = _fields(path)
    for change in changes:
        fields = _changed(fields, *_parsed(change), change)
    return parse_recipe(fields, str(path))


def _parsed(change: str) -> tuple[list[str], Any]:
    name, equals, value = change.partition("=")
    if not equals or not name:
        raise ConfigError(f"--set {change}: expected FIELD=VALUE")
    try:
        return name.split("."), read_yaml(value)
    except ValueError as error:
        raise ConfigError(f"--set {change}: {value} is not YAML: {error}") from error


def _changed(content: Any, path: list[str], value: Any, change: str) -> Any:
    """Content with another value at a path; missing fields are created."""
    if not path:
        return value
    first, *rest = path
    if isinstance(content, list):
        if not first.isdigit() or int(first) >= len(content):
            raise ConfigError(f"--set {change}: there is no item {first}, the list has {len(content)}")
        return [_changed(one, rest, value, change) if index == int(first) else one for index, one in enumerate(content)]
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"--set {change}: {content!r} cannot have a field {first}")
    fields = content or {}
    return {**fields, first: _changed(fields.get(first), rest, value, change)}


def _fields(path: Path, above: tuple[Path, ...] = ()) -> Any:
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"recipe {path} cannot be read: {error}") from error
    if not isinstance(content, dict) or "based_on" not in content:
        return content
    base = path.parent / str(content.pop("based_on"))
    if base.resolve() in (path.resolve(), *above):
        raise ConfigError(f"recipe {path}: is based on itself, through {base}")
    fields = _fields(base, (path.resolve(), *above))
    if not isinstance(fields, dict):
        raise ConfigError(f"recipe {base}: expected fields and values, found {type(fields).__name__}")
    return {**fields, **content}


def parse_recipe(content: Any, where: str) -> Recipe:
    """Recipe with validated content; errors as in `read_recipe`."""
    if not isinstance(content, dict):
        raise ConfigError(f"recipe {where}: expected fields and values, found {type(content).__name__}")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"recipe {where}: {as_text(error)}") from error


def write_recipe(recipe: Recipe) -> str:
    """Recipe as YAML."""
    return yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False, width=110)


def source_path(source: Source) -> Path:
    """Path of a source with environment variables expanded.

    Raises
    ------
    ConfigError
        If a variable is not set or the path does not exist.
    """
    path = expanded(source.path)
    if not path.exists():
        raise ConfigError(f"source {path} does not exist")
    return path
