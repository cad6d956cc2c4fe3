"""Sending to PACS beside a worker, for as long as it runs; without a PACS nothing of it is imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from onebreath.dicom.export.options import ExportOptions

if TYPE_CHECKING:
    from onebreath.worker.worker import Worker


@contextmanager
def exporting(worker: Worker, options: ExportOptions | None) -> Iterator[None]:
    """Send the images of scans that end while the body runs; what an earlier worker left in the queue is sent first."""
    if options is None:
        yield
        return
    from onebreath.dicom.export.export import Export

    with ExitStack() as stack:
        for pacs in options.pacs:
            stack.enter_context(Export(worker, pacs, options))
        yield
