"""Lines whose channels are mixed: worked out late, in place, and checked."""

import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, bit, copy_samples, is_imaging, mixed
from tests.helpers import complex_normal
from tests.raw import line


@pytest.mark.parametrize("whole", [True, False])
def test_a_line_is_laid_down_where_it_belongs(whole: bool) -> None:
    rng = np.random.default_rng(1)
    matrix, samples = complex_normal(rng, (3, 4)).astype(np.complex64), complex_normal(rng, (4, 16))
    kspace = np.zeros((3, 5, 16), np.complex64)
    one = line(matrix @ samples, 0) if whole else mixed(line(samples, 0), matrix)
    copy_samples(one, kspace[:, 2])
    assert kspace[:, 2] == pytest.approx(one.data)
    assert one.data == pytest.approx(matrix @ samples, rel=1e-4, abs=1e-5)
    assert not kspace[:, [0, 1, 3, 4]].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("channel", range(3))
def test_a_bad_sample_is_found_also_in_a_channel_without_weight(bad: float, channel: int) -> None:
    samples = np.ones((3, 16))
    samples[channel, 5] = bad
    with pytest.raises(ScanError, match=rf"kspace_encode_step_1 7.*\(channels {channel}\)"):
        mixed(line(samples, 7), np.eye(3, dtype=np.complex64)).data  # noqa: B018


def test_lines_for_calibration_only_are_no_imaging_lines() -> None:
    flags = [0, bit(CALIBRATION), bit(CALIBRATION_AND_IMAGING), bit(CALIBRATION) | bit(CALIBRATION_AND_IMAGING)]
    assert [is_imaging(one) for one in flags] == [True, False, True, True]
    assert is_imaging(np.array(flags, np.uint64) | np.uint64(bit(8))).tolist() == [True, False, True, True]
