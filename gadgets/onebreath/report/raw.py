"""Section of a report on the raw data: header, lines, and sampling of each frame."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np

from onebreath.commands.inspect import header_facts, line_facts
from onebreath.images.secrets import Secrets
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import calibrates, side_line
from onebreath.names import shortened
from onebreath.optional import required
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile

MOST_FRAMES, ZOOM = 64, 4


def raw_section(path: Path, group: str, secrets: Secrets) -> dict[str, Any]:
    """Facts of header and lines, and a picture of the sampling (PNG in base64, with its size in pixels).

    Parameters
    ----------
    path, group
        An ISMRMRD raw file, and the scan's group in it.
    secrets
        What is not to be told.

    Raises
    ------
    ScanError
        If it cannot be read.
    """
    with RawFile(path, group) as raw:
        header = ScanHeader(parse_header(raw.header_xml))
        table = raw.headers()
        facts = {"header": header_facts(header), "lines": line_facts(table, raw.waveforms)}
    named = header.protocol_name or "not named"
    protocol = (shortened(named), shortened(secrets.hide_spoken(named)))
    pattern, counter = sampling(table, header.encoded_matrix.y)
    return {
        "name": secrets.hide_spoken(path.name),
        **{title: [secrets.hide(text.replace(*protocol)) for text in texts] for title, texts in facts.items()},
        "sampling": _png(pattern),
        "width": pattern.shape[1] * ZOOM,
        "height": pattern.shape[0] * ZOOM,
        "counter": counter,
        "frames": pattern.shape[0],
        "rows": pattern.shape[1],
    }


def sampling(table: np.ndarray, rows: int) -> tuple[np.ndarray, str]:
    """Sampling of the first slice (frame, line), and the name of the counter of the frames.

    0 is not acquired, 1 an imaging line, 2 a calibration line. Frames beyond `MOST_FRAMES` are omitted.
    """
    flags = table["flags"]
    side = np.array([side_line(int(value)) is not None for value in flags], bool)
    idx = table["idx"]
    first = ~side & (idx["slice"] == (idx["slice"][~side].min() if (~side).any() else 0))
    counter = next((name for name in ("phase", "repetition") if len(np.unique(idx[name][first])) > 1), "phase")
    frames, lines = idx[counter][first].astype(int), idx["kspace_encode_step_1"][first].astype(int)
    pattern = np.zeros((min(int(frames.max(initial=0)) + 1, MOST_FRAMES), max(rows, int(lines.max(initial=0)) + 1)))
    shown = frames < len(pattern)
    kind = np.where(calibrates(flags[first]), 2, 1)
    np.maximum.at(pattern, (frames[shown], lines[shown]), kind[shown])
    return pattern, counter


def _png(pattern: np.ndarray) -> str:
    image = required("PIL.Image", "report", "A picture of the sampling")
    colours = np.array([[24, 24, 30], [235, 235, 235], [240, 150, 60]], np.uint8)
    picture = colours[pattern.astype(int)].repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    target = io.BytesIO()
    image.fromarray(picture).save(target, "PNG")
    return base64.b64encode(target.getvalue()).decode("ascii")
