"""The ``onebreath serve`` command: the resident worker as a process, with signals, restart and systemd."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from onebreath.config.finding import check_site_names
from onebreath.dicom.export import options as export_options
from onebreath.dicom.export.beside import exporting
from onebreath.errors import ConfigError
from onebreath.host.server import CLIENT_PORT
from onebreath.keeping import private_folder, read_document, set_aside, write_document
from onebreath.options import amount, at_least, folder, port, port_or_none, positive
from onebreath.shim_settings import state_folder, worker_sockets
from onebreath.web import options as web_options
from onebreath.worker import rates, secure
from onebreath.worker.opening import warm_up
from onebreath.worker.worker import MEMORY_SHARE, Worker, WorkerOptions, listening_at

log = logging.getLogger("onebreath.serve")

FIRST_DESCRIPTOR = 3  # of the sockets that are handed on, by systemd's convention
FREE_IF_UNKNOWN = 8 << 30  # bytes of free memory where the system does not say
LATE_GRACE = 5.0  # seconds that a late scan gets when the worker is stopped; later it is begun anew
ABOVE = 64  # descriptors are moved out of the way of those


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath serve``."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; '' for all (default: %(default)s)")
    parser.add_argument(
        "-p", "--port", type=port_or_none, default=CLIENT_PORT, help="port for clients; -1: none (default: %(default)s)"
    )
    parser.add_argument("--gadget-port", type=port, help="also serve <connect> nodes of Gadgetron servers on this port")
    parser.add_argument(
        "--socket",
        default="".join(map(str, worker_sockets()[:1])),
        help="unix socket on which <execute> nodes hand scans over; '' for none (default: %(default)s)",
    )
    parser.add_argument(
        "--slots", type=at_least(1), default=os.cpu_count() or 1, help="scans at once (default: %(default)s)"
    )
    parser.add_argument("--queue", type=at_least(0), default=16, help="scans that may wait (default: %(default)s)")
    parser.add_argument("--memory-gb", type=positive, help="memory for scans, in GiB (default: 60%% of what is free)")
    parser.add_argument(
        "--spool",
        choices=["auto", "always", "off"],
        default="auto",
        help="raw data that go to disk: those of waiting and late scans, all, or none (default: %(default)s)",
    )
    parser.add_argument(
        "--state", type=folder, default=state_folder(), help="folder of raw data and results (default: %(default)s)"
    )
    parser.add_argument(
        "--quota-gb",
        type=amount,
        default=20,
        help="most that raw data and results may take, in GiB; 0: any (default: %(default)s)",
    )
    parser.add_argument(
        "--reserve-gb",
        type=amount,
        default=1,
        help="what they leave free, in GiB, or 5%% of a small disk (default: %(default)s)",
    )
    parser.add_argument(
        "--silence",
        type=positive,
        default=600,
        help="seconds after which a silent peer is given up (default: %(default)s)",
    )
    parser.add_argument(
        "--grace",
        type=amount,
        default=300,
        help="seconds that scans get to end when it is stopped (default: %(default)s)",
    )
    parser.add_argument("--model", action="append", default=[], help="model to load at the start; may be repeated")
    parser.add_argument("--gpu", help="the GPU of this worker, as in CUDA_VISIBLE_DEVICES; run one worker for each")
    parser.add_argument("--metrics-port", type=port, help="serve metrics for Prometheus on this port; 0: any free one")
    parser.add_argument("--metrics-host", default="127.0.0.1", help="address for metrics (default: %(default)s)")
    web_options.add_arguments(parser)
    export_options.add_arguments(parser)
    rates.add_arguments(parser)
    secure.add_arguments(parser)
    parser.add_argument("--cold", action="store_true", help="load nothing before the first scan")


def run(args: argparse.Namespace) -> int:
    """Run ``onebreath serve`` until a signal ends it; see `add_arguments`.

    SIGTERM and SIGINT: running and waiting scans end, then the process; a second one breaks them. SIGHUP: they end,
    then the program restarts with the same sockets, on which new connections wait meanwhile.
    """
    if args.gpu is not None:
        use_gpu(args.gpu)
    check_site_names()
    os.umask(0o077)  # whatever is written here is for this user alone
    try:
        private_folder(args.state)
    except OSError as error:
        raise ConfigError(f"--state {args.state} cannot be used: {error.strerror}; name another folder") from error
    os.environ["ONEBREATH_STATE"] = str(args.state)
    sockets = inherited_sockets()
    if not args.cold:
        warm_up(args.model, "auto")
    wanted = _Signals()
    with Worker(options_of(args), sockets) as worker, ExitStack() as beside:
        beside.enter_context(watching(worker, args.metrics_port, args.metrics_host))
        beside.enter_context(exporting(worker, export_options.options_of(args)))
        if (web := web_options.options_of(args)) is not None:
            from onebreath.web.serving import serving_web

            beside.enter_context(serving_web(worker, web))
        recall_history(worker)
        worker.start()
        for name, listener in worker.listeners.items():
            print(f"{name}: {listening_at(listener.socket)}", flush=True)
        print("ready", flush=True)
        restart = wanted.wait() == signal.SIGHUP
        log.warning("restarting" if restart else "stopping")
        if not restart and worker.options.path is not None:
            worker.options.path.unlink(missing_ok=True)  # processes that look for a worker then help themselves
        threading.Thread(target=wanted.wait_again, args=(worker,), name="onebreath-impatient", daemon=True).start()
        if not worker.pause(args.grace):
            log.error("scans that did not end within %g s are broken off", args.grace)
            worker.break_off()
        worker.service.late.close(LATE_GRACE)  # before those that hear of its scans go
        if restart:
            beside.close()
            keep_history(worker)
            start_anew({name: listener.socket for name, listener in worker.listeners.items()})
    return 0


def use_gpu(number: str) -> None:
    """Let this process see one GPU only.

    Raises
    ------
    ConfigError
        If there is none of that number.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = number
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(
            f"--gpu {number}: torch {torch.__version__} sees no such GPU. Look at nvidia-smi, or leave --gpu out to "
            "reconstruct on the CPU."
        )


def options_of(args: argparse.Namespace) -> WorkerOptions:
    """Make the worker's options from the command line."""
    return WorkerOptions(
        host=args.host,
        port=None if args.port < 0 else args.port,
        gadget_port=args.gadget_port,
        path=Path(args.socket) if args.socket else None,
        slots=args.slots,
        memory=int(args.memory_gb * 2**30) if args.memory_gb else memory_for_scans(),
        queue=args.queue,
        spool=args.spool,
        state=args.state,
        silence=args.silence,
        quota=int(args.quota_gb * 2**30),
        reserve=int(args.reserve_gb * 2**30),
        security=secure.security_of(args),
        rates=rates.rates_of(args),
    )


def memory_for_scans() -> int:
    """Bytes that scans may need together: a share of what is free now."""
    from onebreath.methods.learned.memory import free_bytes

    return int(MEMORY_SHARE * (free_bytes("cpu") or FREE_IF_UNKNOWN))


@contextmanager
def watching(worker: Worker, port: int | None, host: str) -> Iterator[None]:
    """Serve metrics of a worker on a port; None: not at all."""
    if port is None:
        yield
        return
    from onebreath.worker.metrics import Metrics, serving_metrics

    metrics = Metrics(worker.service.scheduler.snapshot, worker.options.security.valid, worker.export_states)
    worker.service.observers.append(metrics.scan_ended)
    with serving_metrics(metrics, port, host, worker.troubles) as served:
        print(f"metrics: {host}:{served}", flush=True)
        yield


class _Signals:
    """Signals that end or restart the process."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self._again = threading.Event()
        self._first = 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])  # one may wait since `start_anew`

    def _note(self, number: int, frame: object) -> None:
        if self._came.is_set():
            self._again.set()
        else:
            self._first = number
            self._came.set()

    def wait(self) -> int:
        """Wait for the first signal."""
        while not self._came.wait(1.0):
            pass
        return self._first

    def wait_again(self, worker: Worker) -> None:
        """At a second signal, abort running scans."""
        self._again.wait()
        log.warning("asked again: running scans are broken off")
        worker.break_off()


def inherited_sockets() -> dict[str, socket.socket]:
    """Return the listening sockets passed by systemd, or by this program before a restart (``LISTEN_FDS``)."""
    mine = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    count, names = int(os.environ.pop("LISTEN_FDS", "0")), os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if not mine:
        return {}
    return {names[index]: socket.socket(fileno=FIRST_DESCRIPTOR + index) for index in range(count)}


def _history(worker: Worker) -> Path:
    """Return the file that this process leaves for itself: a restart by SIGHUP keeps its number."""
    return worker.options.state / f"history-{os.getpid()}.json"


def keep_history(worker: Worker) -> None:
    """Store the counts and outcomes of ended scans, for the process that replaces this one."""
    books = worker.service.scheduler.snapshot()
    try:
        write_document(_history(worker), {"counts": books["counts"], "ended": books["ended"]})
    except OSError as error:
        log.warning("what was done before the restart cannot be kept: %s", error)


def recall_history(worker: Worker) -> None:
    """Load what `keep_history` stored, if anything."""
    path = _history(worker)
    try:
        found = read_document(path)
        worker.service.scheduler.remember(found["counts"], found["ended"])
        path.unlink()
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError) as error:
        set_aside(path, error)


def start_anew(sockets: Mapping[str, socket.socket]) -> None:
    """Replace this process by a fresh one that listens on the same sockets; it never returns."""
    moved = [fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, ABOVE) for sock in sockets.values()]
    for index, descriptor in enumerate(moved):
        os.dup2(descriptor, FIRST_DESCRIPTOR + index, inheritable=True)
    os.environ |= {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(moved)),
        "LISTEN_FDNAMES": ":".join(sockets),
    }
    # It would kill a program that has not come to handling it; now it waits for that, and restarts once more.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    os.execv(sys.executable, [sys.executable, "-m", "onebreath.cli", *sys.argv[1:]])
