"""Logs: no patient's name or id, in any line of any scan; scan ids; JSON on request."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import pytest

from onebreath.chain.pipeline import Stage
from onebreath.diagnostics import logs
from onebreath.errors import ScanError
from onebreath.host.server import start_host
from onebreath.wire.connection import parse_header
from tests.chain.running import header_bytes, images_of, send, simulated, steps, xml

SECRETS = {
    "name": "Zaphod^Beeblebrox", "id": "P-4711/x", "birth": "1952-03-11", "study": "S0815", "accession": "990017",
    "measurement": "dev_4711a_0815b_12", "dependency": "dev_4711a_0815b_11",
}  # fmt: skip
NEVER = [*SECRETS.values(), "Zaphod", "Beeblebrox", "4711", "0815"]


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    with logs.secrets_of_a_scan():
        yield
    root.handlers[:] = before
    root.setLevel(level)


def named(header: Any) -> Any:
    """The header with everything that tells who it is."""
    xsd = ismrmrd.xsd
    header.subjectInformation = xsd.subjectInformationType(
        patientName=SECRETS["name"],
        patientID=SECRETS["id"],
        patientBirthdate=xsd.ismrmrdschema.ismrmrd.XmlDate.from_string(SECRETS["birth"]),
    )
    header.studyInformation = xsd.studyInformationType(
        studyID=SECRETS["study"], accessionNumber=int(SECRETS["accession"])
    )
    header.measurementInformation.measurementID = SECRETS["measurement"]
    dependency = xsd.measurementDependencyType(dependencyType="noise", measurementID=SECRETS["dependency"])
    header.measurementInformation.measurementDependency.append(dependency)
    return header


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_whole_scan_at_the_finest_level_names_nobody(
    form: logs.Format, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path))
    logs.configure("DEBUG", form)
    scan = simulated()
    verbose = steps("zero_filled", prewhiten={"verbose": "true"}, reconstruct={"verbose": "true"})
    with start_host() as host:
        made, _ = send(host, xml(verbose), header_bytes(named(scan.header)), scan.acquisitions)
        assert len(images_of(made)) == 1
        assert images_of(made)[0].meta["patientID"] == "4711a"  # the images are the patient's, and say so
        send(host, xml(verbose), header_bytes(scan.header), [])  # and one that fails
    written = capfd.readouterr().err
    assert "whitened" in written
    assert [secret for secret in NEVER if secret in written] == []
    assert logs.HIDDEN in written


def test_errors_and_tracebacks_name_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    parse_header(header_bytes(named(simulated().header)))
    try:
        raise ScanError(f"no data of {SECRETS['name']}")
    except ScanError:
        logging.getLogger("onebreath.x").exception("the scan %s of zaphod fails", SECRETS["measurement"])
    written = capfd.readouterr().err
    assert "ScanError: no data of [hidden]" in written
    assert "the scan [hidden] of [hidden] fails" in written


def test_a_log_that_gadgetron_set_up_names_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s", force=True)
    parse_header(header_bytes(named(simulated().header)))
    logs.guard_handlers()
    logs.guard_handlers()
    logging.getLogger("onebreath.x").info("scan of %s", SECRETS["name"])
    assert "scan of [hidden]" in capfd.readouterr().err


def test_a_header_that_cannot_be_read_is_not_quoted() -> None:
    text = header_bytes(named(simulated().header))
    for broken in (
        text.replace(b"</patientName>", b"</patient>"),
        text.replace(b"<patientID>", b"<patientID><of>").replace(b"</patientID>", b"</of></patientID>"),
        text[: text.index(SECRETS["birth"].encode()) + 4],
    ):
        with pytest.raises(ScanError, match="is not an ISMRMRD header") as found:
            parse_header(broken)
        assert not any(secret in str(found.value) for secret in NEVER)
        assert found.value.__cause__ is None
        assert found.value.__suppress_context__


def test_a_birth_date_that_is_none_stays_a_secret(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "text")
    text = header_bytes(named(simulated().header)).replace(SECRETS["birth"].encode(), b"in March 1952")
    parse_header(text)
    logging.getLogger("onebreath.x").warning("born in March 1952")
    said = capfd.readouterr().err
    assert "[hidden]" in said
    assert "1952" not in said


def test_json_lines_have_scan_level_and_exception(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    logs.SCAN.set("20261121-1")
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logging.getLogger("onebreath.x").exception("it is\nover")
    (line,) = capfd.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["scan"], entry["level"], entry["text"]) == ("20261121-1", "ERROR", "it is\nover")
    assert "ZeroDivisionError" in entry["exception"]
    assert entry["time"].endswith("Z")
    logs.SCAN.set("")


def test_threads_of_a_chain_know_their_scan() -> None:
    logs.SCAN.set("scan-7")
    stage = Stage("x", (logs.SCAN.get() for _ in range(1)))
    assert list(stage.output()) == ["scan-7"]
    stage.end()
    logs.SCAN.set("")


def test_texts_of_scans_that_have_ended_are_not_hidden(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO")
    with logs.secrets_of_a_scan():
        logs._secrets.get().add({"name0"})
    with logs.secrets_of_a_scan():
        logs._secrets.get().add({"name1", "name64"})
        logging.getLogger("onebreath.x").info("name0 name1 name64 myname64")
    assert "name0 [hidden] [hidden] myname64" in capfd.readouterr().err
