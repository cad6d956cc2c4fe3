"""Tables and progress bars on a terminal; plain text in pipes and files.

Rich draws both. Where it is not installed, or nobody looks, tables are the plain text and progress is not shown.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO, TypeAlias, TypeVar

from onebreath.shim_settings import terminal_is_dumb

T = TypeVar("T")

PATIENCE_S = 1.0
"""Seconds of work after which progress is shown; what ends sooner shows none."""
STYLES = {"good": "green", "bad": "bold red", "warning": "yellow", "quiet": "dim", "strong": "bold"}
"""Styles of cells, by what they mean."""
_Redirected: TypeAlias = "tuple[logging.StreamHandler[Any], Any]"
Cell: TypeAlias = "str | tuple[str, str]"
"""Text of a cell, or text and one of `STYLES`."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, and whether it holds numbers, which stand at the right."""

    title: str
    number: bool = False


def console(stream: TextIO | None = None) -> Any:
    """Return rich's console on a stream (standard output), or None where plain text is due."""
    stream = sys.stdout if stream is None else stream
    try:
        seen = stream.isatty()
    except (AttributeError, ValueError):
        return None
    if not seen or terminal_is_dumb() or importlib.util.find_spec("rich") is None:
        return None
    from rich.console import Console

    return Console(file=stream, highlight=False)


def print_table(plain: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], title: str = "") -> None:
    """Print a table, on a terminal as one of rich.

    Parameters
    ----------
    plain
        What is printed elsewhere.
    columns, rows, title
        The table.
    """
    screen = console()
    if screen is None:
        print(plain)
    else:
        screen.print(_table(columns, rows, title))


def _table(columns: Sequence[Column], rows: Iterable[Sequence[Cell]], title: str = "") -> Any:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title or None, box=box.ROUNDED, title_justify="left", title_style="bold", show_header=bool(columns)
    )
    for column in columns:
        table.add_column(column.title, justify="right" if column.number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row))
    return table


def _text(cell: Cell) -> Any:
    from rich.text import Text

    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(text, style=STYLES.get(style, style))


def print_facts(title: str, facts: Iterable[str], indent: str = "  ") -> None:
    """Print a titled list as it grows: plain, or with what comes before a colon in a column of its own."""
    screen = console()
    if screen is None:
        print(title)
        for fact in facts:
            print(f"{indent}{fact}")
        return
    rows: list[tuple[Cell, Cell]] = []
    for fact in facts:
        name, colon, rest = fact.partition(": ")
        style = "warning" if fact.startswith("WARNING") else "bad" if fact.startswith("cannot ") else ""
        rows.append(((name, style or "strong"), (rest, style)) if colon else (("", ""), (fact, style)))
    named = any(name[0] for name, _ in rows)
    screen.print(_table((), rows if named else [(fact,) for _, fact in rows], title))


@contextmanager
def growing_table(head: str, columns: Sequence[Column]) -> Iterator[Callable[[str, Sequence[Cell]], None]]:
    """Yield a function that adds a row: its plain text, and its cells for a terminal, where the table grows in place.

    Parameters
    ----------
    head
        First line of the plain text.
    columns
        The table's.
    """
    screen = console()
    if screen is None:
        print(head, flush=True)
        yield lambda plain, _: print(plain, flush=True)
        return
    from rich.live import Live

    rows: list[Sequence[Cell]] = []
    with Live(_table(columns, rows), console=screen, refresh_per_second=4, redirect_stderr=False) as live:

        def add(_: str, cells: Sequence[Cell]) -> None:
            rows.append(cells)
            live.update(_table(columns, rows), refresh=True)

        yield add


class Progress:
    """Progress of some work: a bar with rate and time left on standard error, if that is a terminal.

    It appears when the work has taken `PATIENCE_S`. Log lines of this package stand above it.

    Parameters
    ----------
    what
        The work, a few words.
    total
        How many steps it has; None: not known.
    unit
        Of the steps.
    done
        Steps that were done before, by an earlier run.
    """

    def __init__(self, what: str, total: int | None, unit: str = "", done: int = 0) -> None:
        self._what, self._total, self._unit, self._first = what, total, unit, done
        self._console = console(sys.stderr)
        self._bar: Any = None
        self._task: Any = None
        self._done = done
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._streams: list[_Redirected] = []

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._bar is not None:
                _give_back(self._streams)
                self._bar.stop()
            self._console = None

    def advance(self, steps: int = 1, said: str = "") -> None:
        """Count completed steps, and show a text about the last one, such as a loss."""
        self._done += steps
        if self._console is None or (self._bar is None and time.monotonic() - self._begun < PATIENCE_S):
            return
        with self._lock:
            if self._console is None:
                return
            if self._bar is None:
                self._start()
            self._bar.update(self._task, completed=self._done, said=said or self._bar.tasks[0].fields["said"])

    def reach(self, steps: int, said: str = "") -> None:
        """Set the number of completed steps; see `advance`."""
        self.advance(steps - self._done, said)

    def print(self, text: str) -> None:
        """Print a line on standard error, above the bar if there is one."""
        print(text, file=sys.stderr, flush=True)

    def _start(self) -> None:
        from rich import progress

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TextColumn("{task.fields[said]}"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
        )
        self._bar = _with_rate(progress)(*columns, console=self._console, transient=True, refresh_per_second=4)
        self._task = self._bar.add_task(
            self._what, total=self._total, completed=self._done, said="", rate="", unit=self._unit, first=self._first
        )
        self._bar.tasks[0].start_time = self._bar.get_time() - (time.monotonic() - self._begun)
        self._bar.start()
        self._streams = _logs_above(self._console.file)


def _logs_above(screen: TextIO) -> list[_Redirected]:
    """Let log lines for a terminal go to what stands for it now; return what to give back.

    Handlers hold the terminal itself: their lines would be written into the bar.
    """
    found: list[_Redirected] = []
    for handler in (*logging.getLogger().handlers, *logging.getLogger("onebreath").handlers):
        if isinstance(handler, logging.StreamHandler) and handler.stream is screen:
            found.append((handler, handler.stream))
            handler.setStream(sys.stderr)
    return found


def _give_back(redirected: list[_Redirected]) -> None:
    for handler, stream in redirected:
        handler.setStream(stream)


def _with_rate(progress: Any) -> Any:
    """Return rich's progress with a rate in each task's fields."""

    class Rated(progress.Progress):
        def get_renderables(self) -> Iterator[Any]:
            for task in self.tasks:
                done = task.completed - task.fields["first"]
                speed = task.speed or (done / task.elapsed if task.elapsed else 0)
                task.fields["rate"] = f"{speed:.3g} {task.fields['unit']}/s" if task.fields["unit"] else ""
            yield from super().get_renderables()

    return Rated


def steps(of: Iterable[T], what: str, total: int | None = None, unit: str = "") -> Iterator[T]:
    """Yield what there is to do, with a bar; the number of steps is that of `of`, where it has one."""
    count = len(of) if total is None and isinstance(of, Sized) else total
    with Progress(what, count, unit) as progress:
        for one in of:
            yield one
            progress.advance()


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that work of unknown length is in progress."""
    screen = console(sys.stderr)
    if screen is None:
        yield
        return
    status = screen.status(what)
    redirected: list[_Redirected] = []

    def start() -> None:
        status.start()
        redirected.extend(_logs_above(screen.file))

    timer = threading.Timer(PATIENCE_S, start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        _give_back(redirected)
        status.stop()
