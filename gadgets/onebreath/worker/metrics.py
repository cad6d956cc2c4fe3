"""Metrics of a resident worker, as text that Prometheus reads."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onebreath import __version__
from onebreath.config.policy import is_own
from onebreath.diagnostics.events import listening
from onebreath.errors import OnebreathError

log = logging.getLogger("onebreath.metrics")

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
"""Upper ends of the buckets of latencies."""
AT_ONCE = 8  # questions that are answered at once; whoever comes beyond that is sent away
QUESTION = 5.0  # seconds for a question to come
KINDS = 100  # values that a label may take; more come together as "other", for memory is finite


class Metrics:
    """The worker's metrics; listens to `onebreath.diagnostics.events` and to the ends of scans.

    Parameters
    ----------
    snapshot
        Gives the scheduler's books: lists `running` and `waiting`, numbers `reserved_mb` and `memory_mb`.
    valid
        See `onebreath.worker.secure.Security`.
    exports
        Gives the states of those who send images on; see `onebreath.worker.worker.Sends`.
    """

    def __init__(
        self,
        snapshot: Callable[[], Mapping[str, Any]],
        valid: tuple[float, float] | None = None,
        exports: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
    ) -> None:
        registry = self.registry = CollectorRegistry()
        self._scans = Counter("onebreath_scans", "Scans that have ended", ["side", "outcome"], registry=registry)
        self._images = Counter("onebreath_images", "Messages sent back: images, mostly", registry=registry)
        self._errors = Counter("onebreath_errors", "Errors that were reported to a host", ["kind"], registry=registry)
        self._rejected = Counter(
            "onebreath_rejected_configurations", "Configurations that were refused", registry=registry
        )
        self._fallbacks = Counter(
            "onebreath_fallbacks", "Slices made by the fallback instead of the wanted method", registry=registry
        )
        self._refused = Counter(
            "onebreath_refused_connections", "Connections above the rates", ["how"], registry=registry
        )
        self._alarms = Counter(
            "onebreath_trend_alarms", "Alarms of control charts", ["measure", "kind"], registry=registry
        )
        self._whole = Histogram(
            "onebreath_scan_seconds", "From a scan's start to its end", ["side"], buckets=SECONDS, registry=registry
        )
        self._gadget = Histogram(
            "onebreath_gadget_seconds", "Work of a gadget on a scan", ["gadget"], buckets=SECONDS, registry=registry
        )
        registry.register(_Now(snapshot, exports))
        if valid is not None:
            ends = Gauge(
                "onebreath_certificate_expiry_timestamp_seconds", "End of the TLS certificate", registry=registry
            )
            ends.set(valid[1])
        self._kinds: set[str] = set()

    def hear(self, event: str, facts: dict[str, Any]) -> None:
        """Count an event of `onebreath.diagnostics.events`."""
        if event == "gadget":
            self._gadget.labels(facts["gadget"]).observe(facts["seconds"])
        elif event == "error":
            self._errors.labels(self._bounded(facts["kind"])).inc()
            self._rejected.inc(bool(facts.get("rejected")))
        elif event == "refused":
            self._refused.labels("told" if facts["told"] else "closed").inc()
        elif event == "alarm":
            self._alarms.labels(facts["measure"], facts["kind"]).inc()
        elif event == "note" and facts["gadget"] == "reconstruct" and facts["facts"].get("fallback"):
            self._fallbacks.inc()

    def scan_ended(self, ticket: Any) -> None:
        """Count a scan by its ticket; see `onebreath.worker.scheduler.Ticket`."""
        self._scans.labels(ticket.side, ticket.outcome).inc()
        self._images.inc(ticket.images)
        if ticket.started is not None and ticket.ended is not None:
            self._whole.labels(ticket.side).observe(max(0.0, ticket.ended - ticket.started))

    def _bounded(self, kind: str) -> str:
        if len(self._kinds) < KINDS:
            self._kinds.add(kind)
        return kind if kind in self._kinds else "other"


class _Now(Collector):
    """Current values, determined when they are asked for."""

    def __init__(
        self, snapshot: Callable[[], Mapping[str, Any]], exports: Callable[[], Sequence[Mapping[str, Any]]]
    ) -> None:
        self.snapshot, self.exports = snapshot, exports

    def collect(self) -> Iterator[Metric]:
        books = self.snapshot()
        yield GaugeMetricFamily("onebreath_running_scans", "Scans at work", len(books["running"]))
        yield GaugeMetricFamily("onebreath_waiting_scans", "Scans in the queue", len(books["waiting"]))
        reserved = GaugeMetricFamily("onebreath_reserved_bytes", "Memory that running scans are thought to need")
        reserved.add_metric([], books["reserved_mb"] * 1e6)
        yield reserved
        gpu = GaugeMetricFamily("onebreath_gpu_memory_bytes", "Memory of a GPU", labels=["gpu", "state"])
        for number, free, total, mine in gpu_memory():
            for state, value in (("free", free), ("total", total), ("worker", mine)):
                gpu.add_metric([str(number), state], value)
        yield gpu
        yield from _sent(self.exports())
        version = GaugeMetricFamily("onebreath_info", "Version of the worker", labels=["version"])
        version.add_metric([__version__], 1)
        yield version


def _sent(exports: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
    """Give what the states of those who send images on say; nothing where nobody does."""
    for family, name, key, what in (
        (GaugeMetricFamily, "onebreath_pacs_waiting_instances", "waiting", "Instances that wait for a PACS"),
        (GaugeMetricFamily, "onebreath_pacs_waiting_scans", "scans", "Scans of which no instances are made yet"),
        (CounterMetricFamily, "onebreath_pacs_sent_instances", "sent", "Instances that a PACS has taken"),
        (CounterMetricFamily, "onebreath_pacs_refused_instances", "refused", "Instances that a PACS has refused"),
        (CounterMetricFamily, "onebreath_pacs_failed_scans", "failed", "Scans of which no instances could be made"),
        (CounterMetricFamily, "onebreath_pacs_lost_scans", "lost", "Scans whose images could not be kept for a PACS"),
    ):
        if exports:
            made = family(name, what, labels=["pacs"])
            for export in exports:
                made.add_metric([export["pacs"]], export[key])
            yield made
    if exports:
        well = GaugeMetricFamily("onebreath_pacs_problem", "1 if something is wrong with sending", labels=["pacs"])
        for export in exports:
            well.add_metric([export["pacs"]], int(bool(export["problem"])))
        yield well


def gpu_memory() -> Iterator[tuple[int, int, int, int]]:
    """Give number, free, total and own bytes of the GPUs that torch uses in this process; none if it uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    for number in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(number)
        yield number, free, total, torch.cuda.memory_reserved(number)


class _Server(ThreadingMixIn, WSGIServer):
    """Answers requests in at most `AT_ONCE` threads."""

    daemon_threads = True

    def __init__(self, *args: Any, **more: Any) -> None:
        self._room = threading.Semaphore(AT_ONCE)
        super().__init__(*args, **more)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except BaseException:
                self._room.release()
                raise
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    """Waits at most `QUESTION` for a request, and logs none."""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(QUESTION)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug("metrics: %s", format % args)


def _family(host: str) -> type[WSGIServer]:
    return _Server6 if ":" in host else _Server


def _pages(metrics: Metrics, troubles: Callable[[], Sequence[str]]) -> Callable[..., Iterable[bytes]]:
    """Return the WSGI application that knows two paths."""
    numbers = make_wsgi_app(metrics.registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return numbers(environ, start_response)
        if path != "/healthz":
            status, text = "404 Not Found", "there are /metrics and /healthz"
        elif found := "\n".join(troubles()):
            status, text = "503 Service Unavailable", found
        else:
            status, text = "200 OK", "ok"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
        return [f"{text}\n".encode()]

    return answer


@contextmanager
def serving_metrics(
    metrics: Metrics, port: int, host: str = "127.0.0.1", troubles: Callable[[], Sequence[str]] = tuple
) -> Iterator[int]:
    """Count, and answer ``GET /metrics`` and ``GET /healthz`` on a port, while the body runs; other paths are unknown.

    Parameters
    ----------
    metrics
        What is counted.
    port
        0: any free one.
    host
        Address to listen on.
    troubles
        Says what is wrong with the worker; ``/healthz`` answers 200 if nothing is, else 503 with these lines.

    Yields
    ------
    int
        The port.

    Raises
    ------
    OnebreathError
        If the port cannot be had.
    """
    try:
        server = make_server(host, port, _pages(metrics, troubles), _family(host), _Handler)
    except OSError as error:
        raise OnebreathError(f"metrics cannot be served on {host}:{port}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name="onebreath-metrics", daemon=True)
    thread.start()
    try:
        with listening(metrics.hear):
            log.info("metrics on http://%s:%d/metrics", host, server.server_port)
            is_own(server.server_port)
            yield server.server_port
    finally:
        is_own(server.server_port, listens=False)
        server.shutdown()
        server.server_close()
        thread.join()
