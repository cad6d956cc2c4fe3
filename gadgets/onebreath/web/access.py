"""Who may see the pages: whoever knows the token, from this computer, at a pace that people have."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse, RedirectResponse, Response

from onebreath.config.policy import is_loopback
from onebreath.errors import ConfigError
from onebreath.keeping import private_folder, write_new
from onebreath.worker.rates import Pace
from onebreath.worker.secure import read_token

log = logging.getLogger("onebreath.web")

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/login", "/style.css", "/favicon.ico")
"""Paths that need no token."""
LIVES = 12 * 3600  # seconds after which one must log in again
FORM = 4096  # bytes of a form at most
KNOWN = 1200  # requests a minute of those who have logged in
STRANGERS = 600  # requests a minute of all others; beyond that not even the right token is looked at
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
)
"""For a report, whose style and script are in the page: it has no origin, so that it reaches nothing of the worker."""


def web_token(path: Path | None, folder: Path) -> tuple[bytes, Path]:
    """Read the token, and make one where no file is named and there is none yet; return it and its file.

    Raises
    ------
    ConfigError
        If it cannot be read or made, others can read it, or it is short.
    """
    if path is None:
        path = folder / "token"
        try:
            private_folder(folder)
            if not path.exists():
                write_new(path, secrets.token_urlsafe(24).encode() + b"\n")
        except OSError as error:
            raise ConfigError(f"no token for the worker's page can be kept in {path}: {error.strerror}") from error
    return read_token(path), path


class Door:
    """Lets requests with the token, or with the cookie that it was exchanged for, through to the pages.

    Parameters
    ----------
    app
        The pages.
    token
        What one has to know.
    port
        Where it is served; part of the cookie's name, as cookies do not know ports.
    """

    def __init__(self, app: App, token: bytes, port: int) -> None:
        self.app, self._token = app, token
        self.cookie = f"onebreath_{port}"
        self._key = hmac.new(token, f"onebreath web {port}".encode(), hashlib.sha256).digest()
        self._known, self._strangers = Pace(KNOWN), Pace(STRANGERS)
        self._warned = -float(LIVES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have the pages do it."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refused(scope, headers)
        answer = refused if refused is not None else self.app
        await answer(scope, receive, _guarded(send))

    def _refused(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not is_local(host):
            return PlainTextResponse("This page is known by the address of this computer only.\n", 400)
        inside = self._has_ticket(headers)
        if not (self._known if inside else self._strangers).admits("all"):
            self._warn(inside)
            return PlainTextResponse("Too many requests; try again in a minute.\n", 429)
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin not in (None, f"http://{host}"):
            return PlainTextResponse("This form was sent by another page.\n", 403)
        if inside or scope["path"] in OPEN or self._has_token(headers):
            return None
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        return PlainTextResponse("The token is needed; see /login.\n", 401)

    def _warn(self, inside: bool) -> None:
        if time.monotonic() - self._warned > 60:
            self._warned = time.monotonic()
            who = "somebody who has logged in" if inside else "somebody without the token"
            log.warning("%s asks for the worker's page too often; more is refused until that ends", who)

    def _has_token(self, headers: dict[str, str]) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(token.strip())

    def _has_ticket(self, headers: dict[str, str]) -> bool:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return found is not None and self.is_ticket(found.value)

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token."""
        return hmac.compare_digest(text.encode("utf-8", "replace"), self._token)

    def ticket(self) -> str:
        """Return the value of a cookie that is good for some hours."""
        ends = str(int(time.time()) + LIVES)
        return f"{ends}.{self._sign(ends)}"

    def is_ticket(self, text: str) -> bool:
        """Return whether this is the value of a cookie that was given out with this token, and is still good."""
        ends, _, signature = text.partition(".")
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), self._sign(ends).encode()):
            return False
        return ends.isascii() and ends.isdigit() and time.time() < int(ends) <= time.time() + LIVES

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def is_local(host: str) -> bool:
    """Return whether a Host header names this computer by a loopback address; other names may be a trap (rebinding)."""
    name = host[1:].partition("]")[0] if host.startswith("[") and "]" in host else host.partition(":")[0]
    return is_loopback(name)


def _guarded(send: Send) -> Send:
    """Return `send` that adds headers to every answer; one that an answer has already stays."""

    async def with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            missing = ((name.lower().encode(), value.encode()) for name, value in HEADERS.items())
            message["headers"] = [*message["headers"], *(pair for pair in missing if pair[0] not in there)]
        await send(message)

    return with_headers


async def read_form(receive: Receive) -> dict[str, str]:
    """Read a form; empty if it is longer than a form of ours, or no form."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return {}
        body += message.get("body", b"")
        if len(body) > FORM:
            return {}
        more = message.get("more_body", False)
    try:
        found = parse_qs(body.decode("utf-8"), max_num_fields=8)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}
