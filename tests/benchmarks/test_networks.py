"""The table of all networks has a line for each."""

import argparse

import pytest

from benchmarks.networks import Measured, Subject, report, run, subjects
from onebreath.registry import ARCHITECTURES, RESTORATION
from tests.models import RESTORATION_TINY, TINY

OPTIONS = argparse.Namespace(size=(6, 2, 16, 16), device="cpu", precision="float32", runs=1, only=[], rows=[])


def test_every_network_of_the_zoo_has_a_line():
    found = subjects(OPTIONS)
    assert {*ARCHITECTURES, *RESTORATION} <= set(found)
    text = report({name: Measured(1234, [0.25], 1.0, [0.5, 0.4]) for name in found}, OPTIONS)
    assert all(f"| {name} | 1,234 | 0.25 | 0.25 | 0.40 | 1.00 |" in text for name in found)
    assert set(subjects(argparse.Namespace(**{**vars(OPTIONS), "only": ["cinenet"]}))) == {
        "cinenet",
        "cinenet, shared weights",
    }
    assert set(subjects(argparse.Namespace(**{**vars(OPTIONS), "rows": ["cinenet"]}))) == {"cinenet"}


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *RESTORATION])
def test_every_network_can_be_measured(architecture):
    size = (3, 2, 16, 16)
    found = run(Subject(architecture, (TINY | RESTORATION_TINY)[architecture], size, runs=1))
    assert found.parameters > 0
    assert len(found.seconds) == 1
    assert found.processor[0] > 0
    assert found.peak > 0
