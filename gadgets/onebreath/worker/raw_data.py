"""Raw data of scans on disk: written, handed on for later reconstruction, or removed."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal

from onebreath.chain.gadget import gadget_class
from onebreath.config.node_options import read_options
from onebreath.diagnostics.reports import SpoolError
from onebreath.errors import ConfigError, ScanError
from onebreath.wire.connection import parse_config
from onebreath.wire.framing import Stream
from onebreath.worker.late import LateWork
from onebreath.worker.spooling.spool import Request, SpooledScan
from onebreath.worker.spooling.stream import SpoolStream
from onebreath.worker.watching import Watched

log = logging.getLogger("onebreath.service")

SpoolMode = Literal["auto", "always", "off"]


class RawData:
    """Writes raw data to disk, and decides what happens to them.

    Parameters
    ----------
    late
        Who makes images of them later.
    mode
        See `onebreath.worker.scan_service.ScanService`.
    """

    def __init__(self, late: LateWork, mode: SpoolMode) -> None:
        self.late, self.mode = late, mode

    def troubles(self) -> list[str]:
        """Return which folders for scans cannot be written; a full disk is none, as it gets room by itself."""
        if self.mode == "off":
            return []
        found = {folder: _why_unwritable(folder) for folder in (self.late.folder, self.late.results.folder)}
        return [f"{folder} cannot be written: {why}" for folder, why in found.items() if why]

    def keeps(self, target: str, configuration: bytes) -> bool:
        """Return whether the data of a node are kept on disk until its images are out."""
        try:
            steps = read_options(parse_config(configuration), target).steps
            return self.mode == "always" and "Image" in gadget_class(steps[-1][0]).emits
        except ConfigError:
            return False

    def spool(self, stream: SpoolStream, request: Request, later: bool, *, keep: bool) -> SpooledScan | None:
        """Begin to write the data of a scan to disk: to its end (`keep`), or while it waits.

        None where the disk does not take them: `stream.lost` says why where they were promised, so that the quick
        series still comes. Raises SpoolError if they were promised, and no disk is to be written at all.
        """
        if later and self.mode == "off":
            raise SpoolError('deliver="later" keeps raw data on disk, which is switched off here (--spool off)')
        if stream.lost is not None:  # the promise is broken already, and would not hold for a second file either
            return None
        spooled = None
        try:
            self.late.space.take(len(request.header) + len(request.nodes))
            spooled = SpooledScan.create(self.late.folder, request)
            stream.record(spooled.data, keep=keep, take=self.late.space.take)
            if later:
                self.late.promise(request)
            return spooled
        except (SpoolError, OSError) as error:
            if spooled is not None:
                stream.stop_recording()
                spooled.release(remove=True)
            if later:
                stream.lost = SpoolError(f"the scan cannot be kept for later: {error}")
            log.warning("scan %s is not put on disk: %s", request.scan, error)
            return None

    def broken_promise(self, stream: Stream, later: bool) -> dict[str, str]:
        """Return what the images say where it is known before them that nothing will follow; nothing otherwise."""
        broken = later and isinstance(stream, SpoolStream) and stream.lost is not None
        return {"deliver": "the quick series only, as the data cannot be kept for later"} if broken else {}

    def put_away(self, watched: Watched, outcome: str, later: bool) -> None:
        """Decide what happens to data on disk when their scan has ended.

        Raises
        ------
        SpoolError
            If that was promised for later to a scan that is done, and the disk does not take it.
        """
        spooled = watched.spooled
        if spooled is None:
            return
        try:
            kept = self._kept(watched, spooled, outcome, later)
        except OSError as error:
            spooled.release(remove=True)
            self._say_failed(spooled.request.scan, later)
            log.error("the data of scan %s cannot be put away: %s", spooled.request.scan, error)
            if later and outcome == "done":
                raise SpoolError(f"the scan cannot be kept for later: {error.strerror or error}") from error
            return
        if not kept:
            spooled.release(remove=True)
            self._say_failed(spooled.request.scan, later)

    def _kept(self, watched: Watched, spooled: SpooledScan, outcome: str, later: bool) -> bool:
        """Hand the data on for later reconstruction, if that is wanted; return whether it was done."""
        complete = watched.channel.complete and watched.stream.lost is None
        wanted = (later and complete) or (self.mode == "always" and outcome == "lost" and bool(spooled.request.nodes))
        if wanted and complete:
            spooled.finish(watched.stream.digest)
        if wanted:
            self.late.hand_in(spooled)
        return wanted

    def _say_failed(self, scan: str, later: bool) -> None:
        if not later:
            return
        try:
            self.late.results.update(scan, "failed", "its data did not come, or could not be kept, to their end")
        except (ScanError, OSError) as error:
            log.error("that scan %s failed cannot be noted: %s", scan, error)


def _why_unwritable(folder: Path) -> str:
    """Return why no file can be made in a folder, which need not exist yet; empty if one can."""
    try:
        if folder.exists():
            # Made and removed: permission bits tell nothing of quotas, or of what a server of files refuses.
            with NamedTemporaryFile(dir=folder, prefix=".onebreath-"):
                return ""
        above = next(path for path in folder.parents if path.exists())
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(above, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        return "" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
    return ""
