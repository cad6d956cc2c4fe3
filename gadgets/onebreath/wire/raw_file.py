"""ISMRMRD files of raw data, read in bulk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import acquisition_header_dtype, waveform_header_dtype

from onebreath.errors import ScanError
from onebreath.mrd.lines import HEADER
from onebreath.wire.h5_guard import check_room, open_file
from onebreath.wire.messages import ACQUISITION_HEADER, WAVEFORM_HEADER

CHUNK_BYTES = 32 << 20
CHUNK_ROWS = 4096


class RawFile:
    """Raw data of one scan.

    Parameters
    ----------
    path
        An ISMRMRD HDF5 file.
    group
        Group that holds the scan.

    Raises
    ------
    ScanError
        If the file is not HDF5, or holds no scan in that group.
    """

    def __init__(self, path: str | Path, group: str = "dataset") -> None:
        self.path = Path(path)
        try:
            self._file = open_file(self.path)
        except OSError as error:
            why = unreadable(self.path, error, "; onebreath import makes one of a scanner's raw data")
            raise ScanError(f"{self.path} cannot be read: {why}") from error
        try:
            self._group = self._scan(group)
            self.header_xml = self._xml()
        except ScanError:
            self._file.close()
            raise

    def __enter__(self) -> RawFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def _scan(self, group: str) -> h5py.Group:
        found = self._file.get(group)
        if isinstance(found, h5py.Group) and "xml" in found and not self._lines(found):
            raise ScanError(f"{self.path}: group '{group}' holds a header but no data")
        if not isinstance(found, h5py.Group) or "data" not in found:
            scans = [
                name
                for name, item in self._file.items()
                if isinstance(item, h5py.Group) and {"xml", "data"} <= set(item)
            ]
            known = f"it has {', '.join(scans)}" if scans else "it holds no raw data at all"
            raise ScanError(f"{self.path} has no raw data in group '{group}'; {known}")
        return found

    @staticmethod
    def _lines(group: h5py.Group) -> int:
        data = group.get("data")
        return int(data.shape[0]) if isinstance(data, h5py.Dataset) and data.shape else 0

    def _xml(self) -> bytes:
        if "xml" not in self._group:
            raise ScanError(f"{self.path}: group '{self._group.name[1:]}' holds data but no ISMRMRD header (xml)")
        stored = self._group["xml"]
        text: Any = np.asarray(stored[()], dtype=object).ravel()[:1] if isinstance(stored, h5py.Dataset) else ()
        if len(text) == 0 or not isinstance(text[0], (str, bytes)):
            raise ScanError(f"{self.path}: {self._group.name}/xml holds no text; it is no ISMRMRD header")
        return text[0].encode("utf-8") if isinstance(text[0], str) else text[0]

    @property
    def acquisitions(self) -> int:
        """Number of acquisitions."""
        return int(self._group["data"].shape[0])

    @property
    def waveforms(self) -> int:
        """Number of waveforms."""
        return int(self._group["waveforms"].shape[0]) if "waveforms" in self._group else 0

    def headers(self) -> np.ndarray:
        """Return the headers of all acquisitions as a structured array (acquisition,), without reading samples.

        Raises
        ------
        ScanError
            If the file is damaged.
        """
        check_room(self._group["data"], acquisition_header_dtype)
        try:
            heads = self._group["data"].fields("head")[:]
        except (OSError, ValueError) as error:
            raise ScanError(f"{self.path}: the headers of its lines cannot be read: {error}") from error
        return np.frombuffer(_headers(heads, acquisition_header_dtype), HEADER)

    def messages(self) -> Iterator[ismrmrd.Acquisition | ismrmrd.Waveform]:
        """Yield all acquisitions and waveforms, in the order of the C++ client.

        Each kind keeps the order of the file; a waveform goes before the first acquisition whose time stamp is later.
        """
        waveforms = self._read_waveforms()
        waveform = next(waveforms, None)
        for acquisition in self._read_acquisitions():
            while waveform is not None and waveform.time_stamp < acquisition.acquisition_time_stamp:
                yield waveform
                waveform = next(waveforms, None)
            yield acquisition
        while waveform is not None:
            yield waveform
            waveform = next(waveforms, None)

    def _read_acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
        for first, rows in _chunks(self._group["data"]):
            if not {"head", "traj", "data"} <= set(rows.dtype.names or ()):
                raise ScanError(f"{self.path}: its data are no lines of ISMRMRD (head, traj, data); convert it again")
            heads = _headers(rows["head"], acquisition_header_dtype)
            for index, (trajectory, data) in enumerate(zip(rows["traj"], rows["data"], strict=True)):
                head = ismrmrd.AcquisitionHeader.from_buffer_copy(heads, index * ACQUISITION_HEADER)
                shape = (head.active_channels, head.number_of_samples)
                samples = self._shaped(data, shape, np.complex64, f"acquisition {first + index}")
                path = (head.number_of_samples, head.trajectory_dimensions)
                where = self._shaped(trajectory, path, np.float32, f"trajectory of acquisition {first + index}")
                yield ismrmrd.Acquisition(head, samples, where)

    def _read_waveforms(self) -> Iterator[ismrmrd.Waveform]:
        if not self.waveforms:
            return
        for first, rows in _chunks(self._group["waveforms"]):
            heads = _headers(rows["head"], waveform_header_dtype)
            for index, data in enumerate(rows["data"]):
                start = index * WAVEFORM_HEADER
                waveform = ismrmrd.Waveform(heads[start : start + WAVEFORM_HEADER])
                waveform.data[:] = self._shaped(data, waveform.data.shape, np.uint32, f"waveform {first + index}")
                yield waveform

    def _shaped(self, values: np.ndarray, shape: tuple[int, int], dtype: Any, name: str) -> np.ndarray:
        """Reshape stored numbers to the shape of their header."""
        expected = shape[0] * shape[1] * np.dtype(dtype).itemsize
        if values.nbytes != expected:
            raise ScanError(f"{self.path}: {name} has {values.nbytes} bytes, but its header says {expected}")
        return values.view(dtype).reshape(shape)


def unreadable(path: Path, error: OSError, advice: str = "") -> str:
    """Explain why a file cannot be opened as HDF5, with advice if its content is something else."""
    if why := without_content(path):
        return why
    cut = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", str(error))
    if cut:
        return f"it is cut off, {cut[1]} of {cut[2]} bytes are there; copy or convert it again"
    return f"it is not an HDF5 file ({error}){advice}"


def without_content(path: Path) -> str:
    """Explain why a file of any kind has nothing to read; empty if it has."""
    if not path.exists():
        return "there is no such file"
    if path.is_dir():
        return "it is a folder"
    if path.is_file() and path.stat().st_size == 0:
        return "it is empty"
    return "" if os.access(path, os.R_OK) else "you may not read it"


def _chunks(dataset: h5py.Dataset) -> Iterator[tuple[int, np.ndarray]]:
    """Yield rows in chunks (single rows are 20 times slower) of limited size, to bound the memory."""
    count = dataset.shape[0]
    first = 0
    step = 16
    while first < count:
        try:
            rows = dataset[first : first + step]
        except OSError as error:
            raise ScanError(
                f"{dataset.file.filename} is damaged after row {first} of {dataset.name}: {error}"
            ) from error
        yield first, rows
        first += len(rows)
        size = max(1, sum(data.nbytes for data in rows["data"]) // len(rows))
        step = int(np.clip(CHUNK_BYTES // size, 1, CHUNK_ROWS))


def _headers(heads: np.ndarray, dtype: np.dtype) -> bytes:
    """Bytes of headers in the layout of the wire; HDF5 may have stored them with another one."""
    plain = np.zeros(heads.shape, dtype)
    plain[:] = heads.astype(dtype)
    return plain.tobytes()
