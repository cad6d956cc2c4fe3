"""Whatever headers and counters say: no traceback, no number twice, no wrong image without a word."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import ismrmrd
import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from onebreath.chain.notes import read_warning
from onebreath.errors import OnebreathError
from tests.chain.running import run, steps
from tests.field.plans import AVERAGE, COUNTERS, Plan, plans

EXAMPLES = int(os.environ.get("ONEBREATH_EXAMPLES", "40"))
"""Scans that are tried; set the variable to try more."""

properties = st.fixed_dictionaries(
    {"incomplete_phases": st.sampled_from(["fill", "fill", "keep", "drop"])},
    optional={
        "trigger_dimension": st.sampled_from(["none", "slice", "repetition"]),
        "averages": st.sampled_from(["combine", "separate"]),
        "N_dimension": st.sampled_from(["auto", "none", "phase", "repetition", "average", "contrast", "set"]),
    },
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans(), sort=properties)
def test_any_scan_gives_images_with_a_word_or_a_clear_error(plan: Plan, sort: dict[str, str]) -> None:
    try:
        made = run(plan.header(), plan.lines(), steps("zero_filled", calibrate={"no_acs": "pass"}, sort=sort))
    except OnebreathError as error:
        assert "internal error" not in str(error), str(error)
        event("refused")
        assert not plan.clean or "trigger_dimension" in str(error), f"nothing was wrong, but: {error}"
        return
    images = [message for message in made if isinstance(message, ismrmrd.Image)]
    told = [text for text in map(read_warning, made) if text is not None]
    about_lines = [text for text in told if not text.startswith("The header")]
    assert images
    assert_no_number_twice(images)
    assert all(np.isfinite(image.data).all() for image in images)
    assert about_lines or not plan.odd, "lines were odd, and nothing was said"
    if short(plan) and not (plan.matrix or plan.faults):
        assert any("probably broken off" in text for text in told)
    metas = [ismrmrd.Meta.deserialize(image.attribute_string) for image in images]
    if any(int(meta.get("Onebreath_sort_filled_from_frames_away", 0)) for meta in metas):
        assert any("taken from the nearest frame" in text for text in told)
    if any(int(meta.get("Onebreath_sort_repeated_lines_averaged", 0)) for meta in metas):
        assert any("averaged" in text for text in told)
    event("images, with a word" if told else "images, held against the truth")
    if not told and images[0].data.shape[2:] == plan.truth().shape:
        assert_right(plan, images, sort.get("averages") == "separate" or sort.get("N_dimension") == "average")
    if plan.clean:
        assert not told, told


def short(plan: Plan) -> bool:
    """Whether the header announces more lines at the beginning of k-space than the lattice leaves out."""
    announced = plan.section and plan.rows_stated == ("0", str(plan.rows - 1), str(plan.rows // 2))
    return announced and plan.acquired[0] > plan.step


def assert_no_number_twice(images: list[Any]) -> None:
    """Two images with one number, or with the same counters, are one image to a viewer."""
    numbers = Counter((image.image_series_index, image.image_index) for image in images)
    assert max(numbers.values()) == 1, f"two images have one number: {numbers}"
    places = Counter(tuple(getattr(image.getHead(), name) for name in COUNTERS) for image in images)
    assert max(places.values()) == 1, f"two images wear the same counters: {places}"


def assert_right(plan: Plan, images: list[Any], averages: bool) -> None:
    """Without a warning every image is there, and is that of its counters' object; one scale for all."""
    wanted = {
        tuple(value + offset for value, offset in zip(frame, plan.offsets, strict=True)): plan.brightness(frame)
        for frame in plan.frames
        if averages or frame[AVERAGE] == plan.counts[AVERAGE] - 1
    }
    if "missing" in plan.faults.values():
        return  # which lines a sampling pattern should have, nothing tells
    places = [tuple(getattr(image.getHead(), name) for name in COUNTERS) for image in images]
    if not averages:
        places = [(*place[:AVERAGE], plan.counts[AVERAGE] - 1 + plan.offsets[AVERAGE]) for place in places]
    assert set(places) == set(wanted), "images of other places than lines"
    truth, scale = plan.truth(), 0.0
    for place, image in zip(places, images, strict=True):
        pixels, expected = np.asarray(image.data[0, 0], float), wanted[place] * truth
        scale = scale or float(np.vdot(expected, pixels) / np.vdot(expected, expected))
        error = np.linalg.norm(pixels - scale * expected) / np.linalg.norm(scale * expected)
        assert error < 1e-3, f"the image of {place} is wrong by {error:.1%}, without a word"
