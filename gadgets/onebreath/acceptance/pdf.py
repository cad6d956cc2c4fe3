"""A PDF of a page: by a browser without a screen, or by WeasyPrint, whichever is there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from onebreath.errors import ConfigError
from onebreath.keeping import whole
from onebreath.optional import required

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 120


def write_pdf(page: Path, target: Path) -> tuple[Path | None, str]:
    """Make a PDF of a page; return where it lies, or None and why there is none."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is not None:
        return _by_browser(browser, page, target)
    if importlib.util.find_spec("weasyprint") is not None:
        try:
            required("weasyprint", "report", "A PDF").HTML(filename=str(page)).write_pdf(str(target))
        except (ConfigError, OSError) as error:
            return None, str(error)
        return target, ""
    return None, f"neither a browser ({', '.join(BROWSERS)}) nor the package weasyprint is there"


def _by_browser(browser: str, page: Path, target: Path) -> tuple[Path | None, str]:
    try:
        temporary = tempfile.TemporaryDirectory()
    except OSError as error:
        return None, f"no folder for temporary files can be made: {error.strerror or error}"
    with temporary as folder:
        made = Path(folder) / "page.pdf"
        command = [browser, "--headless", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}/user"]
        if os.geteuid() == 0:  # browsers do not run their sandbox as root; the page is our own and has no script
            command.append("--no-sandbox")
        command += ["--no-pdf-header-footer", f"--print-to-pdf={made}", page.resolve().as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, str(error)
        if done.returncode or not made.is_file() or not made.read_bytes().startswith(b"%PDF"):
            return None, f"{browser} ended with status {done.returncode}: {done.stderr.strip()[-300:]}"
        with whole(target) as part:
            shutil.copyfile(made, part)
    return target, ""
