"""The chain: gadgets in the order of the configuration, run as an overlapped pipeline."""

from __future__ import annotations

import errno
import functools
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import ismrmrd
from gadgetron.types import ImageArray
from threadpoolctl import threadpool_limits

from onebreath.cancellation import checkpoint
from onebreath.chain.gadget import Gadget, Message, Surroundings, gadget_class, parse_properties, usual_order
from onebreath.chain.notes import read_note
from onebreath.chain.pipeline import Stage
from onebreath.chain.watch import watched
from onebreath.diagnostics.events import tell
from onebreath.diagnostics.reports import SpoolError
from onebreath.errors import ConfigError, OnebreathError
from onebreath.mrd.blocks import singly
from onebreath.mrd.spaces import SpaceChoice, headers_in, space_of_message, spaces, with_space

log = logging.getLogger("onebreath.chain")


class Chain:
    """Gadgets connected to a pipeline, so that they work at the same time on different messages.

    Gadgets that hand on single lines share a thread with the one after them, as handing over a line costs more than the
    work on it; all others have their own. For the same reason a chain that begins with lines reads its input in the
    thread of its first gadget, any other in a thread of its own.

    Parameters
    ----------
    gadgets
        The gadgets, first to last.
    steps
        Name and property texts of each, for the images' meta.
    several
        The header, if it describes several encoding spaces, and what makes the gadgets again for one of them.
    """

    def __init__(
        self,
        gadgets: Sequence[Gadget],
        steps: Sequence[tuple[str, Mapping[str, str]]] = (),
        several: tuple[Any, Callable[[Any], list[Gadget]]] | None = None,
    ) -> None:
        self.gadgets, self.steps, self._several = list(gadgets), list(steps), several

    @property
    def takes_blocks(self) -> bool:
        """Whether the messages may hold a `LineBlock`."""
        return self.gadgets[0].takes_blocks

    def run(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Send messages through all gadgets.

        If a gadget fails, the input is read to its end before the error is raised: the sender must be able to finish
        (Gadgetron loses the text of an error that arrives while data still flow).
        """
        use_one_blas_thread()
        source = (message for message in messages)  # which an error ends, so that nothing is read after it
        stages: list[Stage] = []
        watches: list[_Watch] = []
        try:
            first = self._of_one_space(source)
            if "Acquisition" not in self.gadgets[0].consumes:
                stages.append(Stage("input", first))
            for gadget in self.gadgets:
                gadget.surroundings = Surroundings(self.steps, lambda: {w.gadget.name: w.worked for w in watches})
            for group in groups(self.gadgets):
                stream = stages[-1].output() if stages else first
                for gadget in group:
                    watches.append(_Watch(gadget, stream if gadget.takes_blocks else singly(stream)))
                    stream = watches[-1].output()
                stages.append(Stage(group[-1].name, singly(stream)))
            yield from stages[-1].output()
        finally:
            for stage in reversed(stages):
                stage.end()
            _drain(source)
            for watch in watches:
                watch.report()

    def _of_one_space(self, messages: Iterator[Message]) -> Iterator[Message]:
        """Read ahead until the encoding space of the image is known; return all messages.

        A scan whose first space gets no imaging lines is held up to its end.
        """
        if self._several is None:
            return messages
        xml, anew = self._several
        choice, held, found = SpaceChoice(xml), deque[Message](), None
        for message in messages:
            checkpoint()
            held.append(message)
            found = _encoding_space_of(message)
            for header in headers_in(message):
                choice.see(header)
            if found is not None or choice.certain or isinstance(message, ismrmrd.Image | ImageArray):
                break
        space, why = choice.chosen() if found is None else (found, "")
        self.gadgets = anew(with_space(xml, space, why))
        return _given_back(held, messages)


def _encoding_space_of(message: Message) -> int | None:
    """Return the encoding space that an earlier chain chose; None if the message does not say."""
    said = read_note(message)
    if said is not None and said[0] == "sort" and "encoding_space" in said[1]:
        return int(said[1]["encoding_space"])
    return space_of_message(message)


def _given_back(held: deque[Message], messages: Iterator[Message]) -> Iterator[Message]:
    while held:
        yield held.popleft()
    yield from messages


OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
"""Numbers of errors that a disk makes, not the scan."""


@functools.cache
def use_one_blas_thread() -> None:
    """Limit BLAS to one thread in this process, from now on.

    The gadgets have their threads already, and the matrices are small: more threads double the processor time of a
    reconstruction, and on a busy machine they wait for each other for seconds.
    """
    threadpool_limits(limits=1, user_api="blas")


def groups(gadgets: Sequence[Gadget]) -> list[list[Gadget]]:
    """Return the gadgets that share a thread: each that makes lines with the one after it."""
    found: list[list[Gadget]] = []
    for gadget in gadgets:
        if found and "Acquisition" in found[-1][-1].emits:
            found[-1].append(gadget)
        else:
            found.append([gadget])
    return found


def _drain(source: Iterator[Message]) -> None:
    """Read to the end, unless the scan was cancelled; an error on the way is secondary to the chain's own."""
    with suppress(OnebreathError):
        checkpoint()
        for _ in source:
            pass


class _Watch:
    """Runs a gadget: names it in unexpected errors, and measures its time."""

    def __init__(self, gadget: Gadget, incoming: Iterator[Message]) -> None:
        self.gadget = gadget
        self.before, self.after = _Meter(incoming), _Meter(self._guarded())

    @property
    def worked(self) -> float:
        """Seconds of work so far, waiting not counted."""
        return self.after.seconds - self.before.seconds

    def output(self) -> Iterator[Message]:
        return self.after

    def report(self) -> None:
        tell("gadget", gadget=self.gadget.name, seconds=self.worked)
        if self.gadget.properties.perform_timing:
            waited = self.before.seconds
            log.info("%s worked for %.3f s and waited for %.3f s", self.gadget.name, self.worked, waited)

    def _guarded(self) -> Iterator[Message]:
        gadget = self.gadget
        try:
            yield from watched(gadget, gadget.process(self.before))
        except (OnebreathError, GeneratorExit):
            raise
        except BaseException as error:
            if isinstance(error, OSError) and error.errno in OF_DISKS:
                raise SpoolError(f"gadget {gadget.name} cannot write: {error}") from error
            gadget.log.exception("internal error")
            text = f"internal error in gadget {gadget.name}: {type(error).__name__}: {error}; see the log"
            raise OnebreathError(text) from error


class _Meter:
    """Measures the time spent waiting for the messages of a stream, including the current one."""

    def __init__(self, stream: Iterator[Message]) -> None:
        self.stream = stream
        self._spent = 0.0
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        """Time so far."""
        started = self._started
        return self._spent + (0.0 if started is None else time.perf_counter() - started)

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        self._started = time.perf_counter()
        try:
            return next(self.stream)
        finally:
            self._spent, self._started = self.seconds, None


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

    def anew(xml: Any) -> list[Gadget]:
        return [cls(xml, properties) for cls, properties in parsed]

    if spaces(header) > 1:
        return Chain(anew(with_space(header, SpaceChoice(header).likely)), steps, (header, anew))
    return Chain(anew(header), steps)


def check_order(classes: Sequence[type[Gadget]]) -> None:
    """Check that each gadget accepts the messages of the one before it.

    Raises
    ------
    ConfigError
        If not; the text names both gadgets and their messages.
    """
    for before, cls in itertools.pairwise(classes):
        if not set(before.emits) & set(cls.consumes):
            raise ConfigError(
                f"Gadget '{cls.name}' works on {' or '.join(cls.consumes)}, but '{before.name}' before it makes "
                f"{' or '.join(before.emits)}. Put the gadgets in order: {', '.join(usual_order())}."
            )
