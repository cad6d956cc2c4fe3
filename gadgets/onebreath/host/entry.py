"""Targets of external nodes: what ``<execute name="onebreath.host.entry" target="chain" type="python"/>`` starts.

``chain`` runs all gadgets of its ``<configuration>`` in one process; each gadget is also a target of its own, so that
it can stand alone between Gadgetron's gadgets.

The process that Gadgetron starts is a thin shim: it hands its socket to a resident worker, where torch and the models
are loaded already, and waits. Without a worker it reconstructs by itself. Either is logged and stands in the images.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from onebreath.host.handover import HandoverFailed, hand_over, wait_until_done

log = logging.getLogger("onebreath.entry")

Target = Callable[[Any], None]


def run_target(connection: Any, target: str) -> None:
    """Run the node's gadgets on all incoming messages, and send on their output.

    Whatever goes wrong is reported to the server as ERROR, after its data have been read to the end.

    Parameters
    ----------
    connection
        As handed over by ``python -m gadgetron``, or a `onebreath.wire.connection.Connection`; that one stays here.
    target
        ``chain``, or the name of the only gadget.
    """
    if hasattr(connection, "channel"):
        _run_here(connection, target, "embedded host")
        return
    texts = connection.raw_bytes
    try:
        worker, answer = hand_over(connection.socket.socket, target, texts.config, texts.header)
    except HandoverFailed as error:
        log.warning("this process reconstructs by itself: %s", error)
        _run_here(connection, target, f"own process; {error}")
        return
    log.info("worker %s reconstructs as scan %s", answer.get("worker"), answer.get("scan"))
    sock, connection.socket = connection.socket.socket, _HandedOver()
    if not wait_until_done(worker):
        _report_dead_worker(sock, answer)
    sock.close()


class _HandedOver:
    """Replaces the socket: ``python -m gadgetron`` closes the connection when its target returns."""

    def close(self) -> None:
        """Send nothing: the worker has done so."""


def _run_here(connection: Any, target: str, served_by: str) -> None:
    from onebreath.threads import settle_process

    settle_process()
    from onebreath.host.running import run_here  # may import torch
    from onebreath.wire.connection import adopt

    run_here(adopt(connection), target, served_by)


def _report_dead_worker(sock: Any, answer: dict[str, Any]) -> None:
    """Report that the worker died; the data it did not read are discarded first."""
    from onebreath.diagnostics.reports import WorkerDied, report
    from onebreath.wire.channel import QUIET, Channel

    kept = "What it had received is kept, and reconstructed when it is back." if answer.get("spooled") else ""
    error = WorkerDied(f"worker {answer.get('worker')} died while it reconstructed scan {answer.get('scan')}. {kept}")
    channel = Channel(sock)
    channel.stream.discard(QUIET)
    channel.finished = True
    channel.fail(report(error, "the worker"))


def _target(name: str) -> Target:
    def target(connection: Any) -> None:
        run_target(connection, name)

    target.__name__ = name
    target.__doc__ = f"Run {name} as an external node; see `run_target`."
    return target


def __getattr__(name: str) -> Target:
    """Return the target of this name: ``chain``, or any gadget, those of installed packages included.

    A name that is none gives a target as well, so that its error reaches the client: Gadgetron reports no
    target that cannot be found.
    """
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _target(name)
