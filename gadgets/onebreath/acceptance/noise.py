"""Test: noise has unit standard deviation after whitening, in every channel, and channels do not correlate.

It is measured on lines that were acquired more than once: the difference of two is noise alone, divided by sqrt(2) that
of one line (the method of NEMA MS 1, with lines in place of images). The noise lines that made the whitening would tell
nothing, as they come out white whatever their scale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass

import ismrmrd
import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from onebreath.acceptance.findings import Finding, judged, not_done
from onebreath.acceptance.limits import NoiseLimits
from onebreath.acceptance.subject import Subject
from onebreath.chain.chain import build
from onebreath.mrd.blocks import singly
from onebreath.mrd.lines import REVERSE, bit, header_of, is_no_image
from onebreath.mrd.readout import Extent
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile

TEST = "noise after whitening"
_CENTRE = 1 / 8
"""Part of k-space along both axes in which motion shows first."""
_MOVED = 1.1
"""Differences in the centre this much larger than elsewhere are no noise alone."""


@dataclass(frozen=True)
class Differences:
    """Sums over differences of lines that were acquired twice.

    Attributes
    ----------
    std : (coil,) real
        Standard deviation of real and imaginary part together.
    correlation : (coil, coil) complex
        Of the channels.
    samples
        Complex samples of each channel that were compared.
    centre
        Standard deviation in the centre of k-space over that elsewhere; 1 where nothing moved.
    """

    std: NDArray[np.float64]
    correlation: NDArray[np.complex128]
    samples: int
    centre: float

    def interval(self, confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return lower and upper end of the confidence interval of `std` (normal noise)."""
        freedom = 2 * self.samples
        low, high = (chi2.ppf(p, freedom) for p in ((1 + confidence) / 2, (1 - confidence) / 2))
        return self.std * np.sqrt(freedom / low), self.std * np.sqrt(freedom / high)


def noise_findings(subject: Subject, limits: NoiseLimits) -> tuple[list[Finding], Differences | None]:
    """Measure the noise of a scan's whitened lines; None without two lines of the same place."""
    if not subject.data.whitened:
        return [not_done(TEST, "the scan has no noise lines and no stored covariance, so nothing was whitened")], None
    with RawFile(subject.path, subject.group) as raw:
        steps = [("prewhiten", {"keep_noise": "false"})]
        lines = build(parse_header(raw.header_xml), steps).run(raw.messages())
        found = differences(_imaging(lines, subject.header.space))
    if found is None:
        why = "no line of the image was acquired twice; repeat the scan, or acquire several frames or averages"
        return [not_done(TEST, why)], None
    if found.centre > _MOVED:
        why = (
            f"the object moved: lines that were acquired twice differ {found.centre:.3g} times as much in the centre "
            "of k-space as elsewhere, so that they do not tell noise; use a phantom"
        )
        return [not_done(TEST, why)], found
    return judge(found, limits), found


def judge(found: Differences, limits: NoiseLimits) -> list[Finding]:
    """Compare with the limits."""
    low, high = found.interval(limits.confidence)
    worst = int(np.argmax(np.abs(found.std - 1)))
    value = (
        f"{found.std.mean():.4f} on average, {found.std.min():.4f} to {found.std.max():.4f}; channel {worst}: "
        f"{found.std[worst]:.4f} ({limits.confidence:.0%}: {low[worst]:.4f} to {high[worst]:.4f})"
    )
    sure = bool(np.all(high - low < 2 * limits.tolerance))
    good = sure and bool(np.all(np.abs(found.std - 1) <= limits.tolerance))
    why = f"{found.samples} samples a channel" + ("" if sure else "; too few to tell: acquire more")
    findings = [judged(TEST, "standard deviation", value, f"1 +- {limits.tolerance:g}, every channel", good, why)]
    coils = len(found.std)
    if coils > 1:
        among = np.abs(found.correlation - np.diag(np.diag(found.correlation)))
        one, other = np.unravel_index(int(np.argmax(among)), among.shape)
        pairs = coils * (coils - 1) / 2
        chance = float(np.sqrt(np.log(pairs / (1 - limits.confidence)) / found.samples))
        text = f"{among.max():.4f} (channels {one} and {other}); chance alone reaches {chance:.4f}"
        limit = f"at most {limits.correlation:g}"
        good = bool(among.max() <= limits.correlation)
        findings.append(judged(TEST, "largest correlation of two channels", text, limit, good))
    return findings


def _imaging(lines: object, space: int) -> Iterator[ismrmrd.Acquisition]:
    for line in singly(lines):  # type: ignore[arg-type]
        if isinstance(line, ismrmrd.Acquisition):
            header = header_of(line)
            if not is_no_image(header, header.active_channels, space):
                yield line


def differences(lines: Iterator[ismrmrd.Acquisition]) -> Differences | None:
    """Compare lines in pairs, each line once; None if none was acquired twice.

    Lines belong together whose counters agree but for those of time: frame, repetition, average, segment. Samples that
    were not measured, as those that an asymmetric echo lacks, hold no noise and are left out.
    """
    waiting: dict[tuple[int, ...], NDArray[np.complex64]] = {}
    total: NDArray[np.complex128] | None = None
    count = 0
    inner, outer = np.zeros(2), np.zeros(2)
    centres: list[tuple[int, int, int, NDArray[np.float64]]] = []
    for line in lines:
        header = header_of(line)
        idx, backwards, extent = header.idx, header.flags & bit(REVERSE), Extent.of(header)
        key = (
            idx.kspace_encode_step_1, idx.kspace_encode_step_2, idx.slice, idx.set, idx.contrast,
            header.active_channels, backwards, *astuple(extent),
        )  # fmt: skip
        other = waiting.pop(key, None)
        if other is None:
            waiting[key] = np.array(line.data)
            continue
        change = (np.asarray(line.data) - other).astype(np.complex128) / np.sqrt(2)
        change = (change[:, ::-1] if backwards else change)[:, extent.before : extent.samples - extent.after]
        total = change @ np.conj(change.T) + (0 if total is None else total)
        count += change.shape[1]
        centres.append((int(idx.kspace_encode_step_1), extent.centre - extent.before, extent.samples, _power(change)))
    if total is None:
        return None
    rows = [row for row, *_ in centres]
    middle, reach = (min(rows) + max(rows)) / 2, max((max(rows) - min(rows)) * _CENTRE / 2, 1)
    for row, echo, samples, power in centres:
        near = np.abs(np.arange(power.size) - echo) <= max(samples * _CENTRE / 2, 1)
        near = near if abs(row - middle) <= reach else np.zeros_like(near)
        inner += (power[near].sum(), near.sum())
        outer += (power[~near].sum(), (~near).sum())
    variance = np.real(np.diag(total))
    if not np.all(variance > 0):
        return None
    correlation = total / np.sqrt(np.outer(variance, variance))
    ratio = float(np.sqrt((inner[0] / inner[1]) / (outer[0] / outer[1]))) if inner[1] and outer[1] else 1.0
    return Differences(np.sqrt(variance / (2 * count)), correlation, count, ratio)


def _power(change: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.asarray((np.abs(change) ** 2).mean(axis=0))
