"""Scans with one thing wrong, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ismrmrd
import numpy as np

from onebreath.chain.notes import read_warning
from onebreath.wire.connection import parse_header
from tests.chain.running import run, steps
from tests.helpers import complex_normal
from tests.raw import line
from tests.scans import coil_scan, header

ROWS, SAMPLES = 36, 32
TRUTH, _, KSPACE = coil_scan(frames=4, y=ROWS, x=SAMPLES)
PHASE_CORRECTION, REVERSE = 24, 22
UPRIGHT = {"read_dir": (1.0, 0.0, 0.0), "phase_dir": (0.0, 1.0, 0.0), "slice_dir": (0.0, 0.0, 1.0)}
NOISE = [line(complex_normal(np.random.default_rng(5), (6, 512)), 0, 19, **UPRIGHT)]
Change = Callable[[str], str]


def lines(frame: int, rows: Any = range(ROWS), *flags: int, scale: float = 1.0, **fields: Any) -> list[Any]:
    """Lines of one of the phantom's states."""
    return [line(scale * KSPACE[frame][:, row], row, *flags, **{**UPRIGHT, **fields}) for row in rows]


def stamped(made: list[Any]) -> list[Any]:
    """The lines with numbers and time stamps in their order."""
    for number, one in enumerate(made, 1):
        one._head.scan_counter, one._head.acquisition_time_stamp = number, 1000 + number
    return made


def head(change: Change = str, limits: dict[str, tuple[int, int, int]] | None = None, **given: Any) -> Any:
    """A header; `change` may spoil its text, `limits` adds limits of counters as (first, centre, last)."""
    from onebreath.simulation.mrd_file import header_text

    made = header(ROWS, SAMPLES, **given)
    stated = made.encoding[0].encodingLimits
    stated.slice = stated.phase = None
    for name, (first, centre, last) in (limits or {}).items():
        setattr(stated, name, ismrmrd.xsd.limitType(minimum=first, maximum=last, center=centre))
    return parse_header(change(header_text(made)).encode())


def reconstructed(
    scan: list[Any], given: Any = None, noise: Sequence[Any] = NOISE, **changes: dict[str, str]
) -> tuple[list[Any], list[str]]:
    """Images by number, and warnings."""
    chain = steps(
        "zero_filled", **{**changes, "calibrate": {"coil_map_algorithm": "inati", **changes.get("calibrate", {})}}
    )
    made = run(given or head(), stamped([*noise, *scan]), chain)
    images = [message for message in made if isinstance(message, ismrmrd.Image)]
    told = [text for text in map(read_warning, made) if text is not None]
    numbers = [(image.image_series_index, image.image_index) for image in images]
    assert len(set(numbers)) == len(numbers)
    return images, told


def error_of(image: Any, frame: int) -> float:
    """NRMSE to a state of the phantom, after one free scale."""
    found, truth = np.asarray(image.data[0, 0], float), np.abs(TRUTH[frame])
    scale = np.vdot(found, truth) / np.vdot(found, found)
    return float(np.linalg.norm(scale * found - truth) / np.linalg.norm(truth))


def by(images: list[Any], counter: str) -> dict[int, Any]:
    """Images by one of their counters."""
    found = {int(getattr(image.getHead(), counter)): image for image in images}
    assert len(found) == len(images)
    return found
