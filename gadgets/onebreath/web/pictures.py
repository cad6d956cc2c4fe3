"""Images of scans that have ended, for thumbnails and reports: without names and ids, for some hours."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from onebreath.errors import OnebreathError
from onebreath.images.secrets import HIDDEN, IDENTIFYING
from onebreath.images.upright import upright
from onebreath.keeping import private_folder, write
from onebreath.storage.results import GROUP, is_scan
from onebreath.wire.image_file import ImageFile
from onebreath.wire.xml_guard import read_meta

log = logging.getLogger("onebreath.web")

SIDE = 96  # pixels of a thumbnail at most
MOST_BYTES = 2 << 30  # of all pictures; the oldest are removed for new ones
REPORT_TIME = 120.0  # seconds that making a report may take
PATIENT = 10  # niceness of that
SUFFIXES = (".h5", ".png", ".html")


class Pictures:
    """The pictures of this worker.

    Parameters
    ----------
    folder
        Where they are.
    hours
        For how long they are kept.
    take
        Asked before bytes are written; raises OSError if there is no room for them.
    most
        Bytes of all pictures.
    """

    def __init__(
        self, folder: Path, hours: float, take: Callable[[int], None] = lambda count: None, most: int = MOST_BYTES
    ) -> None:
        self.folder, self.hours, self.take, self.most = folder, hours, take, most

    def path(self, scan: str, suffix: str) -> Path | None:
        """Return a file of a scan; None if there is none, or the identifier is none."""
        path = self.folder / f"{scan}{suffix}"
        return path if is_scan(scan) and path.is_file() else None

    def keep(self, scan: str, images: Sequence[ismrmrd.Image], hide: Callable[[str], str]) -> None:
        """Write the images of a scan, and a thumbnail; an error is logged, and leaves none."""
        if not is_scan(scan):
            return
        try:
            private_folder(self.folder)
            self._remove(scan)  # of its quick series, whose report may have been made
            size = sum(image.data.nbytes + len(image.attribute_string) for image in images)
            self.prune(size)
            self.take(size)
            with ImageFile(self.folder / f"{scan}.h5", GROUP, private=True, anew=True) as file:
                for image in images:
                    file.append(nameless(image, hide))
            if content := thumbnail(images):
                write(self.folder / f"{scan}.png", content)
        except (OSError, OnebreathError, ValueError) as error:
            log.warning("the pictures of scan %s are not kept: %s", scan, error)
            self._remove(scan)

    def _remove(self, scan: str) -> None:
        for suffix in SUFFIXES:
            with contextlib.suppress(OSError):
                (self.folder / f"{scan}{suffix}").unlink(missing_ok=True)

    def prune(self, room: int = 0) -> None:
        """Remove what is older than it may be, and the oldest, until there is room for some bytes."""
        files = sorted(self._files(), reverse=True)
        total, oldest = room, time.time() - self.hours * 3600
        for modified, size, path in files:
            total += size
            if total > self.most or not oldest <= modified <= time.time() + 60:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.folder.glob("*"):
            with contextlib.suppress(OSError):
                found = path.stat()
                yield found.st_mtime, found.st_size, path

    def report(self, scan: str) -> Path | None:
        """Return the report of a scan, which is made when it is first asked for; None if there are no images.

        Making one takes seconds, in a process of its own that gives way to others.

        Raises
        ------
        OnebreathError
            If it cannot be made.
        """
        if (made := self.path(scan, ".html")) is not None:
            return made
        images = self.path(scan, ".h5")
        if images is None:
            return None
        target = images.with_suffix(".html")
        command = [sys.executable, "-m", "onebreath.cli", "report", str(images), "-o", str(target)]
        try:
            with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, umask=0o077) as making:
                os.setpriority(os.PRIO_PROCESS, making.pid, PATIENT)
                try:
                    _, said = making.communicate(timeout=REPORT_TIME)
                except subprocess.TimeoutExpired:
                    making.kill()
                    raise
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OnebreathError(f"the report of scan {scan} could not be made: {error}") from error
        if making.returncode:
            last = (said.decode(errors="replace").strip().splitlines() or ["it ended without a word"])[-1]
            raise OnebreathError(f"the report of scan {scan} could not be made: {last}")
        return self.path(scan, ".html")


def nameless(image: ismrmrd.Image, hide: Callable[[str], str]) -> ismrmrd.Image:
    """Return an image whose meta name nobody."""
    meta = read_meta(image.attribute_string)
    secrets = [str(meta[name]) for name in IDENTIFYING if name in meta]
    for name in [name for name in meta if name in IDENTIFYING]:
        del meta[name]
    text = hide(meta.serialize())
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN) if len(secret) > 2 else text
    made = ismrmrd.Image(image.getHead(), meta=read_meta(text))
    made.data[:] = image.data
    return made


def thumbnail(images: Sequence[ismrmrd.Image]) -> bytes:
    """Return the middle one of the leading series as a small PNG, upright, with the aspect of its field of view.

    No images: empty.

    Grey values go from zero to the value that one pixel in a hundred exceeds.
    """
    leading = [image for image in images if image.image_series_index == images[0].image_series_index]
    if not leading:
        return b""
    from PIL import Image

    chosen = leading[len(leading) // 2]
    values = np.abs(np.asarray(chosen.data))[0]
    turn = upright(np.array([chosen.read_dir, chosen.phase_dir, chosen.slice_dir], float).T)
    pixels: NDArray[np.float32] = turn.pixels(np.nan_to_num(values[len(values) // 2].astype(np.float32)))
    top = float(np.percentile(pixels, 99)) or float(pixels.max()) or 1.0
    grey = np.clip(255 * pixels / top, 0, 255).astype(np.uint8)
    wide, tall = (float(one) if one > 0 else 1.0 for one in chosen.field_of_view[:2])
    wide, tall = (tall, wide) if turn.exchanged else (wide, tall)
    scale = SIDE / max(wide, tall)
    size = max(1, round(wide * scale)), max(1, round(tall * scale))
    buffer = io.BytesIO()
    Image.fromarray(grey).resize(size, Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()
