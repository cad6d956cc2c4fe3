"""A noise covariance on disk: kept from one scan's noise lines, to whiten another scan that has none."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ConfigError, ScanError
from onebreath.keeping import write
from onebreath.storage.base import StorageError
from onebreath.storage.blob import pack, unpack

log = logging.getLogger("onebreath.noise")

MEASURED_AT = "onebreath_measured_at"
LARGEST = 64 << 20  # bytes of a covariance with all that stands beside it; 1024 channels take 8 MB
ARCHIVE_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, struct.error, RuntimeError, MemoryError)
"""What reading a damaged archive raises besides."""


@dataclass(frozen=True)
class StoredCovariance:
    """A noise covariance and what is needed to apply it to another scan.

    Parameters
    ----------
    matrix : (coil, coil) complex
        Covariance of the noise samples.
    dwell_us : float
        Dwell time of the noise samples in microseconds.
    labels : tuple of str
        Coil labels in the order of the matrix; empty if the scan's header had none.
    samples : int
        Noise samples per channel.
    source : str
        Identifier of the measurement that it came from.
    measured_at : float
        When it was measured, in seconds since 1970; 0: not known, as of Gadgetron's own.
    """

    matrix: NDArray[np.complex64]
    dwell_us: float
    labels: tuple[str, ...] = ()
    samples: int = 0
    source: str = ""
    measured_at: float = 0.0

    def save(self, path: str) -> None:
        """Write to a .npz file, atomically.

        Raises
        ------
        ConfigError
            If the file cannot be written.
        """
        file = io.BytesIO()
        np.savez(
            file,
            matrix=self.matrix,
            dwell=np.float64(self.dwell_us),
            labels=np.array(self.labels, dtype=np.str_),
            samples=np.int64(self.samples),
            source=np.str_(self.source),
            digest=np.str_(self._digest()),
        )
        try:
            write(Path(path), file.getvalue())
        except OSError as error:
            raise ConfigError(f"The noise covariance cannot be written to {path}: {error.strerror}.") from error

    def _digest(self) -> str:
        facts = [self.matrix.shape, float(self.dwell_us), list(self.labels), int(self.samples), self.source]
        content = np.ascontiguousarray(self.matrix, "<c8").tobytes() + json.dumps(facts).encode()
        return hashlib.sha256(content).hexdigest()

    @classmethod
    def load(cls, path: str) -> StoredCovariance:
        """Read what `save` wrote; `samples`, `source` and `digest` may be missing from what somebody else wrote.

        Raises
        ------
        ConfigError
            If the file cannot be read or does not hold a square matrix, a dwell time and as many labels as channels.
        """
        try:
            archive = io.BytesIO(Path(path).read_bytes())
            with zipfile.ZipFile(archive) as parts:
                if sum(part.file_size for part in parts.infolist()) > LARGEST:
                    raise ValueError(f"it holds more than {LARGEST >> 20} MB")
            with np.load(archive, allow_pickle=False) as content:
                matrix = np.asarray(content["matrix"], dtype=np.complex64)
                dwell = float(content["dwell"])
                labels = tuple(str(label) for label in np.atleast_1d(content["labels"]))
                samples = int(content["samples"]) if "samples" in content else 0
                source = str(content["source"]) if "source" in content else ""
                digest = str(content["digest"]) if "digest" in content else ""
        except (OSError, KeyError, ValueError, TypeError, AttributeError, EOFError, *ARCHIVE_ERRORS) as error:
            raise ConfigError(f"The noise covariance {path} cannot be read: {error}.") from error
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(labels) not in (0, matrix.shape[0]):
            raise ConfigError(
                f"The noise covariance {path} holds a matrix of shape {matrix.shape} and {len(labels)} labels; "
                "it must be square, with one label per channel or none."
            )
        found = cls(matrix, dwell, labels, samples, source)
        if digest and digest != found._digest():
            raise ConfigError(f"The noise covariance {path} is damaged: its digest does not fit. Measure noise again.")
        if not digest:
            log.warning("the noise covariance %s has no digest; whether it is damaged cannot be seen", path)
        return found

    def to_blob(self, bandwidth: float) -> bytes:
        """Pack as Gadgetron's NoiseAdjustGadget does; `bandwidth` is the receiver's relative noise bandwidth."""
        facts = {
            "channels": len(self.matrix),
            "sampleCount": self.samples,
            "labels": list(self.labels),
            "noiseDwellTimeUs": self.dwell_us,
            "receiverNoiseBandwidth": bandwidth,
        } | ({MEASURED_AT: self.measured_at} if self.measured_at else {})
        return pack(self.matrix, facts)

    @classmethod
    def from_blob(cls, content: bytes, source: str) -> StoredCovariance:
        """Read what `to_blob`, or Gadgetron, packed; `source` says where it came from.

        Raises
        ------
        StorageError
            If it is no covariance.
        """
        matrix, facts = unpack(content)
        try:
            labels = tuple(str(label) for label in facts["labels"])
            dwell, samples = float(facts["noiseDwellTimeUs"]), int(facts["sampleCount"])
            measured_at = float(facts.get(MEASURED_AT, 0))
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"the stored noise covariance lacks a fact: {error}") from error
        if matrix.ndim != 2 or not 0 < len(matrix) == matrix.shape[1] or len(labels) not in (0, len(matrix)):
            raise StorageError(
                f"the stored noise covariance has the shape {matrix.shape} and {len(labels)} labels; it must be "
                "square, with one label per channel or none"
            )
        if not np.isfinite(matrix).all() or not np.isfinite([dwell, measured_at]).all():
            raise StorageError("the stored noise covariance is not finite")
        return cls(matrix, dwell, labels, samples, source, measured_at)

    def ordered_for(self, labels: list[str], channels: int) -> tuple[StoredCovariance, str]:
        """Sort the channels into a scan's order; also return a text for the note on how they were matched.

        Raises
        ------
        ScanError
            If the scan has other channels; the text names those that do not match.
        """
        if len(self.matrix) != channels:
            raise ScanError(
                f"The stored noise covariance has {len(self.matrix)} channels ({_list(self.labels)}), the scan "
                f"{channels} ({_list(labels)}). Take a noise scan with the coils of this scan."
            )
        if not self.labels or len(labels) != channels:
            return self, "not checked, coil labels missing"
        if list(self.labels) == labels:
            return self, "as stored"
        missing = sorted(set(labels) - set(self.labels))
        surplus = sorted(set(self.labels) - set(labels))
        if missing or surplus or len(set(labels)) != channels:
            raise ScanError(
                f"The stored noise covariance belongs to other coils: the scan's {_list(missing)} are not in it, its "
                f"{_list(surplus)} are not in the scan. Take a noise scan with the coils of this scan."
            )
        order = [self.labels.index(label) for label in labels]
        return replace(self, matrix=self.matrix[np.ix_(order, order)], labels=tuple(labels)), "permuted by coil label"


def _list(labels: list[str] | tuple[str, ...]) -> str:
    return ", ".join(labels) or "none"
