"""Others of each kind of trouble that users report: a right value for each, or a refusal that says why."""

from __future__ import annotations

import ismrmrd
import pytest

from onebreath.errors import OnebreathError, ScanError
from tests.chain.running import run, steps
from tests.field.variants import PHASE_CORRECTION, REVERSE, ROWS, by, error_of, head, lines, reconstructed, stamped

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
    with pytest.raises(ScanError, match="3 different positions"):
        reconstructed(apart, head(limits=limits))


def test_turned_slices_at_one_position_are_not_mixed():
    turned = lines(1, read_dir=(0.0, 1.0, 0.0), phase_dir=(0.0, 0.0, 1.0), slice_dir=(1.0, 0.0, 0.0))
    with pytest.raises(ScanError, match="2 different positions"):
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


def test_what_is_of_no_image_has_no_direction_of_its_lines():
    scan = lines(0)
    for one in scan:
        one.data[:] = one.data[:, ::-1].copy()
        one._head.set_flag(REVERSE)
    others = lines(0, range(3), PHASE_CORRECTION) + lines(0, range(3), 23) + lines(0, range(3), encoding_space_ref=1)
    (image,), told = reconstructed(others + scan)
    assert not any("both directions" in text for text in told)
    assert error_of(image, 0) < 0.05
