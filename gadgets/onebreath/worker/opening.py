"""Start of a worker: open its own socket, and load what scans will need."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from onebreath.chain.gadget import gadget_class
from onebreath.errors import OnebreathError
from onebreath.registry import GADGETS

log = logging.getLogger("onebreath.worker")


def open_path(path: Path) -> socket.socket:
    """Listen on a unix socket that only this user may connect to.

    Raises
    ------
    OnebreathError
        If another worker listens there, or the path cannot be had.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.is_socket() and _answers(path):
            raise OnebreathError(f"another worker listens at {path} already")
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        path.chmod(0o600)  # before anybody can connect
        sock.listen(64)
    except OSError as error:
        sock.close()
        raise OnebreathError(f"cannot listen at {path}: {error}") from error
    except OnebreathError:
        sock.close()
        raise
    return sock


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def warm_up(models: Sequence[str], device: str) -> None:
    """Load what scans will need: the gadgets, torch, and models by name.

    Raises
    ------
    ModelError
        If there is no such model, or it is damaged.
    """
    begun = time.perf_counter()
    for name in GADGETS:
        gadget_class(name)
    import torch

    from onebreath import zoo
    from onebreath.networks.convolution.loading import code_for

    if torch.cuda.is_available():
        torch.cuda.init()
    for model in models:
        zoo.load(model, device if device != "auto" else ("cuda:0" if torch.cuda.is_available() else "cpu"))
    seconds, code = time.perf_counter() - begun, code_for("cpu", torch.float32)
    log.info(
        "warm after %.1f s: torch %s, convolutions on a CPU: %s, models: %s",
        *(seconds, torch.__version__, code, models or "-"),
    )
