"""Package definition: code from gadgets/, configurations and models to where Gadgetron looks for them."""

import os
import re
import subprocess
from pathlib import Path

from setuptools import find_packages, setup
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


setup(
    name="onebreath",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "gadgets/onebreath/__init__.py").read_text()).group(1),
    description="Deep-learning MR reconstruction for the Gadgetron chain",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    package_dir={"": "gadgets"},
    packages=find_packages("gadgets"),
    cmdclass={"build_py": BuildWithCommit},
    package_data={"onebreath": ["py.typed"]},
    data_files=data_files(),
    python_requires=">=3.10",
    install_requires=[
        "array-api-compat>=1.9",
        "defusedxml>=0.7",
        "gadgetron>=1.4.1",
        "h5py>=3.8",
        "ismrmrd>=1.14",
        "numpy>=1.26",
        "prometheus-client>=0.20",
        "pydantic>=2.5",
        "pyyaml>=6",
        "safetensors>=0.4",
        "scipy>=1.10",
        "threadpoolctl>=3.1",
        "torch>=2.4",
        "tqdm>=4.60",
    ],
    extras_require={
        "gpu": ["cupy-cuda12x>=13"],
        "openrecon": ["fpdf2>=2.7.6", "jsonschema>=4.18", "markdown>=3.5"],
        "report": ["matplotlib>=3.7", "pillow>=10"],
        "dev": [
            "fpdf2>=2.7.6",
            "hypothesis>=6",
            "import-linter>=2",
            "jsonschema>=4.18",
            "markdown>=3.5",
            "matplotlib>=3.7",
            "mypy>=1.8",
            "packaging>=23",
            "pillow>=10",
            "psutil>=5.9",
            "pytest>=8",
            "pytest-timeout>=2.2",
            "pytest-xdist>=3.5",
            "ruff>=0.4",
            "types-PyYAML",
        ],
    },
    entry_points={"console_scripts": ["onebreath = onebreath.cli:main"]},
)
