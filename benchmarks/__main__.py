"""Run benchmarks and keep their tables in ``benchmarks/results/``: the page beside the peers, some by name, or all.

python -m benchmarks              # `benchmarks.peers`, as `make bench`
python -m benchmarks chain wire
python -m benchmarks all          # hours
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
HELPERS = {"__init__", "__main__", "hostile", "installed", "kept", "same_images", "scans", "table", "timing"}


def main() -> int:
    """Run the benchmarks named on the command line; 1 if one failed."""
    names = sys.argv[1:] or ["peers"]
    if names == ["all"]:
        names = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in HELPERS)
    RESULTS.mkdir(exist_ok=True)
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout)
        if done.returncode:
            failed.append(name)
        else:
            (RESULTS / f"{name}.md").write_text(done.stdout)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
