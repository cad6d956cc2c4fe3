"""The process beside a worker that makes instances and sends them.

It reads lines on standard input, each of which says that something may have come; the end of the input ends it. What
it does it tells on standard output, an object of JSON a line. It may be killed at any time: what is not sent is on the
disk.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onebreath.dicom.export.outgoing import ended_at, kept, read, scan_of
from onebreath.dicom.export.register import Expected, Register
from onebreath.dicom.identity import identity
from onebreath.dicom.making import content, made_of
from onebreath.dicom.queue import Queue
from onebreath.dicom.store import FIRST_PAUSE, LONGEST_PAUSE, Pacs, Unreachable, send_once
from onebreath.errors import ConfigError, OnebreathError
from onebreath.keeping import private_folder, write

log = logging.getLogger("onebreath.dicom.export")

POLL = 1.0  # seconds between looks at the folder
GRACE = 5.0  # seconds for the instance that is on its way, when the worker ends
MOST_REMEMBERED = 500_000  # instances known to have been sent; the journal is cut to half of it when it is longer


@dataclass(frozen=True)
class Task:
    """What the process is to do; the worker passes it as JSON.

    Parameters
    ----------
    folder
        Of the queue.
    address, called, calling
        See `Pacs`.
    anonymise, enhanced
        See `onebreath.dicom.export.options.ExportOptions`.
    """

    folder: str
    address: str
    called: str
    calling: str
    anonymise: str | None
    enhanced: bool


class Sender:
    """See the module."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.pacs = Pacs.parse(task.address, task.called, task.calling)
        folder = Path(task.folder)
        self.queue = Queue(folder)
        self.incoming, self.failed = (private_folder(folder / name) for name in ("incoming", "failed"))
        self.register = Register(folder / "series", self._complete)
        self.ended, self.news = threading.Event(), threading.Event()
        self.problem = ""
        self._told: dict[str, Any] = {}

    def run(self) -> None:
        """Work until the input ends."""
        with ExitStack() as stack:
            if self._alone(stack):
                self.queue.forget(MOST_REMEMBERED)
                self._settle()
                self._work()

    def _alone(self, stack: ExitStack) -> bool:
        """Wait until no other process sends from the queue, such as that of a worker which was killed just now."""
        while not self.ended.is_set():
            try:
                stack.enter_context(self.queue.locked())
                return True
            except ConfigError as error:
                self._tell_state(str(error))
                self.ended.wait(POLL)
        return False

    def _work(self) -> None:
        pause, again = FIRST_PAUSE, 0.0
        while not self.ended.is_set():
            self.news.clear()
            disk = self._take_in()
            if not self.queue.left():
                self.problem = ""
            elif time.monotonic() >= again:
                before = len(self.queue.sent())
                self.problem = self._send()
                pause = FIRST_PAUSE if len(self.queue.sent()) > before else min(2 * pause, LONGEST_PAUSE)
                again = time.monotonic() + pause if self.problem else 0.0
            self._tell_state(disk or self.problem)
            self.news.wait(POLL)

    def _take_in(self) -> str:
        """Make instances of the scans that have come; return what the disk says to that."""
        for path in kept(self.incoming):
            if self.ended.is_set():
                return ""
            try:
                self._make(path)
            except OSError as error:
                return f"the disk does not take instances: {error.strerror or error}"
            except Exception as error:  # noqa: BLE001 - one scan's images must not hold up those of others
                self._set_aside(path, error)
        return ""

    def _make(self, path: Path) -> None:
        series, header = read(path)
        who = identity(series, header, self.task.anonymise)
        made = [(one, content(one)) for one in made_of(series, who, enhanced=self.task.enhanced)]
        groups: dict[str, tuple[int, list[str]]] = {}
        for one, _ in made:
            groups.setdefault(str(one.SeriesInstanceUID), (int(one.SeriesNumber), []))[1].append(
                str(one.SOPInstanceUID)
            )
        for uid, (number, uids) in groups.items():
            self.register.expect(uid, scan_of(path), number, uids, ended_at(path))
        for one, octets in made:
            self.queue.add(str(one.SOPInstanceUID), octets)
        path.unlink()
        self._settle()

    def _settle(self) -> None:
        self.register.settle(self.queue.sent(), {path.stem for path in self.queue.refused.glob("*.dcm")})

    def _set_aside(self, path: Path, error: Exception) -> None:
        reason = str(error) if isinstance(error, OnebreathError) else f"{type(error).__name__}: {error}"
        write(self.failed / f"{path.stem}.txt", f"{reason}\n".encode())
        path.rename(self.failed / path.name)
        tell(event="failed", scan=scan_of(path), reason=reason, file=str(self.failed / path.name))

    def _send(self) -> str:
        """Send what waits; return why it could not be sent, or nothing."""
        try:
            send_once(self.queue, self.pacs, self._after, self.ended.is_set)
        except Unreachable as reason:
            return f"the PACS {reason}"
        except OSError as error:
            return f"the disk does not take what was sent: {error.strerror or error}"
        return ""

    def _after(self, uid: str, arrived: bool) -> None:
        tell(event="sent" if arrived else "refused")
        self.register.count(uid, refused=not arrived)

    def _complete(self, one: Expected) -> None:
        seconds = round(max(0.0, time.time() - one.since), 2)
        tell(
            event="series",
            scan=one.scan,
            number=one.number,
            instances=len(one.uids),
            refused=one.refused,
            seconds=seconds,
        )

    def _tell_state(self, problem: str) -> None:
        state = {"waiting": len(self.queue.left()), "problem": problem}
        if state != self._told:
            self._told = state
            tell(event="state", **state)


def tell(**facts: Any) -> None:
    """Tell the worker something."""
    with suppress(BrokenPipeError, ValueError):  # nobody listens any more; the end of the input comes as well
        print(json.dumps(facts), flush=True)


class _Told(logging.Handler):
    """Hands lines of the log to the worker."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(event="log", level=record.levelno, name=record.name, text=record.getMessage())


def main() -> int:
    """Run the process; its argument is a `Task` as JSON."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Told()])
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # what it has to say is told as a state, once
    warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)  # pynetdicom's, of a PACS that is down
    sender = Sender(Task(**json.loads(sys.argv[1])))

    def listen() -> None:
        for _ in sys.stdin:
            sender.news.set()
        sender.ended.set()
        sender.news.set()
        time.sleep(GRACE)
        os._exit(0)

    threading.Thread(target=listen, name="onebreath-input", daemon=True).start()
    sender.run()
    return 0


def command(task: Task) -> list[str]:
    """Return the command that starts the process."""
    return [sys.executable, "-m", __name__, json.dumps(asdict(task))]


if __name__ == "__main__":
    sys.exit(main())
