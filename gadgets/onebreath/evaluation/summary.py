"""Summary of results: mean and standard deviation by method, and tests against a reference method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from onebreath.evaluation.compare import Result
from onebreath.evaluation.statistics import Comparison, compare_all, mean_and_spread, per_patient, spread

Summary = dict[str, Any]
SIGNIFICANT = 0.05
"""Corrected p below which differences are marked."""
TITLES = {"psnr": "PSNR (dB)", "ssim": "SSIM", "nmse": "NMSE", "haarpsi": "HaarPSI", "dists": "1 - DISTS"}
"""Titles of measures in tables and figures; NMSE is better when lower, all others when higher."""


def summarise(results: Iterable[Result], methods: Sequence[str], reference: str, convention: str) -> list[Summary]:
    """Summary of each group of cases.

    Parameters
    ----------
    results
        Results of all methods for all cases.
    methods
        Methods in the order of the tables.
    reference
        Method against which the others are tested.
    convention
        Convention of the measures.

    Returns
    -------
    list
        For each group ``group``, ``convention``, ``truth``, ``slices``, ``patients``, ``methods`` (by label: ``values``
        with mean, std and n by region and measure, ``seconds``, ``failures``) and ``tests`` (by region, measure and
        other method: ``per_slice`` and ``per_patient``, see `onebreath.evaluation.statistics`).
    """
    groups: dict[str, list[Result]] = {}
    for one in results:
        groups.setdefault(one.group, []).append(one)
    return [_group(name, found, methods, reference, convention) for name, found in groups.items()]


def _group(name: str, results: list[Result], methods: Sequence[str], reference: str, convention: str) -> Summary:
    slices = {(one.patient, one.slice) for one in results}
    by_method = {label: [one for one in results if one.method == label] for label in methods}
    return {
        "group": name,
        "convention": convention,
        "truth": sorted({one.truth_is for one in results}),
        "slices": len(slices),
        "patients": len({patient for patient, _ in slices}),
        "methods": {label: _method(found, convention) for label, found in by_method.items()},
        "reference": reference,
        "tests": _tests(by_method, reference, convention),
    }


def _method(results: list[Result], convention: str) -> Summary:
    done = [one for one in results if not one.failure]
    values: dict[str, dict[str, Any]] = {}
    for region, measure in _kinds(done, convention):
        found = [one.measures[convention][region][measure] for one in done if region in one.measures[convention]]
        values.setdefault(region, {})[measure] = spread(found)._asdict()
    times = [one.seconds for one in done if one.warm]
    return {
        "values": values,
        "seconds": spread(times)._asdict() if times else None,
        "first_seconds": [round(one.seconds, 3) for one in done if not one.warm],
        "failures": {f"{one.patient} {one.slice}": one.failure for one in results if one.failure},
    }


def _kinds(results: list[Result], convention: str) -> list[tuple[str, str]]:
    """Regions and measures of the results."""
    return list(
        dict.fromkeys(
            (region, measure)
            for one in results
            for region, found in one.measures[convention].items()
            for measure in found
        )
    )


def _tests(by_method: dict[str, list[Result]], reference: str, convention: str) -> Summary:
    """Tests of the reference against each other method, on the slices that all of them reconstructed."""
    done = {label: {(r.patient, r.slice): r for r in found if not r.failure} for label, found in by_method.items()}
    done = {label: found for label, found in done.items() if found}
    if reference not in done or len(done) < 2:
        return {}
    common = [key for key in done[reference] if all(key in found for found in done.values())]
    tests: dict[str, dict[str, Any]] = {}
    for region, measure in _kinds([done[reference][key] for key in common], convention):
        keys = [key for key in common if region in done[reference][key].measures[convention]]
        values = {
            label: [found[key].measures[convention][region][measure] for key in keys] for label, found in done.items()
        }
        own = values.pop(reference)
        patients = [patient for patient, _ in keys]
        averaged = {label: per_patient(patients, one) for label, one in values.items()}
        by_slice, by_patient = compare_all(own, values), compare_all(per_patient(patients, own), averaged)
        tests.setdefault(region, {})[measure] = {
            label: {"per_slice": asdict(by_slice[label]), "per_patient": asdict(by_patient[label])} for label in values
        }
    return tests


def overview(summaries: Sequence[Summary]) -> str:
    """All groups as one Markdown table: a row per group and method, a column per measure.

    A star marks significant differences from the reference (Wilcoxon over slices, Bonferroni correction).
    """
    columns = list(dict.fromkeys(kind for one in summaries for kind in _columns(one)))
    lines = [
        f"| sampling | method | {' | '.join(_head(*column) for column in columns)} | time (s) |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for group in summaries:
        for label, one in group["methods"].items():
            cells = [
                _cell(one["values"].get(region, {}).get(measure), measure) + _mark(group, region, measure, label)
                for region, measure in columns
            ]
            lines.append(f"| {group['group']} | {label} | {' | '.join(cells)} | {_time(one)} |")
    if references := ", ".join(dict.fromkeys(one["reference"] for one in summaries if one["tests"])):
        lines += ["", f"* differs from {references}, p < {SIGNIFICANT} (Wilcoxon, Bonferroni)."]
    failures = dict.fromkeys(text for one in summaries for text in _failures(one))
    return "\n".join([*lines, *failures, ""])


def _mark(group: Summary, region: str, measure: str, label: str) -> str:
    test = group["tests"].get(region, {}).get(measure, {}).get(label)
    return "*" if test and test["per_slice"]["p_bonferroni"] < SIGNIFICANT else ""


def _columns(summary: Summary) -> list[tuple[str, str]]:
    """Regions and measures of any method."""
    return list(dict.fromkeys(
        (region, measure)
        for one in summary["methods"].values()
        for region, found in one["values"].items()
        for measure in found
    ))  # fmt: skip


def _head(region: str, measure: str) -> str:
    return TITLES[measure] if region == "overall" else f"{region} {TITLES[measure]}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)])


def markdown(summaries: Sequence[Summary]) -> str:
    """Summaries as Markdown tables."""
    return "\n\n".join(_markdown_group(one) for one in summaries) + "\n"


def _markdown_group(summary: Summary) -> str:
    columns = _columns(summary)
    heads = [_head(*column) for column in columns]
    lines = [
        f"### {summary['group']}",
        "",
        f"{summary['slices']} slices of {summary['patients']} patients, {summary['convention']} convention; mean ± "
        f"standard deviation over slices. Truth: {'; '.join(summary['truth'])}.",
        "",
        f"| method | {' | '.join(heads)} | time (s) |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for label, one in summary["methods"].items():
        cells = [_cell(one["values"].get(region, {}).get(measure), measure) for region, measure in columns]
        lines.append(f"| {label} | {' | '.join(cells)} | {_time(one)} |")
    return "\n".join([*lines, *_failures(summary), *_markdown_tests(summary)])


def _failures(summary: Summary) -> list[str]:
    """A paragraph for each method that failed, with the reasons."""
    return [
        f"\n{label} failed on {len(one['failures'])} of {summary['slices']} slices: "
        + "; ".join(sorted(set(one["failures"].values())))
        for label, one in summary["methods"].items()
        if one["failures"]
    ]


def _markdown_tests(summary: Summary) -> list[str]:
    if not summary["tests"]:
        return []
    lines = [
        "",
        f"{summary['reference']} minus each other method: Wilcoxon signed-rank test, two-sided; p also corrected for "
        f"the number of methods by Bonferroni (* below {SIGNIFICANT}) and by Holm; n pairs of slices.",
        "",
        "| region | measure | other method | n | median difference | p | Bonferroni | Holm | patients: n, p |",
        "|---" * 9 + "|",
    ]
    for region, measures in summary["tests"].items():
        for measure, others in measures.items():
            for label, found in others.items():
                one, grouped = Comparison(**found["per_slice"]), Comparison(**found["per_patient"])
                mark = _mark(summary, region, measure, label)
                lines.append(
                    f"| {region} | {TITLES[measure]} | {label} | {one.n} | {one.difference:+.4g} | {one.p:.2g} "
                    f"| {one.p_bonferroni:.2g}{mark} | {one.p_holm:.2g} | {grouped.n}, {grouped.p:.2g} |"
                )
    return lines


def _cell(value: dict[str, float] | None, measure: str) -> str:
    digits = {"psnr": 2, "nmse": 5}.get(measure, 4)
    return "" if value is None else mean_and_spread(value["mean"], value["std"], int(value["n"]), digits)


def _time(method: Summary) -> str:
    if method["seconds"] is not None:
        seconds = method["seconds"]
        return mean_and_spread(seconds["mean"], seconds["std"], int(seconds["n"]), 2)
    return f"{method['first_seconds'][0]:.2f} (first run)" if method["first_seconds"] else ""
