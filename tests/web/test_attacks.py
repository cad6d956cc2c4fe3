"""Whoever looks, or pretends to, holds up neither the worker nor those who look as they should."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from onebreath.web import connections, news
from tests.host import tiny
from tests.host.test_worker import client_scan
from tests.host.workers import books, open_files, wait_for
from tests.web.served import Page, served


@contextmanager
def dialled(page: Page, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that say something, and then nothing."""
    with ExitStack() as stack:
        socks = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", page.port), 60))
            sock.sendall(said)
            socks.append(sock)
        yield socks


def serves_on(page: Page) -> None:
    done = len(books(page.worker, "ended"))
    assert len(client_scan(page.worker, tiny.stream())) == 1
    assert books(page.worker, "ended")[done:] == ["done"]
    assert page.get("/").status == 200
    assert page.get("/scans").status == 200


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"POST /login HTTP/1.1\r\nHost: localhost\r\n"]
)
def test_idle_connections_give_way(tmp_path: Path, said: bytes) -> None:
    with served(tmp_path) as page:
        before = open_files()
        with dialled(page, 200, said):
            serves_on(page)
            wait_for(lambda: open_files() <= before + 200 + connections.MOST)


def test_a_request_that_trickles_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENT", 0.3)
    with served(tmp_path) as page, dialled(page, 1, b"GET / HTTP/1.1\r\n") as (sock,):
        sock.settimeout(60)
        assert ended(sock)
        serves_on(page)


def test_a_form_that_never_comes_whole_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENT", 0.3)
    said = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\ntoken=a"
    with served(tmp_path) as page, dialled(page, 90, said) as socks:
        socks[-1].settimeout(60)
        assert ended(socks[-1])
        serves_on(page)


def test_pages_that_are_kept_up_to_date_and_never_read_are_few(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        asked = f"GET /news HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {page.token}\r\n\r\n".encode()
        with dialled(page, news.STREAMS + 10, asked) as socks:
            wait_for(lambda: page.web.pages.listeners.streams == news.STREAMS)
            socks[-1].settimeout(60)
            assert b"503" in socks[-1].recv(100)
            serves_on(page)
        wait_for(lambda: page.web.pages.listeners.streams == 0)


def test_an_answer_that_is_not_taken_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SLOW", 0.3)
    with served(tmp_path) as page:
        (tmp_path / "state/web/pictures").mkdir(exist_ok=True)
        (tmp_path / "state/web/pictures/large.html").write_bytes(bytes(64 << 20))
        (tmp_path / "state/web/pictures/large.h5").write_bytes(b"")
        asked = f"GET /scans/large/report HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {page.token}\r\n\r\n"
        before = open_files()
        with dialled(page, 4, asked.encode()):
            wait_for(lambda: open_files() > before + 4)
            wait_for(lambda: open_files() <= before + 4)
            serves_on(page)


@pytest.mark.parametrize(
    "said",
    [
        bytes(100_000),
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000,
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /%ff%fe?a=%ff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ],
)
def test_nonsense_is_refused(tmp_path: Path, said: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path) as page:
        with socket.create_connection(("127.0.0.1", page.port), 60) as sock:
            try:
                sock.sendall(said)
                answer = sock.recv(100)
            except OSError:
                answer = b""
        assert answer[9:12] in (b"", b"400", b"401", b"404", b"431"), answer
        serves_on(page)
    assert "Traceback" not in capfd.readouterr().err


def test_too_many_requests_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onebreath.web import access

    monkeypatch.setattr(access, "KNOWN", 30)
    with served(tmp_path) as page:
        cookie = page.ask("/login", "POST", f"token={page.token}").headers["set-cookie"].partition(";")[0]
        found = [page.ask("/live.js", Cookie=cookie).status for _ in range(40)]
        assert found[:30] == [200] * 30
        assert 429 in found[30:]
        assert len(client_scan(page.worker, tiny.stream())) == 1


def ended(sock: socket.socket) -> bool:
    """Whether the other side ends a connection."""
    try:
        return sock.recv(1000) == b""
    except ConnectionResetError:
        return True
