"""Scans whose sets, averages and calibration lines are not the same everywhere: each image is of its own lines."""

from collections.abc import Callable

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.notes import read_warning
from onebreath.errors import ConfigError
from onebreath.simulation.scan import SimulatedScan
from tests.chain.running import images_of, run, simulated, steps
from tests.helpers import nrmse

SEPARATE = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION
SMALL = {"coils": 4, "matrix": (32, 32)}
TWO_SETS = SMALL | {"mode": "realtime", "phases": 6, "sets": 2, "acceleration": 2, "acs_mode": "embedded"}


def reconstructed(
    scan: SimulatedScan, method: str, kept: Callable[[ismrmrd.Acquisition], bool] = lambda line: True, **changes: str
) -> tuple[list[ismrmrd.Image], str]:
    """Images of those lines of a scan that are kept, and all warnings."""
    noise = [line for line in scan.acquisitions if line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    lines = [line for line in scan.acquisitions if not line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    sent = run(scan.header, noise + [line for line in lines if kept(line)], steps(method, sort=changes))
    return images_of(sent), " ".join(filter(None, map(read_warning, sent)))


@pytest.mark.parametrize("method", ["zero_filled", "cg_sense", "grappa", "low_rank_sparse"])
def test_no_image_is_made_of_frames_that_a_set_does_not_have(method: str) -> None:
    scan = simulated(**TWO_SETS, snr=100.0)
    made, said = reconstructed(scan, method, lambda line: line.idx.set == 0 or line.idx.phase < 2)
    assert [(one.set, one.phase) for one in made] == [*((0, phase) for phase in range(6)), (1, 0), (1, 1)]
    assert "slice 0, set 1: no line is of phase 2, 3, 4, 5: there is no image of it." in said
    if method != "zero_filled":
        truth = np.abs(scan.truth["image"][0])
        assert max(nrmse(one.data[0, 0], truth[one.phase]) for one in made) < 0.1


def test_a_scan_that_stops_within_a_frame_of_its_second_set_leaves_that_out() -> None:
    scan = simulated(**TWO_SETS, snr=100.0)
    usual = sum(line.idx.set == 1 and line.idx.phase == 0 for line in scan.acquisitions)
    come = 0

    def kept(line: ismrmrd.Acquisition) -> bool:
        nonlocal come
        last = line.idx.set == 1 and line.idx.phase == 2
        come += last
        return line.idx.set == 0 or line.idx.phase < 2 or (last and come <= usual // 2)

    made, said = reconstructed(scan, "low_rank_sparse", kept)
    assert [one.phase for one in made if one.set == 1] == [0, 1]
    assert "set 1: phase 2 is incomplete" in said
    assert "no line is of phase 3, 4, 5" in said


@pytest.mark.parametrize(
    ("pattern", "acceleration", "phases"), [("vista", 3, 10), ("vista", 2, 12), ("kt", 2, 13), ("kt", 4, 7)]
)
def test_patterns_that_move_lack_and_get_nothing(pattern: str, acceleration: int, phases: int) -> None:
    scan = simulated(
        matrix=(48, 48), coils=4, mode="prospective", phases=phases, ecg=True, snr=200.0,
        pattern=pattern, acceleration=acceleration, acs_mode="embedded",
    )  # fmt: skip
    made, said = reconstructed(scan, "low_rank_sparse")
    assert said == ""
    assert {one.meta["Onebreath_sort_missing_lines"] for one in made} == {"0"}
    truth = np.abs(scan.truth["image"][0])
    assert max(nrmse(one.data[0, 0], truth[one.phase]) for one in made) < 0.1


def test_one_counter_cannot_number_two_axes() -> None:
    scan = simulated(**SMALL, repetitions=3)
    made, _ = reconstructed(scan, "zero_filled", S_dimension="repetition")
    assert [one.repetition for one in made] == [0, 1, 2]
    with pytest.raises(ConfigError, match="are both repetition: one counter cannot number two axes"):
        reconstructed(scan, "zero_filled", S_dimension="repetition", N_dimension="repetition")


def test_noise_is_1_in_slices_with_fewer_averages_and_the_signal_is_told() -> None:
    scan = simulated(coils=2, matrix=(32, 32), slices=3, averages=2, snr=100.0)
    made, said = reconstructed(scan, "zero_filled", lambda line: line.idx.average == 0 or line.idx.slice == 0)
    assert "slice 1 has 1 averages, slice 0 has 2: noise is 1 in both, so that the same signal is 0.707 times" in said
    for one in made:
        truth = np.abs(scan.truth["image"][one.slice, 0])
        scale = np.vdot(one.data[0, 0], truth) / np.vdot(truth, truth)
        assert scale == pytest.approx(np.sqrt(2 if one.slice == 0 else 1), rel=0.01)
        assert np.std(one.data[0, 0] - scale * truth) == pytest.approx(1, abs=0.25)
        assert one.meta["Onebreath_sort_averages_combined"] == ("2" if one.slice == 0 else "1")


@pytest.mark.parametrize(("apart", "told"), [(25.0, True), (1.0, False)])
def test_averages_that_lie_elsewhere_are_told(apart: float, told: bool) -> None:
    scan = simulated(**SMALL, averages=2)
    for line in scan.acquisitions:
        line.position[2] += apart * line.idx.average
    _, said = reconstructed(scan, "zero_filled")
    assert (f"its averages lie {apart:g} mm apart, and were combined" in said) == told
    _, said = reconstructed(scan, "zero_filled", averages="separate")
    assert "apart" not in said


def test_frames_with_fewer_averages_are_named_and_images_stay_in_order() -> None:
    scan = simulated(**SMALL, mode="prospective", phases=6, averages=2, ecg=True, snr=100.0)
    made, said = reconstructed(scan, "zero_filled", lambda line: line.idx.average == 0 or line.idx.phase < 4)
    assert "phase 4, 5 has fewer averages than the 2 of most frames" in said
    assert [(one.phase, one.average, one.image_index) for one in made] == [(k, 0, k + 1) for k in range(6)]


@pytest.mark.parametrize("counter", ["set", "contrast", "repetition", "average"])
def test_the_counters_of_separate_calibration_lines_change_no_image(counter: str) -> None:
    scan = simulated(**SMALL, acceleration=2, acs_mode="separate")
    before, _ = reconstructed(scan, "cg_sense")
    for line in scan.acquisitions:
        if line.is_flag_set(SEPARATE):
            setattr(line.idx, counter, 1)
    made, said = reconstructed(scan, "cg_sense")
    np.testing.assert_array_equal(made[0].data, before[0].data)
    assert (made[0].set, made[0].contrast, made[0].repetition, made[0].average, said) == (0, 0, 0, 0, "")


@pytest.mark.parametrize(
    ("options", "counter", "changes"),
    [
        ({"mode": "prospective", "phases": 4, "repetitions": 2, "ecg": True}, "repetition", {}),
        ({"averages": 2}, "average", {"averages": "separate"}),
        ({"repetitions": 2}, "repetition", {"trigger_dimension": "repetition"}),
    ],
)
def test_calibration_lines_that_came_once_serve_all_groups(
    options: dict[str, object], counter: str, changes: dict[str, str]
) -> None:
    scan = simulated(**SMALL, **options, acceleration=2, acs_mode="separate", snr=100.0)
    made, _ = reconstructed(
        scan, "cg_sense", lambda line: not line.is_flag_set(SEPARATE) or getattr(line.idx, counter) == 0, **changes
    )
    assert len(made) == 2 * int(options.get("phases", 1))
    truth = np.abs(scan.truth["image"][0])
    assert max(nrmse(one.data[0, 0], truth[one.phase]) for one in made) < 0.1
