"""Who gets in, and what a peer's texts can do to the pages: nothing."""

import stat
import urllib.parse
from pathlib import Path

import pytest

from onebreath.errors import ConfigError
from onebreath.web import access
from tests.host import tiny
from tests.host.test_worker import client_scan, gadget_scan
from tests.host.wiring import start
from tests.web.served import served

PATHS = ["/", "/scans", "/scans/x", "/scans/x/report", "/scans/x/thumbnail.png", "/trends", "/log", "/news", "/live.js"]


def test_without_the_token_nothing_is_shown(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        for path in PATHS:
            answer = page.ask(path)
            assert (answer.status, answer.text) == (401, "The token is needed; see /login.\n"), path
            assert page.ask(path, Authorization="Bearer wrong").status == 401, path
            for cookie in ("", "1", "9999999999.", f"9999999999.{'0' * 64}", "é.é", ".", f"{page.token}"):
                assert page.ask(path, Cookie=f"onebreath_{page.port}={cookie}").status == 401, (path, cookie)
        sent = page.ask("/", Accept="text/html")
        assert (sent.status, sent.headers["location"]) == (303, "/login")
        assert page.ask("/trends/close", "POST", "protocol=a&measure=noise").status == 401


def test_the_token_is_exchanged_for_a_cookie_that_scripts_and_other_sites_do_not_get(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        wrong = page.ask("/login", "POST", "token=wrong", **form)
        assert wrong.status == 403
        assert "set-cookie" not in wrong.headers
        right = page.ask("/login", "POST", f"token={page.token}", **form)
        cookie = right.headers["set-cookie"]
        assert right.status == 303
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert page.token not in cookie
        value = cookie.partition(";")[0]
        assert page.ask("/", Cookie=value).status == 200
        ends, _, signature = value.partition("=")[2].partition(".")
        late = f"onebreath_{page.port}={int(ends) + 1}.{signature}"
        assert page.ask("/", Cookie=late).status == 401
        assert page.ask("/login", "POST", "x" * 5000, **form).status == 403


def test_guessing_is_slow_and_shuts_nobody_out_who_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "STRANGERS", 30)
    with served(tmp_path) as page:
        cookie = page.ask("/login", "POST", f"token={page.token}").headers["set-cookie"].partition(";")[0]
        found = [page.ask("/", Authorization="Bearer wrong").status for _ in range(40)]
        assert found[:29] == [401] * 29
        assert set(found[30:]) <= {401, 429}
        assert 429 in found[30:]
        while page.ask("/login").status != 429:
            pass
        assert page.ask("/", Authorization=f"Bearer {page.token}").status == 429, "even the right one has to wait"
        for _ in range(50):
            assert page.ask("/", Cookie=cookie).status == 200, "who is in stays in"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1", "0x7f.1"])
def test_other_names_for_this_computer_are_refused(tmp_path: Path, host: str) -> None:
    with served(tmp_path) as page:
        assert page.ask("/login", Host=host).status == 400
        for good in (f"localhost:{page.port}", f"127.0.0.1:{page.port}", "[::1]:1"):
            assert page.ask("/login", Host=good).status == 200


def test_forms_of_other_pages_are_refused(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        cookie = page.ask("/login", "POST", f"token={page.token}").headers["set-cookie"].partition(";")[0]
        for origin in ("http://evil.example", "null", f"http://127.0.0.1:{page.port + 1}"):
            assert page.ask("/trends/close", "POST", "protocol=a", Cookie=cookie, Origin=origin).status == 403
            assert page.ask("/login", "POST", f"token={page.token}", Origin=origin).status == 403


def test_nothing_comes_from_elsewhere_and_no_script_is_in_a_page(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        client_scan(page.worker, tiny.stream())
        assert page.written()
        for path in ("/", "/scans", "/trends", "/log", "/login", "/none"):
            answer = page.get(path)
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
            assert "unsafe" not in policy
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers
            assert "style=" not in answer.text
            assert "://" not in answer.text.replace("http://www.w3.org", "")


@pytest.mark.parametrize("name", ["../token", "..%2ftoken", "%2e%2e/token", "..", "%00", "a" * 300, "....//token"])
def test_no_path_leads_out_of_the_pictures(tmp_path: Path, name: str) -> None:
    with served(tmp_path) as page:
        (tmp_path / "state/web/pictures").mkdir(exist_ok=True)
        (tmp_path / "state/web/secret.png").write_bytes(b"secret")
        for what in (name, urllib.parse.quote(name, safe=""), name.replace("token", "secret")):
            for rest in ("thumbnail.png", "report", ""):
                answer = page.get(f"/scans/{what}/{rest}")
                assert answer.status in (303, 307, 404), what
                assert page.token not in answer.text
                assert "secret" not in answer.text.replace("secret.png", "")


def test_names_from_a_scan_are_text_on_every_page(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"' onload=x"
    written = evil.replace("<", "&lt;").replace(">", "&gt;").encode()
    with served(tmp_path) as page:
        header = tiny.header().replace(b"<protocolName>test<", b"<protocolName>" + written + b"<")
        assert header != tiny.header()
        gadget_scan(page.worker, b"".join([start(tiny.configuration(), header), *tiny.pieces(b"")[1:]]))
        assert page.written()
        ((scan, protocol),) = page.rows("SELECT scan, protocol FROM scans")
        assert protocol == evil
        there = urllib.parse.quote(evil, safe="")
        for path in ("/", "/scans", f"/scans/{scan}", "/trends", f"/trends?protocol={there}", f"/log?scan={there}"):
            answer = page.get(path)
            assert answer.status == 200, path
            assert "<script>alert" not in answer.text, path
            assert "&lt;script&gt;alert" in answer.text, path


def test_the_token_is_private_and_is_not_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path) as page:
        page.get("/")
        page.ask("/login", "POST", f"token={page.token}")
        token = page.token
        for path in ("token", "history.sqlite", "history.sqlite-wal"):
            found = tmp_path / "state/web" / path
            assert stat.S_IMODE(found.stat().st_mode) == 0o600, path
        assert stat.S_IMODE((tmp_path / "state/web").stat().st_mode) == 0o700
    out, err = capfd.readouterr()
    assert token not in out + err
    (tmp_path / "state/web/token").write_text("short")
    with pytest.raises(ConfigError, match="shorter than 16"), served(tmp_path):
        pass
