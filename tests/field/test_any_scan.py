"""Whatever headers and counters say: no traceback, no number twice, no image without a word where lines were odd."""

from __future__ import annotations

import os
from typing import Any

import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onebreath.chain.notes import read_warning
from onebreath.errors import OnebreathError
from onebreath.wire.connection import parse_header
from tests.chain.running import run, steps

EXAMPLES = int(os.environ.get("ONEBREATH_EXAMPLES", "40"))
"""Scans that are tried; set the variable to try more."""
ROWS, SAMPLES, COILS = 16, 16, 2
COUNTERS = ("slice", "phase", "repetition", "set", "contrast")
LIMIT = "<{0}><minimum>0</minimum><maximum>{1}</maximum><center>{2}</center></{0}>"
OBJECT = np.fft.fftshift(np.fft.fft2(np.pad(np.ones((COILS, 7, 5)), ((0, 0), (4, 5), (6, 5))))).astype(np.complex64)


def header(limits: dict[str, int], centre: int | None, factor: str | None) -> Any:
    stated = "".join(LIMIT.format(name, last, 0) for name, last in limits.items())
    if centre is not None:
        stated = LIMIT.format("kspace_encoding_step_1", ROWS - 1, centre) + stated
    space = (
        f"<matrixSize><x>{SAMPLES}</x><y>{ROWS}</y><z>1</z></matrixSize>"
        "<fieldOfView_mm><x>300</x><y>300</y><z>8</z></fieldOfView_mm>"
    )
    parallel = (
        f"<parallelImaging><accelerationFactor><kspace_encoding_step_1>{factor}</kspace_encoding_step_1>"
        "<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor></parallelImaging>"
    )
    return parse_header(
        (
            '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions>'
            "<H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions><encoding>"
            f"<encodedSpace>{space}</encodedSpace><reconSpace>{space}</reconSpace>"
            f"<encodingLimits>{stated}</encodingLimits><trajectory>cartesian</trajectory>"
            f"{parallel if factor is not None else ''}</encoding></ismrmrdHeader>"
        ).encode()
    )


def line(row: int, frame: tuple[int, ...], fault: str, number: int) -> ismrmrd.Acquisition:
    data = OBJECT[:, row] * (0 if fault == "zero" else 1)
    made = ismrmrd.Acquisition.from_array(np.ascontiguousarray(data[:, :0] if fault == "empty" else data))
    head = made._head
    head.scan_counter, head.acquisition_time_stamp, head.sample_time_us = number, 1000 + number, 2.5
    head.center_sample = made.data.shape[1] // 2
    head.read_dir, head.phase_dir, head.slice_dir = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    head.idx.kspace_encode_step_1 = row
    for name, value in zip(COUNTERS, frame, strict=True):
        setattr(head.idx, name, value)
    head.position = (0.0, 0.0, 10.0 * frame[0])
    head.encoding_space_ref = int(fault == "space")
    return made


FAULTS = ("none",) * 6 + ("zero", "empty", "space", "twice", "missing")


@st.composite
def scans(draw: st.DrawFn) -> tuple[Any, list[ismrmrd.Acquisition], bool]:
    """Header, lines, and whether something about the lines must be told with the images."""
    counts = [draw(st.integers(1, 3)) for _ in COUNTERS]
    frames = list(np.ndindex(*counts))[:12]
    factor = draw(st.sampled_from([None, "1", "2", "2.3", "two"]))
    step = draw(st.sampled_from([1, 1, 2]))
    rows = [row for row in range(ROWS) if row % step == 0 or 5 <= row < 11]
    limits = draw(st.dictionaries(st.sampled_from(COUNTERS), st.integers(0, 3)))
    lines: list[ismrmrd.Acquisition] = []
    odd = False
    faulty = draw(st.dictionaries(st.tuples(st.sampled_from(frames), st.sampled_from(rows)), st.sampled_from(FAULTS)))
    for frame in frames:
        for row in rows:
            fault = faulty.get((frame, row), "none")
            odd |= fault in ("zero", "empty", "space", "twice")
            copies = {"missing": 0, "twice": 2}.get(fault, 1)
            lines += [line(row, frame, fault, len(lines) + copy) for copy in range(copies)]
    order = draw(st.permutations(range(len(lines)))) if draw(st.booleans()) else range(len(lines))
    return header(limits, draw(st.sampled_from([None, 8, 8, 0])), factor), [lines[i] for i in order], odd


@pytest.mark.filterwarnings("ignore::xsdata.exceptions.ConverterWarning")
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(scan=scans(), policy=st.sampled_from(["fill", "fill", "keep", "drop"]))
def test_any_scan_gives_images_with_a_word_or_a_clear_error(scan, policy):
    head, lines, odd = scan
    chain = steps("zero_filled", calibrate={"no_acs": "pass"}, sort={"incomplete_phases": policy})
    try:
        made = run(head, lines, chain)
    except OnebreathError as error:
        assert "internal error" not in str(error), str(error)
        return
    images = [message for message in made if isinstance(message, ismrmrd.Image)]
    told = [text for text in map(read_warning, made) if text is not None and not text.startswith("The header")]
    assert images
    numbers = [(image.image_series_index, image.image_index) for image in images]
    assert len(set(numbers)) == len(numbers)
    assert all(np.isfinite(image.data).all() for image in images)
    places = {tuple(getattr(image.getHead(), name) for name in COUNTERS) for image in images}
    assert len(places) == len(images), "two images wear the same counters"
    assert not odd or told, "lines were odd, and nothing was said"
    metas = [ismrmrd.Meta.deserialize(image.attribute_string) for image in images]
    if any(int(meta.get("Onebreath_sort_filled_from_frames_away", 0)) for meta in metas):
        assert any("taken from the nearest frame" in text for text in told)
