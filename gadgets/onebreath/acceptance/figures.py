"""Pictures of an acceptance report: the scan, noise by channel, edge responses, g-factors, details."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from onebreath.acceptance.examination import Examination
from onebreath.acceptance.limits import Limits
from onebreath.evaluation.figures.pictures import new_figure

_DPI = 130


def figures(one: Examination, limits: Limits) -> list[tuple[str, str]]:
    """Return captions and pictures (PNG in base64) of what was measured."""
    found = [("The scan (mean of its frames); circles: places where details were inserted.", _scan(one))]
    if one.noise is not None:
        found.append(("Noise of each channel after whitening, and the correlation of channels.", _noise(one, limits)))
    if one.curves:
        found.append(("Edge spread and modulation transfer.", _edges(one)))
    if one.gfactors:
        found.append(("g-factor maps.", _gfactors(one)))
    if one.series:
        caption = (
            "Details: signal-to-noise ratio (above) and part of the contrast that is left (below), by contrast; "
            "dashed: what survives lies above."
        )
        found.append((caption, _details(one, limits)))
    return found


def _png(figure: Any) -> str:
    target = io.BytesIO()
    figure.savefig(target, dpi=_DPI, format="png")
    return base64.b64encode(target.getvalue()).decode("ascii")


def _extent(one: Examination) -> tuple[float, float, float, float]:
    ny, nx = one.subject.data.kspace.shape[2:]
    return 0.0, nx * one.subject.pixel_mm[1], ny * one.subject.pixel_mm[0], 0.0


def _scan(one: Examination) -> str:
    figure = new_figure(4.6, 3.8)
    axis = figure.subplots()
    shown = axis.imshow(np.abs(one.subject.combined).mean(axis=0), cmap="gray", extent=_extent(one))
    for site in one.sites:
        x, y = ((p + 0.5) * mm for p, mm in zip(site.at[::-1], one.subject.pixel_mm[::-1], strict=True))
        angle = np.linspace(0, 2 * np.pi, 40)
        axis.plot(x + site.size_mm / 2 * np.cos(angle), y + site.size_mm / 2 * np.sin(angle), "tab:orange", lw=0.8)
    axis.set(xlabel="readout (mm)", ylabel="phase encoding (mm)")
    figure.colorbar(shown, ax=axis, label="SNR units")
    return _png(figure)


def _noise(one: Examination, limits: Limits) -> str:
    assert one.noise is not None
    figure = new_figure(8.4, 3.2)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.5, 1]})
    channels = np.arange(len(one.noise.std))
    low, high = one.noise.interval(limits.noise.confidence)
    left.errorbar(channels, one.noise.std, [one.noise.std - low, high - one.noise.std], fmt="o", ms=4, capsize=2)
    for end in (-1, 1):
        left.axhline(1 + end * limits.noise.tolerance, color="tab:red", ls="--", lw=0.8)
    left.axhline(1, color="gray", lw=0.6)
    left.set(xlabel="channel", ylabel="standard deviation")
    shown = right.imshow(np.abs(one.noise.correlation), cmap="magma", vmin=0, vmax=max(0.1, limits.noise.correlation))
    right.set(xlabel="channel", ylabel="channel")
    figure.colorbar(shown, ax=right, label="|correlation| (1 on the diagonal)")
    return _png(figure)


def _edges(one: Examination) -> str:
    figure = new_figure(9.2, 3.6)
    left, right = figure.subplots(1, 2)
    for name, curve in one.curves.items():
        style = "-" if name.startswith("full") else "--"
        left.plot(curve.distance_mm, curve.spread, style, lw=1)
        right.plot(curve.frequency, curve.mtf, style, lw=1, label=name)
    left.set(xlabel="distance from the edge (mm)", ylabel="edge spread")
    right.set(xlabel="frequency (cycles/mm)", ylabel="modulation transfer", ylim=(0, 1.3))
    right.axhline(0.5, color="gray", lw=0.6)
    figure.legend(*right.get_legend_handles_labels(), loc="outside right upper", fontsize="x-small")
    return _png(figure)


def _gfactors(one: Examination) -> str:
    count = len(one.gfactors)
    figure = new_figure(2.9 * count + 0.6, 2.8)
    axes = np.atleast_1d(figure.subplots(1, count))
    # The same colours for all, up to what nearly all pixels reach.
    shown_maps = [m[m > 0] for m in map(np.nan_to_num, one.gfactors.values())]
    top = max((float(np.percentile(m, 98)) for m in shown_maps if m.size), default=1.2)
    for axis, (name, found) in zip(axes, one.gfactors.items(), strict=True):
        shown = axis.imshow(
            np.where(found > 0, found, np.nan), cmap="viridis", vmin=0.8, vmax=max(top, 1.2), extent=_extent(one)
        )
        axis.set_title(name.replace("g-factor", "", 1).replace(" of ", " ").replace(": ", ": ", 1), fontsize="x-small")
        axis.set_axis_off()
    figure.colorbar(shown, ax=list(axes), label="g-factor")
    return _png(figure)


def _details(one: Examination, limits: Limits) -> str:
    trials = list(dict.fromkeys(str(series.trial) for series in one.series))
    sizes = sorted({kept.size_mm for series in one.series for kept in series.kept})
    figure = new_figure(2.7 * len(trials) + 1.8, 4.8)
    axes = figure.subplots(2, len(trials), squeeze=False, sharex=True, sharey="row")
    methods = list(dict.fromkeys(series.label for series in one.series))
    for series in one.series:
        column = trials.index(str(series.trial))
        colour = f"C{methods.index(series.label)}"
        for number, size in enumerate(sizes):
            kept = [k for k in series.kept if k.size_mm == size]
            contrast = [k.contrast for k in kept]
            style = {"color": colour, "marker": "osd^v"[number % 5], "ms": 3, "lw": 0.9}
            label = f"{series.label}, {size:g} mm" if column == 0 else None
            axes[0, column].plot(contrast, [max(k.rose, 0.1) for k in kept], label=label, **style)
            axes[1, column].plot(contrast, [k.retained for k in kept], **style)
        axes[0, column].set_title(str(series.trial), fontsize="small")
    for axis, height in [(a, limits.details.rose) for a in axes[0]] + [(a, limits.details.retained) for a in axes[1]]:
        axis.axhline(height, color="gray", ls="--", lw=0.8)
        axis.set_xscale("log")
        axis.set_xticks(limits.details.contrasts, [f"{c:g}" for c in limits.details.contrasts], fontsize="x-small")
        axis.set_xticks([], minor=True)
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylabel("signal / noise")
    axes[1, 0].set_ylabel("contrast left")
    for axis in axes[1]:
        axis.set_xlabel("contrast inserted")
    figure.legend(loc="outside right upper", fontsize="xx-small")
    return _png(figure)
