"""`make gpu-pack`: what a bare machine without network lacks, in one folder: wheels, and the data that is trained on.

    python -m benchmarks.gpu.pack --python 3.12

Wheels are those that the package and its tests need, in the versions of this environment, but for what every machine
made for work with PyTorch has (`THERE`) and what only that needs.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.gpu.data import QUALITY, compress
from benchmarks.gpu.provision import REQUIREMENTS

ROOT = Path(__file__).parents[2]
MIB = 2**20
THERE = ("torch", "numpy", "scipy", "h5py", "hypothesis", "matplotlib", "pillow", "psutil", "pytest", "pyyaml", "tqdm")
"""Packages that the machine must have."""
TESTS = ("pytest-timeout",)
"""What the tests need beside the package's own requirements."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def main() -> int:
    """Make the pack and say how large it is; 1 if it is larger than allowed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.pack", description=__doc__.partition("\n")[0])
    parser.add_argument("--pack", type=Path, default=ROOT / "gpu-pack", help="folder to make anew")
    parser.add_argument("--python", default="3.12", help="version of the Python there (default: %(default)s)")
    parser.add_argument("--most", type=float, default=64.0, help="MiB of checkout and pack (default: %(default)s)")
    parser.add_argument("--quality", type=float, default=QUALITY, help="of the frames, in dB (default: %(default)s)")
    args = parser.parse_args()
    shutil.rmtree(args.pack, ignore_errors=True)
    wheels, data = args.pack / "wheels", args.pack / "data"
    fetch(closure(roots(), args.python, without=THERE), wheels, args.python)
    print(f"must be there: {', '.join(THERE)}")
    print("\n".join(compress(data, quality=args.quality)))
    checkout, pack = _tracked() / MIB, sum(path.stat().st_size for path in args.pack.rglob("*") if path.is_file()) / MIB
    print(f"{args.pack}: {pack:.1f} MiB; with the checkout {checkout + pack:.1f} MiB of {args.most:.0f}")
    return int(checkout + pack > args.most)


def roots() -> list[Requirement]:
    """What the package and the tests ask for, with the ranges of versions that the package states."""
    own = [Requirement(one) for one in requires("onebreath") or []]
    return [one for one in own if one.marker is None] + [Requirement(name) for name in TESTS]


def closure(wanted: Iterable[Requirement], python: str, without: Sequence[str] = ()) -> dict[str, str]:
    """Versions in this environment, by name, of `wanted` and all that they need on a Linux with that Python.

    Packages that are named in `without` are left out, with what only they need.
    """
    target = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux", "extra": ""}
    found: dict[str, str] = {}
    waiting = list(wanted)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or name in without or (requirement.marker and not requirement.marker.evaluate(target)):
            continue
        try:
            one = distribution(name)
        except PackageNotFoundError:
            print(f"{name} is needed there and is not installed here; no version of it can be chosen", file=sys.stderr)
            continue
        found[name] = one.version
        waiting += [Requirement(text) for text in one.requires or []]
    return dict(sorted(found.items()))


def fetch(versions: dict[str, str], wheels: Path, python: str) -> None:
    """Download wheels, and write ``requirements.txt``."""
    wheels.mkdir(parents=True)
    platforms = [argument for name in PLATFORMS for argument in ("--platform", name)]
    command = ["download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", python, *platforms]
    names = [f"{name}=={version}" for name, version in versions.items()]
    subprocess.run([sys.executable, "-m", "pip", *command, "--dest", str(wheels), *names], check=True)
    write_requirements(wheels)


def write_requirements(wheels: Path) -> None:
    """Write what the machine has to fulfil, beside the wheels; of torch it has what it has."""
    ranges = [str(one) for one in roots() if canonicalize_name(one.name) != "torch"]
    (wheels / REQUIREMENTS).write_text("\n".join(ranges) + "\n", encoding="utf-8")


def _tracked() -> int:
    """Bytes of the files under version control."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return sum((ROOT / name).stat().st_size for name in re.split("\0", listed.decode()) if name)


if __name__ == "__main__":
    sys.exit(main())
