"""The pages: requests to answers. What they show comes from the worker's books, the history, and the pictures."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from onebreath.errors import OnebreathError
from onebreath.web import svg
from onebreath.web.access import LIVES, REPORT_POLICY, Door, read_form
from onebreath.web.history import queries
from onebreath.web.history.schema import reading
from onebreath.web.history.writer import History
from onebreath.web.memory import MemoryTrend, measured
from onebreath.web.news import News
from onebreath.web.pictures import Pictures
from onebreath.web.rendering import assets, in_address, page
from onebreath.web.trends.watch import MEASURES, close_alarms, progress

log = logging.getLogger("onebreath.web")

LEVELS = {"all": 0, "warnings": 30, "errors": 40}


@dataclass
class Sources:
    """Where the pages' content comes from.

    Parameters
    ----------
    snapshot, protocols, troubles, exports
        The worker's books, the protocols of the scans in them, and what is wrong with it.
    history, pictures, memory
        As the recorder fills them; pictures: None if none are kept.
    """

    snapshot: Callable[[], Mapping[str, Any]]
    protocols: Callable[[], Mapping[str, str]]
    troubles: Callable[[], Sequence[str]]
    exports: Callable[[], Sequence[dict[str, Any]]]
    history: History
    pictures: Pictures | None
    memory: MemoryTrend

    def news(self) -> tuple[Any, ...]:
        """Return what changes when a page may have something new to show."""
        books = self.snapshot()
        running = tuple(scan["scan"] for scan in books["running"])
        busy = int(time.monotonic()) // 2 if running or books["waiting"] else 0
        exports = tuple(tuple(one.values()) for one in self.exports())
        return running, tuple(scan["scan"] for scan in books["waiting"]), self.history.changes, busy, exports


class Pages:
    """See the module."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self.door: Door | None = None
        self.listeners = News(sources.news)
        self._reports = asyncio.Semaphore(1)
        self.app = Starlette(
            routes=[
                Route("/", self.overview),
                Route("/scans", self.scans),
                Route("/scans/{scan}", self.scan),
                Route("/scans/{scan}/thumbnail.png", self.thumbnail),
                Route("/scans/{scan}/report", self.report),
                Route("/trends", self.trends),
                Route("/trends/close", self.close, methods=["POST"]),
                Route("/log", self.log),
                Route("/news", self.news),
                Route("/login", self.login, methods=["GET", "POST"]),
                Route("/logout", self.logout, methods=["POST"]),
                *assets(),
            ],
            exception_handlers={
                HTTPException: self._failed,
                sqlite3.Error: self._no_history,
                OnebreathError: self._refused,
            },
        )

    # What follows runs in threads of the server, as it reads from the disk; what is `async` runs in its loop.

    def overview(self, request: Request) -> Response:
        """Answer with what runs, waits and was done last, and with the worker's state."""
        books, memory = self.sources.snapshot(), measured()
        with reading(self.sources.history.path) as connection:
            found: dict[str, Any] = {
                "last": queries.scans(connection, "", "", 0)[:10],
                "outcomes": queries.outcomes(connection),
                "alarms": queries.alarms(connection),
                "latencies": queries.latencies(connection),
            }
        samples = self.sources.memory.samples
        return page(
            "overview",
            books=books,
            now_protocols=self.sources.protocols(),
            memory=memory,
            exports=self.sources.exports(),
            troubles=[*self.sources.troubles(), *self._own_troubles()],
            host=svg.spark([one.total - one.available for one in samples], memory.total),
            gpus=[
                svg.spark([gpu[1] for one in samples for gpu in one.gpus if gpu[0] == number], total)
                for number, _, total in memory.gpus
            ],
            latency=svg.spark(found["latencies"]),
            with_thumbnail=self._with_thumbnail(found["last"]),
            **found,
        )

    def _own_troubles(self) -> list[str]:
        history = self.sources.history
        found = [f"the history cannot be written: {history.trouble}"] if history.trouble else []
        if history.lost:
            found.append(f"{history.lost} entries of the history were lost")
        return found if history.works else [*found, "the thread that writes the history has ended"]

    def scans(self, request: Request) -> Response:
        """Answer with a list of scans that have ended."""
        asked = request.query_params
        protocol, outcome = asked.get("protocol", ""), asked.get("outcome", "")
        with reading(self.sources.history.path) as connection:
            rows = queries.scans(connection, protocol, outcome, _number(asked.get("before")))
            known = [one["protocol"] for one in queries.protocols(connection)]
            outcomes = queries.outcomes(connection)
        more = len(rows) > queries.PAGE
        rows = rows[: queries.PAGE]
        return page(
            "scans",
            rows=rows,
            before=rows[-1]["id"] if more else 0,
            protocol=protocol,
            outcome=outcome,
            protocols=known,
            outcomes=outcomes,
            with_thumbnail=self._with_thumbnail(rows),
        )

    def scan(self, request: Request) -> Response:
        """Answer with all that is known of one scan, running or ended."""
        identifier = request.path_params["scan"]
        books = self.sources.snapshot()
        now = next((one for one in [*books["running"], *books["waiting"]] if one["scan"] == identifier), None)
        with reading(self.sources.history.path) as connection:
            row, summary = queries.scan(connection, identifier)
            lines = queries.lines(connection, identifier, 0, 0)
        if row is None and now is None and not lines:
            raise HTTPException(404, "Nothing is known of this scan. It may be older than what the history keeps.")
        pictures = self.sources.pictures
        return page(
            "scan",
            scan=identifier,
            now=now,
            now_protocol=self.sources.protocols().get(identifier, ""),
            row=row,
            summary=summary,
            lines=lines[::-1],
            measures=MEASURES,
            has_thumbnail=pictures is not None and pictures.path(identifier, ".png") is not None,
            has_report=pictures is not None and pictures.path(identifier, ".h5") is not None,
            hours=pictures.hours if pictures is not None else 0,
        )

    def thumbnail(self, request: Request) -> Response:
        """Answer with a scan's small picture."""
        pictures = self.sources.pictures
        path = pictures.path(request.path_params["scan"], ".png") if pictures is not None else None
        if path is None:
            raise HTTPException(404, "There is no picture of this scan.")
        return FileResponse(path, media_type="image/png")

    async def report(self, request: Request) -> Response:
        """Answer with a scan's report, one made at a time."""
        pictures = self.sources.pictures
        if pictures is None:
            raise HTTPException(404, "No reports are made: the worker keeps no pictures (--web-pictures 0).")
        async with self._reports:
            path = await asyncio.to_thread(pictures.report, request.path_params["scan"])
        if path is None:
            raise HTTPException(404, f"The images of this scan are gone; they are kept {pictures.hours:g} h.")
        return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    def trends(self, request: Request) -> Response:
        """Answer with the charts of one protocol, or with the list of protocols."""
        protocol = request.query_params.get("protocol", "")
        with reading(self.sources.history.path) as connection:
            known = queries.protocols(connection)
            if not protocol and len(known) == 1:
                protocol = known[0]["protocol"]
            found = [queries.trend(connection, protocol, measure) for measure in MEASURES] if protocol else []
            alarms = queries.alarms(connection, protocol)
        charts = [
            {**one, "drawn": svg.trend(one["points"], one["chart"], one["alarmed"]), "progress": progress(one["chart"])}
            for one in found
        ]
        return page("trends", protocol=protocol, protocols=known, charts=charts, alarms=alarms, measures=MEASURES)

    async def close(self, request: Request) -> Response:
        """Close the alarms of a chart, or begin its baseline anew."""
        form = await read_form(request.receive)
        protocol, measure, anew = form.get("protocol", ""), form.get("measure", ""), form.get("what") == "anew"
        if measure not in MEASURES or not protocol:
            raise HTTPException(400, "This form names no chart.")
        history = self.sources.history
        history.put(lambda connection: close_alarms(connection, protocol, measure, anew=anew))
        await asyncio.to_thread(history.flush, 2.0)
        return RedirectResponse(f"/trends?protocol={in_address(protocol)}", 303)

    def log(self, request: Request) -> Response:
        """Answer with lines of the log."""
        asked = request.query_params
        scan, level = asked.get("scan", "").strip(), asked.get("level", "all")
        with reading(self.sources.history.path) as connection:
            lines = queries.lines(connection, scan, LEVELS.get(level, 0), _number(asked.get("before")))
        more = len(lines) > queries.LINES
        lines = lines[: queries.LINES]
        before = lines[-1]["id"] if more else 0
        return page("log", lines=lines, scan=scan, level=level, levels=LEVELS, before=before)

    async def news(self, request: Request) -> Response:
        """Tell a page whenever there may be something new, as long as it listens."""
        return self.listeners.stream()

    async def login(self, request: Request) -> Response:
        """Ask for the token, or take it."""
        assert self.door is not None
        if request.method == "GET":
            return page("login", wrong=False)
        form = await read_form(request.receive)
        if not self.door.is_token(form.get("token", "").strip()):
            return page("login", 403, wrong=True)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self.door.cookie, self.door.ticket(), LIVES, httponly=True, samesite="strict")
        return answer

    async def logout(self, request: Request) -> Response:
        """Take the cookie away."""
        assert self.door is not None
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self.door.cookie, httponly=True, samesite="strict")
        return answer

    def _with_thumbnail(self, rows: Sequence[Any]) -> set[str]:
        pictures = self.sources.pictures
        if pictures is None:
            return set()
        return {row["scan"] for row in rows if pictures.path(row["scan"], ".png") is not None}

    def _failed(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return page("failed", error.status_code, text=error.detail)

    def _no_history(self, request: Request, error: Exception) -> Response:
        text = f"The history cannot be read now ({error}). The worker goes on; the log of the worker tells more."
        return page("failed", 503, text=text)

    def _refused(self, request: Request, error: Exception) -> Response:
        return page("failed", 500, text=str(error))


def _number(text: str | None) -> int:
    """Return a number of an address; 0 for anything else, and for more than a database can hold."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0
