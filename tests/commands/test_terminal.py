"""What people see on a terminal, and what programs read elsewhere."""

import argparse
import logging
import os
import pty
import re
import shlex
import subprocess
import sys
import threading
import time

import pytest

from onebreath import terminal
from onebreath.cli import COMMANDS, _parser, main
from onebreath.commands.help.completion import SHELLS
from onebreath.commands.help.examples import EXAMPLES
from onebreath.terminal import Column, Progress, growing_table, print_facts, print_table, steps, working

COLUMNS = (Column("name"), Column("number", number=True))


class Screen:
    """A terminal of 100 columns, and what was written to it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.stream = os.fdopen(self.slave, "w", buffering=1)
        self.parts: list[bytes] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        while True:
            try:
                got = os.read(self.master, 4096)
            except OSError:
                return
            if not got:
                return
            self.parts.append(got)

    def text(self) -> str:
        self.stream.flush()
        time.sleep(0.2)
        self.stream.close()
        self.reader.join(5)
        os.close(self.master)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(self.parts).decode())


def in_front_of(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Make the terminal the standard output; not in a fixture, as pytest's own capture follows these."""
    made = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stdout", made.stream)
    monkeypatch.setattr(sys, "stderr", made.stream)
    return made


def test_a_table_is_plain_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("one 1", COLUMNS, [["one", "1"]])
    print_facts("Lines", ["3 in all: 2 imaging", "WARNING: odd"])
    with growing_table("head", COLUMNS) as add:
        add("row", ["row", "2"])
    assert capsys.readouterr().out == "one 1\nLines\n  3 in all: 2 imaging\n  WARNING: odd\nhead\nrow\n"


def test_a_terminal_gets_tables_and_their_text_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = in_front_of(monkeypatch)
    print_table("plain", COLUMNS, [[("[bold]one", "good"), "1"]])
    print_facts("Lines", ["3 in all: 2 imaging"])
    with growing_table("head", COLUMNS) as add:
        add("plain row", ["row", "2"])
    text = screen.text()
    assert re.search(r"│ \[bold\]one │ +1 │", text), text
    assert re.search(r"│ 3 in all │ 2 imaging │", text)
    assert re.search(r"│ row +│ +2 │", text)
    assert "plain" not in text


def test_without_rich_a_terminal_gets_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = in_front_of(monkeypatch)
    monkeypatch.setattr(terminal.importlib.util, "find_spec", lambda name: None)
    print_table("plain", COLUMNS, [["one", "1"]])
    assert list(steps(range(3), "work")) == [0, 1, 2]
    with working("on it"):
        pass
    assert screen.text().strip() == "plain"


@pytest.mark.parametrize("where", ["", "onebreath"])
def test_progress_shows_rate_what_was_said_and_log_lines_above_it(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    screen = in_front_of(monkeypatch)
    monkeypatch.setattr(terminal, "PATIENCE_S", 0.0)
    handler = logging.StreamHandler(screen.stream)
    logger = logging.getLogger(where)
    logger.addHandler(handler)
    try:
        with Progress("training", 1004, "steps", done=1000) as progress:
            for _ in range(4):
                time.sleep(0.05)
                progress.advance(said="loss 0.25")
            logging.getLogger("onebreath.trial").warning("a line of the log")
            assert handler.stream is not screen.stream, "its lines go above the bar"
            time.sleep(0.4)
        assert handler.stream is screen.stream
    finally:
        logger.removeHandler(handler)
    text = screen.text()
    assert "1004/1004" in text and "loss 0.25" in text and "steps/s" in text
    rates = [float(one) for one in re.findall(r"([\d.e+]+) steps/s", text)]
    assert 0 < max(rates) < 100, "steps of an earlier run do not count for the rate"
    assert re.search(r"(^|\r)a line of the log *\r?$", text, re.M)


def test_work_without_steps_shows_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = in_front_of(monkeypatch)
    monkeypatch.setattr(terminal, "PATIENCE_S", 0.0)
    with working("making a page"):
        time.sleep(0.4)
    assert sys.stderr is screen.stream
    assert "making a page" in screen.text()


def test_what_is_quick_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = in_front_of(monkeypatch)
    assert list(steps(range(5), "work")) == [0, 1, 2, 3, 4]
    assert screen.text() == ""


def walk(parser: argparse.ArgumentParser, only: str = "") -> list[argparse.Action]:
    found: list[argparse.Action] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                found += walk(below) if only in ("", name) else []
        elif not isinstance(action, argparse._HelpAction):
            found.append(action)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_in_one_style(command: str) -> None:
    parser = _parser(command)
    for action in walk(parser, command):
        text = action.help or ""
        assert text, f"{action.dest} has no help"
        assert not text.rstrip().endswith("."), f"{action.dest}: {text}"
        first = text.split()[0]
        assert first[0].islower() or not first[0].isalpha() or not first[1:].islower() or "'" in first or first in (
            "Ray", "Markdown"
        ), f"{action.dest}: {text}"  # fmt: skip
        if not action.option_strings and not action.choices:
            assert str(action.metavar).upper()[0] == str(action.metavar)[0], f"{action.dest}: {action.metavar}"


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_can_be_typed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, meaning in EXAMPLES[command]:
        words = shlex.split(re.split(" [<>]", arguments)[0])
        assert _parser(command).parse_args([command, *words]).command == command
        assert meaning
    with pytest.raises(SystemExit):
        main([command, "--help"])
    told = capsys.readouterr().out
    assert "examples:\n  onebreath " + command in told


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_code_of_the_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "onebreath" in capsys.readouterr().out


@pytest.mark.parametrize(
    "line, expected",
    [
        ("onebreath co", {"configs", "compare", "cohort", "convert", "completion"}),
        ("onebreath configs ch", {"check"}),
        ("onebreath configs list --no", set()),
        ("onebreath completion --log-f", {"--log-format"}),
    ],
)
def test_a_shell_is_told_how_a_line_may_go_on(line: str, expected: set[str]) -> None:
    reading, writing = os.pipe()
    surroundings = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_STDOUT_FILENAME": f"/dev/fd/{writing}",
    }
    code = "from onebreath.cli import main; main()"
    subprocess.run([sys.executable, "-c", code], env=surroundings, pass_fds=[writing], check=True, timeout=60)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert {word.strip() for word in answer.read().split("\n") if word.strip()} == expected
