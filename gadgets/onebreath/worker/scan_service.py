"""Where a resident worker receives scans: it keeps the books, lets them wait, and looks after those that nobody wants.

A scan is entered in the scheduler's books, waits until it fits (its data meanwhile go to disk rather than to the memory
of the sender), runs, and leaves. A thread watches all of them for clients that have gone and for deadlines.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import tostring

from onebreath.budget import Budget, counted
from onebreath.chain.chain import build
from onebreath.chain.gadget import gadget_class
from onebreath.config.node_options import Priority, read_options
from onebreath.config.stream_config import OWN_MODULE, Connect, External, as_xml, own_node
from onebreath.diagnostics.reports import Busy, SpoolError
from onebreath.errors import ConfigError, ConnectionLost, ScanError
from onebreath.host.listener import settle
from onebreath.host.running import run_steps
from onebreath.keeping import Space
from onebreath.registry import GADGETS
from onebreath.shim_settings import STORAGE_OF_SCAN
from onebreath.wire.channel import Channel, ClientChannel
from onebreath.wire.connection import Connection, parse_config, parse_header, reporting
from onebreath.wire.messages import HeaderText
from onebreath.wire.xml_guard import fromstring
from onebreath.worker.joint import JointScans, is_whole, scan_key
from onebreath.worker.late import LateWork
from onebreath.worker.resume import RunNodes
from onebreath.worker.scheduler import Scheduler, Ticket, needed_bytes
from onebreath.worker.spool import Request, SpooledScan, scan_id
from onebreath.worker.spool_stream import SpoolStream
from onebreath.worker.watching import Watched, Watcher

log = logging.getLogger("onebreath.service")

LARGE = 64 << 20  # bytes that are worth a collection of garbage
LIGHT_HOLDS = 512 << 20  # bytes that a scan may hold which is not admitted
POLL = 0.05  # seconds between looks at whether a scan that waits may run

SpoolMode = Literal["auto", "always", "off"]


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
    space
        What the state folder may take; not given: whatever there is.
    """

    def __init__(
        self, scheduler: Scheduler, state: Path, spool: SpoolMode, run_nodes: RunNodes, space: Space | None = None
    ) -> None:
        self.scheduler, self.spool = scheduler, spool
        self.joint = JointScans(scheduler)
        self.observers: list[Callable[[Ticket], None]] = []
        """Called with the ticket of each scan that has ended, in the scan's thread."""
        self.late = LateWork(scheduler, state, run_nodes, self._ended, space)
        self._light = threading.Semaphore(max(scheduler.slots + scheduler.queue, 1))
        self.watcher = Watcher()

    def run(
        self,
        connection: Connection,
        target: str,
        side: str,
        scan: str = "",
        shim: socket.socket | None = None,
        origin: Hashable = None,
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
        origin
            Who started the node; see `joint.scan_key`.
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
            own = ticket.scan
            facts = {"served_by": f"worker {os.getpid()}", "scan": own, **options.asked_for}
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
                facts |= {"deliver": f"later: scan {own}", "quick_method": chosen.quick_method}
            texts, makes_images = connection.raw_bytes, "Image" in gadget_class(steps[-1][0]).emits
            nodes = as_xml([own_node(target, texts.config)]) if makes_images else ""
            request = Request(own, target, nodes, as_text(texts.header), STORAGE_OF_SCAN.get())
            key = None if side == "client" or is_whole(steps) else scan_key(side, origin, texts.header)
            with self.scan(ticket, connection.channel, request, later=later, shim=shim, key=key) as shared:
                images = run_steps(connection, steps, facts, shared.check)
                shared.count(images)
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
        key: Hashable | None = None,
    ) -> Iterator[Ticket]:
        """Wait until a scan may run, run the body on it, and keep the books; gives the ticket that is in them.

        `request` is what shall run on its data if they are reconstructed from the disk, `later` whether that is
        promised; the channel is over a `SpoolStream`, and the header was its last message read. Nodes of one `key`
        share a ticket; see `joint`.

        Raises
        ------
        Busy, SpoolError, OnebreathError
            If too many scans wait; if the disk does not take what is promised for later; if the scan was cancelled.
        """
        ticket = self._join(key, ticket)
        outcome = "failed"
        watched = Watched(request.scan, ticket, channel, shim)
        try:
            with self.watcher.looked_after(watched), self._counted(ticket):
                self._admit(watched, request, later)
                yield ticket
                ticket.check()
            outcome = "done"
            if later and watched.stream.lost is not None:
                raise watched.stream.lost
        except BaseException as error:
            if (told := watched.was_told()) is not None:
                outcome = "overdue"
                raise told from error
            outcome = "lost" if isinstance(error, ConnectionLost) else outcome
            raise
        finally:
            try:
                self._put_away(watched, outcome, later)
            except BaseException:
                outcome = "failed" if outcome == "done" else outcome
                raise
            finally:  # whatever else fails: who waits must get the place
                self._leave(key, ticket, outcome)
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
        watched = Watched(ticket.scan, ticket, channel, shim)
        try:
            with self.watcher.looked_after(watched), counted(Budget(lambda held: held <= LIGHT_HOLDS)):
                ticket.admitted.set()
                settle()
                yield
                ticket.check()
        except BaseException as error:
            if (told := watched.was_told()) is not None:
                raise told from error
            raise
        finally:
            self._light.release()
            watched.join_teller()

    @contextmanager
    def _counted(self, ticket: Ticket) -> Iterator[None]:
        """Count what the body holds against the scan's place in the books."""
        budget = Budget(partial(self.scheduler.allows, ticket))
        try:
            with counted(budget):
                yield
        finally:
            if budget.peak > LARGE:
                self.watcher.tidy_soon()

    def _join(self, key: Hashable | None, ticket: Ticket) -> Ticket:
        """Enter a node in the books; gives the ticket of its scan."""
        try:
            ticket = self.joint.join(key, ticket)
        except (Busy, ScanError):
            self._ended(ticket)
            raise
        settle()
        return ticket

    def _admit(self, watched: Watched, request: Request, later: bool) -> None:
        """Wait until a scan may run; its data go to disk where they shall."""
        ticket, stream = watched.ticket, watched.stream
        if later or (self.spool == "always" and request.nodes):
            watched.spooled = self._spool(stream, request, later, keep=True)
        while not ticket.ready:
            ticket.check()
            if stream.arrived(POLL):
                self.scheduler.ready(ticket)
        if watched.spooled is None and self.spool != "off" and not ticket.admitted.is_set():
            watched.spooled = self._spool(stream, request, later, keep=False)
        while not ticket.admitted.is_set():
            ticket.check()
            stream.absorb(POLL)

    def keeps(self, target: str, configuration: bytes) -> bool:
        """Whether the data of a node are kept on disk until its images are out."""
        try:
            steps = read_options(parse_config(configuration), target).steps
            return self.spool == "always" and "Image" in gadget_class(steps[-1][0]).emits
        except ConfigError:
            return False

    def close(self, patience: float) -> None:
        """End the threads; scans that still run end with their connections."""
        self.watcher.close(patience)
        self.late.close(patience)

    # --- raw data on disk

    def _spool(self, stream: SpoolStream, request: Request, later: bool, *, keep: bool) -> SpooledScan | None:
        """Begin to put the data of a scan on disk: to its end (`keep`), or while it waits."""
        if later and self.spool == "off":
            raise SpoolError('deliver="later" keeps raw data on disk, which is switched off here (--spool off)')
        spooled = None
        try:
            self.late.space.take(len(request.header) + len(request.nodes))
            spooled = SpooledScan.create(self.late.folder, request)
            stream.record(spooled.data, keep=keep, take=self.late.space.take)
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

    def _put_away(self, watched: Watched, outcome: str, later: bool) -> None:
        """Decide what becomes of data on disk when their scan has ended.

        Raises
        ------
        SpoolError
            If that was promised for later to a scan that is done, and the disk does not take it.
        """
        spooled = watched.spooled
        if spooled is None:
            return
        try:
            kept = self._kept(watched, spooled, outcome, later)
        except OSError as error:
            spooled.release(remove=True)
            self._say_failed(spooled.request.scan, later)
            log.error("the data of scan %s cannot be put away: %s", spooled.request.scan, error)
            if later and outcome == "done":
                raise SpoolError(f"the scan cannot be kept for later: {error.strerror or error}") from error
            return
        if not kept:
            spooled.release(remove=True)
            self._say_failed(spooled.request.scan, later)

    def _kept(self, watched: Watched, spooled: SpooledScan, outcome: str, later: bool) -> bool:
        """Hand the data on to those who make images later, if they shall; whether they did."""
        complete = watched.channel.complete and watched.stream.lost is None
        wanted = (later and complete) or (self.spool == "always" and outcome == "lost" and bool(spooled.request.nodes))
        if wanted and complete:
            spooled.finish(watched.stream.digest)
        if wanted:
            self.late.hand_in(spooled)
        return wanted

    def _say_failed(self, scan: str, later: bool) -> None:
        if not later:
            return
        try:
            self.late.results.update(scan, "failed", "its data did not come, or could not be kept, to their end")
        except (ScanError, OSError) as error:
            log.error("that scan %s failed cannot be noted: %s", scan, error)

    # --- leaving

    def _leave(self, key: Hashable | None, ticket: Ticket, outcome: str) -> None:
        try:
            if outcome != "done":
                _free_accelerator()
        except Exception:
            log.exception("the accelerator's memory was not given back")
        finally:
            if self.joint.leave(key, ticket, outcome):
                self._ended(ticket)

    def _ended(self, ticket: Ticket) -> None:
        log.info("scan %s: %s", ticket.scan, ticket.outcome)
        for observer in list(self.observers):
            try:
                observer(ticket)
            except Exception:
                log.exception("the end of scan %s was not counted", ticket.scan)


def _is_light(node: External) -> bool:
    action = node.action
    if isinstance(action, Connect) or action.module != OWN_MODULE or action.target not in GADGETS:
        return False
    return gadget_class(action.target).light


def as_text(header: bytes) -> str:
    """Return a header as text for a `Request`, whatever its encoding: the text names none, and is read as UTF-8."""
    octets = header.rstrip(b"\0")
    declared = octets.lstrip().partition(b"?>")[0] if octets.lstrip().startswith(b"<?xml") else b""
    other = b"encoding" in declared and not re.search(rb"encoding\s*=\s*[\"']utf-?8[\"']", declared, re.IGNORECASE)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        other = True
    return tostring(fromstring(header), encoding="unicode") if other else text


def _free_accelerator() -> None:
    """Give back what a failed scan left in torch's cache, so that it does not count as used for the next one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
