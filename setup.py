"""What pyproject.toml cannot say: compiled code, files where Gadgetron looks for them, and the commit of a wheel."""

import os
import platform
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHARE = "share/gadgetron"
COMPILED = "gadgets/onebreath/networks/convolution"


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


def convolutions() -> list[Extension]:
    """Convolutions for a CPU, not Python modules but loaded by ctypes; without a C compiler PyTorch's are used.

    For Intel's and AMD's processors there are two, of which the one with the wider vectors is taken where it runs.
    """
    made_for = {"": []}
    if platform.machine() in ("x86_64", "AMD64"):
        made_for = {"": ["-mavx2", "-mfma", "-mprfchw"], "_avx512": ["-mavx512f", "-mavx512vl", "-mfma", "-mprfchw"]}
    files = {kind: [str(path.relative_to(ROOT)) for path in (ROOT / COMPILED).glob(f"*.{kind}")] for kind in "ch"}
    return [
        Extension(
            f"onebreath.networks.convolution._convolution{suffix}",
            sorted(files["c"]),
            depends=files["h"],
            extra_compile_args=["-std=c11", "-O3", *flags, "-ffp-contract=fast", "-fno-math-errno", "-fopenmp"],
            extra_link_args=["-fopenmp"],
            optional=True,
        )
        for suffix, flags in made_for.items()
    ]


setup(cmdclass={"build_py": BuildWithCommit}, data_files=data_files(), ext_modules=convolutions())
