"""Facts are typed where code decides by them, and text in the meta."""

import pytest
from pydantic import ValidationError

from onebreath.chain.facts import Decision, facts_of, readable
from onebreath.chain.notes import note, read_note
from onebreath.errors import WireError
from onebreath.gadgets.facts import CalibrateFacts, CompressFacts, SortFacts

COMMON = {"mode": "embedded", "header_mode": "embedded", "agreement": "yes", "acs_lines": 24, "coil_maps": "espirit"}


def crossed(gadget, facts):
    """Facts as they arrive by a note."""
    return dict([read_note(note(gadget, facts))])


@pytest.mark.parametrize("text", ["in the folder /x", "dans le dossier /x", ""])
@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("name", ["calibration_kept", "calibration_storage"])
def test_whether_storage_has_the_lines_does_not_depend_on_words(name, yes, text):
    sent = CalibrateFacts(**COMMON, **{name: Decision(yes=yes, text=text)})
    notes = crossed("calibrate", sent)
    arrived = facts_of(CalibrateFacts, notes, "calibrate")
    assert arrived == sent
    assert arrived.stored is yes
    assert readable(notes["calibrate"])[name] == text


def test_what_nobody_decided_is_no_fact():
    assert crossed("calibrate", CalibrateFacts(**COMMON)) == {"calibrate": COMMON}
    assert not CalibrateFacts(**COMMON).stored
    assert facts_of(CalibrateFacts, {}, "calibrate") is None


def test_counters_take_one_value_unless_sort_says_otherwise():
    values = facts_of(SortFacts, {"sort": {"values_phase": 12, "frames": 12}}, "sort").values
    assert values == {"average": 1, "repetition": 1, "set": 1, "phase": 12, "contrast": 1, "slice": 1}


def test_facts_that_a_gadget_does_not_have_are_refused():
    with pytest.raises(ValidationError, match="mood"):
        CalibrateFacts(**COMMON, mood="good")
    with pytest.raises(WireError, match="'compress' is not what this version writes"):
        facts_of(CompressFacts, {"compress": {"mode": "svd"}}, "compress")
