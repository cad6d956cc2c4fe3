"""Models made wrong on purpose, and a slice to try them on."""

from pathlib import Path

import numpy as np

from onebreath.methods.base import SliceData
from tests.methods.slices import lines, synthetic


def retouch(folder: Path, place: int = -5) -> None:
    """Turn one bit of the weights."""
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def slice_data() -> SliceData:
    """A small slice."""
    return synthetic(np.broadcast_to(lines(16, 2, 6), (2, 16)), ny=16, nx=16, coils=2, acs=6).data
