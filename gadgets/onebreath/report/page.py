"""Page of a report: facts, pictures and tables in the template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onebreath.images.belonging import header_of
from onebreath.images.completeness import told, why_incomplete
from onebreath.images.reading import Series, read_images
from onebreath.images.secrets import Secrets
from onebreath.keeping import write_text
from onebreath.optional import required
from onebreath.report import viewer
from onebreath.report.facts import Facts
from onebreath.report.raw import raw_section
from onebreath.report.template import rendered
from onebreath.report.words import candidates, sections

HERE = Path(__file__).parent
LEADING = "Image"
_NEEDED = ("jinja2", "matplotlib")


@dataclass(frozen=True)
class Bar:
    """Time of one gadget in seconds, and in percent of the longest."""

    name: str
    seconds: float
    percent: float


def check_packages() -> None:
    """Raise ConfigError if a required package is not installed."""
    for name in _NEEDED:
        required(name, "report", "A report")


def write_report(
    images: Path, output: Path, group: str | None = None, scan: Path | None = None, scan_group: str = "dataset"
) -> None:
    """Write the report of a file of images.

    Parameters
    ----------
    images, group
        The file, and the group of the reconstruction in it; None: the one made last.
    output
        The HTML file.
    scan, scan_group
        Raw data of the images, if available, and their group.

    Raises
    ------
    ConfigError
        If a package is missing.
    ScanError
        If a file cannot be read, or the raw data are those of other images.
    """
    check_packages()
    found = read_images(images, group)
    why = why_incomplete(images, group)
    write_text(output, page(found, images.name, scan, scan_group, told(why) if why else ""))


def page(
    found: list[Series], name: str, scan: Path | None = None, scan_group: str = "dataset", warning: str = ""
) -> str:
    """Page as HTML.

    Parameters
    ----------
    found
        All series of the reconstruction.
    name
        Name of the file of images.
    scan, scan_group
        Raw data of the images, if available, and their group.
    warning
        What is known of the file and not told by its images; goes before their warnings.

    Raises
    ------
    ScanError
        If the raw data cannot be read, or are those of other images.
    """
    header = header_of(found, scan, scan_group) if scan is not None else None
    secrets = Secrets.of((meta for one in found for meta in one.metas), header)
    facts = leading(found, secrets)
    return rendered(
        HERE / "page.html.j2",
        "A report",
        name=secrets.hide_spoken(name),
        protocol=facts.one("protocolName"),
        made_by=facts.one("GADGETRON_ImageComment"),
        software=_software(facts),
        model=_model(facts),
        warnings=[*([facts.hide(warning)] if warning else []), *Facts.of(found, secrets).warnings()],
        sections=sections(facts),
        candidates=candidates(facts),
        noise_only=facts.fact("reconstruct", "choice_noise_only"),
        timings=_timings(facts),
        chain=facts.chain(),
        counts=[_count(series, secrets) for series in found],
        table=facts.table(),
        raw=raw_section(scan, scan_group, secrets) if scan is not None else None,
        pictures=viewer.encoded(viewer.pictures(found)),
        shades=viewer.shades(),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
    )


def leading(found: list[Series], secrets: Secrets | None = None) -> Facts:
    """Facts of the images; of all series if none has images."""
    return Facts.of([series for series in found if series.role == LEADING] or found, secrets)


def _software(facts: Facts) -> list[tuple[str, str]]:
    names = {"OnebreathVersion": "version", "OnebreathCommit": "commit", "OnebreathCode": "digest of the code"}
    entries = [(words, facts.one(name)) for name, words in names.items()]
    served, device = facts.fact("host", "served_by"), facts.fact("reconstruct", "device")
    return [(words, text) for words, text in [*entries, ("served by", served), ("device", device)] if text]


def _model(facts: Facts) -> list[tuple[str, str]]:
    names = ("model", "model_version", "weights_sha256", "model_not_newest", "precision")
    entries = [(name.replace("_", " "), facts.fact("reconstruct", name)) for name in names]
    return [(words, text) for words, text in entries if text]


def _timings(facts: Facts) -> list[Bar]:
    seconds = facts.seconds()
    longest = max(seconds.values(), default=0.0) or 1.0
    return [Bar(name, value, 100 * value / longest) for name, value in seconds.items()]


def _count(series: Series, secrets: Secrets) -> dict[str, Any]:
    fov = np.median(series.headers["field_of_view"].astype(float), axis=0)
    _, _, z, y, x = series.data.shape
    return {
        "number": series.number,
        "title": viewer.TITLES.get(series.role, series.role),
        "part": series.part,
        "images": len(series.data),
        "matrix": f"{x} x {y}" + (f" x {z}" if z > 1 else ""),
        "fov": f"{fov[0]:g} x {fov[1]:g} x {fov[2]:g} mm",
        "pixel": f"{fov[0] / x:.3g} x {fov[1] / y:.3g} x {fov[2] / z:.3g} mm",
        "type": str(series.data.dtype),
        "description": ", ".join(map(secrets.hide_spoken, series.said("SeriesDescription"))),
    }
