"""Serving the page beside a worker: a thread with a loop of its own, so that nobody who looks holds a scan up."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from onebreath.config.policy import is_own
from onebreath.diagnostics.events import listening
from onebreath.errors import OnebreathError
from onebreath.host.listener import open_port
from onebreath.keeping import Space
from onebreath.optional import required
from onebreath.threads import begin
from onebreath.web.history.entries import halve, prune
from onebreath.web.history.writer import History
from onebreath.web.memory import MemoryTrend
from onebreath.web.options import WebOptions
from onebreath.web.pictures import MOST_BYTES, Pictures
from onebreath.web.recorder import LogToHistory, Recorder, decisions_logged
from onebreath.worker.worker import Worker

if TYPE_CHECKING:
    from onebreath.web.pages import Pages

log = logging.getLogger("onebreath.web")

NEEDED = ("starlette", "uvicorn", "jinja2", "PIL")
ADDRESS = "127.0.0.1"
MOST_SCANS, MOST_LINES = 50_000, 300_000  # that the history keeps
OFTEN = 600.0  # seconds between looks at what is too old
BEGIN = 30.0  # seconds in which the server must be there
PATIENCE = 5.0  # seconds for the last entries to be written


class _Upkeep:
    """What is done regularly by the thread that writes: memory is measured, and what is too old is removed."""

    def __init__(self, options: WebOptions, memory: MemoryTrend, pictures: Pictures | None, worker: Worker) -> None:
        self._options, self._memory, self._pictures, self._worker = options, memory, pictures, worker
        self._pruned = -OFTEN
        self.recorder: Recorder | None = None

    def __call__(self) -> None:
        self._memory.look()
        if self.recorder is None:
            return
        books = self._worker.service.scheduler.snapshot()
        self.recorder.tidy({scan["scan"] for scan in [*books["running"], *books["waiting"]]})
        if time.monotonic() - self._pruned > OFTEN:
            self._pruned = time.monotonic()
            self.recorder.history.put(lambda connection: prune(connection, self._options.days, MOST_SCANS, MOST_LINES))
            if self._pictures is not None:
                self._pictures.prune()


class Web(NamedTuple):
    """What is served: the port, who writes, and the pages."""

    port: int
    history: History
    pages: Pages


@contextmanager
def serving_web(worker: Worker, options: WebOptions) -> Iterator[Web]:
    """Record the worker's scans, and serve the page while the body runs.

    Parameters
    ----------
    worker
        The worker.
    options
        How.

    Yields
    ------
    Web
        What is served.

    Raises
    ------
    OnebreathError
        If a package is missing, the port cannot be had, or the token cannot be used.
    """
    for name in NEEDED:
        required(name, "web", "The worker's page")
    from onebreath.web.access import Door, web_token
    from onebreath.web.pages import Pages, Sources

    folder = worker.options.state / "web"
    token, path = web_token(options.token_file, folder)
    sock = open_port(ADDRESS, options.port)
    served = sock.getsockname()[1]
    space = Space(worker.options.state, worker.options.quota, worker.options.reserve)
    most = min(MOST_BYTES, worker.options.quota // 10) if worker.options.quota else MOST_BYTES
    pictures = Pictures(folder / "pictures", options.hours, space.take, most) if options.hours else None
    memory = MemoryTrend()
    upkeep = _Upkeep(options, memory, pictures, worker)
    with ExitStack() as stack:
        stack.callback(sock.close)
        is_own(served)
        stack.callback(is_own, served, listens=False)
        history = History(folder / "history.sqlite", upkeep, halve)
        stack.callback(history.close, PATIENCE)
        upkeep.recorder = recorder = Recorder(history, pictures)
        history.put(lambda connection: None)  # makes the database
        history.flush(PATIENCE)
        stack.enter_context(listening(recorder.hear))
        stack.enter_context(decisions_logged(LogToHistory(recorder)))
        worker.service.observers.append(recorder.scan_ended)
        stack.callback(worker.service.observers.remove, recorder.scan_ended)
        books = worker.service.scheduler
        pages = Pages(
            Sources(books.snapshot, books.protocols, worker.troubles, worker.export_states, history, pictures, memory)
        )
        pages.door = Door(pages.app, token, served)
        stack.enter_context(_server(pages.door, sock))
        stack.callback(pages.listeners.end)
        print(f"web: http://{ADDRESS}:{served}/ (token in {path})", flush=True)
        yield Web(served, history, pages)


@contextmanager
def _server(door: object, sock: socket.socket) -> Iterator[None]:
    import uvicorn

    from onebreath.web.connections import BoundedConnection

    config = uvicorn.Config(
        door,  # type: ignore[arg-type]
        http=BoundedConnection,
        loop="asyncio",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=16 << 10,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # nobody's nonsense fills the log
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([sock],), name="onebreath-web", daemon=True)
    begin(thread)
    ends = time.monotonic() + BEGIN
    while not server.started:
        if not thread.is_alive() or time.monotonic() > ends:
            raise OnebreathError("the worker's page could not be served; the log tells why")
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(BEGIN)
