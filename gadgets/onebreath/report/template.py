"""Self-contained HTML pages in one style, rendered from templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onebreath import __version__
from onebreath.optional import required

STYLE = Path(__file__).parent / "page.css"


def rendered(template: Path, what: str, **values: Any) -> str:
    """Page as HTML.

    Parameters
    ----------
    template
        Jinja template, which also gets this package's ``version`` and the ``style`` of all pages.
    what
        Subject of an error message: "A report".
    values
        Further values of the template.

    Raises
    ------
    ConfigError
        If jinja2 is not installed.
    """
    jinja2 = required("jinja2", "report", what)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    style = STYLE.read_text(encoding="utf-8")
    return str(environment.get_template(template.name).render(version=__version__, style=style, **values))
