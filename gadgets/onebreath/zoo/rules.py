"""Protocol rules, which select a scan's model or method by its header and sampling.

Rules are tried in order; the first one whose conditions all hold fires. ``protocols.yaml`` is shipped with the models;
a site's own rules are in ``protocols.site.yaml`` and come first. Both are in folders of the models' search path.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from onebreath.errors import ConfigError
from onebreath.names import did_you_mean, shortened
from onebreath.registry import METHODS
from onebreath.validation import Problem, problems
from onebreath.zoo.card import ModelName
from onebreath.zoo.domain import Domain, Scan, Verdict
from onebreath.zoo.last_good import LastGood
from onebreath.zoo.search import search_path
from onebreath.zoo.yaml_guard import read_yaml

RULES_FILE, SITE_FILE = "protocols.yaml", "protocols.site.yaml"
_LARGEST_FILE = 1_000_000
"""Largest size of a file of rules in bytes, which bounds the memory for parsing."""
_LEARNED = "onebreath.methods.learned."
"""Where the methods are that need a model."""
_NO_METHODS = ("auto", "none")
"""What a fallback may be besides a method; see docs/protocols.md."""


def _wildcard(pattern: str) -> str:
    """The pattern, if it is well-formed and can match a text typed on a scanner."""
    if not pattern.strip() or not pattern.isprintable():
        raise ValueError("a pattern is a printable text with wildcards * ? [abc], and not empty")
    if re.sub(r"\[!?[^\[\]]+\]", "", pattern).strip("*?").count("[") or pattern.count("[") != pattern.count("]"):
        raise ValueError("a bracket is not closed; [abc] is one of a, b and c")
    return pattern


Patterns = Annotated[tuple[Annotated[str, AfterValidator(_wildcard)], ...], Field(min_length=1)]


class Conditions(Domain):
    """Conditions on a scan, all of which must hold; None holds for every scan."""

    subject: ClassVar[str] = "the rule"

    protocol: Patterns | None = Field(default=None, description="wildcards for the protocol's name, any letter case")
    vendor: Patterns | None = Field(default=None, description="wildcards for the vendor, any letter case")
    sequence: Patterns | None = Field(default=None, description="wildcards for the kind of sequence, any letter case")

    def allows(self, name: str, value: str | float) -> bool:
        """Whether one property of a scan meets its condition."""
        if name in WILDCARDS:
            text = str(value).lower()
            return any(fnmatch.fnmatchcase(text, pattern.lower()) for pattern in getattr(self, name))
        return super().allows(name, value)


WILDCARDS = ("protocol", "vendor", "sequence")


class Rule(BaseModel):
    """A protocol rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern="^[a-z0-9][a-z0-9_-]*$", description="name for logs and the images' meta")
    why: str = Field(default="", description="purpose of the rule, in one line")
    when: Conditions = Field(default=Conditions(), description="conditions on the scan")
    model: ModelName | None = Field(default=None, description="model that reconstructs them")
    method: str = Field(default="unrolled", description="method that runs the model, or a classical method")
    properties: dict[str, str | int | float | bool] = Field(default={}, description="parameters of the method")
    contrast: str | None = Field(
        default=None, description="contrast of such scans, for comparison with the model's domain, as headers lack it"
    )
    policy: Literal["fallback", "warn", "refuse"] = Field(
        default="fallback",
        description="for scans outside the model's domain: the fallback's images, the model's images with a warning, "
        "or an error",
    )
    candidates: tuple[str, ...] = Field(
        default=(),
        description="further models and classical methods, in the order of preference; held-back lines decide between "
        "them and the rule's own model or method",
    )
    fallback: str = Field(default="cg_sense", description="classical method to use otherwise")

    @model_validator(mode="after")
    def _model_fits_method(self) -> Rule:
        if self.method == "unrolled" and self.model is None:
            raise ValueError("name a model, or a method that needs none")
        return self

    @property
    def outcome(self) -> tuple[Any, ...]:
        """Everything that determines the images; rules with equal outcomes cannot contradict each other."""
        return (
            self.model,
            self.method,
            tuple(sorted(self.properties.items())),
            self.policy,
            self.candidates,
            self.fallback,
        )


class _RuleFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    include: tuple[str, ...] = Field(default=(), description="files in the same folder whose rules follow these")
    rules: tuple[Rule, ...] = Field(default=(), description="rules in the order in which they are tried")


@dataclass(frozen=True)
class RuleBook:
    """The rules in force, in order, and a warning if the current files are invalid."""

    rules: tuple[Rule, ...]
    warning: str = ""

    def candidates(self, scan: Scan) -> list[Rule]:
        """Rules that the known properties of a scan do not exclude."""
        return [rule for rule in self.rules if not rule.when.judge(scan).outside]

    def judge(self, scan: Scan) -> list[tuple[Rule, Verdict]]:
        """Verdict of each rule on a scan."""
        return [(rule, rule.when.judge(scan)) for rule in self.rules]

    def match(self, scan: Scan) -> Rule | None:
        """The rule that fires, or None; a condition on an unknown property does not hold."""
        return next((rule for rule, verdict in self.judge(scan) if not any(verdict)), None)


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Rules of a file, and of the files it includes.

    Raises
    ------
    ConfigError
        If a file is missing, not YAML, or invalid, or names a fallback or candidate that does not exist; if files
        include each other in a circle or from other folders; or if two rules have the same name.
    """
    rules = _read(path, ())
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{path}: rules are defined twice: {', '.join(twice)}")
    return rules


def _read(path: Path, before: tuple[Path, ...]) -> tuple[Rule, ...]:
    if path in before:
        circle = " -> ".join(part.name for part in (*before, path))
        raise ConfigError(f"{before[0]}: files include each other in a circle: {circle}")
    content = _parse(path)
    found = list(content.rules)
    for name in content.include:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.yaml", name) or (path.parent / name).is_symlink():
            raise ConfigError(f"{path}: include {name!r} is not the name of a .yaml file in the same folder")
        found += _read(path.parent / name, (*before, path))
    return tuple(found)


def _parse(path: Path) -> _RuleFile:
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"the rules cannot be read: {path} is no file")
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{path} has {path.stat().st_size} bytes, a file of rules has at most {_LARGEST_FILE}")
        content = read_yaml(path.read_text(encoding="utf-8"))
        found = _RuleFile.model_validate({} if content is None else content)
    except OSError as error:
        raise ConfigError(f"the rules cannot be read: {error}") from error
    except ValidationError as error:  # which is a ValueError, too
        raise ConfigError(f"{path}: " + "; ".join(map(_explain, problems(error)))) from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML that can be used: {shortened(error)}") from error
    for rule in found.rules:
        _check_names(rule, path)
    return found


def _check_names(rule: Rule, path: Path) -> None:
    """Refuse a rule whose fallback or candidates do not exist: a scan for which it fired would get no image.

    Whether a model that is named is there, is found out when a scan needs it, as models come and go.

    Raises
    ------
    ConfigError
        If a name is wrong.
    """
    classical = [name for name in METHODS if not METHODS[name].startswith(_LEARNED)]
    if rule.fallback not in (*classical, *_NO_METHODS):
        hint = did_you_mean(rule.fallback, classical)
        raise ConfigError(
            f"{path}: rule {rule.name}: its fallback {_quoted(rule.fallback)} is no classical method. {hint}"
        )
    for name in rule.candidates:
        if name not in classical and not re.fullmatch(r"[^.]+\..+", name):
            raise ConfigError(
                f"{path}: rule {rule.name}: its candidate {_quoted(name)} is neither a model (architecture.tag) nor a "
                f"classical method. {did_you_mean(name, classical)}"
            )


def _explain(problem: Problem) -> str:
    where = problem.where or "the file"
    if problem.unknown:
        return f"there is no field '{where}'"
    return f"{where}: {_quoted(problem.value)} does not fit ({problem.message})"


def _quoted(value: object) -> str:
    return shortened(repr(value)) if isinstance(value, str) else shortened(value)


_shipped = LastGood(lambda folder: read_rules(folder / RULES_FILE), "*.yaml")
_site = LastGood(lambda folder: read_rules(folder / SITE_FILE), "*.yaml")


def current_rules() -> RuleBook:
    """The rules for a scan that begins now.

    A site's rules come first, and replace shipped ones of the same name. While a file is invalid, its last good version
    in this process stays in force, and the book's `warning` says so.

    Raises
    ------
    ConfigError
        If a file is invalid and this process has seen no good version.
    """
    site, site_warning = _first(SITE_FILE, _site)
    shipped, warning = _first(RULES_FILE, _shipped)
    own = {rule.name for rule in site}
    rules = (*site, *(rule for rule in shipped if rule.name not in own))
    return RuleBook(rules, "; ".join(text for text in (site_warning, warning) if text))


def _first(name: str, files: LastGood[tuple[Rule, ...]]) -> tuple[tuple[Rule, ...], str]:
    """Rules of the first file of this name on the search path; none without a file."""
    for folder in search_path():
        if files.known(folder) or (folder / name).is_file():
            kept = files.get(folder)
            return kept.value, kept.warning
    return (), ""
