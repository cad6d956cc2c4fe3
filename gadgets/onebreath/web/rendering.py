"""How pages are made of templates, and what they all need: style, script, sign."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from onebreath import __version__
from onebreath.report.template import STYLE

HERE = Path(__file__).parent
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6" fill="none" '
    'stroke="#2f5fd0" stroke-width="3"/></svg>'
)


def page(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return the page that a template makes of values."""
    text = _templates().get_template(f"{name}.j2").render(page=name, version=__version__, **values)
    return HTMLResponse(text, status)


@cache
def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"moment": _moment, "seconds": _seconds, "gib": _gib, "path": in_address}
    return made


def assets() -> list[Route]:
    """Return the routes to style (that of reports, and what these pages have besides), script and sign."""
    style = STYLE.read_text(encoding="utf-8") + (HERE / "web.css").read_text(encoding="utf-8")
    script = (HERE / "live.js").read_text(encoding="utf-8")
    return [
        _asset("/style.css", style, "text/css"),
        _asset("/live.js", script, "text/javascript"),
        _asset("/favicon.ico", ICON, "image/svg+xml"),
    ]


def _asset(path: str, content: str, kind: str) -> Route:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route(path, answer)


def in_address(text: str) -> str:
    """Return a text as a part of an address."""
    return quote(text, safe="")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def _gib(value: float) -> str:
    return f"{value / 2**30:.1f} GiB"
