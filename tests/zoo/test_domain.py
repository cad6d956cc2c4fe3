"""Domains: the scans a model may be used on."""

import pytest
from pydantic import ValidationError

from onebreath.zoo.domain import Domain, Scan

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


def test_scan_and_domain_speak_of_the_same_things():
    assert set(Scan.__dataclass_fields__) == set(Domain.model_fields)
