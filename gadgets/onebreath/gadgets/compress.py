"""Gadget: coil compression. Acquisition -> Acquisition with fewer channels, whose noise stays white."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import ismrmrd
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onebreath.chain import gadget
from onebreath.chain.gadget import Gadget, Message
from onebreath.chain.notes import note
from onebreath.errors import ScanError
from onebreath.gadgets.central_lines import Calibration, CentralLines, Stated
from onebreath.gadgets.facts import CompressFacts
from onebreath.mrd.blocks import LineBlock, together_or_singly
from onebreath.mrd.lines import SIDE_BITS, MixedLine, changed, describe, header_of, is_no_image, mixed
from onebreath.mrd.readout import Line
from onebreath.mri.coils import apply_channel_matrix, gcc_matrices, principal_components

Way = Callable[[ismrmrd.Acquisition], ismrmrd.Acquisition]
"""How the lines of a slice are compressed."""
_LITTLE = 0.9
"""Part of the signal below which a warning says how little is kept."""


class CompressProperties(gadget.Properties):
    """Properties of `compress`."""

    mode: Literal["pca", "gcc"] = Field(
        "pca",
        description="pca: principal components; gcc: geometric, one matrix per readout position (a fixed number "
        "of channels holds more signal, at a higher cost)",
    )
    upstream_coil_compression_num_modesKept: int = Field(  # noqa: N815
        0, ge=0, le=1024, description="channels to keep; 0: by the threshold"
    )
    upstream_coil_compression_thres: float = Field(
        0.002, lt=1, description="keep channels with at least this part of the first one's energy; 0 or less: all"
    )
    calibration_lines: int = Field(24, ge=1, le=65536, description="calibration rows of a slice to wait for")
    max_buffered: int = Field(
        16384,
        ge=1,
        le=65536,
        description="lines of a slice to hold back at most until its k-space centre has come; without it all channels "
        "are kept",
    )


class Compress(Gadget):
    """Compress the channels of every slice by a matrix with orthonormal rows: whitened noise stays white.

    The matrix of a slice is found from its calibration lines and those near the k-space centre. Its lines are held back
    until `calibration_lines` such rows have arrived, or fewer among many lines (`central_lines.ENOUGH`). If the centre
    does not come, all channels are kept: lines at the edge of k-space do not show which ones hold the signal.
    """

    name = "compress"
    usual = prepares = light = True
    Properties = CompressProperties
    consumes = ("Acquisition",)
    emits = ("Acquisition",)
    takes_blocks = True
    properties: CompressProperties

    def __init__(self, header: Any, properties: CompressProperties) -> None:
        super().__init__(header, properties)
        self._waiting: dict[int, CentralLines] = {}
        self._ways: dict[int, Way] = {}
        self._channels = 0
        self._kept: list[int] = []
        self._energy = 1.0
        self._mode: Literal["none", "pca", "gcc"] = "none"
        self._stated = Stated(self.header, properties.calibration_lines)

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Compress imaging and calibration lines; everything else passes on."""
        for message in messages:
            if isinstance(message, ismrmrd.Acquisition):
                yield from self._take(message)
            elif isinstance(message, LineBlock):
                yield from together_or_singly(message, self._block, self._take)
            else:
                yield message
        for number, waiting in list(self._waiting.items()):
            yield from self._calibrate(number, waiting.settle())

    def _take(self, line: ismrmrd.Acquisition) -> Iterator[Message]:
        header = header_of(line)
        if is_no_image(header, self._channels, self.header.space):
            yield line
            return
        if not self._channels:
            self._channels = header.active_channels
            if 0 < self._channels <= self.properties.upstream_coil_compression_num_modesKept:
                yield self._note("none", self._channels)
        if header.active_channels != self._channels:
            raise ScanError(
                f"The number of channels changes within the scan: {describe(header)} has {header.active_channels}, the "
                f"lines before it have {self._channels}."
            )
        if self._channels <= self.properties.upstream_coil_compression_num_modesKept:
            yield line
            return
        number = header.idx.slice
        if (way := self._ways.get(number)) is not None:
            yield way(line)
            return
        if number not in self._waiting:
            self._waiting[number] = CentralLines(self._stated, self.properties.max_buffered)
        calibration = self._waiting[number].take(line)
        if calibration is not None:
            yield from self._calibrate(number, calibration)

    def _block(self, block: LineBlock) -> LineBlock | None:
        """Compress the lines of calibrated slices together; None if they must be handled one by one."""
        if block.header(0).active_channels != self._channels or (block.headers["flags"] & SIDE_BITS).any():
            return None
        if self._channels <= self.properties.upstream_coil_compression_num_modesKept:
            return block
        ways = map(self._ways.get, block.headers["idx"]["slice"].tolist())
        rows = [way for way in ways if isinstance(way, _Rows)]
        if len(rows) < len(block) or len({len(way.rows) for way in rows}) > 1:
            return None
        before = [None] * len(block) if block.matrices is None else block.matrices
        return block.mixed([way.after(whitening) for way, whitening in zip(rows, before, strict=True)])

    def _calibrate(self, number: int, calibration: Calibration) -> Iterator[Message]:
        """Compute a slice's compression, and yield its held lines."""
        held = self._waiting.pop(number).held
        if calibration.warning:
            yield from self.warn(calibration.warning)
        if calibration.lines:
            way, kept, part, told = self._way(number, held, calibration.lines)
            if told:
                yield from self.warn(told)
            self._mode, self._energy = self.properties.mode, min(self._energy, part)
        else:
            way, kept = _Rows(np.eye(self._channels, dtype=np.complex64)), self._channels
        self._ways[number] = way
        self._kept.append(kept)
        counts = f"{min(self._kept)}..{max(self._kept)}" if len(set(self._kept)) > 1 else kept
        energy, source = round(self._energy, 6), calibration.source
        yield self._note(self._mode, counts, energy_kept=energy, slices=len(self._kept), source=source)
        for line in held:
            yield way(line)

    def _way(self, number: int, held: list[ismrmrd.Acquisition], lines: list[Line]) -> tuple[Way, int, float, str]:
        """Return how to compress a slice, channels and part of the energy kept, and a warning if that is little."""
        data = np.concatenate(lines, axis=1)
        matrix, energy = principal_components(data)
        kept, total = self._count(energy), float(energy.sum())
        part = float(energy[:kept].sum() / energy.sum()) if total > 0 else 1.0
        way: Way = _Rows(np.ascontiguousarray(matrix[:kept]))
        if self.properties.mode == "gcc":
            samples = held[0].data.shape[1]
            calibration = np.stack([_of_length(line, samples) for line in lines], axis=1)
            matrices = gcc_matrices(calibration, kept)
            compressed = np.asarray(apply_channel_matrix(matrices, calibration, 0))
            part = float(np.linalg.norm(compressed) ** 2 / max(np.linalg.norm(calibration) ** 2, 1e-30))

            def way(line: ismrmrd.Acquisition) -> ismrmrd.Acquisition:
                return changed(line, np.asarray(apply_channel_matrix(matrices, _of_length(line.data, samples), 0)))

        signal = _signal_kept(energy, kept, part, data.shape[1])
        return way, kept, part, self._little(number, kept, signal) if signal < _LITTLE else ""

    def _little(self, number: int, kept: int, signal: float) -> str:
        fixed = self.properties.upstream_coil_compression_num_modesKept
        more = "raise upstream_coil_compression_num_modesKept" if fixed else "lower upstream_coil_compression_thres"
        return (
            f"{kept} of {self._channels} channels of slice {number} hold {100 * signal:.0f} % of the signal of the "
            f"lines that they were chosen by: expect dark regions. Keep more channels ({more} of 'compress')."
        )

    def _note(self, mode: Literal["none", "pca", "gcc"], kept: int | str, **more: Any) -> ismrmrd.Waveform:
        facts = CompressFacts(mode=mode, channels=self._channels, channels_kept=kept, **more)
        return note(self.name, facts)

    def _count(self, energy: NDArray[np.float32]) -> int:
        """Return the number of channels to keep; `energy` (coil,) is sorted, largest first."""
        fixed, part = (
            self.properties.upstream_coil_compression_num_modesKept,
            self.properties.upstream_coil_compression_thres,
        )
        if fixed:
            return fixed
        return len(energy) if part <= 0 else max(1, int((energy >= part * energy[0]).sum()))


class _Rows:
    """Compression matrix (coil kept, coil), combined with the line's whitening where that is still pending."""

    def __init__(self, rows: NDArray[np.complex64]) -> None:
        self.rows = rows
        self._whitening: NDArray[np.complex64] | None = None
        self._both = rows

    def __call__(self, line: ismrmrd.Acquisition) -> ismrmrd.Acquisition:
        if isinstance(line, MixedLine):
            return mixed(line, self.after(line.matrix), line.samples)
        return mixed(line, self.rows)

    def after(self, whitening: NDArray[np.complex64] | None) -> NDArray[np.complex64]:
        """Matrix (coil kept, coil) for lines that are still to be whitened by another, if any."""
        if whitening is None:
            return self.rows
        if whitening is not self._whitening:
            self._whitening, self._both = whitening, self.rows @ whitening
        return self._both


def _signal_kept(energy: NDArray[np.float32], kept: int, part: float, samples: int) -> float:
    """Return the part of the signal that is kept, without the noise, of which every channel holds as much.

    Parameters
    ----------
    energy : (coil,)
        Energy of the principal components of the calibrating lines, largest first: the last one holds but noise.
    kept, part
        Channels kept, and the part of all energy in them.
    samples
        Of each channel of these lines.
    """
    # The least of many components of noise has less than the mean (Marchenko and Pastur, Math USSR Sb 1:457 (1967)).
    least = max(0.0, 1 - (len(energy) / samples) ** 0.5) ** 2
    total, noise = float(energy.sum()), float(max(energy[-1], 0.0)) / least if least else 0.0
    signal = total - len(energy) * noise
    return (part * total - kept * noise) / signal if signal > 0 else 1.0


def _of_length(line: Line, samples: int) -> Line:
    if line.shape[1] != samples:
        raise ScanError(
            f"Lines of {samples} and of {line.shape[1]} samples cannot share one geometric compression. Put "
            "gadget 'prewhiten' first, or set mode of gadget 'compress' to pca."
        )
    return line
