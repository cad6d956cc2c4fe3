"""The acceptance report as one self-contained page, and as a table for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from onebreath import __version__
from onebreath.acceptance.examination import Examination
from onebreath.acceptance.figures import figures
from onebreath.acceptance.findings import overall
from onebreath.acceptance.limits import Limits, as_yaml
from onebreath.diagnostics.software import code_sha256, commit
from onebreath.keeping import write_text
from onebreath.report.template import rendered

_TEMPLATE = Path(__file__).parent / "acceptance.html.j2"
SOURCES = {
    "noise after whitening": "difference of lines acquired twice, as in NEMA MS 1; Kellman and McVeigh, Magn Reson Med "
    "54:1439 (2005) for SNR units",
    "noise maps against replicas": "Robson et al., Magn Reson Med 60:895 (2008); Pruessmann et al., Magn Reson Med "
    "42:952 (1999), eq. 25",
    "resolution": "ISO 12233 for slanted edges; Richard et al., Med Phys 39:4115 (2012) for the edge of a disc",
    "ghosting": "percent-signal ghosting of the ACR's Phantom Test Guidance for MRI accreditation",
    "inserted details": "Rose, J Opt Soc Am 38:196 (1948): signal-to-noise ratio of a detail of at least 5",
    "domain of the model": "the limits that the model's card states",
}
"""What each test goes by."""


def write_page(path: Path, examined: Sequence[Examination], limits: Limits) -> Path:
    """Write the page.

    Raises
    ------
    ConfigError
        If jinja2 or matplotlib is not installed, or the file cannot be written.
    """
    scans = [
        {
            "one": one,
            "facts": facts(one),
            "figures": figures(one, limits),
            "tests": {test: [f for f in one.findings if f.test == test] for test in SOURCES},
        }
        for one in examined
    ]
    text = rendered(
        _TEMPLATE,
        "An acceptance report",
        scans=scans,
        outcome=overall(finding for one in examined for finding in one.findings),
        sources=SOURCES,
        limits=as_yaml(limits),
        made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        commit=commit(),
        code=code_sha256(),
    )
    write_text(path, text)
    return path


def facts(one: Examination) -> dict[str, str]:
    """Return what identifies a scan and what tested it; no name or id of a person."""
    subject = one.subject
    frames, coils, ny, nx = subject.data.kspace.shape
    header = subject.header
    told = {
        "file": f"{subject.path.name}, SHA-256 {subject.digest}",
        "scanner": f"{header.vendor or 'unknown vendor'}, {header.field_strength}",
        "protocol": header.protocol_name or "not named",
        "configuration": subject.config,
        "matrix": f"{ny} x {nx} (phase encoding x readout), {subject.pixel_mm[0]:.2f} x {subject.pixel_mm[1]:.2f} mm",
        "frames, channels": f"{frames}, {coils} after compression",
        "sampling": f"{subject.data.sampling.family}, R = {subject.data.sampling.acceleration}",
        "SNR": "not known" if subject.scan.snr is None else f"{subject.scan.snr:.3g}",
    }
    for name, digest in one.models.items():
        told[f"model {name}"] = f"weights SHA-256 {digest}"
    return told


def write_table(path: Path, examined: Sequence[Examination]) -> Path:
    """Write all findings, and everything measured of inserted details, as JSON."""
    content = {
        "version": __version__,
        "outcome": overall(finding for one in examined for finding in one.findings),
        "scans": [
            {
                "facts": facts(one),
                "outcome": one.outcome,
                "findings": [asdict(finding) for finding in one.findings],
                "details": [
                    {"method": series.label, "trial": str(series.trial), **asdict(kept)}
                    for series in one.series
                    for kept in series.kept
                ],
            }
            for one in examined
        ],
    }
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path
