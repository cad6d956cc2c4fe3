"""Reconstruction of scans on disk: series that were promised for later, and what a crash left behind."""

from __future__ import annotations

import contextvars
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import ismrmrd

from onebreath.diagnostics.reports import Reported
from onebreath.errors import ConnectionLost, ScanError, WireError
from onebreath.host.client_messages import PREFIX
from onebreath.shim_settings import STORAGE_OF_SCAN
from onebreath.storage.find import COMPLETE
from onebreath.storage.results import GROUP, Results
from onebreath.threads import begin
from onebreath.wire.channel import Channel
from onebreath.wire.client_channel import ERROR, ClientChannel
from onebreath.wire.image_file import ImageFile
from onebreath.wire.messages import ErrorText, HeaderText, Text
from onebreath.worker.spooling.spool import SpooledScan
from onebreath.worker.spooling.stream import SpoolStream

log = logging.getLogger("onebreath.resume")

CUT_SHORT = "the data ended before the scan did"
"""Why images of a scan may be missing, or be made of fewer lines."""
HEAD = 512  # bytes of an image's header, and of what the file adds

RunNodes = Callable[[ClientChannel, str, HeaderText], None]
"""Runs a configuration (XML) on a client's connection whose header has been read."""


class Resumed(NamedTuple):
    """Result of a scan on disk.

    Attributes
    ----------
    images
        Number of its images.
    whole
        Whether its data go on to the message that closes a scan.
    """

    images: int
    whole: bool


def resume(
    spooled: SpooledScan, results: Results, run: RunNodes, take: Callable[[int], None] = lambda count: None
) -> Resumed:
    """Reconstruct a spooled scan and keep its images.

    Parameters
    ----------
    spooled
        The raw data.
    results
        Where its images go.
    run
        Runs the configuration.
    take
        Asked before an image is written; raises OSError if there is no room for that many bytes.

    Raises
    ------
    Reported
        What the nodes reported.
    ScanError
        That there are no images.
    """
    request = spooled.request
    path = results.path(request.scan)
    path.unlink(missing_ok=True)  # an earlier attempt may have ended in the middle
    ours, theirs = socket.socketpair()
    whole = threading.Event()
    worker = _thread(f"onebreath-resume-{request.scan}", _serve, theirs, spooled, run)
    with closing(Channel(ours)) as channel, ImageFile(path, GROUP, private=True) as images:
        feeder = _thread(f"onebreath-feed-{request.scan}", _feed, channel, spooled, whole)
        try:
            begin(worker)
            begin(feeder)
            texts = _collect(channel, images, take)
        finally:
            channel.stream.abort()
            for thread in (worker, feeder):
                if thread.ident is not None:
                    thread.join()
        images.incomplete = "; ".join(texts) or ("" if whole.is_set() else CUT_SHORT)
    if texts:
        raise Reported("; ".join(texts))
    if not images.series:
        raise ScanError("no images were made")
    return Resumed(sum(images.series.values()), whole.is_set())


def _thread(name: str, work: Callable[..., None], *args: Any) -> threading.Thread:
    """Make a thread that belongs to the scan of this one, and does not outlive the process."""
    return threading.Thread(target=contextvars.copy_context().run, args=(work, *args), name=name, daemon=True)


def _collect(channel: Channel, images: ImageFile, take: Callable[[int], None]) -> list[str]:
    """Keep the images; return the errors that were reported, without warnings, which the images tell as well."""
    texts = []
    for message in channel:
        if isinstance(message, ismrmrd.Image):
            take(message.data.nbytes + len(message.attribute_string) + HEAD)
            images.append(message)
        elif isinstance(message, Text) and str(message).startswith(PREFIX):
            log.warning("%s", str(message).removeprefix(PREFIX))
        elif isinstance(message, (Text, ErrorText)):
            texts.append(str(message).removeprefix(ERROR))
    return texts


def _serve(sock: socket.socket, spooled: SpooledScan, run: RunNodes) -> None:
    client = ClientChannel(sock, lambda query: "")
    STORAGE_OF_SCAN.set(spooled.request.storage)
    COMPLETE.set(spooled.complete)
    try:
        run(client, spooled.request.nodes, HeaderText(spooled.request.header.encode("utf-8")))
    finally:
        client.close()


def _feed(channel: Channel, spooled: SpooledScan, whole: threading.Event) -> None:
    """Send the messages on disk, and set `whole` if the last one closes the scan; one that was cut off is left out."""
    with closing(Channel(SpoolStream.over(spooled.data))) as source:
        messages = iter(source)
        while True:
            try:
                message = next(messages, None)
                if message is None:
                    whole.set()
            except WireError as error:
                log.warning("the data of scan %s end early: %s", spooled.request.scan, error)
                message = None
            try:
                if message is None:
                    channel.stream.end()
                    return
                channel.send(message)
            except ConnectionLost as error:
                log.warning("scan %s ended before its data did: %s", spooled.request.scan, error)
                return
