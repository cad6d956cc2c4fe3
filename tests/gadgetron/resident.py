"""A real server beside a resident worker, to which its nodes are handed over, and which is an embedded host itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.gadgetron.real import Ran, Server, run_client, serving
from tests.host import processes
from tests.storage.standin import StandIn


@dataclass(frozen=True)
class Both:
    """The two hosts of the same scans."""

    server: Server
    worker: Path
    """Folder of the worker: its socket, its log and its state."""

    @property
    def port(self) -> int:
        """Where the embedded host listens for clients."""
        return processes.address(self.worker, "client")[1]

    def embedded(self, scan: Path, config: str, output: Path, *, local: bool = False) -> Ran:
        """Send a scan to the embedded host, with the real client, too."""
        return run_client(self.server.prefix, self.port, scan, config, output, local=local)

    def log(self) -> str:
        """What the worker has logged."""
        return (self.worker / "log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def both(prefix: Path, folder: Path, storage: StandIn, *options: str, **variables: str) -> Iterator[Both]:
    """Run a worker with `options` of ``onebreath serve``, and a server that finds it; environment for both."""
    worker = folder / "worker"
    worker.mkdir()
    variables |= {"ONEBREATH_WORKER": str(worker / "worker.sock")}
    with (
        processes.served(worker, *options, GADGETRON_STORAGE_ADDRESS=storage.url, **variables),
        serving(prefix, folder / "server", storage.url, **variables) as server,
    ):
        server.connect_to(processes.address(worker, "gadget")[1])
        yield Both(server, worker)
