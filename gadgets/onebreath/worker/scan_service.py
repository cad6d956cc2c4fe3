"""Where a resident worker receives scans: it keeps the books, lets them wait, and looks after those that nobody wants.

A scan is entered in the scheduler's books, waits until it fits (its data meanwhile go to disk rather than to the memory
of the sender), runs, and leaves. A thread watches all of them for clients that have gone and for deadlines.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onebreath.cancellation import ended_by
from onebreath.chain.chain import build
from onebreath.chain.gadget import gadget_class
from onebreath.config.node_options import Priority, read_options
from onebreath.config.stream_config import OWN_MODULE, Connect, External, as_xml, own_node
from onebreath.diagnostics.logs import SCAN
from onebreath.diagnostics.reports import Busy, Overdue, SpoolError, report
from onebreath.errors import ConnectionLost
from onebreath.host.listener import settle
from onebreath.host.running import run_steps
from onebreath.registry import GADGETS
from onebreath.storage.choice import OF_SCAN
from onebreath.wire.channel import Channel, ClientChannel
from onebreath.wire.connection import Connection, parse_header, reporting
from onebreath.wire.messages import HeaderText
from onebreath.worker.late import LateWork
from onebreath.worker.resume import RunNodes
from onebreath.worker.scheduler import Scheduler, Ticket, needed_bytes
from onebreath.worker.spool import Request, SpooledScan, SpoolStream, scan_id

log = logging.getLogger("onebreath.service")

POLL = 0.05  # seconds between looks at whether a scan that waits may run
WATCH = 0.25  # seconds between looks at all scans

SpoolMode = Literal["auto", "always", "off"]


@dataclass
class _Watched:
    """A scan that is looked after: its connection, that of the process which handed it over, its data on disk, and who
    tells its end.
    """

    ticket: Ticket
    channel: Channel
    shim: socket.socket | None
    spooled: SpooledScan | None = None
    teller: threading.Thread | None = None

    @property
    def stream(self) -> SpoolStream:
        """What the channel is over."""
        stream = self.channel.stream
        assert isinstance(stream, SpoolStream)
        return stream

    def join_teller(self) -> None:
        """Wait until the other side was told; a Gadgetron server listens when its data are through."""
        if self.teller is not None:
            self.teller.join()


class ScanService:
    """See the module.

    Parameters
    ----------
    scheduler
        Who runs and who waits.
    state
        Folder for raw data and results.
    spool
        ``always``: all raw data are kept on disk until their images are out; ``auto``: those of scans that wait, and of
        series that are made later; ``off``: none, and nothing is delivered later.
    run_nodes
        Runs a configuration's nodes on a client's connection, for scans that lie on disk.
    """

    def __init__(self, scheduler: Scheduler, state: Path, spool: SpoolMode, run_nodes: RunNodes) -> None:
        self.scheduler, self.spool = scheduler, spool
        self.observers: list[Callable[[Ticket], None]] = []
        """Called with the ticket of each scan that has ended, in the scan's thread."""
        self.late = LateWork(scheduler, state, run_nodes, self._ended)
        self._watched: dict[str, _Watched] = {}
        self._light = threading.Semaphore(max(scheduler.slots + scheduler.queue, 1))
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="onebreath-watch", daemon=True)
        self._watcher.start()

    def run(
        self, connection: Connection, target: str, side: str, scan: str = "", shim: socket.socket | None = None
    ) -> None:
        """Run one of our nodes on a connection whose CONFIG and HEADER have been read.

        Whatever goes wrong is reported to the other side.

        Parameters
        ----------
        connection
            Over a `SpoolStream`.
        target
            ``chain``, or the name of the only gadget.
        side
            Where the scan came from: ``client``, ``connect`` or ``execute``.
        scan
            Identifier, if it was given one already.
        shim
            Connection to the process that handed the scan over.
        """
        with reporting(connection, target):
            options = read_options(connection.config, target)
            chosen = options.properties
            ticket = Ticket(
                scan or scan_id(),
                target,
                side,
                options.priority(live=side != "client"),
                needed_bytes(connection.header),
                chosen.deadline_s,
            )
            facts = {"served_by": f"worker {os.getpid()}", "scan": ticket.scan, **options.asked_for}
            if chosen.priority == "live" and ticket.priority != Priority.LIVE:
                facts["priority"] = "replay; only scans that come through Gadgetron may be live"
            if all(gadget_class(name).light for name, _ in options.steps):
                with self.light(ticket, connection.channel, shim):
                    ticket.images = run_steps(connection, options.steps, facts, ticket.check)
                    connection.drain()
                return
            steps, later = options.steps, chosen.deliver == "later"
            if later:
                build(connection.header, steps)  # what is wrong with the later series is said before any data flow
                steps = options.quick()
                facts |= {"deliver": f"later: scan {ticket.scan}", "quick_method": chosen.quick_method}
            node = own_node(target, connection.raw_bytes.config)
            header = as_text(connection.raw_bytes.header)
            request = Request(ticket.scan, target, as_xml([node]), header, OF_SCAN.get())
            with self.scan(ticket, connection.channel, request, later=later, shim=shim):
                ticket.images = run_steps(connection, steps, facts, ticket.check)
                connection.drain()

    @contextmanager
    def client_scan(
        self, title: str, nodes: Sequence[External], header: HeaderText, client: ClientChannel
    ) -> Iterator[None]:
        """Wait until a client's scan may run, and run the body on it; see `scan`.

        A retrieval must not keep the place that its images need. Nor a scan that other services run: the service may be
        this process, which admits the scan there; admitted twice, it could wait for itself.
        """
        ticket = Ticket(scan_id(), title, "client", Priority.REPLAY, needed_bytes(parse_header(header)))
        if all(_is_light(node) for node in nodes) or any(isinstance(node.action, Connect) for node in nodes):
            with self.light(ticket, client):
                yield
            return
        with self.scan(ticket, client, Request(ticket.scan, title, as_xml(nodes), as_text(header))):
            yield

    @contextmanager
    def scan(
        self,
        ticket: Ticket,
        channel: Channel,
        request: Request,
        *,
        later: bool = False,
        shim: socket.socket | None = None,
    ) -> Iterator[None]:
        """Wait until a scan may run, run the body on it, and keep the books.

        `request` is what shall run on its data if they are reconstructed from the disk, `later` whether that is
        promised; the channel is over a `SpoolStream`, and the header was its last message read.

        Raises
        ------
        Busy, SpoolError, OnebreathError
            If too many scans wait; if the disk does not take what is promised for later; if the scan was cancelled.
        """
        outcome = "failed"
        watched = _Watched(ticket, channel, shim)
        try:
            with self._looked_after(watched):
                self._admit(watched, request, later)
                yield
                ticket.check()
            outcome = "done"
            if later and watched.stream.lost is not None:
                raise watched.stream.lost
        except BaseException as error:
            if watched.teller is not None and ticket.cancelled is not None:
                outcome = "overdue"
                raise ticket.cancelled from error
            outcome = "lost" if isinstance(error, ConnectionLost) else outcome
            raise
        finally:
            try:
                self._put_away(watched, outcome, later)
            except BaseException:
                outcome = "failed" if outcome == "done" else outcome
                raise
            finally:  # whatever else fails: who waits must get the place
                self._leave(ticket, outcome)
                watched.join_teller()

    @contextmanager
    def light(self, ticket: Ticket, channel: Channel, shim: socket.socket | None = None) -> Iterator[None]:
        """Run the body on a scan that needs no admission; it is looked after like others, and not in the books.

        Raises
        ------
        Busy
            If as many run already as scans may run and wait.
        """
        if not self._light.acquire(blocking=False):
            raise Busy("as many light scans run already as may")
        watched = _Watched(ticket, channel, shim)
        try:
            with self._looked_after(watched):
                ticket.admitted.set()
                settle()
                yield
                ticket.check()
        except BaseException as error:
            if watched.teller is not None and ticket.cancelled is not None:
                raise ticket.cancelled from error
            raise
        finally:
            self._light.release()
            watched.join_teller()

    @contextmanager
    def _looked_after(self, watched: _Watched) -> Iterator[None]:
        """Let the watcher look after a scan, and its end reach all that work on it."""
        SCAN.set(watched.ticket.scan)
        self._watched[watched.ticket.scan] = watched
        try:
            with ended_by(watched.ticket.check):
                yield
        finally:
            settle(False)  # what is left is to read on to the end; who comes anew goes before that
            self._watched.pop(watched.ticket.scan, None)

    def _admit(self, watched: _Watched, request: Request, later: bool) -> None:
        """Enter a scan in the books and wait until it may run; its data go to disk where they shall."""
        ticket, stream = watched.ticket, watched.stream
        if later or self.spool == "always":
            watched.spooled = self._spool(stream, request, later, keep=True)
        self.scheduler.enter(ticket)
        settle()
        if watched.spooled is None and self.spool == "auto" and not ticket.admitted.is_set():
            watched.spooled = self._spool(stream, request, later, keep=False)
        while not ticket.admitted.is_set():
            ticket.check()
            stream.absorb(POLL)

    def close(self, patience: float) -> None:
        """End the threads; scans that still run end with their connections."""
        self._closing.set()
        self._watcher.join(patience)
        self.late.close(patience)

    # --- raw data on disk

    def _spool(self, stream: SpoolStream, request: Request, later: bool, *, keep: bool) -> SpooledScan | None:
        """Begin to put the data of a scan on disk: to its end (`keep`), or while it waits."""
        if later and self.spool == "off":
            raise SpoolError('deliver="later" keeps raw data on disk, which is switched off here (--spool off)')
        spooled = None
        try:
            spooled = SpooledScan.create(self.late.folder, request)
            stream.record(spooled.data, keep=keep)
            if later:
                self.late.promise(request)
            return spooled
        except (SpoolError, OSError) as error:
            if spooled is not None:
                stream.stop_recording()
                spooled.release(remove=True)
            if later:
                raise SpoolError(f"the scan cannot be kept for later: {error}") from error
            log.warning("scan %s is not put on disk: %s", request.scan, error)
            return None

    def _put_away(self, watched: _Watched, outcome: str, later: bool) -> None:
        """Decide what becomes of data on disk when their scan has ended."""
        spooled = watched.spooled
        if spooled is None:
            return
        complete = watched.channel.complete and watched.stream.lost is None
        if complete:
            spooled.finish()
        if (later and complete) or (self.spool == "always" and outcome == "lost"):
            self.late.hand_in(spooled)
            return
        spooled.release(remove=True)
        if later:
            scan = watched.ticket.scan
            self.late.results.update(scan, "failed", "its data did not come, or could not be kept, to their end")

    # --- looking after scans

    def _leave(self, ticket: Ticket, outcome: str) -> None:
        try:
            if outcome != "done":
                _free_accelerator()
        except Exception:
            log.exception("the accelerator's memory was not given back")
        finally:
            self.scheduler.leave(ticket, outcome)
            self._ended(ticket)

    def _ended(self, ticket: Ticket) -> None:
        log.info("scan %s: %s", ticket.scan, ticket.outcome)
        for observer in list(self.observers):
            try:
                observer(ticket)
            except Exception:
                log.exception("the end of scan %s was not counted", ticket.scan)

    def _watch(self) -> None:
        while not self._closing.wait(WATCH):
            for watched in list(self._watched.values()):
                try:
                    self._look_after(watched)
                except Exception:
                    log.exception("scan %s cannot be looked after", watched.ticket.scan)

    def _look_after(self, watched: _Watched) -> None:
        ticket = watched.ticket
        if ticket.cancelled is not None:
            return
        if gone(watched.channel.stream) or (watched.shim is not None and _hung_up(watched.shim)):
            ticket.cancel(ConnectionLost("the other side has gone"))
            watched.channel.stream.abort()
        elif ticket.overdue:
            self._end_overdue(watched)

    def _end_overdue(self, watched: _Watched) -> None:
        ticket = watched.ticket
        error = Overdue(f"scan {ticket.scan} was not ready within {ticket.deadline:g} s")
        if not ticket.admitted.is_set():
            ticket.cancel(error)  # its own thread tells
            return
        text = report(error, ticket.title)
        watched.teller = threading.Thread(
            target=watched.channel.fail, args=(text,), name="onebreath-overdue", daemon=True
        )
        watched.teller.start()
        ticket.cancel(ConnectionLost("its time was over, and the other side was told"))


def _is_light(node: External) -> bool:
    action = node.action
    if isinstance(action, Connect) or action.module != OWN_MODULE or action.target not in GADGETS:
        return False
    return gadget_class(action.target).light


def gone(stream: Any) -> bool:
    """Whether the peer of a stream has closed or reset it; one that only sends no more is still there."""
    return not stream.closed and _hung_up(stream.socket) and not stream.closed


def _hung_up(sock: socket.socket) -> bool:
    if sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(0))


def as_text(header: bytes) -> str:
    """Return a header as text for a `Request`."""
    return header.rstrip(b"\0").decode("utf-8", "replace")


def _free_accelerator() -> None:
    """Give back what a failed scan left in torch's cache, so that it does not count as used for the next one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
