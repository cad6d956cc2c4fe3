"""What is wrong with rules as a whole."""

import pytest
from ismrmrd import xsd

from onebreath.zoo.lint import TRAJECTORIES, covers, lint, overlap
from onebreath.zoo.rules import Conditions, Rule
from tests.models import save_model


def rule(name, method="cg_sense", model=None, **when):
    return Rule(name=name, method="unrolled" if model else method, model=model, when=Conditions(**when))


def texts(*rules):
    return [str(finding) for finding in lint(rules)]


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ({}, {"frames": (1, 2)}),
        ({"frames": (1, 9)}, {"frames": (2, 9), "coils": (1, 4)}),
        ({"protocol": ("*cine*",)}, {"protocol": ("*cine_sax*", "cine")}),
        ({"protocol": ("*",)}, {"protocol": ("?[ab]",)}),
        ({"vendor": ("SIEMENS*",)}, {"vendor": ("siemens",)}),
        ({"mask_family": ("uniform", "kt_uniform")}, {"mask_family": ("uniform",)}),
    ],
)
def test_a_rule_that_an_earlier_one_covers_never_fires(wide, narrow):
    assert texts(rule("wide", **wide), rule("narrow", "grappa", **narrow)) == [
        "error: rule narrow: can never fire: wide before it takes all of its scans"
    ]
    assert not covers(Conditions(**narrow), Conditions(**wide))
    assert texts(rule("narrow", "grappa", **narrow), rule("wide", **wide)) == []


def test_a_trajectory_that_no_header_has_is_named():
    assert texts(rule("a", trajectory=("cartesan",))) == [
        "error: rule a: can never fire: no header has the trajectory 'cartesan'. Did you mean: cartesian?"
    ]
    assert texts(rule("a", trajectory=("cartesian", "epy"))) == [
        "warning: rule a: no header has the trajectory 'epy'. Did you mean: epi?"
    ]
    assert texts(rule("a", trajectory=TRAJECTORIES)) == []
    assert set(TRAJECTORIES) == {kind.value for kind in xsd.trajectoryType}


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({"frames": (1, 9)}, {"coils": (1, 4)}),
        ({"frames": (1, 9)}, {"frames": (9, 20)}),
        ({"protocol": ("*cine*",)}, {"protocol": ("heart*",)}),
        ({"protocol": ("a?c*",)}, {"protocol": ("*b[cd]",)}),
    ],
)
def test_a_pair_whose_order_alone_decides_is_told(first, later):
    found = texts(rule("first", **first), rule("later", "grappa", **later))
    assert found == [
        "warning: rule first: some scans also meet later, which decides otherwise; only their order says who wins"
    ]
    assert texts(rule("first", **first), rule("later", **later)) == [], "both decide alike"


@pytest.mark.parametrize(
    ("first", "later"),
    [
        ({"frames": (1, 9)}, {"frames": (10, 20), "coils": (1, 4)}),
        ({"protocol": ("cine*",)}, {"protocol": ("heart*",)}),
        ({"protocol": ("*_sax",)}, {"protocol": ("*_lax",)}),
        ({"mask_family": ("uniform",)}, {"mask_family": ("full",)}),
    ],
)
def test_rules_without_a_common_scan_are_no_finding(first, later):
    assert not overlap(Conditions(**first), Conditions(**later))
    assert texts(rule("first", **first), rule("later", "grappa", **later)) == []


def test_models_that_are_missing_or_never_fit_are_told(root):
    save_model(root, domain={"acceleration": [4, 8]})
    assert "there is no model" in texts(rule("absent", model="crunet_mr.absent"))[0]
    found = texts(rule("never", model="crunet_mr.tiny", acceleration=(9, 12)))
    assert found == ["error: rule never: none of its scans is inside the domain of model crunet_mr.tiny"]
    assert texts(rule("fits", model="crunet_mr.tiny", acceleration=(8, 12))) == []
