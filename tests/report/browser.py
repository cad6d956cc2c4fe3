"""A real browser without a screen, if there is one."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome")
SIZE = "1240,1000"


class Browser:
    def __init__(self, folder: Path) -> None:
        self.program = next((found for name in NAMES if (found := shutil.which(name))), None)
        if self.program is None:
            pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
        self.folder = folder

    def _run(self, page: Path, *options: str) -> str:
        command = [
            str(self.program),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-prefers-reduced-motion",
            f"--user-data-dir={self.folder / 'profile'}",
            f"--window-size={SIZE}",
            "--virtual-time-budget=20000",
            *options,
            page.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    def document(self, page: Path) -> str:
        """The page as it is once its script has run."""
        return self._run(page, "--dump-dom")

    def picture(self, page: Path) -> np.ndarray:
        """What is seen of it (y, x, colour)."""
        target = self.folder / "screen.png"
        self._run(page, f"--screenshot={target}")
        with Image.open(target) as image:
            return np.asarray(image.convert("RGB"))


def body(document: str) -> dict[str, str]:
    """What the script says of itself on the body."""
    (tag,) = re.findall(r"<body[^>]*>", document)
    return dict(re.findall(r'data-(\w+)="([^"]*)"', tag))
