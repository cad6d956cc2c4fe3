"""The ``onebreath dicom`` command: images as DICOM files, and to a PACS."""

from __future__ import annotations

import argparse
from pathlib import Path

from onebreath.dicom.identity import identity
from onebreath.dicom.making import content, made_of
from onebreath.dicom.queue import Queue
from onebreath.dicom.store import Pacs, send
from onebreath.errors import ConfigError
from onebreath.images.belonging import header_of
from onebreath.images.reading import read_images
from onebreath.keeping import whole
from onebreath.optional import required
from onebreath.options import amount, folder, folder_beside
from onebreath.settings import settings
from onebreath.terminal import Progress, steps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``onebreath dicom``."""
    parser.add_argument("images", type=Path, nargs="?", help="file of images; without it the queue is sent")
    parser.add_argument("scan", type=Path, nargs="?", help="raw data of the images, for name, study and scanner")
    parser.add_argument(
        "-o", "--output", type=folder, help="folder for the files (default: next to the images, if none are sent)"
    )
    parser.add_argument("-g", "--scan-group", default="dataset", help="group of the raw data (default: %(default)s)")
    parser.add_argument("-G", "--group", help="group of the images (default: the one made last)")
    parser.add_argument(
        "--anonymise",
        nargs="?",
        const="",
        metavar="NAME",
        help="leave out the patient, study and dates; NAME replaces the patient's (default: derived from the images)",
    )
    parser.add_argument(
        "--maps",
        choices=("parametric", "mr"),
        default="parametric",
        help="noise maps as parametric maps of real numbers, or as MR images (default: parametric)",
    )
    parser.add_argument(
        "--enhanced", action="store_true", help="one enhanced MR instance for each place, with all its frames"
    )
    parser.add_argument("--send", metavar="HOST:PORT", help="send to this PACS through a persistent queue")
    parser.add_argument("--called", default="ANY-SCP", help="AE title of the PACS (default: %(default)s)")
    parser.add_argument("--calling", default="ONEBREATH", help="AE title of this sender (default: %(default)s)")
    parser.add_argument("--queue", type=folder, help="folder of the queue (default: dicom in the state folder)")
    parser.add_argument(
        "--patience",
        type=amount,
        default=60.0,
        help="seconds to try a PACS that does not answer (default: %(default)s); the rest waits for the next call",
    )


def run(args: argparse.Namespace) -> int:
    """Write or send instances; returns 1 if some are left in the queue or were refused."""
    if args.images is None and args.send is None:
        raise ConfigError("Name a file of images, or a PACS by --send to send the queue.")
    pacs = Pacs.parse(args.send, args.called, args.calling) if args.send else None
    required("pydicom", "dicom", "DICOM")
    if pacs is not None:
        required("pynetdicom", "dicom", "Sending to a PACS")
    queue = Queue(args.queue or settings().state / "dicom") if pacs is not None else None
    if args.images is not None:
        _make(args, queue)
    return _send(queue, pacs, args.patience) if pacs is not None and queue is not None else 0


def _make(args: argparse.Namespace, queue: Queue | None) -> None:
    """Make all instances, and write them to the folder, the queue, or both."""
    found = read_images(args.images, args.group)
    header = header_of(found, args.scan, args.scan_group) if args.scan is not None else None
    who = identity(found, header, args.anonymise)
    made = list(steps(made_of(found, who, enhanced=args.enhanced, maps=args.maps == "parametric"), "making instances"))
    if args.output is not None or queue is None:
        output = args.output or folder_beside(args.images)
        for one in steps(made, "writing", unit="instances"):
            path = output / f"series{int(one.SeriesNumber):04d}" / f"{int(one.InstanceNumber):05d}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as part:
                part.write_bytes(content(one))
        print(f"{len(made)} instances of {len({one.SeriesInstanceUID for one in made})} series: {output}")
    if queue is not None:
        added = sum(queue.add(str(one.SOPInstanceUID), content(one)) for one in steps(made, "into the queue"))
        known = f"; {len(made) - added} were sent or added before" if added < len(made) else ""
        print(f"{added} instances added to the queue {queue.folder}{known}")


def _send(queue: Queue, pacs: Pacs, patience: float) -> int:
    refused = len(list(queue.refused.glob("*.dcm")))
    with Progress(f"sending to {pacs.host}:{pacs.port}", len(queue.left()), "instances") as progress:
        arrived = send(queue, pacs, patience, lambda uid, arrived: progress.advance())
    refused = len(list(queue.refused.glob("*.dcm"))) - refused
    left = len(queue.left())
    print(f"{arrived} instances arrived at {pacs.host}:{pacs.port}")
    if refused:
        print(f"{refused} were refused; they and the reasons are in {queue.refused}")
    if left:
        print(f"{left} wait in {queue.folder}; 'onebreath dicom --send {pacs.host}:{pacs.port}' sends them")
    return 1 if left or refused else 0
