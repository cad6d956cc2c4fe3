"""The real Gadgetron and the reference data for benchmarks."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.gadgetron.installation import NotHere, find_prefix
from tests.gadgetron.real import CONFIGS
from tests.storage.standin import StandIn, storage_server

SHARED = Path(os.environ.get("ONEBREATH_SHARED", CONFIGS.parent.parent / "shared"))


@contextmanager
def installed() -> Iterator[tuple[Path, Path, StandIn]]:
    """Give a folder, the prefix of a Gadgetron and a storage server until the block ends.

    Without a Gadgetron the program ends with status 1 and says why.
    """
    with tempfile.TemporaryDirectory() as temporary, storage_server() as storage:
        folder = Path(temporary)
        try:
            prefix = find_prefix(SHARED, folder)
        except NotHere as error:
            sys.exit(str(error))
        yield folder, prefix, storage
