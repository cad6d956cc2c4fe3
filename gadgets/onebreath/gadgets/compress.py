"""Gadget: coil compression. Acquisition -> Acquisition with fewer channels, whose noise stays white."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import ismrmrd
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onebreath.chain import gadget
from onebreath.chain.gadget import Gadget, Message
from onebreath.chain.notes import note
from onebreath.errors import ScanError
from onebreath.gadgets.facts import CompressFacts
from onebreath.mrd.blocks import LineBlock, together_or_singly
from onebreath.mrd.lines import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    SIDE_BITS,
    MixedLine,
    bit,
    changed,
    describe,
    header_of,
    is_no_image,
    mixed,
)
from onebreath.mrd.quirks import two_dimensional
from onebreath.mrd.readout import Line
from onebreath.mri.coils import apply_channel_matrix, gcc_matrices, principal_components

_CALIBRATION_BITS = bit(CALIBRATION) | bit(CALIBRATION_AND_IMAGING)


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
        512, ge=1, le=65536, description="lines of a slice to hold back at most until it is calibrated"
    )


@dataclass
class _Slice:
    """State of one slice: lines held back at first, then how to compress."""

    held: list[ismrmrd.Acquisition] = field(default_factory=list)
    flagged: list[Line] = field(default_factory=list)
    central: list[Line] = field(default_factory=list)
    rows: set[tuple[int, int]] = field(default_factory=set)
    compress: Callable[[ismrmrd.Acquisition], ismrmrd.Acquisition] | None = None


class Compress(Gadget):
    """Compress the channels of every slice by a matrix with orthonormal rows: whitened noise stays white.

    The matrix of a slice is found from its calibration lines and those near the k-space centre. Its lines are held back
    until `calibration_lines` such rows, or `max_buffered` lines in all, have arrived.
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
        self._slices: dict[int, _Slice] = {}
        self._channels = 0
        self._kept: list[int] = []
        self._energy = 1.0
        centre = self.header.centre_line
        self._centre = self.header.encoded_matrix.y // 2 if centre is None else centre
        partitions = self.header.limits("kspace_encoding_step_2")
        self._partition = self.header.encoded_matrix.z // 2 if partitions is None else partitions.centre
        self._volume = not two_dimensional(self.header)

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Compress imaging and calibration lines; everything else passes on."""
        for message in messages:
            if isinstance(message, ismrmrd.Acquisition):
                yield from self._take(message)
            elif isinstance(message, LineBlock):
                yield from together_or_singly(message, self._block, self._take)
            else:
                yield message
        for state in self._slices.values():
            if state.compress is None:
                yield from self._calibrate(state)

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
        state = self._slices.setdefault(header.idx.slice, _Slice())
        if state.compress is not None:
            yield state.compress(line)
            return
        state.held.append(line)
        row = header.idx.kspace_encode_step_1, header.idx.kspace_encode_step_2
        if header.flags & _CALIBRATION_BITS:
            state.flagged.append(line.data)
            state.rows.add(row)
        elif self._is_central(*row):
            state.central.append(line.data)
            state.rows.add(row)
        if len(state.rows) >= self.properties.calibration_lines or len(state.held) >= self.properties.max_buffered:
            yield from self._calibrate(state)

    def _is_central(self, line: int, partition: int) -> bool:
        """Return whether a line lies near the k-space centre, in both directions where there are two."""
        wanted = self.properties.calibration_lines
        near = -wanted <= 2 * (line - self._centre) < wanted
        return near and (not self._volume or -wanted <= 2 * (partition - self._partition) < wanted)

    def _block(self, block: LineBlock) -> LineBlock | None:
        """Compress the lines of calibrated slices together; None if they must be handled one by one."""
        if block.header(0).active_channels != self._channels or (block.headers["flags"] & SIDE_BITS).any():
            return None
        if self._channels <= self.properties.upstream_coil_compression_num_modesKept:
            return block
        states = map(self._slices.get, block.headers["idx"]["slice"].tolist())
        rows = [state.compress for state in states if state is not None and isinstance(state.compress, _Rows)]
        if len(rows) < len(block):
            return None
        before = [None] * len(block) if block.matrices is None else block.matrices
        return block.mixed([way.after(whitening) for way, whitening in zip(rows, before, strict=True)])

    def _calibrate(self, state: _Slice) -> Iterator[Message]:
        """Compute a slice's compression matrix, and yield its held lines."""
        lines, source = state.flagged + state.central, "calibration lines" if state.flagged else "central lines"
        if not lines:
            lines, source = [held.data for held in state.held], "first lines"
        matrix, energy = principal_components(np.concatenate(lines, axis=1))
        kept = self._count(energy)
        held_energy = float(energy[:kept].sum() / energy.sum()) if energy.sum() > 0 else 1.0
        if self.properties.mode == "gcc":
            samples = state.held[0].data.shape[1]
            calibration = np.stack([_of_length(line, samples) for line in lines], axis=1)
            matrices = gcc_matrices(calibration, kept)
            compressed = np.asarray(apply_channel_matrix(matrices, calibration, 0))
            held_energy = float(np.linalg.norm(compressed) ** 2 / max(np.linalg.norm(calibration) ** 2, 1e-30))
            state.compress = lambda line: changed(
                line, np.asarray(apply_channel_matrix(matrices, _of_length(line.data, samples), 0))
            )
        else:
            state.compress = _Rows(np.ascontiguousarray(matrix[:kept]))
        self._kept.append(kept)
        self._energy = min(self._energy, held_energy)
        counts = f"{min(self._kept)}..{max(self._kept)}" if len(set(self._kept)) > 1 else kept
        energy = round(self._energy, 6)
        yield self._note(self.properties.mode, counts, energy_kept=energy, slices=len(self._kept), source=source)
        for line in state.held:
            yield state.compress(line)
        state.held, state.flagged, state.central = [], [], []

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


def _of_length(line: Line, samples: int) -> Line:
    if line.shape[1] != samples:
        raise ScanError(
            f"Lines of {samples} and of {line.shape[1]} samples cannot share one geometric compression. Put "
            "gadget 'prewhiten' first, or set mode of gadget 'compress' to pca."
        )
    return line
