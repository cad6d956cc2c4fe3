"""A worker in this process with its page, and somebody who asks for pages."""

import http.client
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.host.workers import worker


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass
class Page:
    """The page of a worker: where it is, and the token that it asks for."""

    worker: Any
    web: Any
    folder: Path

    @property
    def port(self) -> int:
        return self.web.port

    @property
    def token(self) -> str:
        return (self.folder / "state/web/token").read_text().strip()

    @property
    def database(self) -> Path:
        return self.folder / "state/web/history.sqlite"

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> Answer:
        """Ask with exactly these headers besides Host."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body or None, given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """Ask as somebody who knows the token."""
        return self.ask(path, Authorization=f"Bearer {self.token}", Accept="text/html")

    def rows(self, query: str) -> list[tuple]:
        connection = sqlite3.connect(self.database)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def written(self) -> bool:
        """Wait until what is known has been written down; whether it was."""
        return bool(self.web.history.flush(60))


@contextmanager
def served(folder: Path, *, hours: float = 48.0, before: Any = None, **options: Any) -> Iterator[Page]:
    """A worker with its page; `before` is called with the database's path when the worker has not begun."""
    pytest.importorskip("starlette", reason="the page needs starlette: pip install 'onebreath[web]'")
    pytest.importorskip("uvicorn", reason="the page needs uvicorn: pip install 'onebreath[web]'")
    from onebreath.web import serving
    from onebreath.web.options import WebOptions

    if before is not None:
        before(folder / "state/web/history.sqlite")
    with worker(folder, **options) as running, serving.serving_web(running, WebOptions(0, hours=hours)) as web:
        yield Page(running, web, folder)
