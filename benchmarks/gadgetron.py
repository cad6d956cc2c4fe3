"""Every configuration in a real Gadgetron against the embedded host, and what a whole scan takes there.

The first table: each configuration by its name, on a genuine Siemens scan (static) and on a simulated cine of two
slices, through the real server with its own client, and through the embedded host with that client and with FIRE's;
server and host have their nodes in one resident worker. The second: the genuine scan through a node's own process, a
node handed over to the worker, one that the server connects to, and Gadgetron's own GRAPPA chain, in turn. Needs the
server; see the tests of `tests/gadgetron`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.installed import SHARED, installed
from benchmarks.table import table
from onebreath.simulation.scan import ScanOptions, simulate
from tests.gadgetron.real import CONFIGS, Ran, Server, read_images, serving
from tests.gadgetron.resident import Both, both
from tests.host.fire import Client, program

WITHOUT_IMAGES = ("Onebreath_Noise.xml", "Onebreath_Retrieve.xml")
CONNECT = "_Connect.xml"
PATIENCE = 900.0  # seconds for one scan
WAYS = {
    "`<execute>`, a process of its own (cold)": "Onebreath_Static_GRAPPA.xml",
    "`<execute>`, handed over to a worker": "Onebreath_Static_GRAPPA.xml",
    "`<connect>` to a worker, CG-SENSE": "Onebreath_Static_Connect.xml",
    "`<execute>`, handed over, CG-SENSE": "Onebreath_Static.xml",
    "Gadgetron's own `Generic_Cartesian_Grappa`": "Generic_Cartesian_Grappa.xml",
}


def difference(real: Ran, own: Ran) -> str:
    """Largest difference of all images of two runs, in grey levels; in words if they cannot be compared."""
    if real.errors or own.errors or not real.images or real.images.keys() != own.images.keys():
        return "no images" if not real.images else "other series"
    largest = 0.0
    for series, images in real.images.items():
        pair = (np.stack([image.data for image in one]).astype(float) for one in (images, own.images[series]))
        largest = max(largest, float(np.abs(np.subtract(*pair)).max()))
    return f"{largest:g}"


def configurations(hosts: Both, static: Path, cine: Path, folder: Path, names: Sequence[str]) -> Iterator[list[object]]:
    """Rows of the first table."""
    for name in names:
        scan = cine if "_Cine" in name else static
        real = hosts.server.run(scan, name, folder / f"{name}.real.h5", timeout=PATIENCE)
        count = sum(map(len, real.images.values()))
        row: list[object] = [name.removesuffix(".xml"), count, f"{real.seconds:.2f}"]
        if "_Hybrid" in name:
            yield [*row, *["-"] * 3, "needs Gadgetron's own gadgets"]
            continue
        other = name.replace(CONNECT, ".xml")  # the embedded host would dial the port of the file
        own = hosts.embedded(scan, other, folder / f"{name}.own.h5")
        fire, unlike = by_fire(hosts.port, scan, other, folder / f"{name}.fire", own)
        yield [*row, f"{own.seconds:.2f}", difference(real, own), fire, unlike]


def by_fire(port: int, scan: Path, config: str, folder: Path, own: Ran) -> tuple[str, str]:
    """Seconds that FIRE's client took with the embedded host, and the difference of its images from `own`."""
    if not program(SHARED).is_file():
        return "-", "FIRE's client is not there"
    begun = time.perf_counter()
    client = Client(program(SHARED), port, scan, folder, config, timeout=PATIENCE)
    seconds = time.perf_counter() - begun
    return f"{seconds:.2f}", difference(Ran(read_images(client.out), "", 0, seconds), own)


def whole_scans(hosts: Both, cold: Server, scan: Path, folder: Path, runs: int) -> Iterator[list[object]]:
    """Rows of the second table; the ways take turns, so that all meet the same load."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(runs + 1):
        for index, (way, config) in enumerate(WAYS.items()):
            server = cold if "(cold)" in way else hosts.server
            ran = server.run(scan, config, folder / f"way{index}_{number}.h5", timeout=PATIENCE)
            assert ran.images, ran.text
            if number:  # the first of each warms caches and models
                seconds[way].append(ran.seconds)
    for way, taken in seconds.items():
        yield [way, f"{statistics.median(taken):.2f}", f"{min(taken):.2f}", f"{max(taken):.2f}"]


def main() -> int:
    """Measure and print both tables; ends with status 1 if there is no Gadgetron."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="configurations whose name holds this")
    parser.add_argument("--skip", action="append", default=[], help="leave out configurations whose name holds this")
    parser.add_argument("--runs", type=int, default=5, help="whole scans of each way (default: %(default)s)")
    args = parser.parse_args()
    names = [path.name for path in sorted(CONFIGS.glob("*.xml")) if path.name not in WITHOUT_IMAGES]
    names = [name for name in names if args.only in name and not any(part in name for part in args.skip)]
    with installed() as (folder, prefix, storage):
        static = next((SHARED / "data/siemens_snr_r3").glob("*.h5"))
        cine = folder / "cine.h5"
        simulate(ScanOptions(matrix=(64, 64), slices=2, phases=8, coils=10, acceleration=4, seed=3)).write(cine)
        with both(prefix, folder, storage) as hosts, serving(prefix, folder / "cold", storage.url) as cold:
            first = []
            for row in configurations(hosts, static, cine, folder, names):
                print(*row, file=sys.stderr, flush=True)
                first.append(row)
            second = list(whole_scans(hosts, cold, static, folder, args.runs))
    packages = ("onebreath", "gadgetron", "ismrmrd", "numpy", "torch")
    title = "Configurations by name: real Gadgetron 4.7.2 against the embedded host, and FIRE's client against it; "
    title += "differences in grey levels."
    columns = ("configuration", "images", "real server, s", "embedded host, s", "difference", "FIRE, s", "difference")
    print(table(title, columns, first, packages))
    print()
    title = f"A whole scan (Siemens, 14 channels), client's start to end; {args.runs} runs each, in turn."
    print(table(title, ("way", "median, s", "least, s", "most, s"), second, packages))
    return 0


if __name__ == "__main__":
    sys.exit(main())
