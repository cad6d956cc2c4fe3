"""The worker's scan service: registers and queues scans, and ends abandoned ones.

A scan is entered in the scheduler's books, waits until it fits (its data meanwhile go to disk rather than to the memory
of the sender), runs, and leaves. A thread watches all of them for clients that have gone and for deadlines.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from onebreath.budget import Budget, counted
from onebreath.chain.chain import build
from onebreath.chain.gadget import gadget_class
from onebreath.config.node_options import Priority, read_options
from onebreath.config.stream_config import Connect, External, as_xml, own_node
from onebreath.diagnostics.reports import Busy
from onebreath.errors import ConnectionLost, ScanError
from onebreath.host.listener import settle
from onebreath.host.running import run_steps
from onebreath.keeping import Space
from onebreath.shim_settings import STORAGE_OF_SCAN
from onebreath.wire.channel import Channel
from onebreath.wire.client_channel import ClientChannel
from onebreath.wire.connection import Connection, parse_header, reporting
from onebreath.wire.messages import HeaderText
from onebreath.worker.fairness import sender_of
from onebreath.worker.joint import JointScans, is_light, is_whole, scan_key
from onebreath.worker.late import LateWork
from onebreath.worker.light import LightScans
from onebreath.worker.raw_data import RawData, SpoolMode
from onebreath.worker.scheduler import Scheduler
from onebreath.worker.spooling.resume import RunNodes
from onebreath.worker.spooling.spool import Request, scan_id
from onebreath.worker.ticket import Ticket, needed_bytes, protocol_of
from onebreath.worker.watching import Watched, Watcher, free_accelerator

log = logging.getLogger("onebreath.service")

LARGE, LIGHT_HOLDS = 64 << 20, 512 << 20  # bytes worth a collection of garbage; that a scan holds without admission
POLL = 0.05  # seconds between looks at whether a scan that waits may run


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
    idle
        Seconds that a scan must have waited for its client, for the most part, to give its slot to others; 0: never.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        state: Path,
        spool: SpoolMode,
        run_nodes: RunNodes,
        space: Space | None = None,
        idle: float = 0.0,
    ) -> None:
        self.scheduler = scheduler
        self.joint = JointScans(scheduler)
        self.observers: list[Callable[[Ticket], None]] = []
        """Called with the ticket of each scan that has ended, in the scan's thread."""
        self.late = LateWork(scheduler, state, run_nodes, self._ended, space)
        self.raw = RawData(self.late, spool)
        self._light = LightScans(max(scheduler.slots + scheduler.queue, 1))
        self.watcher = Watcher(scheduler.rest, idle)

    def run(
        self,
        connection: Connection,
        target: str,
        side: str,
        scan: str = "",
        shim: socket.socket | None = None,
        origin: Hashable = None,
    ) -> None:
        """Run one of this package's nodes on a connection whose CONFIG and HEADER have been read.

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
            ticket.sender, ticket.protocol = sender_of(side, connection.header), protocol_of(connection.header)
            facts = {"served_by": f"worker {os.getpid()}", "scan": ticket.scan, **options.asked_for}
            if chosen.priority == "live" and ticket.priority != Priority.LIVE:
                facts["priority"] = "replay; only scans that come through Gadgetron may be live"
            if all(gadget_class(name).light for name, _ in options.steps):
                with self.light(ticket, connection.channel, shim):
                    ticket.images = run_steps(connection, options.steps, facts, ticket.check)
                    connection.drain()
                return
            steps = options.steps
            if later := chosen.deliver == "later":
                build(connection.header, steps)  # what is wrong with the later series is said before any data flow
                steps = options.quick()
                quick = next(pairs["method"] for name, pairs in steps if name == "reconstruct")
                facts |= {"deliver": f"later: scan {ticket.scan}", "quick_method": quick}
            texts = connection.raw_bytes
            nodes = as_xml([own_node(target, texts.config)]) if "Image" in gadget_class(steps[-1][0]).emits else ""
            request = Request.made(ticket.scan, target, nodes, texts.header, STORAGE_OF_SCAN.get())
            apart = side == "client" or is_whole(steps)
            key = None if apart else scan_key(side, origin or ticket.sender.address, texts.header)
            with self.scan(ticket, connection.channel, request, later=later, shim=shim, key=key) as shared:
                facts |= self.raw.broken_promise(connection.channel.stream, later)
                images = run_steps(connection, steps, facts, shared.check)
                shared.count(images)
                connection.drain()

    @contextmanager
    def client_scan(
        self, title: str, nodes: Sequence[External], header: HeaderText, client: ClientChannel
    ) -> Iterator[None]:
        """Wait until a client's scan may run, and run the body on it; see `scan`.

        A retrieval must not keep the slot that its images need. Nor a scan that other services run: the service may be
        this process, which admits the scan there; admitted twice, it could wait for itself.
        """
        parsed = parse_header(header)
        ticket = Ticket(scan_id(), title, "client", Priority.REPLAY, needed_bytes(parsed))
        ticket.sender, ticket.protocol = sender_of("client", parsed), protocol_of(parsed)
        if all(is_light(node) for node in nodes) or any(isinstance(node.action, Connect) for node in nodes):
            with self.light(ticket, client):
                yield
            return
        with self.scan(ticket, client, Request.made(ticket.scan, title, as_xml(nodes), header)):
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
        """Wait until a scan may run, run the body on it, and record it; yields its ticket.

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
            if (told := watched.already_informed()) is not None:
                outcome = "overdue"
                raise told from error
            outcome = "lost" if isinstance(error, ConnectionLost) else outcome
            raise
        finally:
            try:
                self.raw.put_away(watched, outcome, later)
            except BaseException:
                outcome = "failed" if outcome == "done" else outcome
                raise
            finally:  # whatever else fails: who waits must get the slot
                self._leave(key, ticket, outcome)
                watched.join_teller()

    @contextmanager
    def light(self, ticket: Ticket, channel: Channel, shim: socket.socket | None = None) -> Iterator[None]:
        """Run the body on a scan without admission; it is supervised like others, but not recorded.

        Raises
        ------
        Busy
            If as many run already as scans may run and wait.
        """
        watched = Watched(ticket.scan, ticket, channel, shim)
        budget = Budget(lambda held: held <= LIGHT_HOLDS)
        try:
            with self._light.slot(ticket), self.watcher.looked_after(watched), counted(budget):
                ticket.admitted.set()
                settle()
                yield
                ticket.check()
        except BaseException as error:
            if (told := watched.already_informed()) is not None:
                raise told from error
            raise
        finally:
            watched.join_teller()

    @contextmanager
    def _counted(self, ticket: Ticket) -> Iterator[None]:
        """Count what the body holds against the memory that the scan was admitted with."""
        budget = Budget(partial(self.scheduler.allows, ticket))
        try:
            with counted(budget):
                yield
        finally:
            self.watcher.tidy(large=budget.peak > LARGE)

    def _join(self, key: Hashable | None, ticket: Ticket) -> Ticket:
        """Register a node; return the ticket of its scan."""
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
        if later or (self.raw.mode == "always" and request.nodes):
            watched.spooled = self.raw.spool(stream, request, later, keep=True)
        while not ticket.ready:
            ticket.check()
            if stream.arrived(POLL):
                self.scheduler.ready(ticket)
        if watched.spooled is None and self.raw.mode != "off" and not ticket.admitted.is_set():
            watched.spooled = self.raw.spool(stream, request, later, keep=False)
        while not ticket.admitted.is_set():
            ticket.check()
            stream.absorb(POLL)

    def close(self, patience: float) -> None:
        """End the threads; scans that still run end with their connections."""
        self.watcher.close(patience)
        self.late.close(patience)

    def _leave(self, key: Hashable | None, ticket: Ticket, outcome: str) -> None:
        try:
            if outcome != "done":
                free_accelerator()
        except Exception:
            log.exception("the accelerator's memory was not given back")
        finally:
            if self.joint.leave(key, ticket, outcome):
                self._ended(ticket)

    def _ended(self, ticket: Ticket) -> None:
        logging.getLogger("onebreath.scans").info("%s", ticket.summary())  # see `logs.SCANS`
        for observer in list(self.observers):
            try:
                observer(ticket)
            except Exception:
                log.exception("the end of scan %s was not counted", ticket.scan)
