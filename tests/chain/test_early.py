"""Images of slices that are reconstructed while others are acquired: those of the end of the scan, to the last bit."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.chain import build
from onebreath.chain.notes import read_warning
from onebreath.simulation.mrd_file import header_text
from onebreath.wire.connection import parse_header
from tests.chain.running import simulated, steps, stream_of

LATER = ("dropped_lines", "compress_slices", "seconds", "decided_again", "chain", "values_")
"""Entries of the meta that know what came until then, or what took how long."""


def made(scan: Any, trigger: str, **reconstruct: str) -> tuple[list[tuple[int, ismrmrd.Image]], list[str]]:
    """Images with the number of messages that had come by then, and warnings."""
    messages, taken, images, told = stream_of(scan), 0, [], []

    def source() -> Any:
        nonlocal taken
        for message in messages:
            taken += 1
            yield message

    method = {"method": "low_rank_sparse", "candidates": "cg_sense", "choose_within": "1000", **reconstruct}
    chain = steps(method["method"], sort={"trigger_dimension": trigger}, reconstruct=method)
    for message in build(parse_header(header_text(scan.header).encode()), chain).run(source()):
        if isinstance(message, ismrmrd.Image):
            images.append((taken, message))
        elif (text := read_warning(message)) is not None:
            told.append(text)
    return images, told


def meta(image: ismrmrd.Image) -> dict[str, Any]:
    found = ismrmrd.Meta.deserialize(image.attribute_string)
    return {name: value for name, value in found.items() if not any(later in name for later in LATER)}


@pytest.mark.parametrize(
    "options",
    [{}, {"acs_mode": "separate"}, {"slice_order": "interleaved"}],
    ids=["embedded", "separate", "interleaved"],
)
def test_images_and_the_choice_of_their_method_are_those_of_the_end(options: dict[str, Any]) -> None:
    small: dict[str, Any] = {"phases": 4, "matrix": (48, 32), "coils": 4, "acs_mode": "embedded"}
    scan = simulated(slices=3, mode="prospective", acceleration=2, ecg=True, **small | options)
    early, told = made(scan, "auto")
    late, told_late = made(scan, "none")
    assert len(early) == len(late) == 12
    assert told == told_late
    assert "held-back" in meta(early[0][1])["Onebreath_reconstruct_choice"]
    for (_, one), (_, other) in zip(early, late, strict=True):
        assert np.array_equal(one.data, other.data)
        assert meta(one) == meta(other)
        assert bytes(one.getHead()) == bytes(other.getHead())


def test_a_scan_that_later_beats_show_to_be_gated_is_made_again_as_it_is_at_the_end() -> None:
    scan = simulated(
        slices=3, phases=8, mode="prospective", matrix=(48, 24), acceleration=2, coils=2, ecg=True, acs_mode="embedded",
        acs_lines=24, seed=2, rr_variability=0.1, ectopic_every=5,
    )  # fmt: skip
    early, told = made(scan, "auto")
    late, _ = made(scan, "none")
    assert sum("made again" in text for text in told) == 1
    assert len(early) == len(late) + 8
    assert len({image.image_index for _, image in early}) == len(early)
    for (_, one), (_, other) in zip(early[8:], late, strict=True):
        assert np.array_equal(one.data, other.data)
        for name in ("Onebreath_reconstruct_choice", "Onebreath_sort_frames_from"):
            assert meta(one)[name] == meta(other)[name]
    assert any("made again" in str(ismrmrd.Meta.deserialize(image.attribute_string)) for _, image in early[8:])
