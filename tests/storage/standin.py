"""A stand-in for an MRD storage server: what was observed of the real one, and its failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest


class StandIn(ThreadingHTTPServer):
    """Keeps blobs in memory; `fails_with` makes it answer with a status, `requests` are all it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: list[tuple[dict[str, str], bytes]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.fails_with = 0
        self.silent = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path, tags = self._request("GET")
        if path == "/healthcheck":
            self._answer(200)
        elif path == "/v1/blobs/data/latest" and "subject" in tags:
            found = [data for stored, data in self.server.blobs if tags.items() <= stored.items()]
            self._answer(200, found[-1]) if found else self._answer(404, b"not found")
        else:
            self._answer(400)

    def do_POST(self) -> None:
        path, tags = self._request("POST")
        content = self._body()
        if path == "/v1/blobs/data" and "subject" in tags:
            self.server.blobs.append((tags, content))
            kept = {name: text for name, text in tags.items() if not name.startswith("_")}
            where = f"{self.server.url}/v1/blobs/{len(self.server.blobs)}"
            facts = {**kept, "location": where, "data": f"{where}/data", "lastModified": "2026-01-01T00:00:00Z"}
            self._answer(201, json.dumps(facts).encode())
        else:
            self._answer(400)

    def _body(self) -> bytes:
        """What was posted; Gadgetron's own client sends it in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def _request(self, method: str) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        tags = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        self.server.requests.append((method, parts.path, tags))
        return parts.path, tags

    def _answer(self, status: int, content: bytes = b"") -> None:
        if self.server.silent.is_set():
            self.server.silent.wait(0)
            threading.Event().wait(1)
            self.close_connection = True
            return
        status = self.server.fails_with or status
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def storage_server() -> Iterator[StandIn]:
    """Run a stand-in."""
    with StandIn() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)


@contextmanager
def chosen_store(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn | None]:
    """Make scans use a folder, or a stand-in named as Gadgetron does."""
    if kind == "folder":
        monkeypatch.setenv("ONEBREATH_STORAGE", str(folder))
        yield None
        return
    with storage_server() as server:
        monkeypatch.delenv("ONEBREATH_STORAGE")
        monkeypatch.setenv("GADGETRON_STORAGE_ADDRESS", server.url)
        yield server
