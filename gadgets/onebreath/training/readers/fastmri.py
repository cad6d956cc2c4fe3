"""Reader of fastMRI multi-coil files: static slices, undersampled along the last axis.

F. Knoll et al., "fastMRI: a publicly available raw k-space and DICOM dataset of knee images", Radiol Artif Intell
2:e190007 (2020). ``kspace`` is (slice, coil, readout, phase), centred and unitary.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onebreath.errors import ScanError
from onebreath.training.data.series import KspaceSeries
from onebreath.training.readers.hdf5 import opened
from onebreath.training.readers.measured import measured_series


def multicoil_file(path: Path) -> Iterator[KspaceSeries]:
    """Yield the slices of one file; the patient is the file's ``patient_id``, or its name.

    Raises
    ------
    ScanError
        If the file is damaged or holds no multi-coil k-space, or its mask does not fit.
    """
    with opened(path) as file:
        if "kspace" not in file:
            raise ScanError(f"{path} has no array 'kspace'; it holds {', '.join(file) or 'nothing'}")
        stored = file["kspace"]
        shape = getattr(stored, "shape", ())
        if len(shape) != 4 or not all(shape):
            raise ScanError(f"{path}: kspace has the shape {shape}, expected (slice, coil, readout, phase)")
        patient = file.attrs.get("patient_id", "")
        patient = (patient.decode() if isinstance(patient, bytes) else str(patient)).strip() or path.stem
        lines = np.asarray(file["mask"]).astype(bool).reshape(1, -1) if "mask" in file else None
        for index in range(stored.shape[0]):
            # Swapped, as y is the phase encoding everywhere else.
            kspace = np.asarray(stored[index]).swapaxes(-1, -2)
            yield measured_series(patient, f"slice{index:03d}", kspace[None], lines)
