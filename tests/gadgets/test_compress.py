"""Coil compression: noise stays white, signal stays, lines leave in order and in time."""

from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from onebreath.errors import ScanError
from tests.helpers import complex_normal, nrmse
from tests.raw import line, run, scan_header, stream

ROWS, SAMPLES = 32, 24


def low_rank_lines(rng: np.random.Generator, coils: int, rank: int, *flags: int, slice: int = 0) -> list:
    """One line per row, signals of `rank` sources in `coils` channels."""
    mixing = complex_normal(rng, (coils, rank))
    return [line(mixing @ complex_normal(rng, (rank, SAMPLES)), row, *flags, slice=slice) for row in range(ROWS)]


def energy(messages: list) -> float:
    return float(sum(np.linalg.norm(message.data) ** 2 for message in messages))


header = scan_header((SAMPLES, ROWS), limits={"kspace_encoding_step_1": (0, 16, ROWS - 1)})


@pytest.mark.parametrize("mode", ["pca", "gcc"])
def test_channels_without_signal_of_their_own_go_and_the_energy_stays(mode: str) -> None:
    lines = low_rank_lines(np.random.default_rng(0), 8, 3)
    made, notes = run("compress", header, lines, mode=mode)
    assert [message.data.shape for message in made] == [(3, SAMPLES)] * ROWS
    assert [message.active_channels for message in made] == [3] * ROWS
    assert energy(made) == pytest.approx(energy(lines), rel=1e-4)
    assert notes[0]["channels_kept"] == 3
    assert notes[0]["energy_kept"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("mode", ["pca", "gcc"])
def test_white_noise_stays_white_with_unit_deviation(mode: str) -> None:
    rng = np.random.default_rng(1)
    calibration = low_rank_lines(rng, 8, 3, 20)
    noise = [line(complex_normal(rng, (8, SAMPLES)), row % ROWS) for row in range(600)]
    made, _ = run("compress", header, calibration + noise, mode=mode, upstream_coil_compression_num_modesKept=3)
    samples = np.concatenate([message.data for message in made[ROWS:]], axis=1)
    assert samples.real.std(axis=1) == pytest.approx(np.ones(3), rel=0.04)
    assert (np.abs(np.corrcoef(samples)) - np.eye(3)).max() < 0.05


def test_pca_equals_the_principal_components_of_the_calibration_lines() -> None:
    rng = np.random.default_rng(2)
    lines = low_rank_lines(rng, 6, 6, 21)
    made, _ = run("compress", header, lines, upstream_coil_compression_num_modesKept=2, calibration_lines=ROWS)
    data = np.concatenate([given.data for given in lines], axis=1)
    _, _, right = np.linalg.svd(data.T.astype(complex), full_matrices=False)
    expected = np.linalg.norm(right[:2].conj() @ data) / np.linalg.norm(data)
    assert np.sqrt(energy(made) / energy(lines)) == pytest.approx(expected, rel=1e-4)


def test_flagged_lines_calibrate_and_others_do_not() -> None:
    rng = np.random.default_rng(3)
    calibration = low_rank_lines(rng, 6, 1, 20)
    # Stronger signal in another direction, away from the k-space centre.
    other = [line(1e3 * complex_normal(rng, (6, SAMPLES)), 0) for _ in range(4)]
    made, notes = run("compress", header, other + calibration, upstream_coil_compression_num_modesKept=1)
    assert notes[0]["source"] == "calibration lines"
    assert energy(made[4:]) == pytest.approx(energy(calibration), rel=1e-4)


def test_without_calibration_lines_the_centre_serves_and_the_note_says_so() -> None:
    _, notes = run("compress", header, low_rank_lines(np.random.default_rng(4), 6, 2))
    assert notes[0]["source"] == "central lines"
    far = [line(np.ones((4, SAMPLES)), row) for row in (0, 1)]
    _, notes = run("compress", header, far)
    assert notes[0]["source"] == "none: no line of the k-space centre"
    assert (notes[0]["mode"], notes[0]["channels_kept"]) == ("none", 4)


def test_each_slice_is_compressed_by_itself_also_when_slices_are_interleaved() -> None:
    rng = np.random.default_rng(5)
    first, second = (low_rank_lines(rng, 6, 2, slice=number) for number in (0, 1))
    mixed = [message for pair in zip(first, second, strict=True) for message in pair]
    made, notes = run("compress", header, mixed, upstream_coil_compression_num_modesKept=2)
    assert energy(made) == pytest.approx(energy(mixed), rel=1e-4)
    assert notes[-1]["slices"] == 2


def test_lines_leave_in_the_order_of_their_slice_and_none_is_lost() -> None:
    lines = low_rank_lines(np.random.default_rng(6), 6, 2)
    for number, given in enumerate(lines):
        given._head.scan_counter = number
    made, _ = run("compress", header, lines)
    assert [message.scan_counter for message in made] == list(range(ROWS))
    assert [message.idx.kspace_encode_step_1 for message in made] == list(range(ROWS))


def held_back(lines: list, **properties: object) -> int:
    """How many lines go in before the first comes out."""
    taken = 0

    def source():
        nonlocal taken
        for given in lines:
            taken += 1
            yield given

    from onebreath.chain.gadget import gadget_class, parse_properties

    cls = gadget_class("compress")
    gadget = cls(header, parse_properties(cls, {key: str(value) for key, value in properties.items()}))
    next(message for message in gadget.process(source()) if isinstance(message, ismrmrd.Acquisition))
    return taken


def test_what_is_held_back_is_bounded() -> None:
    same_row = [line(np.ones((4, SAMPLES)), 0) for _ in range(100)]
    assert held_back(same_row, max_buffered=40) == 40
    assert held_back(low_rank_lines(np.random.default_rng(7), 4, 2, 20), calibration_lines=12) == 12


def test_nothing_is_held_back_when_there_is_nothing_to_compress() -> None:
    lines = low_rank_lines(np.random.default_rng(8), 4, 2)
    assert held_back(lines, upstream_coil_compression_num_modesKept=4) == 1
    made, notes = run("compress", header, lines, upstream_coil_compression_num_modesKept=8)
    assert made == lines
    assert (notes[0]["mode"], notes[0]["channels_kept"]) == ("none", 4)


def test_side_lines_and_other_messages_pass_untouched() -> None:
    navigator = line(np.ones((2, 9)), 0, 23)
    ecg = ismrmrd.Waveform.from_array(np.zeros((1, 4), np.uint32))
    made, _ = run("compress", header, [navigator, ecg, *low_rank_lines(np.random.default_rng(9), 4, 2)])
    assert made[0] is navigator
    assert made[1] is ecg


def test_the_threshold_is_relative_to_the_first_channel() -> None:
    rng = np.random.default_rng(10)
    strengths = np.sqrt([1.0, 0.1, 0.01, 0.001])
    lines = [line(strengths[:, None] * complex_normal(rng, (4, 500)), row) for row in range(ROWS)]
    for threshold, kept in ((0.05, 2), (0.005, 3), (0.0, 4), (-1.0, 4)):
        made, _ = run("compress", header, lines, upstream_coil_compression_thres=threshold)
        assert len(made[0].data) == kept


def test_geometric_compression_keeps_more_than_pca_where_channels_vary_along_the_readout() -> None:
    rng = np.random.default_rng(11)
    from onebreath.mri.fourier import fftc

    turn = np.linspace(0, np.pi / 2, SAMPLES)
    profile = np.stack([np.cos(turn), np.sin(turn)])
    lines = [line(fftc(profile * complex_normal(rng, (1, SAMPLES)), -1), row) for row in range(ROWS)]
    kept = {}
    for mode in ("pca", "gcc"):
        made, notes = run("compress", header, lines, mode=mode, upstream_coil_compression_num_modesKept=1)
        kept[mode] = energy(made) / energy(lines)
        assert notes[0]["energy_kept"] == pytest.approx(kept[mode], abs=0.05)
    assert kept["gcc"] > 0.99 > 0.9 > kept["pca"]


def test_a_change_of_the_channels_is_an_error() -> None:
    with pytest.raises(ScanError, match=r"has 3, the lines before it have 2"):
        run("compress", header, [line(np.ones((2, SAMPLES))), line(np.ones((3, SAMPLES)))])


def test_a_line_of_another_length_is_an_error_for_geometric_compression() -> None:
    lines = low_rank_lines(np.random.default_rng(12), 4, 2)
    with pytest.raises(ScanError, match="samples"):
        run("compress", header, [*lines, line(np.ones((4, SAMPLES + 2)))], mode="gcc")


def test_the_siemens_scan_keeps_its_signal(shared: Path) -> None:
    siemens, lines = stream(shared, "siemens_acquisitions_whitened")
    made, notes = run("compress", siemens, lines, upstream_coil_compression_num_modesKept=8)
    assert {message.data.shape for message in made} == {(8, 192)}
    assert notes[0]["energy_kept"] > 0.98
    data, _ = run("sort", siemens, made)
    whole, _ = run("sort", siemens, lines)
    rss = [np.sqrt((np.abs(found[0].bits[0].ref.data) ** 2).sum(axis=3)) for found in (data, whole)]
    assert nrmse(*rss) < 0.02
