"""Explanation of the protocol rule that fires for a scan, and checks of the rules in force."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gadgetron.types import ReconData

from onebreath.chain.chain import build
from onebreath.chain.facts import facts_of
from onebreath.chain.gadget import gadget_class
from onebreath.chain.notes import read_note
from onebreath.commands.inspect import own_steps
from onebreath.errors import ConfigError, ModelError, ScanError
from onebreath.gadgets.facts import PrewhitenFacts
from onebreath.gadgets.reconstruct.chooser import method_of
from onebreath.gadgets.reconstruct.gather import Gathering
from onebreath.gadgets.reconstruct.reconstruct import Reconstruct, ReconstructProperties
from onebreath.methods.place import Place
from onebreath.methods.scan import scan_of, scan_of_header
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.volumes import has_partitions
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile
from onebreath.zoo.card import read_card
from onebreath.zoo.domain import Scan
from onebreath.zoo.lint import Finding, lint
from onebreath.zoo.rules import Rule, RuleBook, current_rules
from onebreath.zoo.search import find


def rules() -> int:
    """Print the rules in force and their problems; return 1 if there is a serious one, else 0."""
    book = current_rules()
    for number, rule in enumerate(book.rules, 1):
        print(f"{number:3} {rule.name:24} {rule.model or rule.method:24} {rule.policy:9} {rule.why}")
    findings = check(book)
    for finding in findings:
        print(finding)
    return 1 if any(finding.serious for finding in findings) else 0


def check(book: RuleBook) -> list[Finding]:
    """Find what is wrong with rules: see `lint`, and methods or parameters that do not exist."""
    findings = []
    for rule in book.rules:
        try:
            method_of(rule)
        except ConfigError as error:
            findings.append(Finding(rule.name, f"cannot work: {error}", True))
    return findings + lint(book.rules)


def match(file: str, group: str, config: str) -> int:
    """Print for every rule whether it fires for a scan; return 0 if one does, else 1.

    Raises
    ------
    OnebreathError
        If the file or the rules are wrong.
    """
    book = current_rules()
    with RawFile(file, group) as raw:
        _, scan = first_place(raw, config)
    known = {name: value for name, value in vars(scan).items() if value is not None}
    told = (f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in known.items())
    print("The scan: " + ", ".join(told))
    for text in explain(book, scan):
        print(text)
    return 0 if book.match(scan) else 1


def first_place(raw: RawFile, config: str) -> tuple[Place, Scan]:
    """Send a file through a configuration up to the reconstruction; return its first slice and the scan's properties.

    Raises
    ------
    OnebreathError
        What the scan would raise in the chain.
    """
    xml = parse_header(raw.header_xml)
    header, steps = ScanHeader(xml), own_steps(config)
    given = next((pairs for name, pairs in steps if name == Reconstruct.name), {})
    kept = {name: given[name] for name in ("acs_as_data", "partial_fourier") if name in given}
    properties = ReconstructProperties.model_validate({"method": "zero_filled", **kept})
    notes: dict[str, dict[str, Any]] = {}
    for message in build(xml, [step for step in steps if gadget_class(step[0]).prepares]).run(raw.messages()):
        if (written := read_note(message)) is not None:
            notes.update([written])
        if isinstance(message, ReconData):
            if has_partitions(message):
                raise ScanError(
                    f"{raw.path} has partitions: protocol rules and candidates are for slices. A volume is made by the "
                    "method that its configuration names; onebreath inspect says which configuration suits it"
                )
            said = facts_of(PrewhitenFacts, notes, "prewhiten")
            whitened = said is None or said.whitened is not False
            place = Gathering(header, properties.acs_as_data, whitened, properties.partial_fourier).first(message)
            return place, scan_of(place.merged, scan_of_header(header))
    raise ScanError(f"{raw.path} gives no slice, so what the scan is cannot be told")


def explain(book: RuleBook, scan: Scan) -> Iterator[str]:
    """Describe for every rule whether it fires and why not, and compare the model's card with the scan."""
    fires = book.match(scan)
    for rule, verdict in book.judge(scan):
        reasons = [*verdict.outside, *(f"{name} is not known" for name in verdict.unknown)]
        if rule is fires:
            yield f"  {rule.name}: FIRES: {_outcome(rule, scan)}"
        elif reasons:
            yield f"  {rule.name}: no: {'; '.join(reasons)}"
        else:
            yield f"  {rule.name}: no: its conditions hold too, but an earlier rule fires"
    if fires is None:
        yield "  no rule fires: the fallback makes the images"
    if book.warning:
        yield f"These rules are the last good ones: {book.warning}"


def _outcome(rule: Rule, scan: Scan) -> str:
    if rule.model is None:
        others = f", or by held-back lines {', '.join(rule.candidates)}" if rule.candidates else ""
        return f"method {rule.method}{others}"
    try:
        card = read_card(find(rule.model))
    except ModelError as error:
        return f"{rule.fallback}, since {error}"
    outside, unknown = card.domain.judge(Scan(**{**vars(scan), "contrast": rule.contrast}))
    if outside:
        then = {
            "fallback": f"{rule.fallback} makes the images",
            "warn": "it is used with a warning",
            "refuse": "the scan ends with an error",
        }[rule.policy]
        return f"model {rule.model} is not for it ({'; '.join(outside)}), so {then}"
    return f"model {rule.model}" + (f"; not known: {', '.join(unknown)}" if unknown else "")
