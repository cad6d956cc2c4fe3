"""Reader of CMRxRecon 2023 files (MATLAB v7.3, which is HDF5): multi-coil and single-coil cine.

C. Wang et al., "CMRxRecon: a publicly available k-space dataset and benchmark to advance deep learning for cardiac
MRI", Sci Data 11:687 (2024). MATLAB's (kx, ky, coil, slice, t) arrives as (t, slice, coil, ky, kx) with compound
real and imaginary fields; kx is the readout, k-space is centred and unitary. Files of a single, combined coil have no
coil axis, and ``single`` in the names of their variables.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onebreath.errors import ScanError
from onebreath.training.data.series import KspaceSeries
from onebreath.training.readers.hdf5 import opened
from onebreath.training.readers.measured import measured_series

_STATES = ("full", "sub04", "sub08", "sub10")
_NAMES = tuple(f"kspace_{coils}{state}" for coils in ("", "single_") for state in _STATES)
_VIEWS = ("lax", "sax")


def full_sample(path: Path) -> Iterator[KspaceSeries]:
    """Yield the slices of one file, whose folder is named after the patient (``FullSample/P001/cine_sax.mat``).

    The file's name states the view. A single coil has a map of ones. The mask of an undersampled file is read from
    ``*_mask.mat`` in the same folder.

    Raises
    ------
    ScanError
        If the file is damaged, has none of the variables or other axes, or its mask is missing.
    """
    if path.stem.endswith("_mask"):
        return
    with opened(path) as file:
        name = next((name for name in _NAMES if name in file), None)
        if name is None:
            raise ScanError(f"{path} has none of the variables {', '.join(_NAMES)}; it holds {', '.join(file)}")
        stored, single = file[name], "single" in name
        shape, kind = getattr(stored, "shape", ()), getattr(stored, "dtype", np.dtype(float))
        if len(shape) != (4 if single else 5) or kind.names != ("real", "imag"):
            raise ScanError(
                f"{path}: {name} has the shape {shape} and type {kind}, expected complex values "
                f"(t, slice, {'' if single else 'coil, '}ky, kx)"
            )
        mask = None if name.endswith("full") else _mask(path, name, stored.shape[-2])
        maps = np.ones((1, *stored.shape[-2:]), np.complex64) if single else None
        view = next((view for view in _VIEWS if view in path.stem.split("_")), "")
        for index in range(stored.shape[1]):
            values = stored[:, index]
            kspace = (values["real"] + 1j * values["imag"]).astype(np.complex64)
            kspace = kspace[:, None] if single else kspace
            yield measured_series(path.parent.name, f"{path.stem}-slice{index:02d}", kspace, mask, maps, view=view)


def _mask(path: Path, name: str, rows: int) -> np.ndarray:
    """Acquired lines ``(1, ky)`` from the mask file, whose array is (kx, ky) in MATLAB."""
    file = path.with_name(f"{path.stem}_mask.mat")
    key = name.replace("kspace_single_sub", "mask").replace("kspace_sub", "mask")
    with opened(file) as content:
        if key not in content:
            raise ScanError(f"{file} has no variable {key}; it holds {', '.join(content)}")
        mask = np.asarray(content[key])
    if mask.ndim != 2 or mask.shape[0] != rows:
        raise ScanError(f"{file}: {key} has the shape {mask.shape}, expected ({rows}, kx)")
    return (mask != 0).any(axis=1)[None]
