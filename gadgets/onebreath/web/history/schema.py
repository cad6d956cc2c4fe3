"""The database of scans that have ended: its tables, and how it is opened by the one who writes and by readers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from onebreath.keeping import create, private_folder, set_aside

VERSION = 1
"""Of the tables; a file of another version is set aside."""
PAGE = 4096  # bytes
LARGEST = 1 << 30  # bytes that the file may have
PATIENCE = 2.0  # seconds to wait for somebody who holds a lock
BESIDE = ("-wal", "-shm", "-journal")

TABLES = """
CREATE TABLE scans (
    id INTEGER PRIMARY KEY, scan TEXT NOT NULL UNIQUE, title TEXT NOT NULL, protocol TEXT NOT NULL, side TEXT NOT NULL,
    outcome TEXT NOT NULL, ended REAL NOT NULL, waited REAL NOT NULL, seconds REAL NOT NULL, images INTEGER NOT NULL,
    method TEXT NOT NULL, model TEXT NOT NULL, noise REAL, error REAL, score REAL, latency REAL, fallback INTEGER
);
CREATE INDEX scans_of_protocol ON scans (protocol, id);
CREATE INDEX scans_of_outcome ON scans (outcome, id);
CREATE INDEX scans_by_end ON scans (ended);
CREATE TABLE summaries (scan TEXT PRIMARY KEY, packed BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    id INTEGER PRIMARY KEY, scan TEXT NOT NULL, time REAL NOT NULL, level INTEGER NOT NULL, logger TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX log_of_scan ON log (scan, id);
CREATE INDEX log_of_level ON log (level, id);
CREATE TABLE charts (
    protocol TEXT NOT NULL, measure TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (protocol, measure)
);
CREATE TABLE alarms (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, scan TEXT NOT NULL, protocol TEXT NOT NULL, measure TEXT NOT NULL,
    kind TEXT NOT NULL, text TEXT NOT NULL, closed REAL
);
CREATE INDEX alarms_open ON alarms (closed, id);
CREATE INDEX alarms_of_chart ON alarms (protocol, measure, id);
"""


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open the database, and make it if there is none; one that is damaged, or of another version, is set aside.

    Raises
    ------
    sqlite3.Error, OSError
        If it cannot be opened or made: a full disk, a lock, a folder in its place.
    """
    private_folder(path.parent)
    if not path.exists():
        create(path)
    try:
        return _opened(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        aside(path, error)
        create(path)
        return _opened(path)


def is_full(connection: sqlite3.Connection) -> bool:
    """Return whether the file has its largest size, and no room inside; a full disk is another matter."""
    pages, most, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "max_page_count", "freelist_count")
    )
    return bool(pages - free > 0.9 * most)


def aside(path: Path, why: object) -> None:
    """Set a damaged database aside, without what SQLite keeps beside it: that belongs to no other file."""
    set_aside(path, why)
    for suffix in BESIDE:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    try:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found == 0:
            connection.execute(f"PRAGMA page_size = {PAGE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a loss of power may cost the last scans, never the file
        connection.execute(f"PRAGMA max_page_count = {LARGEST // PAGE}")
        if found == 0:
            connection.executescript(f"BEGIN;{TABLES}PRAGMA user_version = {VERSION};COMMIT;")
        elif found != VERSION:
            raise sqlite3.DatabaseError(f"its tables have version {found}; this program writes version {VERSION}")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database for reading while the body runs; rows are known by name.

    Raises
    ------
    sqlite3.Error
        If it cannot be read.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=PATIENCE, uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection
