"""A queue of instances on disk: what was taken in is sent once, whatever ends in between.

Each instance is a file in one of three folders. ``waiting``: to be sent. ``sending``: on its way; after a crash nobody
knows whether it arrived. ``refused``: the other side would not have it, for a reason that stands in a file beside it.
Sent ones are gone from the disk; their identifiers are in ``sent.txt``.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from onebreath.errors import ConfigError
from onebreath.keeping import private_folder, write

log = logging.getLogger("onebreath.dicom.queue")


class Queue:
    """The queue in a folder that only this user reads: instances have patients' names in them.

    Parameters
    ----------
    folder
        Made if there is none.

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
        self._read = 0  # bytes of the journal that were read, and what they said
        try:
            for one in (folder, self.waiting, self.sending, self.refused):
                private_folder(one)
        except OSError as error:
            raise ConfigError(f"The queue {folder} cannot be used: {error.strerror}.") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from sending out of this queue; taking in goes on.

        Raises
        ------
        ConfigError
            If another process sends from it.
        """
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"Another process is sending from the queue {self.folder}; wait for its end."
                ) from error
            yield

    def add(self, uid: str, content: bytes) -> bool:
        """Take an instance in, down to the disk; False if it is in the queue, or was sent.

        Raises
        ------
        OSError
            If the disk does not take it.
        """
        name = f"{uid}.dcm"
        if any((place / name).exists() for place in (self.waiting, self.sending)) or uid in self.sent():
            return False
        write(self.waiting / name, content)
        return True

    def sent(self) -> Mapping[str, None]:
        """Return the identifiers of what was sent, in that order."""
        size = self.journal.stat().st_size if self.journal.exists() else 0
        if size != self._read:
            self._sent = dict.fromkeys(self.journal.read_text(encoding="ascii").split())
            self._read = size
        return self._sent

    def left(self) -> list[Path]:
        """Return the files that are not sent: first those whose fate is not known."""
        return [*self.uncertain(), *sorted(self.waiting.glob("*.dcm"))]

    def uncertain(self) -> list[Path]:
        """Return the files that were on their way when the last process ended, or the connection broke."""
        return sorted(self.sending.glob("*.dcm"))

    def begin(self, path: Path) -> Path:
        """Mark a file as on its way; return where it is now."""
        if path.parent == self.sending:
            return path
        return path.rename(self.sending / path.name)

    def done(self, path: Path) -> None:
        """Write into the journal that a file has arrived, then drop it; in this order, so that none is lost."""
        if path.stem not in self.sent():
            line = f"{path.stem}\n"
            with self.journal.open("a", encoding="ascii") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            self._sent[path.stem] = None  # as reading it all again would say
            self._read += len(line)
        path.unlink()

    def refuse(self, path: Path, reason: str) -> None:
        """Set a file aside that the other side will not have, with the reason."""
        log.error("%s was refused: %s", path.name, reason)
        (self.refused / f"{path.stem}.txt").write_text(reason + "\n", encoding="utf-8")
        path.rename(self.refused / path.name)
