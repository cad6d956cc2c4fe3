"""Others of each kind of trouble that users report: a right value for each, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.notes import read_warning
from onebreath.errors import OnebreathError, ScanError
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
ROWS_STATED = {"kspace_encoding_step_1": (0, ROWS // 2, ROWS - 1)}
pytestmark = pytest.mark.filterwarnings("ignore::xsdata.exceptions.ConverterWarning")
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


def reconstructed(scan: list[Any], given: Any = None, **changes: dict[str, str]) -> tuple[list[Any], list[str]]:
    """Images by number, and warnings."""
    chain = steps("zero_filled", calibrate={"coil_map_algorithm": "inati"}, **changes)
    made = run(given or head(), stamped([*NOISE, *scan]), chain)
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


# A: lines with the same counters


def test_slices_that_only_positions_tell_apart_are_numbered_along_their_direction():
    apart = [lines(n, position=(0.0, 0.0, -12.0 * n)) for n in range(3)]
    images, told = reconstructed(apart[1] + apart[0] + apart[2], head(limits={"slice": (0, 0, 2)}))
    assert "positions number them" in told[0]
    for number, image in by(images, "slice").items():
        assert error_of(image, 2 - number) < 0.05
        assert image.position[2] == -12.0 * (2 - number)


@pytest.mark.parametrize("announced", [None, 2, 4])
def test_slices_that_nothing_confirms_are_refused(announced):
    limits = None if announced is None else {"slice": (0, 0, announced - 1)}
    apart = [one for n in range(3) for one in lines(n, position=(0.0, 0.0, 12.0 * n))]
    with pytest.raises(ScanError, match="3 different places"):
        reconstructed(apart, head(limits=limits))


def test_turned_slices_at_one_position_are_not_mixed():
    turned = lines(1, read_dir=(0.0, 1.0, 0.0), phase_dir=(0.0, 0.0, 1.0), slice_dir=(1.0, 0.0, 0.0))
    with pytest.raises(ScanError, match="2 different places"):
        reconstructed(lines(0) + turned)


def test_echoes_that_no_counter_tells_apart_are_told_by_order_if_the_header_announces_them():
    echoes = [one for pair in zip(lines(0), lines(3), strict=True) for one in pair]
    images, told = reconstructed(
        echoes,
        head(lambda text: text.replace("<TE>1.5</TE>", "<TE>1.5</TE><TE>4.5</TE>"), {"contrast": (0, 0, 1)}),
    )
    assert any("their order numbers them" in text for text in told)
    made = by(images, "contrast")
    assert [error_of(made[0], 0) < 0.05, error_of(made[1], 3) < 0.05] == [True, True]
    assert [float(made[n].meta["EchoTime"]) for n in (0, 1)] == [1.5, 4.5]


def test_echoes_that_nothing_announces_are_refused():
    with pytest.raises(ScanError, match="no repeats"):
        reconstructed([one for pair in zip(lines(0), lines(3, scale=-0.4), strict=True) for one in pair])


@pytest.mark.parametrize("copies", [2, 3])
def test_true_repeats_without_a_counter_are_averaged_with_a_word_and_numbers(copies):
    images, told = reconstructed(lines(0) * 1 + [one for _ in range(copies - 1) for one in lines(0)])
    assert any(f"{ROWS * (copies - 1)} surplus lines were averaged" in text for text in told)
    assert error_of(images[0], 0) < 0.05


def test_counted_averages_need_no_word():
    images, told = reconstructed(lines(0, average=0) + lines(0, average=1))
    assert (len(images), told) == (1, [])
    assert error_of(images[0], 0) < 0.05


# B: filled frames and aborted repetitions


def test_an_aborted_repetition_is_named_and_the_others_keep_their_counters():
    scan = lines(0, repetition=0) + lines(1, repetition=1) + lines(2, range(8), repetition=2)
    images, told = reconstructed(scan)
    made = by(images, "repetition")
    assert sorted(made) == [0, 1]
    assert any("repetition 2 is incomplete (8 of 36 lines)" in text for text in told)
    assert max(error_of(made[n], n) for n in made) < 0.05


def test_filled_phases_wear_their_own_counters():
    scan = [one for n in range(4) for one in lines(n, [r for r in range(ROWS) if n != 2 or r not in (3, 4)], phase=n)]
    images, told = reconstructed(scan)
    assert sorted(by(images, "phase")) == [0, 1, 2, 3]
    assert any("2 lines were not acquired in phase 2" in text for text in told)


# C: numbers of images


@pytest.mark.parametrize("limits", [None, {"set": (0, 0, 0), "repetition": (0, 0, 0)}, {"slice": (0, 0, 60000)}])
def test_numbers_are_unique_whatever_limits_say(limits):
    places = [(s, r, n) for s in range(2) for r in range(2) for n in range(3)]
    scan = [one for s, r, n in places for one in lines(n, set=s, repetition=r, slice=n, position=(0.0, 0.0, 10.0 * n))]
    images, _ = reconstructed(scan, head(limits=limits))
    assert len(images) == len(places)
    for image in images:
        assert error_of(image, image.getHead().slice) < 0.05


# D: scales


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e9])
def test_integers_are_visible_whatever_unit_raw_data_have(scale):
    chain = steps("zero_filled", export={"data_type": "uint16"}, prewhiten={"use_storage": "false"})
    made = run(head(), stamped(lines(0, scale=scale)), chain)
    (image,) = [message for message in made if isinstance(message, ismrmrd.Image)]
    assert image.data.max() == 65535
    assert error_of(image, 0) < 0.05


def test_lines_of_zeros_are_an_error():
    with pytest.raises(OnebreathError, match=r"only zeros|no imaging lines"):
        reconstructed(lines(0, scale=0.0))


# E: scans that are not supported


@pytest.mark.parametrize("name", ["MultiBandFactor", "multiband_factor", "SMSFactor"])
def test_simultaneous_slices_are_refused_however_the_header_says_so(name):
    user = (
        f"<userParameters><userParameterLong><name>{name}</name><value>3</value></userParameterLong></userParameters>"
    )
    given = head(lambda text: text.replace("</ismrmrdHeader>", f"{user}</ismrmrdHeader>"))
    with pytest.raises(ScanError, match="3 slices were excited together"):
        reconstructed(lines(0), given)


@pytest.mark.parametrize("kind", ["radial", "spiral", "goldenangle", "other"])
def test_other_trajectories_are_refused_by_name(kind):
    with pytest.raises(ScanError, match=kind):
        reconstructed(lines(0), head(lambda text: text.replace(">cartesian<", f">{kind}<")))


def test_echo_planar_lines_are_not_reconstructed_in_silence():
    scan = lines(0, range(3), PHASE_CORRECTION) + lines(0)
    for one in scan[1::2]:
        one._head.set_flag(REVERSE)
    try:
        _, told = reconstructed(scan)
    except ScanError as error:
        told = [str(error)]
    assert any("both directions" in text or "phase correction" in text for text in told)


# F, G: texts and sections


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("<y>36</y>", "<y>36.0</y>"),
        lambda text: text.replace("<x>32</x>", "<x> 32 </x>"),
        lambda text: text.replace("<TE>1.5</TE>", "<TE>short</TE>"),
        lambda text: text.replace("<flipAngle_deg>50</flipAngle_deg>", "<flipAngle_deg>NaN</flipAngle_deg>"),
        lambda text: text.replace("<sequenceParameters>", "<vendorSection/><sequenceParameters>"),
        lambda text: text.replace("<trajectory>cartesian</trajectory>", ""),
    ],
)
def test_headers_with_odd_texts_or_sections_cost_no_image(change):
    given = head(change)
    images, _ = reconstructed(lines(0), given)
    assert error_of(images[0], 0) < 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("<y>36</y>", "<y>many</y>"), "matrix size is 'many'"),
        (lambda text: text.replace("<x>48.0</x>", "<x>0</x>").replace("<x>48</x>", "<x>0</x>"), "field of view"),
        (lambda text: text[: text.index("<encoding>")] + text[text.index("</encoding>") + 11 :], "<encoding>"),
    ],
)
def test_headers_that_cannot_do_name_the_field(change, words):
    with pytest.raises(ScanError) as error:
        reconstructed(lines(0), head(change))
    assert words in str(error.value)


# I, J: lines win


@pytest.mark.parametrize("centre", [0, 9, 30])
def test_a_wrong_centre_in_the_header_yields_to_the_lines(centre):
    change = {"kspace_encoding_step_1": (0, centre, ROWS - 1)}
    images, told = reconstructed(lines(0), head(limits=change))
    assert any(f"The k-space centre is line {centre} (header)" in text for text in told)
    assert error_of(images[0], 0) < 0.05


def test_zeros_between_lines_count_as_missing():
    scan = [one for row in range(ROWS) for one in lines(0, [row], scale=float(row % 2 == 0 or 12 <= row < 24))]
    _, told = reconstructed(scan)
    assert any("12 lines that hold only zeros" in text for text in told)


@pytest.mark.parametrize("short", [0, 1, 2])
def test_an_aborted_slice_is_named_wherever_it_is(short):
    scan = [
        one
        for n in range(3)
        for one in lines(n, range(10 if n == short else ROWS), slice=n, position=(0.0, 0.0, 10.0 * n))
    ]
    images, told = reconstructed(scan)
    assert sorted(by(images, "slice")) == [n for n in range(3) if n != short]
    assert any(f"slice {short} is incomplete: 10 of 36 lines" in text for text in told)


# K, L: geometry, other spaces


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"read_dir": (2.0, 0.0, 0.0)}, "unit length"),
        ({"phase_dir": (1.0, 0.0, 0.0)}, "right angles"),
        ({"slice_dir": (0.0, 0.0, 0.0)}, "Directions of lines are (0, 0, 0)"),
        ({"position": (float("nan"), 0.0, 0.0)}, "not numbers"),
    ],
)
def test_directions_that_are_none_are_told(fields, words):
    images, told = reconstructed(lines(0, **fields))
    assert any(words in text for text in told)
    assert error_of(images[0], 0) < 0.05


def test_lines_of_another_space_or_of_other_coils_are_left_out_and_counted():
    scan = lines(0) + lines(1, range(9), encoding_space_ref=1)
    images, told = reconstructed(scan)
    assert any("9 lines of encoding space 1" in text for text in told)
    assert error_of(images[0], 0) < 0.05


# N: broken samples


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_broken_sample_is_an_error_that_names_the_line(bad):
    scan = lines(0)
    scan[20].data[2, 7] = bad
    with pytest.raises(OnebreathError, match="kspace_encode_step_1 20"):
        reconstructed(scan)


# Series


def test_parts_maps_and_methods_tell_themselves_apart_in_viewers():
    asked = {"method": "cg_sense", "send_out_gfactor": "true", "send_out_snr_map": "true", "noise_map_samples": "4"}
    images, _ = reconstructed(lines(0), export={"output": "magnitude,phase"}, reconstruct=asked)
    named = {int(image.image_series_index): str(image.meta["SeriesDescription"]) for image in images}
    assert named == {
        1: "_GT_Onebreath_cg_sense",
        3001: "_GT_Onebreath_cg_sense_phase",
        20: "_GT_Onebreath_cg_sense_Gfactor",
        300: "_GT_Onebreath_cg_sense_SNR_MAP",
    }
    comments = {str(image.meta["ImageComments"]) for image in images}
    assert len(comments) == len(images)


def test_series_with_one_number_are_refused():
    with pytest.raises(OnebreathError, match="Gfactor and image_series would both be series 20"):
        reconstructed(lines(0), reconstruct={"image_series": "20", "send_out_gfactor": "true"})
