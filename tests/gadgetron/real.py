"""The real server and the real client as processes of a test, on free ports."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ismrmrd

from onebreath.config.finding import SHARE
from tests.host.workers import wait_for

CONFIGS = Path(__file__).parents[2] / "configs"
ADDRESS = "127.0.0.1"
OWN_PORT = '<connect address="localhost" port="18000"/>'
"""What the shipped configurations say of a worker's gadget port; a test's worker listens on another."""

STREAM, FINISHED = "Connection state: [STREAM]", "Connection state: [FINISHED]"
WAITING, STARTED = "Waiting for external module", "Started external Python module"
"""What a scan's process says in the server's log when it begins and ends, and of its node."""


@dataclass(frozen=True)
class Ran:
    """What the client gave: images by series, all it printed, its exit status, and the seconds it took."""

    images: dict[int, list[ismrmrd.Image]]
    text: str
    status: int
    seconds: float

    @property
    def errors(self) -> list[str]:
        """Lines of what it printed that tell of an error."""
        return [line for line in self.text.splitlines() if "ERROR" in line or "rror" in line]


@dataclass(frozen=True)
class Server:
    """A Gadgetron server that listens."""

    prefix: Path
    home: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    def add_config(self, name: str, xml: str) -> str:
        """Make a configuration that clients can name; gives the name."""
        (self.home / SHARE / name).write_text(xml, encoding="utf-8")
        return name

    def connect_to(self, gadget_port: int) -> None:
        """Make the shipped ``<connect>`` configurations go to a worker's gadget port."""
        for path in CONFIGS.glob("*_Connect.xml"):
            text = path.read_text(encoding="utf-8")
            assert OWN_PORT in text
            link = self.home / SHARE / path.name
            link.unlink()
            link.write_text(text.replace(OWN_PORT, OWN_PORT.replace("18000", str(gadget_port))), encoding="utf-8")

    def run(self, scan: Path, config: str, output: Path, *, local: bool = False, timeout: float = 240) -> Ran:
        """Send a scan with the real client; `config` is a name, or a file to upload (`local`).

        Once more if the server's own process for it crashed before it started any node, as it rarely does.
        """
        heard = self.log.stat().st_size
        ran = _finish(self.start(scan, config, output, local=local), output, timeout)
        if ran.status == -signal.SIGABRT and died_before_a_node(self.log.read_bytes()[heard:].decode(errors="replace")):
            return _finish(self.start(scan, config, output, local=local), output, timeout)
        return ran

    def start(self, scan: Path, config: str, output: Path, *, local: bool = False) -> subprocess.Popen[str]:
        """Start the real client; see `finish`."""
        return start_client(self.prefix, self.port, scan, config, output, local=local)

    def children(self) -> list[int]:
        """Processes that the server has started and that still are."""
        return [pid for pid in _processes() if _parent(pid) == self.process.pid]


def died_before_a_node(log: str) -> bool:
    """Whether a connection's process went without a word while it was about to start its first node.

    Seen once in thousands of scans, with stock gadgets around ours: one thread of Gadgetron 4.7.2 reads the environment
    (``getenv``) while another changes it for the node, and the C library faults. The client then ends by SIGABRT.
    """
    scan = log.rpartition(STREAM)[2]
    return WAITING in scan and not any(sign in scan for sign in (STARTED, FINISHED, "ERROR"))


def start_client(
    prefix: Path, port: int, scan: Path, config: str, output: Path, *, local: bool = False
) -> subprocess.Popen[str]:
    """Start the real client of an installation; `port` may be any server's that speaks its protocol."""
    flag = "-C" if local else "-c"
    command = [prefix / "bin/gadgetron_ismrmrd_client", "-a", ADDRESS, "-p", str(port), "-f", scan, flag, config]
    command += ["-G", "run", "-o", output]
    # Its HDF5 locks the scan for itself; several clients, also of tests beside this one, read the same.
    env = {**os.environ, "HDF5_USE_FILE_LOCKING": "FALSE"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def run_client(
    prefix: Path, port: int, scan: Path, config: str, output: Path, *, local: bool = False, timeout: float = 240
) -> Ran:
    """Send a scan with the real client and wait for it."""
    return _finish(start_client(prefix, port, scan, config, output, local=local), output, timeout)


def finish(client: subprocess.Popen[str], output: Path, timeout: float = 240) -> Ran:
    """Wait for a client that was started; its seconds count from now."""
    return _finish(client, output, timeout)


def _finish(client: subprocess.Popen[str], output: Path, timeout: float) -> Ran:
    begun = time.perf_counter()
    try:
        text, _ = client.communicate(timeout=timeout)
    finally:
        client.kill()
        client.wait()
    return Ran(read_images(output), text, client.returncode, time.perf_counter() - begun)


def read_images(path: Path, group: str = "run") -> dict[int, list[ismrmrd.Image]]:
    """Read what a client wrote: images by series; none if there is no file."""
    if not path.exists():
        return {}
    with ismrmrd.File(path, "r") as file:
        series = [name for name in file[group] if name.startswith("image_")]
        return {int(name.removeprefix("image_")): list(file[group][name].images) for name in series}


def make_home(prefix: Path, folder: Path) -> Path:
    """Make a Gadgetron home in which its own configurations and ours can be named; the installation stays as it is."""
    configs = folder / SHARE
    configs.mkdir(parents=True)
    for path in (*(prefix / SHARE).glob("*.xml"), *CONFIGS.glob("*.xml")):
        (configs / path.name).symlink_to(path)
    return folder


@contextmanager
def serving(prefix: Path, folder: Path, storage: str, **variables: str) -> Iterator[Server]:
    """Run a real server until the block ends; its external nodes are ended with it.

    Parameters
    ----------
    prefix
        The installation.
    folder
        For its home, its working directory and its log.
    storage
        Address of a storage server.
    variables
        Environment of the server, and so of the nodes that it starts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    home, work, log, port = make_home(prefix, folder / "home"), folder / "work", folder / "server.log", free_port()
    work.mkdir()
    command = [prefix / "bin/gadgetron", "-p", str(port), "-G", home, "-W", work, "-E", storage]
    with log.open("wb") as out:
        # A session of its own, so that no node can outlive the server.
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment(**variables),
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    try:
        wait_for(lambda: _listens(port) or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text(errors="replace")
        yield Server(prefix, home, port, log, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def environment(**variables: str) -> dict[str, str]:
    """Environment of a server: this interpreter is the first ``python`` on its path, and nothing of ours is set."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("ONEBREATH_", "GADGETRON_"))}
    return {
        **kept,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", ""))),
        "OMP_WAIT_POLICY": "PASSIVE",
        "ONEBREATH_WORKER": "off",
        **variables,
    }


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server((ADDRESS, 0)) as sock:
        return int(sock.getsockname()[1])


def _die_with_parent() -> None:
    """Ask Linux to end this process with the tests, however those end; runs in the new process."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((ADDRESS, port)) == 0


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
