r"""Make a lock file, each package with version and hash, of what pip would install here; for Linux x86-64, CPU torch.

Run it where the lock is for (its Python version and platform stand in the head of the lock)::

    pip install --dry-run --ignore-installed --report report.json \
        --extra-index-url https://download.pytorch.org/whl/cpu .
    python docker/lock.py report.json requirements.lock
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OWN = "onebreath"
HEAD = """\
# Every package of Onebreath with its hash, for Python {python} on {system} {machine}; made by docker/lock.py.
# The wheel of torch is the CPU one of download.pytorch.org; its CUDA wheels, and PyPI's, are files with other hashes.
--extra-index-url https://download.pytorch.org/whl/cpu
"""


def lock(report: dict[str, Any]) -> str:
    """Return the lock file for a report of ``pip install --report``."""
    environment = report["environment"]
    text = HEAD.format(
        python=".".join(environment["python_full_version"].split(".")[:2]),
        system=environment["platform_system"],
        machine=environment["platform_machine"],
    )
    packages = [package for package in report["install"] if package["metadata"]["name"].lower() != OWN]
    for package in sorted(packages, key=lambda package: package["metadata"]["name"].lower()):
        meta, hashes = package["metadata"], package["download_info"]["archive_info"]["hashes"]
        text += f"{meta['name'].lower().replace('_', '-')}=={meta['version']} --hash=sha256:{hashes['sha256']}\n"
    return text


if __name__ == "__main__":
    source, target = sys.argv[1:]
    Path(target).write_text(lock(json.loads(Path(source).read_text())))
