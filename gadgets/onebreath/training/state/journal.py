"""Journal of a training: lines of JSON, the terminal, and TensorBoard if it is installed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from onebreath.training.pictures import PICTURE, Shown, draw_progress

LOG = logging.getLogger("onebreath.training")

JOURNAL = "log.jsonl"
"""File in the folder of a run."""


def read_journal(folder: Path) -> list[dict[str, float]]:
    """Entries of the journal of a run, a last one that is half written left out.

    Raises
    ------
    OSError, ValueError
        If there is no journal, or it is none.
    """
    lines = (folder / JOURNAL).read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


class Journal:
    """Progress of one run.

    Parameters
    ----------
    folder
        Run folder; ``log.jsonl`` in it is appended to after a restart.
    tensorboard
        Whether to write TensorBoard files as well.
    """

    def __init__(self, folder: Path, tensorboard: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, folder / JOURNAL
        self.start = time.perf_counter()
        self.writer = _tensorboard(folder) if tensorboard else None

    def write(self, step: int, **values: float) -> None:
        """Record values of a step."""
        entry = {"step": step, "seconds": round(time.perf_counter() - self.start, 3), **values}
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        LOG.info("step %d: %s", step, ", ".join(f"{name} {value:.5g}" for name, value in values.items()))
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def draw(self, shown: Sequence[Shown]) -> None:
        """Draw ``progress.png`` with the losses so far and examples; a warning if matplotlib is missing."""
        try:
            draw_progress(read_journal(self.folder), shown, self.folder / PICTURE)
        except ImportError as error:
            LOG.warning("no picture of the run: %s; log.jsonl has all values", error)

    def close(self) -> None:
        """Write the remaining entries."""
        if self.writer is not None:
            self.writer.close()


def _tensorboard(folder: Path):  # type: ignore[no-untyped-def]  # its type is only known where it is installed
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        LOG.warning("no TensorBoard files: the package tensorboard is not installed; log.jsonl has all values")
        return None
    return SummaryWriter(str(folder / "tensorboard"))
