"""Who writes the history: one thread, that neither holds a scan up nor ends it, whatever the disk does."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from onebreath.threads import begin
from onebreath.web.history.schema import aside, is_full, open_to_write

log = logging.getLogger("onebreath.web")

Entry: TypeAlias = Callable[[sqlite3.Connection], None]
"""Writes something; called in the writer's thread, inside a transaction. It may be called again if that fails."""

MOST = 20_000  # entries that wait for the disk; beyond that the oldest are lost, and counted
BATCH = 500  # entries of one transaction
PAUSE = 2.0  # seconds after a failure until the next attempt
TICK = 10.0  # seconds between what is done regularly
SILENT = 60.0  # seconds between warnings about the same disk


class History:
    """Writes entries into the database, in the order in which they came.

    Parameters
    ----------
    path
        The database.
    regularly
        Called every `TICK` seconds in the writer's thread.
    make_room
        Removes old entries, when the file has its largest size; None: nothing is removed.
    """

    def __init__(
        self, path: Path, regularly: Callable[[], None] = lambda: None, make_room: Entry | None = None
    ) -> None:
        self.path = path
        self.changes = 0
        """Grows with every transaction: readers see by it whether there is something new."""
        self.lost = 0
        """Entries that could not be written."""
        self.trouble = ""
        """Why nothing can be written now; empty if all is well."""
        self._regularly, self._make_room = regularly, make_room
        self._waiting: deque[Entry] = deque()
        self._news = threading.Condition()
        self._busy = False
        self._closing = False
        self._warned = -SILENT
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._work, name="onebreath-history", daemon=True)
        begin(self._thread)

    @property
    def works(self) -> bool:
        """Whether the writer's thread is alive."""
        return self._thread.is_alive()

    def put(self, entry: Entry) -> None:
        """Have something written soon; returns at once."""
        with self._news:
            if len(self._waiting) >= MOST:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(entry)
            self._news.notify()

    def flush(self, seconds: float) -> bool:
        """Wait until all that came is written; False if it is not after some seconds."""
        with self._news:
            return self._news.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def close(self, patience: float) -> None:
        """Write what waits, and end the thread; what the disk does not take within `patience` seconds is lost."""
        self.flush(patience)
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join(patience)

    def _work(self) -> None:
        ticked = time.monotonic() - TICK
        while True:
            if time.monotonic() - ticked >= TICK:
                ticked = time.monotonic()
                self._safely(self._regularly)
            entries = self._next()
            if entries is None:
                break
            if entries:
                self._safely(lambda: self._write(entries))  # noqa: B023 - called at once
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.exception("internal error in the worker's history")

    def _next(self) -> list[Entry] | None:
        """Return the entries of the next transaction, none after a while without any; None: it is over."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closing, 1.0)
            if self._closing:
                return None
            count = min(BATCH, len(self._waiting))
            self._busy = count > 0
            return [self._waiting.popleft() for _ in range(count)]

    def _write(self, entries: list[Entry]) -> None:
        failed = True
        try:
            self._transaction(entries)
            failed = False
        except (sqlite3.Error, OSError) as error:
            self._give_up_for_now(error)
        except Exception:
            log.exception("something about a scan could not be written into the worker's history")
            self._one_by_one(entries)
            failed = False
        with self._news:
            if failed:
                room = max(0, MOST - len(self._waiting))
                self.lost += max(0, len(entries) - room)
                self._waiting.extendleft(reversed(entries[len(entries) - min(room, len(entries)) :]))
            else:
                self.changes += 1
                self.trouble = ""
            self._busy = False
            self._news.notify_all()
            if failed:
                self._news.wait_for(lambda: self._closing, PAUSE)

    def _one_by_one(self, entries: list[Entry]) -> None:
        """Write what can be written of entries of which one is wrong."""
        for entry in entries:
            try:
                self._transaction([entry])
            except Exception:  # noqa: BLE001 - the first one was logged
                self.lost += 1

    def _transaction(self, entries: list[Entry]) -> None:
        if self._connection is None:
            self._connection = open_to_write(self.path)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for entry in entries:
                entry(connection)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _give_up_for_now(self, error: Exception) -> None:
        """Say that the disk takes nothing, once a minute; a damaged file is set aside."""
        self.trouble = str(error)
        if self._connection is not None and self._make_room is not None:
            with suppress(sqlite3.Error, OSError):
                if is_full(self._connection):
                    self._transaction([self._make_room])
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            aside(self.path, error)
        if time.monotonic() - self._warned > SILENT:
            self._warned = time.monotonic()
            log.warning(
                "the history of scans cannot be written to %s (%s); scans go on, and what waits is written when it can",
                self.path,
                error,
            )
