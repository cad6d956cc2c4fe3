"""Choice of the method for a scan: by name in the configuration, or by the protocol rules."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from onebreath.errors import ConfigError, MethodError, OnebreathError
from onebreath.gadgets.reconstruct.guard import AUTO, DEFAULT_FALLBACK, OWN_RULE, MethodProperties, messages_of
from onebreath.methods.base import Fact, Method, SliceData, method_class
from onebreath.methods.choice.choice import choose
from onebreath.methods.choice.decision import Choice
from onebreath.methods.choice.stacked import Member, Stacked
from onebreath.methods.guarded import Guarded, Safety
from onebreath.methods.scan import scan_of, scan_of_header
from onebreath.mrd.header import ScanHeader
from onebreath.registry import RESTORATION
from onebreath.zoo.domain import Scan
from onebreath.zoo.rules import Rule, RuleBook, current_rules

log = logging.getLogger("onebreath.reconstruct")

_ANY_TIME = 1e6
"""Share of the reconstruction's time that an estimate may take which is asked for."""
LEAST_TRUSTED = 0.5
"""Estimated error, relative to the image, above which no candidate is trusted."""


class Chooser:
    """Chooses the method for one scan when its first slice arrives; rules and models are those at the scan's start.

    Parameters
    ----------
    properties
        What the configuration says.
    header
        The scan's header.
    judged
        Whether the error of the chosen method's images is to be estimated in any case.

    Raises
    ------
    OnebreathError
        If a method named by the configuration lacks something and has no fallback; `UnknownModel`, with or without a
        fallback, if it names a model that does not exist.
    """

    def __init__(self, properties: MethodProperties, header: ScanHeader, judged: bool = False) -> None:
        self.properties, self.header = properties, header
        self._to_judge = judged
        self.scan = scan_of_header(header)
        self._chosen: Guarded | None = None
        self._found: Choice | None = None
        self._guards: dict[str, Guarded | OnebreathError] = {}
        self._others: dict[str, dict[str, Guarded]] = {}
        self.book = RuleBook(())
        if properties.automatic:
            self._read_rules()
        else:
            safety = replace(properties.safety(), by_name=True)
            own = Guarded(properties.make_method(), safety, messages_of(header))
            own.prepare(self.scan)
            rule = properties.rule if properties.choose_within else None
            if rule is None:
                self._chosen = own
            else:
                self.book, self._guards[rule.name] = RuleBook((rule,)), own
                self._others[rule.name] = self._other_candidates(rule)

    def _read_rules(self) -> None:
        """Read the rules in force, and load and check the models that may be needed."""
        try:
            self.book = current_rules()
        except ConfigError as error:
            self._chosen = self._without_model(f"the protocol rules cannot be used: {error}")
            return
        for rule in self.book.candidates(self.scan):
            try:
                guard = self._guard(rule)
                guard.prepare(replace(self.scan, contrast=rule.contrast))
                self._guards[rule.name] = guard
            except OnebreathError as error:  # it matters only if the rule fires
                self._guards[rule.name] = error
            if self.properties.choose_within:
                self._others[rule.name] = self._other_candidates(rule)

    def guard(self, data: SliceData, further: Sequence[SliceData] = ()) -> Guarded:
        """Return the guarded method that reconstructs the scan.

        Parameters
        ----------
        data
            A slice of the scan, from which the sampling is known; looked at only once.
        further
            Other slices that are there already.

        Raises
        ------
        OnebreathError
            If the rule that fires refuses the scan.
        """
        if self._chosen is None:
            self._chosen = self._fire(scan_of(data, self.scan), data, further)
        if self._to_judge:
            self._to_judge = False
            self._found = self._found or _judge(self._chosen, [data, *further])
        return self._chosen

    def facts_of(self, data: SliceData) -> dict[str, Fact]:
        """Return the facts of the choice that a slice has of its own, as it may be unlike those that were tested."""
        return {} if self._found is None else self._found.facts_of(data)

    def error_of(self, data: SliceData) -> float | None:
        """Return the likely error of a slice's images, relative to them; None if it is not known."""
        return None if self._found is None else self._found.error_of(data)

    def guard_of_volumes(self) -> Guarded:
        """Return the guarded method for a scan with partitions, for which no rule's model is, and no test."""
        if self._chosen is None:
            own = None if self.properties.automatic else self._guards[self.book.rules[0].name]
            if isinstance(own, Guarded):
                own.facts["choice"] = "the configuration's own method, as scans with partitions cannot be tested"
                self._chosen = own
            else:
                self._chosen = self._without_model("no model is for scans with partitions (three-dimensional encoding)")
        return self._chosen

    def _fire(self, scan: Scan, data: SliceData, further: Sequence[SliceData]) -> Guarded:
        rule = self.book.match(scan)
        if rule is None:
            return self._without_model("no protocol rule is for this scan; see onebreath models match")
        guard = self._guards[rule.name]
        if isinstance(guard, OnebreathError):
            raise type(guard)(f"rule {rule.name}: {guard}") from guard
        log.info("rule %s fires: %s", rule.name, rule.model or rule.method)
        guard = self._among_candidates(rule, guard, [data, *further])
        guard.facts |= {"rule": rule.name, "policy": rule.policy}
        if self.book.warning:
            guard.facts["rules_not_newest"] = self.book.warning
        return guard

    def _among_candidates(self, rule: Rule, guard: Guarded, slices: Sequence[SliceData]) -> Guarded:
        """Choose among candidates by held-back lines; return the rule's own method where these cannot decide."""
        if not rule.candidates:
            return guard
        if self.properties.choose_within == 0:
            guard.facts["choice"] = "not made, as choose_within is 0; the rule's order decides"
            return guard
        begun = time.perf_counter()
        guards = self._able(rule, guard)
        methods = [(name, one.wanted) for name, one in guards.items() if one.wanted is not None]
        try:
            count = max(messages_of(self.header), len(slices))
            found = choose(methods, slices[0], self.properties.choose_within, count, slices[1:])
        except MethodError as error:
            level = logging.INFO if rule.name == OWN_RULE else logging.WARNING  # it is usual for few slices
            log.log(level, "held-back lines cannot decide: %s", error)
            guard.facts["choice"] = f"held-back lines cannot decide: {error}; the rule's order decides"
            return guard
        members = [
            Member(name, method, weight)
            for (name, method), weight in zip(methods, found.weights, strict=True)
            if weight > 0
        ]
        for one in members:
            _without_score(one.method)
        chosen = guards[methods[found.winner][0]]
        if len(members) > 1:
            safest = next((guards[one.name] for one in members if one.method.learned), guard)
            chosen = Guarded(Stacked(members), safest.safety, messages_of(self.header))
            chosen.spend(max(guards[one.name].spent for one in members))
        chosen.facts |= guard.facts | found.facts
        self._found = found
        wrong = found.error
        if wrong > LEAST_TRUSTED:
            log.warning("no candidate is trustworthy: the best one's error is %.2g of the image", wrong)
            chosen.facts["choice_verdict"] = f"no candidate is trustworthy: the error is {wrong:.2g} of the image"
        chosen.spend(time.perf_counter() - begun)
        return chosen

    def _able(self, rule: Rule, guard: Guarded) -> dict[str, Guarded]:
        """Return the rule's own method and the other candidates that can run."""
        guards = {guard.name: guard} if guard.wanted is not None and not guard.refused else {}
        for name, other in self._others[rule.name].items():
            if other.refused:
                log.warning("candidate %s is left out: %s", name, other.refused)
                guard.facts[f"choice_without_{name}"] = other.refused
            else:
                guards.setdefault(other.name, other)
        return guards

    def _other_candidates(self, rule: Rule) -> dict[str, Guarded]:
        """Make a rule's candidates and prepare them; its own classical method is the fallback of models."""
        others: dict[str, Guarded] = {}
        standby = rule.fallback
        with suppress(ConfigError):  # which the rule's own guard reports
            standby = rule.fallback if method_class(rule.method).learned else rule.method
        for name in rule.candidates:
            model = "." in name
            made: dict[str, Any] = {
                "model": name if model else None,
                "method": method_of_model(name) if model else name,
                "properties": {},
                "fallback": standby if model else rule.fallback,
            }
            other = self._guard(rule.model_copy(update=made))
            if other.safety.fallback is not None and other.safety.fallback.name == rule.method == self._named(standby):
                other.safety = replace(other.safety, fallback=method_class(standby)(**rule.properties))
            try:
                other.prepare(replace(self.scan, contrast=rule.contrast))
            except OnebreathError as error:
                other.refused = str(error)
            others[name] = other
        return others

    def _guard(self, rule: Rule) -> Guarded:
        """Make the guarded method of a rule; the fallback alone if the method cannot be made."""
        safety = self._safety(rule)
        try:
            parameters = self.properties.parameters if self.properties.automatic else {}
            return Guarded(method_of(rule, parameters), safety, messages_of(self.header))
        except ConfigError as error:
            return Guarded(None, safety, messages_of(self.header), refused=f"rule {rule.name} is wrong: {error}")

    def _safety(self, rule: Rule | None) -> Safety:
        """Return the fallback of a rule; an empty one if the rule's method is the fallback itself."""
        chosen = self.properties
        if rule is not None and rule.method == rule.fallback:
            return Safety()
        name = self._named(DEFAULT_FALLBACK if rule is None else rule.fallback)
        fallback = chosen.model_copy(update={"fallback": name}).make_fallback()
        return replace(chosen.safety(), fallback=fallback, policy="fallback" if rule is None else rule.policy)

    def _named(self, fallback: str) -> str:
        """Return the name of the fallback, which the configuration may set."""
        return fallback if self.properties.fallback == AUTO else self.properties.fallback

    def _without_model(self, reason: str) -> Guarded:
        """Return the fallback, for a scan for which no rule names a model."""
        guard = Guarded(None, self._safety(None), messages_of(self.header), refused=reason)
        guard.prepare(self.scan)
        return guard


def _judge(guard: Guarded, slices: Sequence[SliceData]) -> Choice | None:
    """Estimate the error of a method that no choice was made for, by held-back lines."""
    if guard.wanted is None or guard.refused:
        return None
    begun = time.perf_counter()
    try:
        found = choose([(guard.name, guard.wanted)], slices[0], _ANY_TIME, further=slices[1:])
    except MethodError as error:
        log.warning("the error of the images is not known: %s", error)
        return None
    guard.facts |= {name: value for name, value in found.facts.items() if name != "choice" or name not in guard.facts}
    guard.spend(time.perf_counter() - begun)
    return found


def method_of_model(name: str) -> str:
    """Return the name of the method that runs a model."""
    return "mr_ipt" if name.partition(".")[0] in RESTORATION else "unrolled"


def _without_score(method: Method) -> None:
    """Leave out the out-of-domain score of a chosen method: its error is known from the held-back lines."""
    if getattr(method.parameters, "domain_score", False):
        method.parameters = method.parameters.model_copy(update={"domain_score": False})


def method_of(rule: Rule, parameters: dict[str, Any] | None = None) -> Method:
    """Make the method that a rule names.

    Parameters
    ----------
    rule
        The rule.
    parameters
        What the configuration sets for methods with models; the rule's own properties come before them.

    Raises
    ------
    ConfigError
        If there is no such method, or it has no such parameter.
    """
    cls = method_class(rule.method)
    given: dict[str, Any] = {}
    if cls.learned:
        given = {**(parameters or {}), "model": rule.model}
        given["outside_domain"] = "allow" if rule.policy == "warn" else "refuse"
    return cls(**given | rule.properties)
