"""All tests on one scan, in order, and what they leave: findings and the curves and maps behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from onebreath.acceptance.details import Series, Site, choose_sites, sizes_of
from onebreath.acceptance.domain import domain_findings, scan_of_trial
from onebreath.acceptance.edge import EdgeResponse
from onebreath.acceptance.findings import Finding, Outcome, overall
from onebreath.acceptance.gfactor import gfactor_findings, repeated_findings
from onebreath.acceptance.judging import detail_findings, untold
from onebreath.acceptance.limits import Limits
from onebreath.acceptance.noise import Differences, noise_findings
from onebreath.acceptance.phantom import ghost_findings, resolution_findings
from onebreath.acceptance.subject import Subject, Trial, trials
from onebreath.errors import ScanError
from onebreath.evaluation.candidates import Candidate, parse_candidates
from onebreath.zoo.rules import current_rules

Say = Callable[[str], None]


@dataclass
class Examination:
    """A scan and what was found.

    Attributes
    ----------
    subject
        The scan.
    findings
        In the order of the tests.
    noise
        Noise of the whitened lines, if it could be measured.
    curves
        Edge responses by what they are of.
    gfactors
        g-factor maps (y, x) by what they are of.
    series
        What each method keeps of inserted details.
    sites
        Where these were inserted.
    models
        Names of the models tested, with the hash of their weights.
    """

    subject: Subject
    findings: list[Finding] = field(default_factory=list)
    noise: Differences | None = None
    curves: dict[str, EdgeResponse] = field(default_factory=dict)
    gfactors: dict[str, NDArray[np.floating]] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """Outcome of all tests together."""
        return overall(self.findings)


def examine(subject: Subject, limits: Limits, names: Sequence[str], say: Say = lambda _: None) -> Examination:
    """Do all tests that a scan can serve, and name those that it cannot.

    Parameters
    ----------
    subject
        The scan.
    limits
        Limits and efforts.
    names
        Methods and models; none: GRAPPA and the candidates of the protocol rules that fire.
    say
        Called with what is being done.

    Raises
    ------
    OnebreathError
        If a method or model does not exist, or the calibration lines do not fit the matrix.
    """
    found = Examination(subject)
    tested = trials(subject, limits)
    chosen, contrast = (list(names), None) if names else usual_methods(subject, tested)
    candidates = parse_candidates(chosen)
    learned = [one for one in candidates if one.method.learned]
    found.models = {one.label.partition(":")[0]: str(one.identity.get("sha256", "")) for one in learned}
    say("noise after whitening")
    noise, found.noise = noise_findings(subject, limits.noise)
    found.findings += noise
    say("noise maps and replicas")
    found.findings += repeated_findings(subject, found.noise)
    own_snr = max((one.snr for one in tested), default=0.0)
    pairs: list[tuple[Trial, list[Candidate]]] = [(trial, candidates) for trial in tested]
    plain = [pair for pair in pairs if pair[0].snr == own_snr or not np.isfinite(pair[0].snr)]
    for trial, _ in plain:
        for finding, map_of_it in gfactor_findings(subject, trial, learned, limits.gfactor):
            found.findings.append(finding)
            if map_of_it is not None:
                found.gfactors[finding.what.partition(" over ")[0]] = map_of_it
    say("resolution and ghosting")
    for measured, curve, name in resolution_findings(subject, plain, limits):
        if measured is not None:
            found.findings.append(measured)
        if curve is not None:
            found.curves[name] = curve
    found.findings += ghost_findings(subject, limits.ghosting)
    say("inserted details")
    for findings, series in detail_findings(subject, pairs, limits.details):
        found.findings += findings
        found.series += series
    found.findings += untold(candidates, found.findings)
    if found.series:
        found.sites = choose_sites(subject, sizes_of(subject, limits.details), limits.details.places)
    found.findings += domain_findings(subject, tested, list(found.models), contrast)
    return found


def usual_methods(subject: Subject, tested: Sequence[Trial]) -> tuple[list[str], str | None]:
    """Return GRAPPA and the candidates of the rules that fire for the trials, and the contrast that these state.

    Raises
    ------
    ScanError
        If no rule fires.
    """
    names, contrast = ["grappa"], None
    book = current_rules()
    for trial in tested:
        rule = book.match(scan_of_trial(subject, trial, None))
        if rule is None:
            raise ScanError("no protocol rule is for this scan; name methods and models with --methods")
        wanted = [rule.model or rule.method, *rule.candidates, rule.fallback]
        names += [f"{name}:regularisation=noise" if name == "cg_sense" else name for name in wanted]
        contrast = rule.contrast or contrast
    return list(dict.fromkeys(names)), contrast
