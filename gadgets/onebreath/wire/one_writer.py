"""One writer at a time of a file that is put together beside it and then takes its place."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
from pathlib import Path

from onebreath.errors import ConfigError

log = logging.getLogger("onebreath.image_file")

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems answer that have no locks, such as some network file systems."""


class OneWriter:
    """Lock of a file: ``.<name>.lock`` beside it, which is removed at the end, and is free again if its holder dies.

    Parameters
    ----------
    path
        The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = path.with_name(f".{path.name}.lock")
        self._held: int | None = None
        self.alone = False

    def take(self) -> None:
        """Take the lock, unless this has it already; `alone` then says whether no other can write.

        Raises
        ------
        ConfigError
            If another writer has it.
        OSError
            If the folder cannot be written.
        """
        while self._held is None:
            number = os.open(self._lock, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                self.alone = _locked(number, self.path)
                if self._is_there(number):
                    self._held = number
            finally:
                if self._held is None:  # refused, or the one that had it removed it meanwhile
                    os.close(number)

    def _is_there(self, number: int) -> bool:
        try:
            return os.path.samestat(os.fstat(number), self._lock.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back, if this has it."""
        if self._held is not None:
            with contextlib.suppress(OSError):
                self._lock.unlink()  # while it is held: nobody else can have locked this file
            os.close(self._held)
            self._held, self.alone = None, False


def _locked(number: int, path: Path) -> bool:
    """Lock an open file; return False where the file system has no locks."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(
            f"{path} is being written by another process; wait until that has ended, or name another file."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        log.warning("%s lies where files have no locks: nothing else may write it now", path)
        return False
    return True
