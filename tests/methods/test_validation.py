"""How the uniform kernel is chosen: sizes and strengths judged on calibration lines that took no part in the fit."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.methods.grappa import validation
from onebreath.methods.grappa.grappa import Grappa
from tests.methods.slices import lines, synthetic

STRENGTHS = (5e-4, 1e-2)


def _chosen(noise, acceleration=3):
    data = synthetic(lines(96, acceleration, 20), 96, 64, coils=12, acs=20, noise=noise).data
    has = validation.energies(data.kspace, data.mask, data.acs, data.acs_first)
    return validation.choose(data.acs, acceleration, (2, 3, 4), 5, STRENGTHS, has)


@pytest.mark.parametrize(("noise", "best"), [(0.2, 4), (4.0, 2)], ids=["little noise", "much noise"])
def test_the_larger_kernel_where_it_explains_more_and_the_smaller_one_where_it_follows_the_noise(noise, best):
    """The same object, sizes and weak regularisation, but for the noise."""
    data = synthetic(np.stack([lines(64, 3)] * 6), 64, 48, acs=24, noise=noise).data
    has = validation.energies(data.kspace, data.mask, data.acs, data.acs_first)
    chosen = validation.choose(data.acs, 3, (2, 4), 5, (5e-5,), has)
    assert (chosen.lines, chosen.regularisation) == (best, 5e-5)
    assert chosen.equations.normal.shape == (8 * best * 5, 8 * best * 5)


def test_lines_missing_within_the_calibration_block_count():
    """Where the block is not among the data its bright lines are predicted, which strong regularisation would dim."""
    data = synthetic(lines(96, 3, 0), 96, 64, coils=12, acs=20, noise=2.0).data
    has = validation.energies(data.kspace, data.mask, data.acs, data.acs_first)
    assert has.inside == pytest.approx(20 / 94, abs=0.03)
    chosen = [
        validation.choose(data.acs, 3, (2, 3, 4), 5, (5e-4, 0.3), replace(has, inside=inside)).regularisation
        for inside in (has.inside, 0.0)
    ]
    assert chosen == [5e-4, 0.3]


def test_noise_asks_for_more_regularisation():
    assert [_chosen(noise).regularisation for noise in (0.05, 6.0)] == list(STRENGTHS)


def test_noise_of_scans_is_measured():
    """Within a fifth of what was added, which is twice the squared standard deviation of the real part."""
    for noise in (0.5, 2.0):
        data = synthetic(lines(96, 3, 20), 96, 64, coils=12, acs=20, noise=noise).data
        has = validation.energies(data.kspace, data.mask, data.acs, data.acs_first)
        assert has.noise == pytest.approx(2 * noise**2, rel=0.2)
        assert has.outside > 0


def test_no_line_outside_the_calibration_block_tells_of_no_noise():
    data = synthetic(lines(96, 3, 20), 96, 64, coils=12, acs=20, noise=1.0).data
    first = data.acs_first
    mask = np.zeros((1, 96, 1), bool)
    mask[:, first : first + 20] = True
    has = validation.energies(data.kspace * mask[:, None], mask, data.acs, first)
    assert (has.noise, has.acs_noise) == (0.0, 0.0)


def test_too_few_lines_to_validate_are_said():
    """Two source lines at R = 4 leave one row of 5: none to be judged by."""
    data = synthetic(lines(64, 4, 5), coils=2, acs=5).data
    result = Grappa(kernel="uniform")(data)
    assert "too few to validate" in result.facts["kernel_reason"]
    assert result.facts["kernel_size"].startswith("2 lines")
