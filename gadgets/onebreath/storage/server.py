"""Client of an MRD storage server (REST), as a Gadgetron server runs or is given one."""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException
from urllib.parse import urlencode, urlsplit

from onebreath.storage.base import TIME_TO_LIVE, StorageError, Tags

PATIENCE = 2.0  # seconds for one answer: a scan waits for it
LARGEST = 256 << 20  # bytes of an answer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        """Follow no redirection: a storage server answers itself."""


class ServerStore:
    """An MRD storage server.

    Parameters
    ----------
    address
        For example ``http://localhost:9112``.
    patience
        Seconds to wait for an answer.

    Raises
    ------
    StorageError
        If the address is no http or https address.
    """

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StorageError(f"'{address}' is not the address of a storage server; write http://HOST:PORT")
        self.address = address.rstrip("/")
        self.patience = patience
        # Without proxies: the server stands beside us, and patients' data go nowhere else.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    @property
    def where(self) -> str:
        """The server's address."""
        return f"storage server {self.address}"

    @property
    def kind(self) -> str:
        """The same: an address is no path."""
        return self.where

    def latest(self, tags: Tags) -> bytes | None:
        """Return the newest data that have these tags, or None; see `Store`."""
        return self._ask("GET", f"/v1/blobs/data/latest?{urlencode(tags.pairs())}")

    def put(self, tags: Tags, content: bytes, seconds: int = TIME_TO_LIVE) -> None:
        """Keep data; see `Store`."""
        query = urlencode([*tags.pairs(), ("_ttl", f"{seconds}s")])
        if self._ask("POST", f"/v1/blobs/data?{query}", content) is None:
            raise StorageError(f"{self.where} knows no way to store data (404)")

    def check(self) -> None:
        """Raise StorageError if the server does not call itself healthy."""
        if self._ask("GET", "/healthcheck") is None:
            raise StorageError(f"{self.where} is none: it has no health check")

    def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes | None:
        """Return the body of the answer; None for 404."""
        request = urllib.request.Request(self.address + path, content, method=method)
        if content is not None:
            request.add_header("Content-Type", "application/octet-stream")
        try:
            with self._opener.open(request, timeout=self.patience) as answer:
                body: bytes = answer.read(LARGEST + 1)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise StorageError(f"{self.where} answered {error.code} {error.reason}") from error
        except (OSError, HTTPException) as error:
            raise StorageError(f"{self.where} cannot be reached: {getattr(error, 'reason', error)}") from error
        if len(body) > LARGEST:
            raise StorageError(f"{self.where} sent more than {LARGEST} bytes")
        return body
