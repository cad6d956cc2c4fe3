"""What every benchmark's table says: title, machine, versions and command, then the rows."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], packages: Sequence[str] = ()) -> str:
    """Make a Markdown table that can be repeated and compared.

    Parameters
    ----------
    title
        What was measured, and how.
    columns, rows
        Head and cells; cells are written as they are.
    packages
        Distributions whose versions matter.
    """
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in packages)])
    lines = [
        title,
        "",
        f"Machine: {processor()}, {os.cpu_count()} cores. {versions}.",
        f"Command: `{command()}`",
        "",
        f"| {' | '.join(columns)} |",
        "|" + "---|" * len(columns),
        *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows),
    ]
    return "\n".join(lines)


def processor() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def command() -> str:
    """Return the command that runs this benchmark again."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["python", "-m", spec.name.removesuffix(".__main__")] if spec else ["python", sys.argv[0]]
    return shlex.join([*program, *(Path(word).name if word.startswith("/") else word for word in sys.argv[1:])])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
