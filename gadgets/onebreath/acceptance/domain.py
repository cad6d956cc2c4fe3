"""Test: whether the scan lies within the limits that the card of a model states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onebreath import zoo
from onebreath.acceptance.findings import Finding, judged, not_done
from onebreath.acceptance.subject import Subject, Trial
from onebreath.errors import ModelError
from onebreath.zoo.domain import Scan, spell

TEST = "domain of the model"


def scan_of_trial(subject: Subject, trial: Trial, contrast: str | None) -> Scan:
    """Return the scan's properties as they are under a trial's sampling and noise."""
    sampling = trial.data.sampling
    acs = None if sampling.acs_mode == "interleaved" else sampling.acs
    return replace(
        subject.scan,
        acceleration=sampling.acceleration,
        mask_family=sampling.family,
        acs_lines=0 if acs is None else acs[1] - acs[0] + 1,
        frames=len(trial.data.kspace),
        snr=trial.snr,
        contrast=contrast,
    )


def domain_findings(
    subject: Subject, trials: Sequence[Trial], models: Sequence[str], contrast: str | None
) -> list[Finding]:
    """Compare each trial with the card of each model: every limit that it states, one finding for each trial."""
    findings = []
    for name in models:
        try:
            domain = zoo.read_card(zoo.find(name)).domain
        except ModelError as error:
            findings.append(not_done(TEST, str(error)))
            continue
        for trial in trials:
            scan = scan_of_trial(subject, trial, contrast)
            outside, unknown = domain.judge(scan)
            stated = {field: getattr(domain, field) for field in type(domain).model_fields if getattr(domain, field)}
            value = ", ".join(f"{field.replace('_', ' ')} {getattr(scan, field)}" for field in stated)
            limit = "; ".join(f"{field.replace('_', ' ')} {spell(limits)}" for field, limits in stated.items())
            why = "; ".join([*outside, *(f"{field} is not known" for field in unknown)])
            findings.append(judged(TEST, f"{name}, {trial}", value, limit, not outside, why))
    return findings
