"""Replay: send a raw file through a configuration and keep the images, as ``gadgetron_ismrmrd_client`` does.

Without an address the scan runs in this process, over the same wire and through the same host.
"""

from __future__ import annotations

import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import ismrmrd

from onebreath.errors import ConfigError, ConnectionLost, OnebreathError
from onebreath.host.client_messages import PREFIX
from onebreath.host.server import GADGETRON_PORT, serve_client
from onebreath.mrd.meta import read_warnings
from onebreath.terminal import steps, working
from onebreath.wire.channel import Channel
from onebreath.wire.image_file import ImageFile
from onebreath.wire.messages import ConfigName, ConfigText, ErrorText, HeaderText, Text
from onebreath.wire.raw_file import RawFile

log = logging.getLogger("onebreath.replay")

PATIENCE = 5.0  # seconds to wait for the sending to end once the server has closed


@dataclass
class Outcome:
    """Outcome of a replay.

    Parameters
    ----------
    images
        Number of images by series.
    texts
        What the server said.
    sent
        Number of acquisitions and waveforms sent.
    seconds
        Time from the first message to the last.
    failed
        An error was reported, or the connection broke.
    warnings
        What the server warned of, by texts or in the images' meta; each once.
    group
        Group of the images in their file.
    file
        The file that holds the images; None without images. A failed scan replaces no file; see `ImageFile`.
    """

    images: dict[int, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    sent: int = 0
    seconds: float = 0.0
    failed: bool = False
    warnings: list[str] = field(default_factory=list)
    group: str = ""
    file: Path | None = None

    def __str__(self) -> str:
        counts = ", ".join(f"{count} images in series {series}" for series, count in sorted(self.images.items()))
        rate = self.sent / self.seconds if self.seconds else 0.0
        said = f"{counts or 'no images'}; {self.sent} messages sent in {self.seconds:.2f} s ({rate:.0f} per second)"
        return "\n".join([said, *(f"WARNING: {text}" for text in self.warnings)])

    def warn(self, text: str) -> None:
        """Add a warning, unless it is known."""
        if text not in self.warnings:
            self.warnings.append(text)


def replay(
    source: str | Path,
    config: str = "default.xml",
    config_local: str | Path | bytes | None = None,
    address: str | None = None,
    port: int = GADGETRON_PORT,
    output: str | Path = "out.h5",
    group: str | None = None,
    timeout: float = 10.0,
    in_group: str = "dataset",
    *,
    anew: bool = False,
) -> Outcome:
    """Send a raw file through a configuration and write the images that come back.

    Parameters
    ----------
    source
        ISMRMRD raw data file.
    config
        Name of a configuration on the server.
    config_local
        File of a configuration to upload, or its text; goes before `config`.
    address, port
        The server; without an address the scan runs in this process.
    output, group
        File and group for the images; the group is a new one, by default date and time, numbered if that is taken.
    timeout
        Seconds to wait for a connection.
    in_group
        Group of the raw data in `source`.
    anew
        Whether a file `output` that exists is replaced rather than added to.

    Raises
    ------
    ConfigError, ScanError
        If the configuration file or the raw file cannot be read, or the group is in the file already.
    ConnectionLost
        If the server cannot be reached.
    """
    chosen = _configuration(config, config_local)
    begun = time.perf_counter()
    name, numbered = group or f"{datetime.now():%Y-%m-%d %H:%M:%S}", group is None
    with RawFile(source, in_group) as raw, ImageFile(output, name, anew=anew, numbered=numbered) as images:
        with _server(address, port, timeout) as channel:
            outcome = _Exchange(channel, chosen, raw, images).run()
        outcome.images, outcome.group = dict(images.series), images.group
        if outcome.failed:
            images.incomplete = outcome.texts[-1]
    outcome.file = images.written
    outcome.seconds = time.perf_counter() - begun
    return outcome


def _configuration(config: str, local: str | Path | bytes | None) -> ConfigName | ConfigText:
    if local is None:
        return ConfigName(config)
    if isinstance(local, bytes):
        return ConfigText(local)
    try:
        return ConfigText(Path(local).read_bytes())
    except OSError as error:
        raise ConfigError(f"the configuration {local} cannot be read: {error.strerror}") from error


@contextmanager
def _server(address: str | None, port: int, timeout: float) -> Iterator[Channel]:
    """Connect to a server, or run the embedded host in a thread."""
    if address is not None:
        try:
            sock = socket.create_connection((address, port), timeout)
        except (OSError, OverflowError) as error:
            raise ConnectionLost(f"no server at {address}:{port}: {error}") from error
        channel = Channel(sock)
        try:
            yield channel
        finally:
            channel.close()
        return
    ours, theirs = socket.socketpair()
    host = threading.Thread(target=serve_client, args=(theirs,), name="onebreath-host", daemon=True)
    host.start()
    channel = Channel(ours)
    try:
        yield channel
    finally:
        channel.close()
        host.join(PATIENCE)


class _Exchange:
    """One scan on its way: a thread sends while this one receives, so that full sockets never block both sides."""

    def __init__(self, channel: Channel, config: ConfigName | ConfigText, raw: RawFile, images: ImageFile) -> None:
        self.channel, self.config, self.raw, self.images = channel, config, raw, images
        self.outcome = Outcome()
        self._sending_failed: OnebreathError | None = None
        self._over = threading.Event()

    def run(self) -> Outcome:
        sender = threading.Thread(target=self._send, name="onebreath-replay", daemon=True)
        sender.start()
        try:
            for message in self.channel:
                self._receive(message)
        except ConnectionLost as error:
            if not self._tell_first_cause():
                self._complain(str(error))
        except BaseException:
            self.channel.stream.abort()
            raise
        finally:
            self._over.set()
        sender.join(PATIENCE)
        if sender.is_alive():  # the server closed without reading on
            self.channel.stream.abort()
            sender.join()
        self._tell_first_cause()
        return self.outcome

    def _send(self) -> None:
        try:
            self.channel.send(self.config)
            self.channel.send(HeaderText(self.raw.header_xml))
            total = self.raw.acquisitions + self.raw.waveforms
            for message in steps(self.raw.messages(), "sending", total, "lines"):
                self.channel.send(message)
                self.outcome.sent += 1
        except OnebreathError as error:
            self._sending_failed = error
        except Exception as error:
            log.exception("internal error while sending")
            self._sending_failed = OnebreathError(f"internal error while sending: {type(error).__name__}: {error}")
        finally:
            self._tell_first_cause()  # before the server can complain of the end
            self.channel.stream.end()
        with working("all lines are sent; waiting for the images"):
            self._over.wait()

    def _receive(self, message: Any) -> None:
        if isinstance(message, ismrmrd.Image):
            self.images.append(message)
            for text in _warnings_of(message):
                self.outcome.warn(text)
        elif isinstance(message, Text) and message.startswith(PREFIX):
            self.outcome.warn(message.removeprefix(PREFIX))
        elif isinstance(message, (Text, ErrorText)):
            self._tell_first_cause()
            self.outcome.texts.append(message)
            print(message, file=sys.stderr)
            self.outcome.failed |= isinstance(message, ErrorText) or tells_of_an_error(message)
        else:
            log.info("%s received and not kept; only images are written", type(message).__name__)

    def _tell_first_cause(self) -> bool:
        """Report what is wrong with the raw file, once: the server's complaint about its end is a consequence."""
        if self._sending_failed is None:
            return False
        if str(self._sending_failed) not in self.outcome.texts:
            self._complain(str(self._sending_failed))
        return True

    def _complain(self, text: str) -> None:
        self.outcome.failed = True
        self.outcome.texts.append(text)
        print(text, file=sys.stderr)


def _warnings_of(image: ismrmrd.Image) -> list[str]:
    """Return the warnings in an image's meta; a Gadgetron server passes them on in no other way."""
    return read_warnings(image.meta)


def tells_of_an_error(text: str) -> bool:
    """Return whether a server's TEXT reports a failure; Gadgetron's starts with the failed part in brackets."""
    return re.match(r"\s*(\[[^\]]*\]\s*)*ERROR", text) is not None
