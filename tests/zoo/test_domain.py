"""Domains: the scans a model may be used on."""

from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from onebreath.mri.sampling import describe
from onebreath.zoo.domain import Domain, MaskFamily, Scan

DOMAIN = Domain(acceleration=(2, 10), mask_family=("uniform_acs", "kt_uniform"), frames=(8, 30))


@pytest.mark.parametrize("acceleration", [2, 10])
def test_limits_belong_to_the_domain(acceleration):
    verdict = DOMAIN.judge(Scan(acceleration=acceleration, mask_family="uniform_acs", frames=12))
    assert verdict == ((), ())


def test_every_broken_limit_is_told_with_both_values():
    outside, unknown = DOMAIN.judge(Scan(acceleration=12, mask_family="irregular", frames=7))
    assert outside == (
        "acceleration is 12, the model is for 2 to 10",
        "mask_family is irregular, the model is for uniform_acs, kt_uniform",
        "frames is 7, the model is for 8 to 30",
    )
    assert unknown == ()


def test_what_is_not_known_is_told_and_what_is_not_limited_is_not():
    outside, unknown = DOMAIN.judge(Scan(acceleration=4, field_strength_t=7.0))
    assert outside == ()
    assert unknown == ("mask_family", "frames")


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(ValidationError, match=r"lower limit 10\.0 is above the upper limit 2\.0"):
        Domain(acceleration=(10, 2))


def test_a_scan_can_tell_everything_that_a_domain_limits():
    assert set(Domain.model_fields) < set(Scan.__dataclass_fields__)


@pytest.mark.parametrize(
    ("acs", "offsets", "distance"),
    [(0, (0,), 1), (0, (0,), 4), (12, (0,), 4), (0, (0, 1), 4), (0, None, 4), (12, None, 4)],
)
def test_a_domain_knows_every_family_that_masks_are_found_to_be(acs, offsets, distance):
    rng = np.random.default_rng(0)
    mask = np.zeros((6, 64), bool)
    for frame, lines in enumerate(mask):
        if offsets is None:
            lines[rng.choice(64, 12, replace=False)] = True
        else:
            lines[offsets[frame % len(offsets)] :: distance] = True
        lines[32 - acs // 2 : 32 + acs // 2] = True
    assert describe(mask).family in get_args(MaskFamily)


def test_a_misspelt_family_is_refused():
    with pytest.raises(ValidationError, match="mask_family"):
        Domain(mask_family=("uniform_asc",))
