"""Linter of protocol rules: rules that never fire, and pairs whose order alone decides."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from onebreath.errors import ModelError
from onebreath.names import did_you_mean
from onebreath.zoo.card import Card, read_card
from onebreath.zoo.domain import Domain
from onebreath.zoo.rules import WILDCARDS, Conditions, Rule
from onebreath.zoo.search import find

TRAJECTORIES = ("cartesian", "epi", "radial", "goldenangle", "spiral", "other")
"""Those of ISMRMRD's schema."""


class Finding(NamedTuple):
    """One finding; a serious one means that a rule has no effect."""

    rule: str
    text: str
    serious: bool

    def __str__(self) -> str:
        return f"{'error' if self.serious else 'warning'}: rule {self.rule}: {self.text}"


def lint(rules: Sequence[Rule]) -> list[Finding]:
    """Rules that can never fire, pairs whose order alone decides, and models that are missing or never fit.

    A rule counts as unreachable if one earlier rule covers all of its scans; several that do so together are not
    detected.
    """
    findings = []
    for second, rule in enumerate(rules):
        covering = [earlier.name for earlier in rules[:second] if covers(earlier.when, rule.when)]
        if covering:
            findings.append(Finding(rule.name, f"can never fire: {covering[0]} before it takes all of its scans", True))
    hidden = {finding.rule for finding in findings}
    for first, later in itertools.combinations([rule for rule in rules if rule.name not in hidden], 2):
        if first.outcome != later.outcome and _ambiguous(first.when, later.when):
            text = f"some scans also meet {later.name}, which decides otherwise; only their order says who wins"
            findings.append(Finding(first.name, text, False))
    return findings + [finding for rule in rules for finding in (*_model_findings(rule), *_unknown_trajectories(rule))]


def covers(wide: Conditions, narrow: Conditions) -> bool:
    """Whether every scan that meets `narrow` meets `wide`."""
    return all(
        limit is None or (getattr(narrow, name) is not None and _within(name, getattr(narrow, name), limit))
        for name, limit in _limits(wide)
    )


def overlap(first: Domain, second: Domain) -> bool:
    """Whether a scan may meet both."""
    for name in type(second).model_fields.keys() & type(first).model_fields.keys():
        a, b = getattr(first, name), getattr(second, name)
        if a is None or b is None:
            continue
        if name in WILDCARDS:
            if not any(_may_match_both(one.lower(), other.lower()) for one in a for other in b):
                return False
        elif isinstance(a[0], str):
            if not set(a) & set(b):
                return False
        elif max(a[0], b[0]) > min(a[1], b[1]):
            return False
    return True


def _ambiguous(first: Conditions, later: Conditions) -> bool:
    """Whether some scans meet both conditions, and the first is not a special case of the later."""
    return overlap(first, later) and not covers(later, first)


def _model_findings(rule: Rule) -> list[Finding]:
    if rule.model is None:
        return []
    try:
        card: Card = read_card(find(rule.model))
    except ModelError as error:
        return [Finding(rule.name, f"its model cannot be used, the fallback makes its images: {error}", False)]
    if overlap(rule.when, card.domain):
        return []
    return [Finding(rule.name, f"none of its scans is inside the domain of model {rule.model}", True)]


def _unknown_trajectories(rule: Rule) -> list[Finding]:
    named = rule.when.trajectory or ()
    unknown = [name for name in named if name not in TRAJECTORIES]
    if not unknown:
        return []
    text = f"no header has the trajectory {', '.join(map(repr, unknown))}. {did_you_mean(unknown[0], TRAJECTORIES)}"
    never = len(unknown) == len(named)
    return [Finding(rule.name, f"can never fire: {text}" if never else text, never)]


def _limits(conditions: Conditions) -> list[tuple[str, Any]]:
    return [(name, getattr(conditions, name)) for name in Conditions.model_fields]


def _within(name: str, narrow: Any, wide: Any) -> bool:
    if name in WILDCARDS:
        return all(any(_takes_all(pattern.lower(), other.lower()) for pattern in wide) for other in narrow)
    if isinstance(wide[0], str):
        return set(narrow) <= set(wide)
    return bool(wide[0] <= narrow[0] and narrow[1] <= wide[1])


def _takes_all(wide: str, narrow: str) -> bool:
    """Whether one pattern matches all texts that another one matches.

    A wide pattern with no wildcard but ``*`` does so if it matches the narrow pattern itself, since its literal
    characters can only have matched literal ones. With other wildcards only equal patterns are recognised.
    """
    if wide == narrow:
        return True
    return not set("?[") & set(wide) and fnmatch.fnmatchcase(narrow, wide)


def _may_match_both(first: str, second: str) -> bool:
    """Whether a text may match two patterns; brackets count as any character."""
    if not first or not second:
        return not (first + second).strip("*")
    if first[0] == "*":
        return _may_match_both(first[1:], second) or _may_match_both(first, second[1:])
    if second[0] == "*":
        return _may_match_both(second, first)
    first, second = _any_letter(first), _any_letter(second)
    same = first[0] == second[0] or "?" in (first[0], second[0])
    return same and _may_match_both(first[1:], second[1:])


def _any_letter(pattern: str) -> str:
    return "?" + pattern.partition("]")[2] if pattern[0] == "[" else pattern
