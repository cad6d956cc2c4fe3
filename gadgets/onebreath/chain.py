"""The chain: gadgets in the order of the configuration, run as an overlapped pipeline."""

from __future__ import annotations

import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onebreath.errors import ConfigError, OnebreathError
from onebreath.gadget import Gadget, Message, gadget_class, parse_properties
from onebreath.watch import watched

QUEUE_LENGTH = 64
"""Messages that may wait between two gadgets; a full queue holds the gadget before it back."""

log = logging.getLogger("onebreath.chain")


@dataclass(frozen=True)
class _Failure:
    error: BaseException


_END = object()


class Chain:
    """Gadgets joined so that each works in a thread of its own while the next one works on what it made.

    Parameters
    ----------
    gadgets
        The gadgets, first to last.
    """

    def __init__(self, gadgets: Sequence[Gadget]) -> None:
        self.gadgets = list(gadgets)

    def run(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Send messages through all gadgets.

        If a gadget fails, the input is read to its end before the error is raised: the sender must be able to finish
        (Gadgetron loses the text of an error that arrives while data still flow).
        """
        stop = threading.Event()
        source = iter(messages)
        stages: list[_Stage] = []
        stream: Iterator[Message] = source
        for gadget in self.gadgets:
            stage = _Stage(gadget, stream, stop, drain=source if not stages else None)
            stages.append(stage)
            stream = stage.output()
        try:
            yield from stream
        finally:
            stop.set()
            for stage in stages:
                stage.thread.join()
                stage.report()


class _Stage:
    """One gadget at work in its thread, with the queue of what it made."""

    def __init__(
        self, gadget: Gadget, incoming: Iterator[Message], stop: threading.Event, drain: Iterator[Message] | None
    ) -> None:
        self.gadget, self.stop, self.drain = gadget, stop, drain
        self.waiting = 0.0
        self.busy = 0.0
        self.made: queue.Queue[Any] = queue.Queue(QUEUE_LENGTH)
        self.thread = threading.Thread(
            target=self._work, args=(incoming,), name=f"onebreath-{gadget.name}", daemon=True
        )
        self.thread.start()

    def output(self) -> Iterator[Message]:
        while True:
            item = self.made.get()
            if item is _END:
                return
            if isinstance(item, _Failure):
                raise item.error
            yield item

    def report(self) -> None:
        if self.gadget.properties.perform_timing:
            log.info("%s worked for %.3f s and waited for %.3f s", self.gadget.name, self.busy, self.waiting)

    def _work(self, incoming: Iterator[Message]) -> None:
        started = time.perf_counter()
        last: Any = _END
        try:
            for message in watched(self.gadget, self.gadget.process(self._timed(incoming))):
                if not self._put(message):
                    return
        except OnebreathError as error:
            last = _Failure(error)
        except BaseException as error:
            self.gadget.log.exception("internal error")
            text = f"internal error in gadget {self.gadget.name}: {type(error).__name__}: {error}; see the log"
            last = _Failure(OnebreathError(text))
        finally:
            if self.drain is not None:
                self._drain()
            self.busy = time.perf_counter() - started - self.waiting
            self._finish(last)

    def _timed(self, incoming: Iterator[Message]) -> Iterator[Message]:
        while True:
            started = time.perf_counter()
            try:
                message = next(incoming)
            except StopIteration:
                return
            finally:
                self.waiting += time.perf_counter() - started
            yield message

    def _put(self, item: Any) -> bool:
        """Hand an item on; False once nobody reads any more."""
        started = time.perf_counter()
        try:
            while not self.stop.is_set():
                try:
                    self.made.put(item, timeout=0.2)
                    return True
                except queue.Full:
                    continue
            return False
        finally:
            self.waiting += time.perf_counter() - started

    def _finish(self, last: Any) -> None:
        """End the output; once stopped, what was made is thrown away so that a waiting reader sees the end."""
        if self._put(last):
            return
        with contextlib.suppress(queue.Empty):
            while True:
                self.made.get_nowait()
        self.made.put_nowait(_END)

    def _drain(self) -> None:
        try:
            for _ in self.drain or ():
                pass
        except Exception as error:  # noqa: BLE001 - the first error is the one to report
            log.warning("the input ended while it was drained: %s", error)


def build(header: Any, steps: Sequence[tuple[str, Mapping[str, str]]]) -> Chain:
    """Build a chain.

    Parameters
    ----------
    header
        The scan's ISMRMRD header.
    steps
        Name and property texts of each gadget, first to last.

    Raises
    ------
    ConfigError
        If a gadget or property is unknown, a value does not fit, or a gadget could never receive a message it works on.
    """
    if not steps:
        raise ConfigError("The configuration names no gadget; add at least one <gadget name=...> to <configuration>.")
    chosen = [(gadget_class(name), pairs) for name, pairs in steps]
    check_order([cls for cls, _ in chosen])
    parsed = [(cls, parse_properties(cls, pairs)) for cls, pairs in chosen]
    return Chain([cls(header, properties) for cls, properties in parsed])


def check_order(classes: Sequence[type[Gadget]]) -> None:
    """Check that each gadget but the first gets messages from the one before it that it works on.

    Raises
    ------
    ConfigError
        If not; the text names both gadgets and their messages.
    """
    for before, cls in itertools.pairwise(classes):
        if not set(before.emits) & set(cls.consumes):
            raise ConfigError(
                f"Gadget '{cls.name}' works on {' or '.join(cls.consumes)}, but '{before.name}' before it makes "
                f"{' or '.join(before.emits)}. Put the gadgets in order: {', '.join(ORDER)}."
            )


ORDER = ("prewhiten", "compress", "sort", "calibrate", "reconstruct", "export")
