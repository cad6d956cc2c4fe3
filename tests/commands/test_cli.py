import os
import resource
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


STARTS = {  # a command, what it must do without, and its processor time as a multiple of importing numpy
    "--help": ("from onebreath.cli import main; main(['--help'])", {"torch", "scipy", "numpy", "pydantic"}, 3),
    "models list": ("from onebreath.cli import main; main(['models', 'list'])", {"torch", "scipy", "numpy"}, 12),
    "shim": ("import onebreath.host.entry", {"torch", "scipy", "numpy", "pydantic", "ismrmrd"}, 3),
}


def processor_time(code):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("name", STARTS)
def test_starting_is_quick_because_nothing_else_is_imported(name):
    code, without, factor = STARTS[name]
    ending = f"import sys, atexit; atexit.register(lambda: print({without} & set(sys.modules), file=sys.stderr)); "
    done = subprocess.run([sys.executable, "-c", ending + code], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"
    pairs = [(processor_time(code), processor_time("import numpy")) for _ in range(5)]
    assert min(ours for ours, _ in pairs) <= factor * min(peer for _, peer in pairs)


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


@pytest.mark.parametrize("words", [["--log-level", "INFO", "train", "x"], ["--log-format=json", "inspect", "x"]])
def test_options_before_the_command_are_told_where_they_go(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"options go behind the command's name: onebreath COMMAND {words[0]} ..." in told
    assert "invalid choice" not in told
