"""What is written about a scan: numbers and sentences of its images' meta, or of the notes where no image came."""

import sqlite3
import time

import ismrmrd
import pytest

from onebreath.config.node_options import Priority
from onebreath.web.history.entries import EndedScan, Said, unpack, write_scan
from onebreath.web.history.schema import TABLES
from onebreath.worker.ticket import Ticket


def text(**facts: str) -> str:
    return ismrmrd.Meta(facts).serialize()


def written(said: Said, outcome: str = "done", images: int = 2) -> tuple[sqlite3.Row, dict]:
    ticket = Ticket("20260101-000000-abcdef", "Cine.xml", "client", Priority.LIVE, protocol="cine")
    ticket.outcome, ticket.images = outcome, images
    ticket.started, ticket.ended = ticket.arrived + 1.0, ticket.arrived + 3.5
    connection = sqlite3.connect(":memory:")
    try:
        connection.row_factory = sqlite3.Row
        connection.executescript(TABLES)
        write_scan(connection, EndedScan.of(ticket, said, lambda t: t.replace("Miller", "[hidden]"), ""))
        row = connection.execute("SELECT * FROM scans").fetchone()
        return row, unpack(connection.execute("SELECT packed FROM summaries").fetchone()[0])
    finally:
        connection.close()


META = {
    "Onebreath_reconstruct_method": "grappa",
    "Onebreath_reconstruct_choice": "grappa by lines kept back",
    "Onebreath_reconstruct_choice_error": "0.0421",
    "Onebreath_reconstruct_choice_errors": "grappa 0.0421 +- 0.001; crunet_mr.cine 0.1 +- 0.002",
    "Onebreath_reconstruct_domain_score": "0.31",
    "Onebreath_reconstruct_fallback": "the model is not for 7 T, says Miller",
    "Onebreath_reconstruct_wanted": "unrolled",
    "Onebreath_prewhiten_noise_std": "2.5e-06",
}


def test_numbers_are_those_of_the_meta() -> None:
    row, summary = written(Said(metas=[text(**META), text(**META)], seconds={"sort": 0.1}, warnings=["of Miller"]))
    assert dict(row) | {"id": 1} == {
        "id": 1, "scan": "20260101-000000-abcdef", "title": "Cine.xml", "protocol": "cine", "side": "client",
        "outcome": "done", "ended": row["ended"], "waited": 1.0, "seconds": 3.5, "images": 2, "method": "grappa",
        "model": "", "noise": 2.5e-6, "error": 0.0421, "score": 0.31, "latency": pytest.approx(2.5), "fallback": 1,
    }  # fmt: skip
    assert time.time() - row["ended"] < 60
    sentences = [sentence for section in summary["sections"] for sentence in section["sentences"]]
    alarm = "This is a fallback: unrolled was not used, because: the model is not for 7 T, says [hidden]"
    assert [alarm, "alarm"] in sentences
    assert summary["candidates"][0] == ["grappa", "0.0421", "0.001", ""]
    assert summary["warnings"] == ["of [hidden]"]
    assert summary["seconds"] == {"sort": 0.1}


def test_a_scan_that_failed_is_told_by_its_notes_and_counts_in_no_chart() -> None:
    notes = {"prewhiten": {"noise": "none", "whitened": False}, "reconstruct": {"method": "grappa"}}
    row, summary = written(Said(notes=notes), "failed", 0)
    assert [row[name] for name in ("noise", "error", "score", "latency", "fallback")] == [None] * 5
    assert row["method"] == "grappa"
    told = str(summary["sections"])
    assert "were not whitened" in told


def test_maps_do_not_speak_for_the_images() -> None:
    maps = text(**{**META, "GADGETRON_DataRole": "Gfactor", "Onebreath_reconstruct_choice_error": "9"})
    row, _ = written(Said(metas=[maps, text(**META)]))
    assert row["error"] == 0.0421


@pytest.mark.parametrize("number", ["nan", "inf", "much", ""])
def test_what_is_no_number_is_none(number: str) -> None:
    row, _ = written(Said(metas=[text(**{**META, "Onebreath_reconstruct_choice_error": number})]))
    assert row["error"] is None
    assert row["score"] == 0.31
