"""TLS and tokens: the whole protocol passes them, and nobody passes without."""

from __future__ import annotations

import argparse
import logging
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import prometheus_client
import pytest

from onebreath.commands import status
from onebreath.commands.tunnel import forward
from onebreath.config.policy import is_loopback
from onebreath.errors import ConfigError, OnebreathError
from onebreath.host.listener import Listener
from onebreath.host.server import serve_client
from onebreath.worker import secure
from onebreath.worker.metrics import Metrics
from onebreath.worker.secure import Security, add_arguments, dial, read_token, security_of, server_context
from tests.chain.running import header_bytes, images_of, pixels, send, simulated, steps, xml
from tests.host.wiring import received
from tests.host.workers import worker

TOKEN = b"correct horse battery"


@pytest.fixture
def guarded(certificate: tuple[Path, Path]) -> Iterator[tuple[Listener, ssl.SSLContext]]:
    security = Security(server_context(*certificate), TOKEN)
    with Listener(security.gate(serve_client)) as listener:
        yield listener, ssl.create_default_context(cafile=certificate[0])


def address(listener: Listener) -> tuple[str, int]:
    return "localhost", listener.address[1]


def test_a_scan_through_the_tunnel_is_the_scan_itself(guarded: tuple[Listener, ssl.SSLContext]) -> None:
    server, context = guarded
    scan = simulated()
    config, header = xml(steps("zero_filled")), header_bytes(scan.header)
    tunnel = partial(forward, address=address(server), context=context, token=TOKEN)
    with Listener(tunnel) as through, Listener(serve_client) as plain:
        made, texts = send(through, config, header, scan.acquisitions)
        expected, _ = send(plain, config, header, scan.acquisitions)
        _, errors = send(through, xml([("nothing", {})]), header, scan.acquisitions)
    assert texts == []
    assert (pixels(images_of(made)) == pixels(images_of(expected))).all()
    assert "nothing" in errors[0]


def test_a_client_that_only_listens_gets_its_late_answer(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onebreath.worker.relay.LINGER", 0.1)

    def slow(sock: socket.socket) -> None:
        asked = received(sock)
        time.sleep(0.4)
        sock.sendall(asked[::-1] * 100_000)

    security = Security(server_context(*certificate), TOKEN)
    context = ssl.create_default_context(cafile=certificate[0])
    with Listener(security.gate(slow)) as server:
        tunnel = partial(forward, address=address(server), context=context, token=TOKEN)
        with Listener(tunnel) as through, socket.create_connection(through.address) as sock:
            sock.sendall(b"abc")
            sock.shutdown(socket.SHUT_WR)
            assert received(sock) == b"cba" * 100_000


@pytest.mark.parametrize("token", [None, b"wrong horse battery", b""])
def test_without_the_token_nothing_is_served(
    certificate: tuple[Path, Path], token: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    served = threading.Event()
    context = ssl.create_default_context(cafile=certificate[0])
    with Listener(Security(server_context(*certificate), TOKEN).gate(lambda _: served.set())) as server:
        if token is None:
            with dial(address(server), context, None) as sock:
                sock.sendall(b"\1\0" * 40)
                assert received(sock).startswith(secure.MAGIC)
        else:
            with pytest.raises(OnebreathError, match="token"):
                dial(address(server), context, token)
    assert not served.is_set()
    assert "token is wrong" in caplog.text


def test_without_tls_or_trust_nothing_is_served(guarded: tuple[Listener, ssl.SSLContext]) -> None:
    server, _ = guarded
    with pytest.raises(OnebreathError, match="CERTIFICATE_VERIFY_FAILED"):
        dial(address(server), ssl.create_default_context(), TOKEN)
    with socket.create_connection(server.address) as sock, suppress(ConnectionResetError):
        sock.sendall(b"\1\0" * 600)
        assert secure.MAGIC not in received(sock)


def test_an_answer_cannot_be_used_again() -> None:
    questions = []
    with Listener(Security(None, TOKEN).gate(lambda sock: sock.close())) as server:
        for _ in range(2):
            with socket.create_connection(server.address) as sock:
                questions.append(sock.recv(48, socket.MSG_WAITALL))
    assert questions[0] != questions[1]


def test_who_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]) -> None:
    monkeypatch.setattr(secure, "PATIENCE", 0.2)
    for context in (None, server_context(*certificate)):
        with (
            Listener(Security(context, TOKEN).gate(serve_client)) as server,
            socket.create_connection(server.address) as sock,
        ):
            begun = time.monotonic()
            received(sock)
            assert time.monotonic() - begun < 5


def test_who_trickles_through_the_handshake_is_given_up(
    monkeypatch: pytest.MonkeyPatch, certificate: tuple[Path, Path]
) -> None:
    """The time is for all of it, not for each byte."""
    monkeypatch.setattr(secure, "PATIENCE", 0.3)
    hello = b"\x16\x03\x01\x02\x00" + bytes(507)  # the head of a record of TLS, and nothing that ends it
    with (
        Listener(Security(server_context(*certificate), TOKEN).gate(serve_client)) as server,
        socket.create_connection(server.address) as sock,
        pytest.raises(OSError, match=r"(Broken pipe|reset)"),
    ):
        for number in range(len(hello)):
            sock.sendall(hello[number : number + 1])
            time.sleep(0.05)


def test_no_security_changes_nothing() -> None:
    assert Security().gate(serve_client) is serve_client


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        (None, 0, "cannot be read"),
        (TOKEN, 0o644, "read by others"),
        (b"short", 0o600, "shorter"),
        (b"", 0o600, "shorter"),
    ],
)
def test_bad_token_files(tmp_path: Path, content: bytes | None, mode: int, text: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(ConfigError, match=text):
        read_token(path)


def options(*arguments: str, host: str = "127.0.0.1") -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default=host)
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_options(tmp_path: Path, certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "token").write_bytes(TOKEN + b"\n")
    (tmp_path / "token").chmod(0o600)
    token = ["--token-file", str(tmp_path / "token")]
    tls = ["--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1])]
    assert security_of(options()) == Security()
    assert security_of(options(*token)).token == TOKEN
    assert security_of(options(*token, *tls, host="")).context is not None
    assert caplog.text == ""
    for host in ("", "0.0.0.0", "::", "10.1.2.3"):
        caplog.clear()
        security_of(options(*token, host=host))
        assert "without TLS and token" in caplog.text
    caplog.clear()
    certificate[1].chmod(0o644)
    security_of(options(*token, *tls))
    assert "the private key" in caplog.text
    certificate[1].chmod(0o600)
    with pytest.raises(ConfigError, match="belong together"):
        security_of(options(*tls[:2]))
    with pytest.raises(ConfigError, match="cannot be used"):
        security_of(options("--tls-certificate", str(tmp_path / "token"), "--tls-key", str(certificate[1])))


def lasting(folder: Path, begins: str, ends: str) -> list[str]:
    """Options with a certificate of a server that is valid from one day (YYYYMMDD) to another."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, asked, cert = (folder / name for name in ("key.pem", "asked.pem", "cert.pem"))
    ask = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost"
    (folder / "index").touch()
    (folder / "conf").write_text(
        f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/index\nnew_certs_dir={folder}\nserial={folder}/serial\n"
        "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
    )
    sign = f"openssl ca -batch -selfsign -config {folder}/conf -create_serial -notext -keyfile {key} -in {asked}"
    days = ["-out", str(cert), "-startdate", f"{begins}000000Z", "-enddate", f"{ends}000000Z"]
    for command in ([*ask.split(), "-keyout", key, "-out", asked], [*sign.split(), *days]):
        subprocess.run(command, check=True, capture_output=True)
    return ["--tls-certificate", str(cert), "--tls-key", str(key)]


@pytest.mark.parametrize(
    ("begins", "ends", "fault", "warning"),
    [
        (-400, -1, "expired on", ""),
        (1, 400, "is not valid before", ""),
        (-300, 20, "", "expires on"),
        (-1, 60, "", ""),
    ],
)
def test_a_certificate_that_ends_is_warned_of(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    begins: int,
    ends: int,
    fault: str,
    warning: str,
) -> None:
    today = datetime.now(timezone.utc)
    first, last = ((today + timedelta(days=days)).strftime("%Y%m%d") for days in (begins, ends))
    security = security_of(options(*lasting(tmp_path, first, last)))
    faults, warnings = "".join(security.faults()), "".join(security.warnings())
    assert (fault in faults, warning in warnings) == (True, True)
    assert (bool(faults), bool(warnings)) == (bool(fault), bool(warning))
    assert caplog.messages == [text for text in (faults, warnings) if text]
    day = datetime.strptime(last, "%Y%m%d").replace(tzinfo=timezone.utc)
    assert security.valid is not None
    assert security.valid[1] == day.timestamp()
    with worker(tmp_path, security=security) as running:
        path = str(tmp_path / "worker.sock")
        parser = argparse.ArgumentParser()
        status.add_arguments(parser)
        assert status.run(parser.parse_args(["--socket", path, "--health"])) == bool(fault)
        assert (faults or warnings) in capsys.readouterr().err
        metrics = Metrics(running.service.scheduler.snapshot, running.options.security.valid)
        text = prometheus_client.generate_latest(metrics.registry).decode()
        found = re.search(r"^onebreath_certificate_expiry_timestamp_seconds (\S+)$", text, re.M)
        assert found is not None
        assert float(found[1]) == day.timestamp()


def test_the_default_is_this_machine_alone() -> None:
    from onebreath.cli import _parser
    from onebreath.host.server import start_gadget_service, start_host

    args = _parser("serve").parse_args(["serve"])
    assert is_loopback(args.host)
    with start_host() as host, start_gadget_service() as gadgets:
        assert is_loopback(host.address[0])
        assert is_loopback(gadgets.address[0])
