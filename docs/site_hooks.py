"""Add the pages of the site that lie outside docs/: README and its neighbours, tables of benchmarks, the reference."""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

log = logging.getLogger("mkdocs.hooks.site")
ROOT = Path(__file__).parents[1]
PACKAGES = (
    "gadgets",
    "methods",
    "networks",
    "zoo",
    "chain",
    "mrd",
    "mri",
    "storage",
    "host",
    "simulation",
    "training",
    "evaluation",
)
"""Public packages, each with a page of the reference."""
ELSEWHERE = {"README.md": "index.md"} | {name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}
LINK = re.compile(r"(\]\()(\.\./|docs/)")
NOTEBOOK_LINK = re.compile(r'href="([^":]+\.md)"')


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    tables = {f"benchmarks/results/{path.name}": path for path in (ROOT / "benchmarks" / "results").glob("*.md")}
    for name, path in {**{page: ROOT / file for file, page in ELSEWHERE.items()}, **tables}.items():
        files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
    for package in PACKAGES:
        files.append(
            File.generated(config, f"api/{package}.md", content=f"# onebreath.{package}\n\n::: onebreath.{package}\n")
        )
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between docs/ and the folder above it into links within the site, where both are one."""
    if page.file.src_uri.startswith(("api/", "benchmarks/", "notebooks/")):
        return markdown
    return LINK.sub(r"\1", markdown)


def on_page_content(html: str, page: Any, files: Files, **_: Any) -> str:
    """Lead links of notebooks to the pages they name, as mkdocs does in Markdown; warn of those that lead nowhere."""
    if not page.file.src_uri.startswith("notebooks/"):
        return html

    def resolved(found: re.Match[str]) -> str:
        target = files.get_file_from_path(posixpath.normpath(posixpath.join("notebooks", found[1])))
        if target is None:
            log.warning("Notebook '%s' contains a link '%s' that leads nowhere", page.file.src_uri, found[1])
            return found[0]
        return f'href="{target.url_relative_to(page.file)}"'

    return NOTEBOOK_LINK.sub(resolved, html)
