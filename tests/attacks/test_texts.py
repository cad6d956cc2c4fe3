"""Texts and numbers of peers and sites: converted at the border, quoted short, hidden while their scan lasts."""

import io
import json
import logging
import re
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onebreath.diagnostics import logs
from onebreath.diagnostics.reports import report
from onebreath.errors import ConfigError, ModelError, OnebreathError, ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.names import did_you_mean, shortened
from onebreath.wire.connection import parse_header
from onebreath.worker.ticket import needed_bytes
from onebreath.zoo.card import read_card
from onebreath.zoo.rules import read_rules
from onebreath.zoo.yaml_guard import read_yaml
from tests.host import tiny
from tests.host.test_worker import gadget_scan
from tests.host.wiring import CLOSE, encoded, start
from tests.host.workers import worker

BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(8)
)
ODD = ["2001-99-99", "9" * 5000, "2001-01-01 99:99:99", "!!python/name:os.system", "[" * 3000, BOMB]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_yaml_that_cannot_be_used_is_one_kind_of_error_and_quick(text, tmp_path):
    begun = time.process_time()
    with pytest.raises(ValueError, match=r"\w"):
        read_yaml(f"rules: {text}" if text is not BOMB else text)
    (tmp_path / "protocols.yaml").write_text(f"rules: {text}" if text is not BOMB else text)
    with pytest.raises(ConfigError):
        read_rules(tmp_path / "protocols.yaml")
    (tmp_path / "card.yaml").write_text(f"name: {text}" if text is not BOMB else text)
    with pytest.raises(ModelError):
        read_card(tmp_path)
    assert time.process_time() - begun < 20


def test_rules_that_became_wrong_leave_the_last_good_ones_in_force(tmp_path):
    from onebreath.zoo.last_good import LastGood
    from onebreath.zoo.rules import RULES_FILE

    path = tmp_path / RULES_FILE
    path.write_text("rules: []\n")
    kept = LastGood(lambda folder: read_rules(folder / RULES_FILE), "*.yaml")
    assert kept.get(tmp_path).value == ()
    for text in ODD:
        path.write_text(f"rules: {text}" if text is not BOMB else text)
        found = kept.get(tmp_path)
        assert found.value == ()
        assert found.warning
        assert len(found.warning) < 1000

    def broken(folder):
        raise KeyError("nobody foresaw this")

    kept._read = broken
    path.write_text("rules: []  # again")
    assert "KeyError" in kept.get(tmp_path).warning


VALUE = st.one_of(
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.just("9" * 5000),
    st.sampled_from(["NaN", "INF", "-INF", "1e-300"]),
)
PLACES = [
    "<x>16</x>",
    "<y>12</y>",
    "<z>1</z>",
    "<x>24.0</x>",
    "<center>6</center>",
    "<TR>3</TR>",
    "<maximum>11</maximum>",
]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.sampled_from(PLACES), value=VALUE)
def test_any_number_of_a_header_gives_an_answer_or_an_error_in_words(place, value):
    from xml.sax.saxutils import escape

    text = tiny.header().decode()
    name = place[1 : place.index(">")]
    plain = "".join(c for c in str(value) if c.isprintable())
    text = text.replace(place, f"<{name}>{escape(plain)}</{name}>", 1)
    try:
        header = parse_header(text.encode())
        needed_bytes(header)
        scan = ScanHeader(header)
        numbers = [*scan.encoded_matrix, *scan.recon_matrix, *scan.encoded_fov, *scan.recon_fov, *scan.sequence("TR")]
        assert np.all(np.isfinite(numbers))
        assert min(numbers[:12]) > 0
        scan.limits("kspace_encoding_step_1")
    except OnebreathError as error:
        assert len(str(error)) < 2000


@pytest.mark.parametrize("value", ["NaN", "INF", "abc", "1e-300", "1e300", "9" * 5000])
@pytest.mark.parametrize("place", ["<x>24.0</x>", "<y>12</y>", "<TR>3</TR>"])
def test_no_number_of_a_header_is_an_internal_error_of_a_scan(tmp_path, place, value):
    name = place[1 : place.index(">")]
    header = tiny.header().decode().replace(place, f"<{name}>{value}</{name}>", 1).encode()
    with worker(tmp_path) as running:
        data = b"".join([start(tiny.configuration(), header), *map(encoded, tiny.lines()), CLOSE])
        seen = gadget_scan(running, data)
    assert seen.images or seen.text
    assert "internal error" not in seen.text


# --- logs


@pytest.fixture
def log(monkeypatch):
    """Log to a text; gives what it holds."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    written = io.StringIO()

    def begin(form):
        monkeypatch.setattr("sys.stderr", written)
        logs.configure("INFO", form)
        return written

    yield begin
    root.handlers[:] = before
    root.setLevel(level)


def named(name="Zebediah^Quux", number="PID-77812", more=""):
    subject = (
        f"<subjectInformation><patientName>{name}</patientName><patientID>{number}</patientID></subjectInformation>"
    )
    head = tiny.header().decode()
    head = head[: head.index("<subjectInformation>")] + subject + head[head.index("</subjectInformation>") + 21 :]
    return head.replace("<protocolName>", more + "<protocolName>").encode()


def test_other_scans_push_no_names_out_of_the_filter_and_hide_no_text(log):
    written = log("text")
    with logs.secrets_of_a_scan():
        logs.keep_private(parse_header(named()))
        for number in range(200):
            with logs.secrets_of_a_scan():
                logs.keep_private(parse_header(named(f"Other{number}^error^refused^scan", f"O{number}")))
        logging.error("the scan of Zebediah, PID-77812, was refused: error")
    text = written.getvalue()
    assert "Zebediah" not in text
    assert "PID-77812" not in text
    assert "the scan of [hidden], [hidden], was refused: error" in text
    assert logs._live == set()


def test_names_that_no_line_of_text_can_hold_are_hidden_as_they_are_quoted(log):
    written = log("text")
    with logs.secrets_of_a_scan():
        logs.keep_private(parse_header(named("Ann&#10;Marie^Foo", "M\u00fcller")))
        logging.error("there is no %r and no %a; Ann, Marie", "Ann\nMarie^Foo", "M\u00fcller")
        logging.error("Ann\nMarie^Foo")
    assert not {"Ann", "Marie", "Foo", "ller"} & set(re.findall(r"[A-Z]?[a-z]+", written.getvalue()))


def test_what_no_scan_logs_names_nobody_either(log):
    import threading

    written = log("text")
    with logs.secrets_of_a_scan():
        logs.keep_private(parse_header(named()))
        thread = threading.Thread(target=logging.error, args=("Quux is watched",))
        thread.start()
        thread.join()
    assert "[hidden] is watched" in written.getvalue()


def test_more_names_than_a_header_has_are_refused_and_cost_no_other_scan():
    with logs.secrets_of_a_scan(), pytest.raises(ScanError, match="names and identifiers"):
        parse_header(named("^".join(f"name{n}" for n in range(3000))))


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_text_forges_a_line_or_speaks_to_a_terminal(log, form):
    written = log(form)
    logging.error("the name 'x\nERROR onebreath.worker: forged\x1b[2J\x9b31m\u202e\r' is unknown")
    try:
        raise ValueError("y\nERROR onebreath.worker: forged too\x1b[2J")
    except ValueError:
        logging.exception("broken")
    text = written.getvalue()
    assert not [line for line in text.splitlines() if line.startswith("ERROR onebreath.worker: forged")]
    assert not set(text) & set("\x1b\x9b\u202e\r")
    if form == "json":
        assert [json.loads(line)["level"] for line in text.splitlines()] == ["ERROR", "ERROR"]


def test_quoted_texts_are_short_in_errors_and_in_the_log(log, tmp_path):
    written = log("text")
    huge = "A" * (1 << 20)
    assert len(shortened(huge)) < 150
    assert len(did_you_mean(huge, ["sort"])) < 100
    assert len(report(ConfigError(huge), "x")) < 5000
    assert len(report(KeyError(huge), "x")) < 5000
    assert len(written.getvalue()) < 40_000
    with worker(tmp_path) as running:
        config = tiny.configuration().replace(b'<gadget name="sort">', b'<gadget name="%s">' % huge[:900_000].encode())
        seen = gadget_scan(running, b"".join([start(config, tiny.header()), CLOSE]))
    assert "There is no gadget called 'AAAA" in seen.text
    assert len(seen.text) < 5000


def test_configurations_and_headers_are_not_larger_than_real_ones(tmp_path):
    with worker(tmp_path) as running:
        data = start(b"<configuration>" + b" " * (1 << 20) + b"</configuration>", tiny.header())
        assert not gadget_scan(running, data + CLOSE).images
        many = " ".join(f'a{n}=""' for n in range(2000))
        config = tiny.configuration().replace(b'<gadget name="sort">', f'<gadget name="sort" {many}>'.encode())
        assert "2001 attributes" in gadget_scan(running, start(config, tiny.header()) + CLOSE).text
        assert gadget_scan(running).images
