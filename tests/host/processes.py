"""Resident workers as processes of their own, forked from one that has imported everything: a start costs little."""

import multiprocessing
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

from onebreath.host.handover import ask
from tests.host.standin import environment
from tests.host.workers import wait_for

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["tests.host.processes", "onebreath.commands.serve", "onebreath.chain.chain", "onebreath.methods"]
)


def serve(arguments: list[str], log: Path, variables: dict[str, str]) -> None:
    """Be ``onebreath serve``; runs in the new process."""
    from onebreath.cli import main

    os.environ.update(variables)
    sys.argv[:] = ["onebreath", "serve", *arguments]
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.exit(main())


def start(folder: Path, *more: str, target=serve, **variables: str):
    """Start a worker, with variables of its own; gives its process, once it answers. `target` runs in it."""
    path = folder / "worker.sock"
    arguments = [
        "--cold",
        "--memory-gb",
        "2",
        "--port",
        "0",
        "--gadget-port",
        "0",
        "--socket",
        str(path),
        "--state",
        str(folder / "state"),
    ]
    process = FORKS.Process(target=target, args=([*arguments, *more], folder / "log", {**environment(), **variables}))
    process.start()
    wait_for(lambda: answers(path) == process.pid or not process.is_alive(), 60)
    return process


def answers(path: Path) -> int:
    """Process id of the worker at a path; 0 if none answers."""
    with suppress(OSError):
        return ask(path, "status", 5)["pid"]
    return 0


def address(folder: Path, side: str = "gadget") -> tuple[str, int]:
    """Where a worker listens."""
    text = ask(folder / "worker.sock", "status")["listens"][side]
    host, _, port = text.rpartition(":")
    return host, int(port)


@contextmanager
def served(folder: Path, *more: str, target=serve, **variables: str):
    """A worker that is killed at the end, if it lives; `target` as in `start`."""
    process = start(folder, *more, target=target, **variables)
    try:
        yield process
    finally:
        process.kill()
        process.join(60)
        process.close()
