"""Decisions about a scan and their reasons, in sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from onebreath.report.facts import Facts

Tone = Literal["plain", "note", "alarm"]
_RANGE = re.compile(r"[\d.]+ to [\d.]+")
"""An interval of the error that is known."""


class Sentence(NamedTuple):
    """A sentence; tone `note` for changed data or other than default decisions, `alarm` for anything to be checked."""

    text: str
    tone: Tone = "plain"


class Section(NamedTuple):
    """Sentences on one topic."""

    title: str
    sentences: list[Sentence]


def sections(facts: Facts) -> list[Section]:
    """All sections that are not empty."""
    made = [Section(title, list(sentences(facts))) for title, sentences in _SECTIONS.items()]
    return [section for section in made if section.sentences]


def _method(facts: Facts) -> Iterator[Sentence]:
    method, model = facts.fact("reconstruct", "method"), facts.fact("reconstruct", "model")
    if stacked := facts.fact("reconstruct", "stacked"):
        yield Sentence(f"The images are a mean: {stacked}.")
    elif method:
        yield Sentence(f"The images were made by {method}{f' with the model {model}' if model else ''}.")
    if rule := facts.fact("reconstruct", "rule"):
        policy = facts.fact("reconstruct", "policy")
        yield Sentence(f"The protocol rule '{rule}' applied{f'; its policy is {policy}' if policy else ''}.")
    if fallback := facts.fact("reconstruct", "fallback"):
        wanted = facts.fact("reconstruct", "wanted") or "the wanted method"
        yield Sentence(f"This is a fallback: {wanted} was not used, because: {fallback}", "alarm")
    if choice := facts.fact("reconstruct", "choice"):
        lines = facts.fact("reconstruct", "choice_lines")
        kept = f" {lines} acquired lines were held back from each candidate to judge it." if lines else ""
        yield Sentence(f"The choice among candidates: {choice}.{kept}")
    if verdict := facts.fact("reconstruct", "choice_verdict"):
        yield Sentence(f"The choice's verdict: {verdict}.", "alarm")
    yield from _error(facts)
    if standby := facts.fact("reconstruct", "standby"):
        yield Sentence(f"A classical method was on standby: {standby}.")
    if facts.fact("reconstruct", "converged") == "no":
        residual = facts.fact("reconstruct", "residual")
        yield Sentence(
            f"The iterations reached their limit before the residual ({residual}) fell below its tolerance.", "note"
        )


def _error(facts: Facts) -> Iterator[Sentence]:
    """The estimated error; slices have intervals of their own, of which the widest range is told."""
    texts = facts.all("Onebreath_reconstruct_choice_error_90_percent")
    ends = [text.split(" to ") for text in texts if _RANGE.fullmatch(text)]
    if ends:
        low, high = min((one for one, _ in ends), key=float), max((one for _, one in ends), key=float)
        slices = ", of all slices together" if len(ends) > 1 else ""
        yield Sentence(f"The error of the magnitude is {low} to {high} of the image in nine of ten scans{slices}.")
    for text in texts:
        if not _RANGE.fullmatch(text):
            yield Sentence(f"The error of the magnitude is {text}.", "note")


def _domain(facts: Facts) -> Iterator[Sentence]:
    if domain := facts.fact("reconstruct", "domain"):
        inside = domain == "inside"
        words = "The scan is inside the model's domain." if inside else f"The scan and the model's domain: {domain}."
        yield Sentence(words, "plain" if inside else "alarm")
    if score := facts.fact("reconstruct", "domain_score"):
        limit = facts.fact("reconstruct", "domain_score_limit")
        yield Sentence(f"The model predicted held-back lines with an error of {score}; the limit is {limit}.")
    if verdict := facts.fact("reconstruct", "domain_score_verdict"):
        yield Sentence(f"The model's domain: {verdict}", "alarm")


def _noise(facts: Facts) -> Iterator[Sentence]:
    noise = facts.fact("prewhiten", "noise")
    lines, samples = facts.fact("prewhiten", "noise_lines"), facts.fact("prewhiten", "noise_samples")
    sources = {
        "scan": f"The noise was measured in this scan{f': {lines} noise lines, {samples} samples' if lines else ''}.",
        "stored": "The noise comes from a file of the configuration.",
        "storage": f"The noise was measured in an earlier scan: {facts.fact('prewhiten', 'noise_source')}.",
    }
    if noise:
        yield Sentence(sources.get(noise, f"Noise: {noise}."))
    if facts.fact("prewhiten", "whitened") == "False":
        yield Sentence("The data were not whitened: pixel values are in arbitrary units and not comparable.", "alarm")
    elif noise:
        yield Sentence(
            "After whitening the noise has standard deviation 1 in real and imaginary part; image values are in these "
            "units."
        )
    if reason := facts.fact("prewhiten", "noise_storage"):
        yield Sentence(f"Stored noise: {reason}.", "note")
    if late := facts.most("prewhiten", "noise_lines_after_imaging_not_used"):
        yield Sentence(f"{late:.0f} noise lines came after imaging had begun and were not used.", "note")


def _coils(facts: Facts) -> Iterator[Sentence]:
    channels, kept = facts.fact("compress", "channels"), facts.fact("compress", "channels_kept")
    mode, energy = facts.fact("compress", "mode"), facts.fact("compress", "energy_kept")
    if channels and mode == "none":
        yield Sentence(f"All {channels} channels were kept.")
    elif channels:
        share = f"; they hold {energy} of the energy" if energy else ""
        yield Sentence(f"{channels} channels were compressed to {kept} virtual ones ({mode}){share}.")
    if maps := facts.fact("calibrate", "coil_maps"):
        lines = facts.fact("calibrate", "acs_lines")
        yield Sentence(f"Coil maps: {maps}, from {lines} calibration lines.")
    if (times := facts.most("reconstruct", "thresholds_for_noise_times")) > 1:
        yield Sentence(
            "The coil maps do not explain the lines as well as the noise allows, so L+S made its images smoother: "
            f"with thresholds for {times:.0f} times the noise.",
            "note",
        )
    if mode := facts.fact("calibrate", "mode"):
        header, agrees = facts.fact("calibrate", "header_mode"), facts.fact("calibrate", "agreement")
        if agrees == "yes":
            yield Sentence(f"Calibration lines are {mode}, as the header says.")
        else:
            yield Sentence(f"Calibration lines are {mode}; the header says {header}: {agrees}.", "note")


def _lines(facts: Facts) -> Iterator[Sentence]:
    groups = facts.of_places("sort", "lines")
    if groups:
        frames, source = facts.fact("sort", "frames"), facts.fact("sort", "frames_from")
        yield Sentence(f"{groups:.0f} imaging lines became {frames} frames for each place, by: {source}.")
    for name, words in (
        ("averages_combined", "{0:.0f} averages were combined into one."),
        ("beats_rejected", "{0:.0f} heart beats were rejected as irregular."),
        (
            "lines_of_rejected_beats_used",
            "{0:.0f} lines of rejected beats were used nevertheless, as there were no others.",
        ),
        ("frames_dropped", "{0:.0f} incomplete frames were dropped."),
        ("repeated_lines_averaged", "{0:.0f} lines that had been acquired more than once were averaged."),
    ):
        count = facts.most("sort", name)
        if count > (1 if name == "averages_combined" else 0):
            yield Sentence(words.format(count), "note")
    dropped = facts.all("Onebreath_sort_dropped_lines")
    if lost := [text for text in dropped if text != "none"]:
        yield Sentence(f"Lines were left out: {'; '.join(lost)}.", "note")
    elif dropped:
        yield Sentence("No line was dropped.")
    missing, incomplete = facts.of_places("sort", "missing_lines"), facts.of_places("sort", "incomplete_frames")
    if missing or incomplete:
        policy = facts.fact("sort", "incomplete_frames_policy")
        yield Sentence(f"{missing:.0f} lines are missing in {incomplete:.0f} frames; what was done: {policy}.", "alarm")
        if away := facts.most("sort", "filled_from_frames_away"):
            yield Sentence(f"They were filled with lines of other frames, at most {away:.0f} frames away.", "alarm")
    elif dropped:
        yield Sentence("No line is missing, and none was filled in.")


def _sampling(facts: Facts) -> Iterator[Sentence]:
    if rate := facts.fact("reconstruct", "acceleration"):
        effective, pattern = facts.fact("reconstruct", "effective_acceleration"), facts.fact("reconstruct", "sampling")
        yield Sentence(f"Acceleration {rate} ({effective} with calibration lines counted); sampling: {pattern}.")
    if partial := facts.fact("reconstruct", "partial_fourier"):
        yield Sentence(f"Partial Fourier: {partial}.")
    if gfactor := facts.fact("reconstruct", "gfactor"):
        yield Sentence(f"g-factor map: {gfactor}.")
    if normality := facts.fact("reconstruct", "normality"):
        yield Sentence(f"Normality of the noise: {normality}.")


def _pixels(facts: Facts) -> Iterator[Sentence]:
    if (factor := facts.fact("export", "noise_factor")) not in ("", "1"):
        yield Sentence(
            f"The recon matrix leaves out outer k-space and its noise: the noise of a pixel is {factor} times that in "
            "SNR units."
        )
    clipped = facts.total("export", "clipped_pixels")
    if facts.fact("export", "clipped_pixels"):
        words = f"{clipped:.0f} pixels were clipped." if clipped else "No pixel was clipped."
        yield Sentence(words, "alarm" if clipped else "plain")
    if ratios := facts.one("GADGETRON_ScaleRatio"):
        offsets = facts.one("GADGETRON_ScaleOffset")
        yield Sentence(f"A stored pixel is {ratios} times the image value, plus {offsets}; shown are the values.")


_SECTIONS: dict[str, Callable[[Facts], Iterator[Sentence]]] = {
    "Method": _method,
    "Model's domain": _domain,
    "Noise": _noise,
    "Coils and calibration": _coils,
    "Lines": _lines,
    "Sampling": _sampling,
    "Pixels": _pixels,
}


_TESTED = re.compile(
    r"(?P<name>\S.*?)(?: at least)? (?P<error>\S+) \+- (?P<uncertainty>\S+?)(?P<look>, by a first look)?"
)


class Candidate(NamedTuple):
    """A row of the choice's table; numbers as stated, empty if it was not tested."""

    name: str
    error: str
    uncertainty: str
    remark: str


def candidates(facts: Facts) -> list[Candidate]:
    """Table of the choice among methods: errors relative to the image, estimated on held-back lines."""
    rows: list[Candidate] = []
    errors = facts.all("Onebreath_reconstruct_choice_errors")
    for text in errors[0].split("; ") if errors else ():
        name, untested, reason = text.partition(" not tested: ")
        if untested:
            rows.append(Candidate(name, "", "", f"not tested: {reason}"))
        elif tested := _TESTED.fullmatch(text):
            remark = "behind at a first look, its error is at least this" if tested["look"] else ""
            rows.append(Candidate(tested["name"], tested["error"], tested["uncertainty"], remark))
        elif text:  # the end of a reason that contains the separator
            rows[-1] = rows[-1]._replace(remark=f"{rows[-1].remark}; {text}") if rows else Candidate(text, "", "", "")
    return rows
