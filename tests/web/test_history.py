"""Who writes the history: a disk that is full, locked or damaged costs entries, never a scan."""

import logging
import sqlite3
from pathlib import Path

import pytest

from onebreath.web.history import schema
from onebreath.web.history import writer as module
from onebreath.web.history.entries import LogLine, prune, write_log
from onebreath.web.history.writer import History
from tests.host import tiny
from tests.host.test_worker import client_scan
from tests.host.workers import books, wait_for
from tests.web.rows import fill
from tests.web.served import served


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.05)
    monkeypatch.setattr(schema, "PATIENCE", 0.05)
    monkeypatch.setattr("onebreath.web.serving.PATIENCE", 1.0)


def line(number: int) -> LogLine:
    return LogLine("a", float(number), 20, "onebreath.x", f"line {number}")


def put(history: History, number: int) -> None:
    history.put(lambda connection: write_log(connection, line(number)))


def texts(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT text FROM log ORDER BY id")]
    finally:
        connection.close()


def test_entries_are_written_in_order_and_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "h/history.sqlite"
    for first in (0, 700):
        history = History(path)
        for number in range(first, first + 700):
            put(history, number)
        history.close(30)
        assert not history.works
    assert texts(path) == [f"line {number}" for number in range(1400)]
    assert history.lost == 0


def test_a_locked_database_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "history.sqlite"
    history = History(path)
    put(history, 0)
    assert history.flush(30)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    put(history, 1)
    wait_for(lambda: history.trouble)
    put(history, 2)
    assert "locked" in history.trouble
    assert not history.flush(0.3)
    holder.execute("COMMIT")
    holder.close()
    assert history.flush(30)
    history.close(30)
    assert history.trouble == ""
    assert texts(path) == ["line 0", "line 1", "line 2"]
    assert len([r for r in caplog.records if "cannot be written" in r.message]) == 1, "said once, not each time"


def test_a_full_disk_keeps_what_it_has_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LARGEST", 40 * schema.PAGE)
    path = tmp_path / "history.sqlite"
    history = History(path)
    for number in range(5):
        put(history, number)
    assert history.flush(30)
    long = LogLine("a", 0.0, 20, "x", "long" * 100_000)
    history.put(lambda connection: write_log(connection, long))
    wait_for(lambda: history.trouble)
    assert "full" in history.trouble
    assert texts(path) == [f"line {number}" for number in range(5)]
    assert history.works
    history.close(0.2)


def test_a_file_of_the_largest_size_loses_its_older_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "LARGEST", 1000 * schema.PAGE)
    with served(tmp_path) as page:
        for _ in range(4):
            assert len(client_scan(page.worker, tiny.stream())) == 1
        fill(page.web.history, 30, lines=1)
        for number in range(9000):
            entry = line(number)._replace(text="x" * 500)
            page.web.history.put(lambda connection, entry=entry: write_log(connection, entry))
        for _ in range(2):
            assert len(client_scan(page.worker, tiny.stream())) == 1
        assert page.written()
        assert page.web.history.trouble == ""
        assert page.database.stat().st_size <= 1000 * schema.PAGE
        ended = page.worker.service.scheduler.snapshot()["ended"]
        newest = [row[0] for row in page.rows("SELECT scan FROM scans ORDER BY id DESC LIMIT 2")]
        assert newest == [scan["scan"] for scan in ended][:-3:-1]
        assert page.worker.service.observers[0].__self__._held == 0
        assert page.get("/").status == 200


def test_images_that_wait_for_a_full_disk_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with served(tmp_path) as page:
        client_scan(page.worker, tiny.stream())
        assert page.written()
        monkeypatch.setattr("onebreath.web.recorder.write_scan", full)
        for _ in range(3):
            assert len(client_scan(page.worker, tiny.stream())) == 1
        recorder = page.worker.service.observers[0].__self__
        wait_for(lambda: recorder._held > 0 and page.web.history.trouble)
        monkeypatch.setattr("onebreath.web.recorder.MOST_BYTES", recorder._held)
        assert len(client_scan(page.worker, tiny.stream())) == 1
        assert "the history cannot be written: database or disk is full" in page.get("/").text
        monkeypatch.undo()
        assert page.written()
        assert page.rows("SELECT COUNT(*) FROM scans") == [(5,)]
        assert page.get("/").text.count("<img") == 4, "what is held is counted; the last one had no room"
        assert recorder._held == 0


def test_more_than_can_wait_is_lost_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 10)
    path = tmp_path / "folder"
    path.mkdir()  # where the file should be
    history = History(path)
    wait_for(lambda: (put(history, 0), history.trouble)[1])
    for number in range(50):
        put(history, number)
    assert history.lost >= 39
    assert history.works
    history.close(0.2)


@pytest.mark.parametrize("damage", ["junk", "truncated", "other version", "middle"])
def test_a_damaged_database_is_set_aside(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "history.sqlite"
    history = History(path)
    fill(history, 300)
    history.close(30)
    content = path.read_bytes()
    if damage == "other version":
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
    else:
        middle = content[:8192] + b"\xff" * (len(content) // 2) + content[8192 + len(content) // 2 :]
        path.write_bytes({"junk": b"junk" * 4000, "truncated": content[: len(content) // 2], "middle": middle}[damage])
    history = History(path)
    put(history, 1)
    assert history.flush(30)
    history.close(30)
    assert texts(path) == ["line 1"]
    assert (tmp_path / ".damaged-history.sqlite").exists()
    assert any("damaged and set aside" in record.message for record in caplog.records)


def test_an_entry_that_is_wrong_costs_no_other(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")

    def wrong(connection: sqlite3.Connection) -> None:
        raise ValueError("wrong")

    put(history, 0)
    history.put(wrong)
    put(history, 1)
    assert history.flush(30)
    history.close(30)
    assert texts(tmp_path / "history.sqlite") == ["line 0", "line 1"]
    assert history.lost == 1


def test_what_is_old_or_too_much_is_removed(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    fill(history, 200, days=10)
    history.put(lambda connection: prune(connection, 5.0, 60, 30))
    assert history.flush(30)
    history.close(30)
    connection = sqlite3.connect(tmp_path / "history.sqlite")
    counts = [
        connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0] for name in ("scans", "summaries", "log")
    ]
    connection.close()
    assert counts == [60, 60, 30]


def test_scans_go_on_whatever_the_disk_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def folder_in_the_way(path: Path) -> None:
        path.mkdir(parents=True)

    with caplog.at_level(logging.WARNING), served(tmp_path, before=folder_in_the_way) as page:
        images = client_scan(page.worker, tiny.stream())
        assert len(images) == 1
        assert books(page.worker, "ended") == ["done"]
        answer = page.get("/")
        assert answer.status == 503
        assert "The history cannot be read now" in answer.text
        assert page.get("/log").status == 503
        page.web.history.flush(0.1)
    assert any("the history of scans cannot be written" in record.message for record in caplog.records)


def test_a_scan_without_a_page_costs_nothing_and_one_with_it_is_the_same(tmp_path: Path) -> None:
    with served(tmp_path / "with") as page:
        seen = client_scan(page.worker, tiny.stream())
        assert page.written()
        ((outcome, images, method),) = page.rows("SELECT outcome, images, method FROM scans")
        assert (outcome, images, method) == ("done", 1, "zero_filled")
        assert page.worker.service.observers
    from tests.host.workers import worker

    (tmp_path / "without").mkdir()
    with worker(tmp_path / "without") as running:
        assert running.service.observers == []
        plain = client_scan(running, tiny.stream())
    assert (seen[0].data == plain[0].data).all()
