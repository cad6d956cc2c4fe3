"""The ``onebreath import`` command: convert a scanner's raw data to ISMRMRD files."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import h5py
import ismrmrd

from onebreath.errors import ConfigError, ScanError
from onebreath.mrd.lines import side_line
from onebreath.mrd2.streams import is_stream, read_stream
from onebreath.simulation.mrd_file import write_mrd
from onebreath.terminal import steps, working
from onebreath.vendor.siemens import Measurement, acquisitions, left_out, read_measurements
from onebreath.vendor.siemens_header import make_header
from onebreath.wire.outputs import RAW, check_folder, check_output
from onebreath.wire.raw_file import RawFile, without_content


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``onebreath import``."""
    parser.add_argument("file", type=Path, help="raw data: Siemens twix (.dat) of VD or VE, or a stream of MRD 2")
    parser.add_argument(
        "-o", "--output", type=Path, help="ISMRMRD file (default: named after the raw data, next to them)"
    )
    parser.add_argument(
        "--anonymise", action="store_true", help="leave out the patient's name and ids, and the institution"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    """Write a file for the last measurement, and a numbered one for each earlier measurement, such as noise."""
    _check_input(args.file)
    output = args.output or args.file.with_suffix(".h5")
    check_folder(output, "The scan")
    if is_stream(args.file):
        return _from_stream(args, output)
    with working(f"reading {args.file}"):
        measurements = read_measurements(args.file)
    names = {one.number: output.with_name(f"{output.stem}_{one.number}{output.suffix}") for one in measurements[:-1]}
    names[measurements[-1].number] = output
    if not args.overwrite and (there := [path for path in names.values() if path.exists()]):
        raise ConfigError(f"{there[0]} exists already. Say --overwrite to replace it, or name another file with -o.")
    for path in names.values():
        check_output(path, RAW, (args.file,))
    for measurement in measurements:
        _write(measurement, names[measurement.number], args.anonymise)
    return 0


def _check_input(file: Path) -> None:
    if why := without_content(file):
        raise ScanError(f"{file} cannot be read: {why}")
    if file.is_file() and h5py.is_hdf5(file):
        raise ScanError(
            f"{file} is an HDF5 file already, so there is nothing to import: say onebreath inspect or onebreath replay"
        )


def _from_stream(args: argparse.Namespace, output: Path) -> int:
    if args.anonymise:
        raise ConfigError("--anonymise is for raw data of scanners; a stream of MRD 2 is taken as it is.")
    if output.exists() and not args.overwrite:
        raise ConfigError(f"{output} exists already. Say --overwrite to replace it, or name another file with -o.")
    check_output(output, RAW, (args.file,))
    with args.file.open("rb") as file:
        read_stream(file, output, str(args.file))
    with RawFile(output) as raw:
        print(f"{output}: {raw.acquisitions} lines and {raw.waveforms} waveforms of a stream of MRD 2")
    return 0


def _write(measurement: Measurement, path: Path, anonymous: bool) -> None:
    lines = list(steps(acquisitions(measurement), "converting", unit="lines"))
    header = make_header(measurement, (line.getHead() for line in lines), anonymous)
    write_mrd(path, header, lines, [])
    print(f"{path}: {measurement.name} ({measurement.software}), {_counted(lines)}")
    for kind, count in left_out(measurement).items():
        print(f"  {count} records of kind {kind} are not lines and were left out")
    if any(line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT) for line in lines):
        print("  noise lines have the dwell time of the imaging lines, as the protocol states no other")
    trajectory = header.encoding[0].trajectory.value
    if trajectory != "cartesian":
        print(f"  the trajectory is {trajectory}: the samples are not on a grid, as the chain requires")


def _counted(lines: list[ismrmrd.Acquisition]) -> str:
    kinds = Counter(side_line(int(line.flags)) or "imaging" for line in lines)
    return f"{len(lines)} lines: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
