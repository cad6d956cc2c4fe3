"""Where the real Gadgetron is: a site's own installation, or the archive of the reference data, unpacked once a run."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tarfile
from pathlib import Path

VARIABLE = "ONEBREATH_GADGETRON"
PROGRAMS = ("gadgetron", "gadgetron_ismrmrd_client")


class NotHere(Exception):
    """There is no Gadgetron to test with; the text says why and what to do."""


def find_prefix(shared: Path, folder: Path) -> Path:
    """Return the prefix of an installation that runs.

    Parameters
    ----------
    shared
        The reference data; need not exist.
    folder
        Where the archive may be unpacked; processes that test at once share it.

    Raises
    ------
    NotHere
        If there is neither ``ONEBREATH_GADGETRON=PREFIX`` nor an archive, or its libraries are missing.
    """
    if chosen := os.environ.get(VARIABLE):
        prefix = Path(chosen)
    else:
        archives = sorted((shared / "gadgetron/server").glob("gadgetron-*.tar.xz"))
        if not archives:
            raise NotHere(
                f"no Gadgetron: set {VARIABLE} to the prefix of an installation (it holds bin/gadgetron), "
                f"or put its archive into {shared / 'gadgetron/server'}"
            )
        prefix = _unpacked(archives[-1], folder)
    for program in PROGRAMS:
        _check_runs(prefix / "bin" / program)
    return prefix


def _unpacked(archive: Path, folder: Path) -> Path:
    """Unpack the archive, unless another process of this run has done so."""
    prefix, done = folder / "gadgetron", folder / "gadgetron.unpacked"
    with (folder / "gadgetron.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            with tarfile.open(archive) as packed:
                # Python before 3.11.4, as in Debian 12, knows no filters and extracts as "fully_trusted".
                packed.extractall(prefix, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
            done.touch()
    return prefix


def _check_runs(program: Path) -> None:
    try:
        subprocess.run([program, "--help"], check=True, capture_output=True, timeout=60)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
        raise NotHere(
            f"{program} does not run: {reason}. On Debian 12, install the packages that its README names"
        ) from error
    except OSError as error:
        raise NotHere(f"{program} does not run: {error}") from error
