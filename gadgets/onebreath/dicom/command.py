"""The ``onebreath dicom`` command: images as DICOM files, and to a PACS."""

from __future__ import annotations

import argparse
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onebreath.dicom.identity import Identity, identity
from onebreath.dicom.making import content, made_of
from onebreath.dicom.queue import Queue, Taken
from onebreath.dicom.store import Pacs, send
from onebreath.errors import ConfigError
from onebreath.images.belonging import header_of
from onebreath.images.completeness import warn_if_incomplete
from onebreath.images.reading import Series, read_images
from onebreath.keeping import whole
from onebreath.optional import required
from onebreath.options import amount, folder, folder_beside
from onebreath.settings import settings
from onebreath.terminal import Progress, steps
from onebreath.wire.outputs import earlier, remove

_OUTCOMES: dict[Taken, str] = {
    "replaced": "that waited there with other texts are replaced",
    "waits": "wait there already",
    "under way": "are on their way with other texts, which stay",
    "sent": "were sent before and are not sent again: texts that are new now, such as a name, do not arrive",
}
_SUFFIXES = (".h5", ".hdf5", ".mrd", ".dat")  # of files, whether or not they are there


class _Anonymise(argparse.Action):
    """A flag; what follows it is a pseudonym, or a file of the command's that stands behind the flag."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Note what follows; the place of a file shows when all arguments are known (see `_settle`)."""
        namespace.anonymise = True
        if values is None:
            return
        if Path(values).suffix.lower() in _SUFFIXES or Path(values).is_file():
            namespace.behind = (Path(values), namespace.images is None)
        elif namespace.pseudonym is None:
            namespace.pseudonym = values


def _settle(args: argparse.Namespace) -> None:
    """Put a file that stands behind ``--anonymise`` where it belongs; a raw file's name is no pseudonym."""
    behind, first = getattr(args, "behind", (None, False))
    if behind is None:
        return
    files = [one for one in ((behind, args.images, args.scan) if first else (args.images, args.scan, behind)) if one]
    if len(files) > 2:
        raise ConfigError(
            f"'{behind}' behind --anonymise is a file, and images and raw data are named already; a name that replaces "
            "the patient's is given by --pseudonym NAME."
        )
    args.images, args.scan = (*files, None)[:2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``onebreath dicom``."""
    parser.add_argument("images", type=Path, nargs="?", help="file of images; without it the queue is sent")
    parser.add_argument("scan", type=Path, nargs="?", help="raw data of the images, for name, study and scanner")
    parser.add_argument(
        "-o", "--output", type=folder, help="folder for the files (default: next to the images, if none are sent)"
    )
    parser.add_argument("--overwrite", action="store_true", help="remove what an earlier call left in the folder first")
    parser.add_argument("-g", "--scan-group", default="dataset", help="group of the raw data (default: %(default)s)")
    parser.add_argument("-G", "--group", help="group of the images (default: the one made last)")
    parser.add_argument(
        "--anonymise",
        nargs="?",
        action=_Anonymise,
        default=False,
        metavar="NAME",
        help="leave out the patient, study and dates (NAME: older spelling of --pseudonym NAME)",
    )
    parser.add_argument(
        "--pseudonym",
        metavar="NAME",
        help="anonymise, and put NAME for the patient's (default: derived from the images)",
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
    parser.add_argument("--called", default=Pacs.called, help="AE title of the PACS (default: %(default)s)")
    parser.add_argument("--calling", default=Pacs.calling, help="AE title of this sender (default: %(default)s)")
    parser.add_argument("--queue", type=folder, help="folder of the queue (default: dicom in the state folder)")
    parser.add_argument(
        "--patience",
        type=amount,
        default=60.0,
        help="seconds to try a PACS that does not answer (default: %(default)s); the rest waits for the next call",
    )


def run(args: argparse.Namespace) -> int:
    """Write or send instances; returns 1 if some are left in the queue or were refused."""
    _settle(args)
    if args.images is None and args.send is None:
        raise ConfigError("Name a file of images, or a PACS by --send to send the queue.")
    pacs = Pacs.parse(args.send, args.called, args.calling) if args.send else None
    required("pydicom", "dicom", "DICOM")
    if pacs is not None:
        required("pynetdicom", "dicom", "Sending to a PACS")
    queue = Queue(args.queue or settings().state / "dicom") if pacs is not None else None
    if args.images is not None:
        _make(args, queue)
    return _send(queue, pacs, args) if pacs is not None and queue is not None else 0


def _make(args: argparse.Namespace, queue: Queue | None) -> None:
    """Make all instances, and write them to the folder, the queue, or both."""
    warn_if_incomplete(args.images, args.group)
    output = args.output or folder_beside(args.images) if args.output is not None or queue is None else None
    before = earlier(output, ("series[0-9]*/*.dcm",), args.overwrite) if output is not None else []
    found = read_images(args.images, args.group)
    header = header_of(found, args.scan, args.scan_group) if args.scan is not None else None
    who = identity(found, header, "" if args.anonymise and args.pseudonym is None else args.pseudonym)
    made = list(steps(made_of(found, who, enhanced=args.enhanced, maps=args.maps == "parametric"), "making instances"))
    if output is not None:
        remove(before)
        for one in steps(made, "writing", unit="instances"):
            path = output / f"series{int(one.SeriesNumber):04d}" / f"{int(one.InstanceNumber):05d}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as part:
                part.write_bytes(content(one))
        print(f"{len(made)} instances of {len({one.SeriesInstanceUID for one in made})} series: {output}")
    if queue is not None:
        _enqueue(made, queue)
        if header is not None and not who.anonymous:
            _withdraw_unnamed(found, args, queue, who)


def _enqueue(made: Sequence[Any], queue: Queue) -> None:
    """Put instances into the queue, and say what became of each."""
    counts = Counter(queue.add(str(one.SOPInstanceUID), content(one)) for one in steps(made, "into the queue"))
    told = [f"{counts['new']} instances added to the queue {queue.folder}"]
    for outcome, words in _OUTCOMES.items():
        told += [f"{counts[outcome]} {words}"] if counts[outcome] else []
    print("; ".join(told))


def _withdraw_unnamed(found: Sequence[Series], args: argparse.Namespace, queue: Queue, who: Identity) -> None:
    """Take what was made of the same images without the raw data out of the queue, where it is another study."""
    unnamed = identity(found, None, None)
    if unnamed.study_uid == who.study_uid:
        return
    made = made_of(found, unnamed, enhanced=args.enhanced, maps=args.maps == "parametric")
    uids = [str(next(made).SOPInstanceUID)]  # the first tells whether there is anything to look for
    if not queue.knows(uids[0]):
        return
    uids += [str(one.SOPInstanceUID) for one in made]
    removed = sum(map(queue.withdraw, uids))
    arrived = sum(map(queue.knows, uids))
    if removed:
        print(f"{removed} instances that waited without what the raw data say are taken out of the queue")
    if arrived:
        print(
            f"{arrived} instances of these images were sent before without what the raw data say: the PACS has them "
            f"twice, and those without the patient's name in study {unnamed.study_uid}"
        )


def _again(args: argparse.Namespace) -> str:
    """Return the command that sends what is left: to the same PACS, with the same titles, from the same queue."""
    usual = {"called": Pacs.called, "calling": Pacs.calling, "queue": None}
    named = {name: getattr(args, name) for name in usual}
    options = [f"--{name} {shlex.quote(str(value))}" for name, value in named.items() if value != usual[name]]
    return " ".join(["onebreath dicom --send", shlex.quote(args.send), *options])


def _send(queue: Queue, pacs: Pacs, args: argparse.Namespace) -> int:
    refused = len(list(queue.refused.glob("*.dcm")))
    with Progress(f"sending to {pacs.host}:{pacs.port}", len(queue.left()), "instances") as progress:
        arrived = send(queue, pacs, args.patience, lambda uid, arrived: progress.advance())
    refused = len(list(queue.refused.glob("*.dcm"))) - refused
    left = len(queue.left())
    print(f"{arrived} instances arrived at {pacs.host}:{pacs.port}")
    if refused:
        print(f"{refused} were refused; they and the reasons are in {queue.refused}")
    if left:
        print(f"{left} wait in {queue.folder}; '{_again(args)}' sends them")
    return 1 if left or refused else 0
