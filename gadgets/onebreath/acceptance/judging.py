"""Verdicts on inserted details: what each method keeps of them, learned ones judged by the best classical one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onebreath.acceptance.details import TEST, Series, choose_sites, measure, sizes_of
from onebreath.acceptance.findings import Finding, judged, not_done
from onebreath.acceptance.limits import DetailLimits
from onebreath.acceptance.subject import Subject, Trial
from onebreath.errors import OnebreathError, ScanError
from onebreath.evaluation.candidates import Candidate


def detail_findings(
    subject: Subject, tests: list[tuple[Trial, list[Candidate]]], limits: DetailLimits
) -> Iterator[tuple[list[Finding], list[Series]]]:
    """Test all methods, trial by trial: findings, and everything that was measured."""
    if not subject.data.whitened:
        yield [not_done(TEST, "the noise of the scan is not known, so neither is that of a detail")], []
        return
    if not subject.data.sampling.complete:
        yield [not_done(TEST, "a side of k-space was not acquired (partial Fourier); use a symmetric scan")], []
        return
    sizes = sizes_of(subject, limits)
    try:
        sites = choose_sites(subject, sizes, limits.places)
    except ScanError as error:
        yield [not_done(TEST, str(error))], []
        return
    for trial, methods in tests:
        series, findings = [], []
        for one in methods:
            try:
                series.append(measure(subject, trial, one, sites, limits))
            except OnebreathError as error:
                findings.append(not_done(TEST, f"{one.label}, {trial}: {error}"))
        yield [*findings, *compared(series, sizes, limits)], series


def untold(candidates: Sequence[Candidate], findings: Sequence[Finding]) -> list[Finding]:
    """Return one finding for each method of whose details nothing was found: who asked for it shall see that."""
    here = [one for one in findings if one.test == TEST]
    told = {
        one.label
        for one in candidates
        if any(
            text.startswith(f"{one.label}, ") for found in here for text in (found.what.rpartition(": ")[2], found.why)
        )
    }
    why = "it was not tested; the reason is above"
    return [Finding(TEST, one.label, "", "", "not done", why) for one in candidates if one.label not in told]


def compared(series: Sequence[Series], sizes: Sequence[float], limits: DetailLimits) -> list[Finding]:
    """Judge the learned methods of a trial by the best classical one, size by size; the classical are information.

    A size of which neither keeps anything says nothing; where all are so, the method was not tested.
    """
    findings = []
    classical = [one for one in series if not one.learned]
    best = {
        size: min((c for one in classical if (c := one.smallest(size, limits)) is not None), default=None)
        for size in sizes
    }
    factor = limits.worse_than_classical
    for one in series:
        least = {size: one.smallest(size, limits) for size in sizes}
        what = f"smallest contrast that survives: {one.label}, {one.trial}"
        value = _said(least, limits)
        if not one.learned:
            findings.append(Finding(TEST, what, value, "", "for information"))
            continue
        if not classical:
            findings.append(Finding(TEST, what, value, "", "not done", "no classical method was tested to judge it by"))
            continue
        good = all(
            best[size] is None or (found is not None and found <= factor * best[size])  # type: ignore[operator]
            for size, found in least.items()
        )
        limit = f"at most {factor:g} times that of the best classical method: {_said(best, limits)}"
        silent = [size for size in sizes if best[size] is None and least[size] is None]
        why = _neither(silent, limits) if silent else ""
        if len(silent) == len(sizes):
            findings.append(Finding(TEST, what, value, limit, "not done", why))
        else:
            findings.append(judged(TEST, what, value, limit, good, why))
    return findings


def _neither(sizes: Sequence[float], limits: DetailLimits) -> str:
    """Return what a reader must know of sizes of which neither the method nor a classical one keeps anything."""
    listed = ", ".join(f"{size:g}" for size in sizes)
    most = max(limits.contrasts)
    return (
        f"neither it nor a classical method keeps details of {listed} mm up to {most:g}; test larger contrasts or sizes"
    )


def _said(contrasts: Mapping[float, float | None], limits: DetailLimits) -> str:
    least, most = min(limits.contrasts), max(limits.contrasts)

    def said(contrast: float | None) -> str:
        if contrast is None:
            return f"none up to {most:g}"
        return f"{least:g} or less" if contrast <= least else f"{contrast:.2g}"

    return "; ".join(f"{size:g} mm: {said(contrast)}" for size, contrast in contrasts.items())
