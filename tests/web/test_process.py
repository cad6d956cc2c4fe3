"""``onebreath serve --web`` as a process: what it prints, and what a restart and a kill leave."""

import http.client
import os
import re
import signal
import socket
import sqlite3
from pathlib import Path

import pytest

from tests.host import processes, standin, tiny
from tests.host.workers import wait_for

SCAN = b"".join(tiny.pieces(tiny.configuration()))


def ask(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def send_scan(folder: Path) -> None:
    with standin.connect(processes.address(folder)) as server:
        assert len(server.exchange(SCAN).images) == 1


def counted(folder: Path) -> int:
    connection = sqlite3.connect(folder / "state/web/history.sqlite")
    try:
        return connection.execute("SELECT COUNT(*) FROM scans").fetchone()[0]
    finally:
        connection.close()


def ready(folder: Path, times: int = 1) -> str:
    """Wait until workers have said so often that they are ready; what they have said until then."""
    wait_for(lambda: (folder / "log").read_text().count("ready\n") == times)
    return (folder / "log").read_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_a_restart_and_a_kill_keep_the_history(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the page needs uvicorn: pip install 'onebreath[web]'")
    port = free_port()
    with processes.served(tmp_path, "--web", str(port)) as process:
        said = ready(tmp_path)
        where = re.search(rf"web: http://127\.0\.0\.1:{port}/ \(token in (\S+)\)", said)
        assert where, said
        token = Path(where[1]).read_text().strip()
        assert token not in said
        with_token = {"Authorization": f"Bearer {token}", "Accept": "text/html"}
        send_scan(tmp_path)
        wait_for(lambda: counted(tmp_path) == 1)
        assert ask(port, "/", **with_token)[2].count("<tr data-scan") == 1
        os.kill(process.pid, signal.SIGHUP)
        ready(tmp_path, 2)
        assert ask(port, "/scans", **with_token)[2].count("<tr data-scan") == 1
        send_scan(tmp_path)
        wait_for(lambda: counted(tmp_path) == 2)
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
    with processes.served(tmp_path, "--web", str(port)) as process:
        ready(tmp_path, 3)
        assert ask(port, "/scans", **with_token)[2].count("<tr data-scan") == 2
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_decisions_are_on_the_page_and_not_on_standard_error(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the page needs uvicorn: pip install 'onebreath[web]'")
    with processes.served(tmp_path, "--web", "0"):
        port = int(re.search(r"web: http://127\.0\.0\.1:(\d+)/", ready(tmp_path))[1])
        token = (tmp_path / "state/web/token").read_text().strip()
        send_scan(tmp_path)
        wait_for(lambda: counted(tmp_path) == 1)
        text = ask(port, "/log", Authorization=f"Bearer {token}")[2]
        assert "method: zero_filled" in text
        logged = (tmp_path / "log").read_text()
        assert "method: zero_filled" not in logged, "the log level is WARNING"
        assert logged.count("INFO onebreath.scans: scan ") == 1


def test_a_port_in_use_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("uvicorn", reason="the page needs uvicorn: pip install 'onebreath[web]'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = processes.start(tmp_path, "--web", str(taken.getsockname()[1]))
        process.join(60)
        assert process.exitcode == 1
    assert "cannot listen on 127.0.0.1" in (tmp_path / "log").read_text()
