"""What pyproject.toml cannot say: where Gadgetron looks for configurations and models, and the commit of a wheel."""

import os
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHARE = "share/gadgetron"


def data_files() -> list[tuple[str, list[str]]]:
    """List the configurations and the models with their folders below the installation prefix."""
    configs = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").glob("*.xml"))
    targets = [(f"{SHARE}/config", configs)]
    models = [path.relative_to(ROOT) for path in sorted((ROOT / "models").rglob("*")) if path.is_file()]
    for folder in sorted({path.parent for path in models}):
        files = [str(path) for path in models if path.parent == folder]
        targets.append((f"{SHARE}/onebreath/{folder.as_posix()}", files))
    return targets


def commit() -> str:
    """Commit of this checkout, which a wheel carries; without git the one that ONEBREATH_COMMIT names; else empty."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        if (ROOT / ".git").exists():
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the commit cannot be told: {error}")
    return os.environ.get("ONEBREATH_COMMIT", "")


class BuildWithCommit(build_py):
    """Building a wheel also writes which commit it was built from."""

    def run(self) -> None:
        """Build, then write the file that `onebreath.diagnostics.software` reads."""
        super().run()
        if not self.editable_mode and commit():
            (Path(self.build_lib) / "onebreath" / "built_from.txt").write_text(commit() + "\n", encoding="ascii")


setup(cmdclass={"build_py": BuildWithCommit}, data_files=data_files())
