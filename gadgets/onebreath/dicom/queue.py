"""A persistent queue of instances, each of which is sent once, even after crashes.

Each instance is a file in one of three folders: ``waiting`` to be sent; ``sending``, whose arrival is unknown after a
crash; ``refused`` by the PACS, with the reason in a text file of the same name. Sent instances are deleted; their
identifiers are in ``sent.txt``.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from onebreath.errors import ConfigError
from onebreath.keeping import private_folder, write

log = logging.getLogger("onebreath.dicom.queue")

Taken = Literal["new", "replaced", "waits", "under way", "sent"]
"""What became of an added instance: it is new; it replaces one of its identifier that waited with other texts; it waits
already; one with other texts is on its way; it was sent before, whatever its texts were then."""


class Queue:
    """Queue in a folder that only its owner can read, as instances contain patients' names.

    Parameters
    ----------
    folder
        Created if it is missing.

    Raises
    ------
    ConfigError
        If the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.waiting, self.sending, self.refused = (folder / name for name in ("waiting", "sending", "refused"))
        self.journal = folder / "sent.txt"
        self._sent: dict[str, None] = {}
        self._read = 0  # bytes of the journal that `_sent` was read from
        try:
            for one in (folder, self.waiting, self.sending, self.refused):
                private_folder(one)
        except OSError as error:
            raise ConfigError(f"The queue {folder} cannot be used: {error.strerror}.") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the queue against sending by other processes; instances can still be added.

        Raises
        ------
        ConfigError
            If another process is sending from it.
        """
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"Another process is sending from the queue {self.folder}; wait for its end."
                ) from error
            yield

    def add(self, uid: str, content: bytes) -> Taken:
        """Add an instance, synced to disk, or put it in the place of one that waits with other content.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        name = f"{uid}.dcm"
        if uid in self.sent():
            return "sent"
        if (under_way := _content(self.sending / name)) is not None:
            return "waits" if under_way == content else "under way"
        waiting = _content(self.waiting / name)
        if waiting == content:
            return "waits"
        write(
            self.waiting / name, content
        )  # of a sender that takes the other one just now the PACS gets both, this last
        return "new" if waiting is None else "replaced"

    def withdraw(self, uid: str) -> bool:
        """Remove an instance that waits; return whether one did."""
        try:
            (self.waiting / f"{uid}.dcm").unlink()
        except FileNotFoundError:
            return False
        return True

    def knows(self, uid: str) -> bool:
        """Whether an instance waits, is on its way, or was sent."""
        return uid in self.sent() or any((one / f"{uid}.dcm").exists() for one in (self.waiting, self.sending))

    def sent(self) -> Mapping[str, None]:
        """Identifiers of the sent instances, in order."""
        size = self.journal.stat().st_size if self.journal.exists() else 0
        if size != self._read:
            self._sent = dict.fromkeys(self.journal.read_text(encoding="ascii").split())
            self._read = size
        return self._sent

    def left(self) -> list[Path]:
        """Files not yet sent, those of unknown arrival first."""
        return [*self.uncertain(), *sorted(self.waiting.glob("*.dcm"))]

    def uncertain(self) -> list[Path]:
        """Files of unknown arrival, as the process ended or the connection broke while they were sent."""
        return sorted(self.sending.glob("*.dcm"))

    def begin(self, path: Path) -> Path:
        """Move a file to ``sending``; returns its path there."""
        if path.parent == self.sending:
            return path
        return path.rename(self.sending / path.name)

    def done(self, path: Path) -> None:
        """Record the arrival of a file in the journal, then delete it; in this order, so that none is lost.

        Raises
        ------
        OSError
            If the disk does not take it; the journal is then as before, and the arrival of the file unknown.
        """
        if path.stem not in self.sent():
            line = f"{path.stem}\n"
            before = self.journal.stat().st_size if self.journal.exists() else 0
            try:
                with self.journal.open("a", encoding="ascii") as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                if self.journal.exists():
                    os.truncate(self.journal, before)  # half a line would spoil the next one
                raise
            self._sent[path.stem] = None  # as if the journal were read again
            self._read += len(line)
        path.unlink()

    def forget(self, most: int) -> None:
        """Keep the later half of a journal of more than `most` instances; call it with the queue locked."""
        known = list(self.sent())
        if len(known) > most:
            write(self.journal, "".join(f"{uid}\n" for uid in known[-most // 2 :]).encode("ascii"))

    def refuse(self, path: Path, reason: str, comment: str = "") -> None:
        """Move a file to ``refused``, with the reason and the PACS's comment, which may name the patient."""
        log.error("%s was refused: %s", path.name, reason)
        write(self.refused / f"{path.stem}.txt", f"{reason}{comment and f': {comment}'}\n".encode())
        path.rename(self.refused / path.name)


def _content(path: Path) -> bytes | None:
    """Return what a file holds; None if it is not there, or not any more."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
