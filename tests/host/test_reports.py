"""Texts for the people at the host."""

import re

import pytest

from onebreath.diagnostics.reports import Reported, advice, report
from onebreath.errors import ConfigError, ConnectionLost, MethodError, OnebreathError


def test_three_lines_and_the_log_under_the_same_id(caplog):
    text = report(MethodError("uniform kernel at R=24"), "chain")
    technologist, physicist, developer = text.splitlines()
    assert technologist == "This method cannot do this scan. Send the scan again with another configuration."
    assert physicist == "For the physicist: uniform kernel at R=24"
    identifier = re.fullmatch(r"For the developer: log id ([0-9a-f]{8}), MethodError", developer)[1]
    assert f"[{identifier}] uniform kernel at R=24" in caplog.text


def test_unexpected_error_is_logged_with_its_traceback(caplog):
    try:
        raise ValueError("coil 7")
    except ValueError as error:
        text = report(error, "gadget sort")
    assert "internal error in gadget sort: ValueError: coil 7; see the log" in text
    assert "Traceback" in caplog.text


def test_report_of_another_node_is_passed_on_as_it_is(caplog):
    assert report(Reported("one\ntwo\nthree"), "host") == "one\ntwo\nthree"
    assert not caplog.records


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConfigError(""), "another one"),
        (ConnectionLost(""), "connection broke off"),
        (OnebreathError(""), "call the physicist"),
        (KeyError("x"), "call the physicist"),
        (MemoryError(), "memory is too small"),
    ],
)
def test_advice_fits_the_error(error, words):
    assert words in advice(error)


def test_advice_follows_the_cause():
    error = OnebreathError("internal error in gadget sort")
    error.__cause__ = MemoryError()
    assert "memory is too small" in advice(error)
