"""The ``onebreath replay`` command: raw files through a configuration, the images of each into a file of its own."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py

from onebreath.commands.places import DEFAULT_FOLDER, DEFAULT_OUTPUT, check_place, groups_for, outputs_for
from onebreath.config.changes import changed, read_changes
from onebreath.config.finding import find
from onebreath.config.suited import NOISE_ONLY, suited_to
from onebreath.diagnostics.logs import holding_back
from onebreath.errors import ConfigError, OnebreathError, ScanError
from onebreath.host.replay import Outcome, replay
from onebreath.host.server import GADGETRON_PORT
from onebreath.images.reading import read_images
from onebreath.mrd2.streams import PIPE, as_files, header_of, write_images
from onebreath.options import at_least, port, positive
from onebreath.report.page import check_packages, write_report
from onebreath.wire.h5_guard import open_file
from onebreath.wire.raw_file import RawFile

SUFFIXES = (".h5", ".hdf5", ".mrd", ".ismrmrd")
"""What names of raw files in a folder end with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``onebreath replay``: files, and the flags of ``gadgetron_ismrmrd_client``."""
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="raw data: ISMRMRD HDF5 files, folders of them, or a stream of MRD 2 (- for standard input)",
    )
    parser.add_argument(
        "-f", "--filename", action="append", default=[], metavar="FILE", help="the same; may be repeated"
    )
    parser.add_argument(
        "-c",
        "--config",
        help="name of a configuration (default: the one that suits the scan, Onebreath_Cine.xml for cardiac phases and "
        "Onebreath_Static.xml for others)",
    )
    parser.add_argument("-C", "--config-local", help="file of a configuration, which is uploaded")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="GADGET.PROPERTY=VALUE",
        help="set a property of the configuration, as in sort.phases=20; may be repeated. The configuration is then "
        "read here, and uploaded",
    )
    parser.add_argument("-a", "--address", help="server; without it the scan runs in this process")
    parser.add_argument(
        "-p",
        "--port",
        type=port,
        default=GADGETRON_PORT,
        help="port (default: %(default)s, Gadgetron's; onebreath serve has 9012)",
    )
    parser.add_argument(
        "-o",
        "--outfile",
        help=f"file for the images (default: {DEFAULT_OUTPUT}); of several scans, folder for one file each "
        f"(default: {DEFAULT_FOLDER}); -: a stream of MRD 2 to standard output",
    )
    parser.add_argument("-g", "--group", default="dataset", help="group of the raw data (default: %(default)s)")
    parser.add_argument("-G", "--out-group", help="new group for the images (default: date and time)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--append", action="store_true", help="add the images to a file that exists, as a new group")
    existing.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    parser.add_argument(
        "--report", action="store_true", help="write a page about each scan beside its images (see onebreath report)"
    )
    parser.add_argument(
        "-l", "--loops", type=at_least(1), default=1, help="how often to send the scan (default: %(default)s)"
    )
    parser.add_argument(
        "-t", "--timeout", type=positive, default=10000, help="ms to wait for a server (default: 10000)"
    )


def run(args: argparse.Namespace) -> int:
    """Run ``onebreath replay``; 1 if any file brought an error, or no image."""
    named = [Path(name) for name in (*args.files, *args.filename)]
    if not named:
        raise ConfigError("Name the raw files to send, or folders of them: onebreath replay FILE...")
    args.pipe = ""
    if args.outfile == PIPE:
        return _to_pipe(args, named)
    with as_files([path for name in named for path in raw_files(name)]) as (sources, _):
        return _all(args, named, sources)


def _to_pipe(args: argparse.Namespace, named: list[Path]) -> int:
    """Write the images of one scan to standard output as a stream of MRD 2; all that is said goes elsewhere."""
    if len(named) > 1 or named[0].is_dir() or args.report or args.append or args.loops > 1:
        raise ConfigError("-o - is a pipe for the images of one scan: name one file, without --report, --append or -l")
    pipe = sys.stdout.buffer
    with redirect_stdout(sys.stderr), as_files(named) as (sources, headers), TemporaryDirectory() as folder:
        images = Path(folder) / "images.h5"
        header = headers[0] or header_of(sources[0], args.group)
        status = _all(Namespace(**{**vars(args), "outfile": str(images), "pipe": str(images)}), named, sources)
        if status == 0 and images.exists():
            print(f"{write_images(pipe, header, read_images(images))} images written to standard output")
    return status


def _all(args: argparse.Namespace, named: list[Path], sources: list[Path]) -> int:
    changes = read_changes(args.set)
    if args.report:
        check_packages()
    several = len(named) > 1 or named[0].is_dir()
    outputs = outputs_for(sources, args.outfile, several)
    failed = []
    for source, output in zip(sources, outputs, strict=True):
        try:
            good = _replay(args, source, output, changes)
        except (OnebreathError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            print(f"{source}: failed: {error}" if several else f"onebreath replay: {error}", file=sys.stderr)
            good = False
        if not good:
            failed.append(source)
    if several:
        which = f" ({', '.join(map(str, failed))})" if failed else ""
        print(f"{len(sources)} scans: {len(sources) - len(failed)} reconstructed, {len(failed)} failed{which}")
    return 1 if failed else 0


def raw_files(name: Path) -> list[Path]:
    """Return a file, or the files of a folder that hold raw data; folders below it are not looked into.

    Raises
    ------
    ScanError
        If a folder holds none.
    """
    if not name.is_dir():
        return [name]
    found = []
    for path in sorted(name.iterdir()):
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith("."):
            if _holds_images(path):
                print(f"{path}: holds images, no raw data; skipped", file=sys.stderr)
            else:
                found.append(path)
    if not found:
        raise ScanError(f"The folder {name} holds no raw data (files whose names end with {', '.join(SUFFIXES)}).")
    return found


def _holds_images(path: Path) -> bool:
    """Return whether a file was written by this command: not a raw scan, and not unreadable."""
    try:
        with open_file(path) as file:
            groups = [item for item in file.values() if isinstance(item, h5py.Group)]
            return bool(groups) and all(name.startswith("image_") for group in groups for name in group)
    except (OSError, ScanError):
        return False


def _replay(args: argparse.Namespace, source: Path, output: Path, changes: Mapping[str, Mapping[str, str]]) -> bool:
    """Send one scan once or repeatedly, and print the outcome; return whether all went well."""
    with RawFile(source, args.group) as raw:
        config, why = (args.config or "", "") if args.config or args.config_local else suited_to(raw.headers())
    check_place(source, output, args)
    if why:
        print(f"{source}: the configuration is {config}, as {why}", flush=True)
    text = _configuration(config, args.config_local, changes)
    good, anew = True, args.overwrite
    for group in groups_for(args.out_group, args.loops):
        with holding_back() as held:
            outcome = replay(
                source,
                config,
                text,
                args.address,
                args.port,
                output,
                group,
                args.timeout / 1000,
                args.group,
                anew=anew,
            )
            held.told(outcome.warnings)  # which are printed next, with the images
        print(f"{source}: {outcome}", flush=True)
        if outcome.file is not None and str(output) != args.pipe:
            anew = anew and outcome.file != output
            print(f"images: {outcome.file}, group {outcome.group}", flush=True)
            if outcome.failed:
                kept = f"; {output} is as it was" if outcome.file != output else ""
                print(f"{source}: the scan failed, and these images are only a part{kept}", file=sys.stderr)
            if args.report:
                page = outcome.file.with_suffix(".html")
                write_report(outcome.file, page, outcome.group, source, args.group)
                print(f"report: {page}", flush=True)
        good &= _is_good(outcome, config)
    return good


def _configuration(config: str, local: str | None, changes: Mapping[str, Mapping[str, str]]) -> bytes | None:
    """Return the text of a configuration that is to be uploaded; None for one that the server is to find."""
    if local is None and not changes:
        return None
    path = find(config) if local is None else Path(local)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    return changed(text, path.name, changes) if changes else text


def _is_good(outcome: Outcome, config: str) -> bool:
    if outcome.failed or outcome.images:
        return not outcome.failed
    if config == NOISE_ONLY:
        print("a noise scan makes no image: its noise covariance is kept for the scans that follow")
        return True
    print("no image came back and no error was reported; the log of the server may tell why", file=sys.stderr)
    return False
