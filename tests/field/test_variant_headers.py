"""Headers, geometry and series with something wrong: a right value for each, or a refusal that says why."""

from __future__ import annotations

import numpy as np
import pytest

from onebreath.errors import OnebreathError, ScanError
from tests.field.variants import ROWS, by, error_of, head, lines, reconstructed

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
        lambda text: text.replace("<trajectory>cartesian</trajectory>", "<trajectory>cartesian</trajectory>" * 2),
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


def test_text_in_a_number_is_described_and_not_quoted():
    with pytest.raises(ScanError, match="matrix size is a text of 9 characters") as error:
        reconstructed(lines(0), head(lambda text: text.replace("<y>36</y>", "<y>PIDX77812</y>")))
    assert "PIDX" not in str(error.value)


def test_a_trajectory_that_is_none_is_described_and_not_quoted():
    with pytest.raises(ScanError, match="none of ISMRMRD's") as error:
        reconstructed(lines(0), head(lambda text: text.replace(">cartesian<", ">Zebediah<")))
    assert "zebediah" not in str(error.value).lower()


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
