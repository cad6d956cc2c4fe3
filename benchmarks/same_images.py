"""Bit for bit the same images at two revisions: for commits that only move code.

The demo's scan, simulated once, goes through the demo's configurations with the code, configurations and models of
either revision, in processes of their own. Pixels and headers must be equal; so must what the images' meta says was
decided. What is named after it changes from run to run: commit, times, software.

    python -m benchmarks.same_images v0.2.0 HEAD --slices 3
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import ismrmrd
import numpy as np

from onebreath.commands.demo import CONFIGS
from onebreath.commands.reproduce import LENGTH, PASSING
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.scan import simulate

ROOT = Path(__file__).parents[1]
DECIDED = "Onebreath_"


def main(arguments: list[str] | None = None) -> int:
    """Compare; return 1 if anything differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_images", description=__doc__.partition("\n")[0])
    parser.add_argument("before", help="a revision, as git names it")
    parser.add_argument("after", nargs="?", default="HEAD", help="another one (default: %(default)s)")
    parser.add_argument("--slices", type=int, default=1)
    parser.add_argument("--matrix", type=int, nargs=2, default=(96, 96))
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS.values()))
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        options = ScanOptions(
            slices=args.slices, slice_order="interleaved", acceleration=4, snr=40.0, matrix=tuple(args.matrix)
        )
        simulate(options).write(folder / "scan.h5")
        files = [images_of(revision, args.configs, folder) for revision in (args.before, args.after)]
        found = [text for config in args.configs for text in differences(*files, config)]
        count = sum(len(pixels) for config in args.configs for pixels in pixels_of(files[1], config).values())
    print("\n".join(found) or f"{count} images of {len(args.configs)} configurations are equal, bit for bit")
    return int(bool(found))


def images_of(revision: str, configs: list[str], folder: Path) -> Path:
    """Send the scan through the configurations with the code of a revision; return the file of the images."""
    tree, file = folder / revision.replace("/", "_"), folder / f"{revision.replace('/', '_')}.h5"
    tree.mkdir()
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", revision], stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ONEBREATH_")}
    environment |= {"PYTHONPATH": str(tree / "gadgets"), "ONEBREATH_STORAGE": "off", "ONEBREATH_WORKER": "off"}
    for config in configs:
        command = [sys.executable, "-m", "onebreath.cli", "replay", str(folder / "scan.h5"), "-c", config]
        subprocess.run(
            [*command, "-o", str(file), "-G", config, "--append"], cwd=tree, env=environment, check=True, stdout=2
        )
    return file


def pixels_of(file: Path, config: str) -> dict[str, np.ndarray]:
    """Return the pixels of each series."""
    with h5py.File(file) as opened:
        return {name: series["data"][()] for name, series in opened[config].items()}


def differences(before: Path, after: Path, config: str) -> Iterator[str]:
    """Yield what is not the same in two files of images of one configuration."""
    with h5py.File(before) as one, h5py.File(after) as other:
        series = [sorted(file[config]) for file in (one, other)]
        if series[0] != series[1]:
            yield f"{config}: series {series[0]} before, {series[1]} after"
            return
        for name in series[0]:
            old, new = one[config][name], other[config][name]
            for part in ("data", "header"):
                if not _equal(old[part][()], new[part][()]):
                    yield f"{config}, {name}: {part} differ"
            for number, texts in enumerate(zip(old["attributes"].asstr(), new["attributes"].asstr(), strict=False)):
                facts = [decided(text) for text in texts]
                for key in sorted(set(facts[0]) | set(facts[1])):
                    pair = [one.get(key, "nothing") for one in facts]
                    if pair[0] != pair[1]:
                        yield f"{config}, {name}, image {number}: {key} is {pair[0]} before, {pair[1]} after"


def _equal(old: np.ndarray, new: np.ndarray) -> bool:
    """Return whether two arrays are equal bit for bit, but for the length of the meta, in which times are written."""
    if old.dtype.names and LENGTH in old.dtype.names:
        old[LENGTH] = new[LENGTH] = 0
    return old.shape == new.shape and old.dtype == new.dtype and old.tobytes() == new.tobytes()


def decided(meta: str) -> dict[str, str]:
    """Return the facts in an image's meta that say what was decided."""
    return {
        key: str(value)
        for key, value in ismrmrd.Meta.deserialize(meta).items()
        if key.startswith(DECIDED) and not any(word in key for word in PASSING)
    }


if __name__ == "__main__":
    sys.exit(main())
