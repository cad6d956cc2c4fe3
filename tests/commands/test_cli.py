import os
import subprocess
import sys

import pytest

from onebreath import __version__
from onebreath.cli import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert "usage: onebreath" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert __version__ in capsys.readouterr().out


def test_help_is_quick_because_nothing_else_is_imported():
    code = (
        "import sys, onebreath.cli as c; from onebreath.settings import settings; c._parser(None, settings()); "
        "print({'torch', 'scipy', 'numpy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("arguments", [["configs", "list"], ["configs", "properties"]])
def test_output_that_nobody_reads_any_more_ends_a_command_without_a_word(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "onebreath.cli", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141


def test_a_connection_that_breaks_is_still_an_error(monkeypatch, capsys):
    def broken(args):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("onebreath.commands.configs.run", broken)
    assert main(["configs", "list"]) == 1
    assert "Broken pipe" in capsys.readouterr().err
