import ismrmrd
import numpy as np
import pytest

from onebreath.chain.notes import NOTE_ID, note, read_note
from onebreath.errors import WireError


def test_a_note_survives_the_wire():
    facts = {"source": "noise lines in the scan", "samples": 98304, "scale": 0.25, "patient": "Müller"}
    sent = note("prewhiten", **facts)
    received = ismrmrd.Waveform.from_bytes(sent.to_bytes())
    assert read_note(received) == ("prewhiten", facts)


def test_a_note_is_logged_once(caplog):
    with caplog.at_level("INFO", logger="onebreath.sort"):
        note("sort", frames=12)
    assert [record.getMessage() for record in caplog.records] == ["frames: 12"]


def test_physiological_waveforms_are_no_notes():
    ecg = ismrmrd.Waveform.from_array(np.zeros((1, 8), np.uint32), waveform_id=0)
    assert read_note(ecg) is None


def test_a_broken_note_is_an_error():
    broken = ismrmrd.Waveform.from_array(np.arange(4, dtype=np.uint32)[None], waveform_id=NOTE_ID)
    with pytest.raises(WireError, match="cannot be read"):
        read_note(broken)
