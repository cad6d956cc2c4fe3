"""Connections from other machines: TLS, and a token that both sides know.

Gadgetron itself speaks neither, so ``onebreath tunnel`` stands beside it and speaks both. After the TLS handshake the
server sends 16 bytes ``onebreath-token1`` and 32 random ones; the client answers with the HMAC-SHA256 of these 48 bytes
under the token; the server sends one byte, 1. Then the protocol begins.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import logging
import secrets
import socket
import ssl
import stat
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from onebreath.config.policy import is_loopback
from onebreath.errors import ConfigError, ConnectionLost, OnebreathError
from onebreath.host.listener import Serve, speaks_through
from onebreath.threads import begin
from onebreath.wire.framing import SHORTEST
from onebreath.worker.relay import AnySocket, TlsSocket, relay

log = logging.getLogger("onebreath.secure")

MAGIC = b"onebreath-token1"
NONCE = 32
PATIENCE = 10.0  # seconds for the handshake and the token
FLUSH = 10.0  # seconds for the last bytes of an answer to leave through TLS
SHORTEST_TOKEN = 16  # bytes
SOON = 30  # days before its end from which a certificate is warned of
_ANY_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME


@dataclass(frozen=True)
class Security:
    """Security requirements of a connection.

    Parameters
    ----------
    context
        TLS of the server's side; None: plain TCP.
    token
        What both sides know; None: nobody is asked.
    valid
        When the certificate begins and ends to be valid, in seconds since 1970; None: without TLS, or not known.
    """

    context: ssl.SSLContext | None = None
    token: bytes | None = None
    valid: tuple[float, float] | None = None

    def faults(self) -> list[str]:
        """Return a text if the certificate is not valid now: nobody who checks it can connect."""
        if self.valid is None or self.valid[0] <= time.time() < self.valid[1]:
            return []
        begins = time.time() < self.valid[0]
        what = f"is not valid before {_day(self.valid[0])}" if begins else f"expired on {_day(self.valid[1])}"
        return [f"the TLS certificate {what}; replace it and restart, or connections will be refused"]

    def warnings(self) -> list[str]:
        """Return a text if the certificate ends to be valid within `SOON` days."""
        if self.valid is None or self.faults() or self.valid[1] - time.time() > SOON * 86400:
            return []
        return [f"the TLS certificate expires on {_day(self.valid[1])}; replace it and restart (SIGHUP) before"]

    def gate(self, serve: Serve) -> Serve:
        """Return `serve` behind TLS and the token; peers without both never reach it."""
        if self.context is None and self.token is None:
            return serve

        def guarded(sock: socket.socket) -> None:
            secured = self._admit(sock)
            if isinstance(secured, TlsSocket):
                speaks_through(secured.socket)
                _serve_inside(secured, serve)
            else:
                serve(secured)

        return guarded

    def _admit(self, sock: socket.socket) -> AnySocket:
        """Return the connection once it has been authenticated, else close it."""
        secured: AnySocket = sock
        sock.settimeout(PATIENCE)
        with ExitStack() as undo:
            try:
                if self.context is not None:
                    secured = undo.enter_context(TlsSocket(sock, self.context))
                    secured.handshake(PATIENCE)
                if self.token is not None:
                    _challenge(secured, self.token)
            except OSError as error:  # TLS errors are such errors too
                raise ConnectionLost(f"a connection was refused: {error}") from error
            undo.pop_all()
        return secured


def _serve_inside(secured: TlsSocket, serve: Serve) -> None:
    """Serve the plain bytes inside a TLS connection."""
    inside, outside = socket.socketpair()
    carrier = threading.Thread(target=relay, args=(secured, outside), name="onebreath-tls", daemon=True)
    begin(carrier)
    try:
        serve(inside)
    finally:
        inside.close()
        carrier.join(FLUSH)
        if carrier.is_alive():
            log.warning("the other side did not take its answer within %g s", FLUSH)


def _challenge(sock: AnySocket, token: bytes) -> None:
    """Ask for the token.

    Raises
    ------
    ConnectionLost
        If the answer is wrong.
    """
    question = MAGIC + secrets.token_bytes(NONCE)
    sock.sendall(question)
    if not hmac.compare_digest(_exactly(sock, hashlib.sha256().digest_size), _proof(token, question)):
        raise ConnectionLost("a connection was refused: its token is wrong")
    sock.sendall(b"\1")


def answer_challenge(sock: AnySocket, token: bytes) -> None:
    """Show the token to a server.

    Raises
    ------
    ConnectionLost
        If the server asks for none, or does not take it.
    """
    question = _exactly(sock, len(MAGIC) + NONCE)
    if not question.startswith(MAGIC):
        raise ConnectionLost("the other side does not ask for a token; it is no onebreath server, or has none set")
    sock.sendall(_proof(token, question))
    if _exactly(sock, 1) != b"\1":
        raise ConnectionLost("the other side does not take the token")


def _proof(token: bytes, question: bytes) -> bytes:
    return hmac.new(token, question, hashlib.sha256).digest()


def _exactly(sock: AnySocket, count: int) -> bytes:
    data, ends = b"", time.monotonic() + PATIENCE
    while len(data) < count:
        sock.settimeout(max(ends - time.monotonic(), SHORTEST))  # however the bytes trickle in
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionLost("a connection was closed before its token was settled")
        data += part
    return data


def read_token(path: Path) -> bytes:
    """Read a token from the first line of a file that only its owner can read.

    Raises
    ------
    ConfigError
        If it cannot be read, others can read it, or it is short.
    """
    try:
        mode, lines = path.stat().st_mode, path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"the token file {path} cannot be read: {error.strerror}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"the token file {path} can be read by others; chmod 600 it")
    token = lines[0].strip() if lines else b""
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError(f"the token in {path} is shorter than {SHORTEST_TOKEN} characters")
    return token


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Make the server's side of TLS 1.3; raises ConfigError if certificate or key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise ConfigError(f"the certificate {certificate} with the key {key} cannot be used: {error}") from error
    return context


def validity(certificate: Path, context: ssl.SSLContext) -> tuple[float, float] | None:
    """Return when a certificate begins and ends to be valid, in seconds since 1970.

    Only a connection tells, so one is made in memory, to a client that trusts this certificate at any time. None if it
    does not come about, as with a certificate that is not for servers.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _ANY_TIME
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client.load_verify_locations(certificate)
        ends = client.wrap_bio(back, there), context.wrap_bio(there, back, server_side=True)
        for _ in range(4):  # turns of TLS 1.3
            for end in ends:
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
        found = ends[0].getpeercert() or {}
        begins, ends_at = (ssl.cert_time_to_seconds(str(found[name])) for name in ("notBefore", "notAfter"))
        return begins, ends_at
    except (OSError, KeyError, ValueError) as error:
        log.warning("it is not known how long the certificate %s is valid: %s", certificate, error)
        return None


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments for what a server asks of connections."""
    parser.add_argument("--tls-certificate", type=Path, help="PEM file; TCP connections must then speak TLS")
    parser.add_argument("--tls-key", type=Path, help="PEM file of the certificate's private key")
    parser.add_argument("--token-file", type=Path, help="file with the token that TCP connections must show")


def security_of(args: argparse.Namespace) -> Security:
    """Return the security that the arguments ask for, and warn where other machines can connect without any.

    Raises
    ------
    ConfigError
        If a file cannot be used, or a certificate has no key.
    """
    if (args.tls_certificate is None) != (args.tls_key is None):
        raise ConfigError("--tls-certificate and --tls-key belong together")
    context = None if args.tls_key is None else server_context(args.tls_certificate, args.tls_key)
    token = None if args.token_file is None else read_token(args.token_file)
    if not is_loopback(args.host) and (context is None or token is None):
        log.warning("other machines can connect to %s without TLS and token; see SECURITY.md", args.host or "this one")
    security = Security(context, token, None if context is None else validity(args.tls_certificate, context))
    if context is not None and stat.S_IMODE(args.tls_key.stat().st_mode) & 0o007:
        log.warning("the private key %s can be read by every user of this machine; chmod 600 it", args.tls_key)
    for text in (*security.faults(), *security.warnings()):
        log.warning("%s", text)
    return security


def dial(address: tuple[str, int], context: ssl.SSLContext | None, token: bytes | None) -> AnySocket:
    """Connect to a server that asks for TLS, a token, both or neither.

    Raises
    ------
    OnebreathError
        If it cannot be reached, its certificate is not trusted, or it does not take the token.
    """
    with ExitStack() as undo:
        try:
            plain = undo.enter_context(socket.create_connection(address, PATIENCE))
            sock: AnySocket = plain
            if context is not None:
                sock = undo.enter_context(TlsSocket(plain, context, address[0]))
                sock.handshake(PATIENCE)
            if token is not None:
                answer_challenge(sock, token)
        except OSError as error:
            raise OnebreathError(f"{address[0]}:{address[1]} cannot be reached: {error}") from error
        sock.settimeout(None)
        undo.pop_all()
    return sock
