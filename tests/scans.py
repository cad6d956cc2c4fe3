"""Small scans made by hand, for tests that must know every number in them."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData, SamplingDescription, SamplingLimit

HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <measurementInformation>
    <measurementID>1_2_3_4</measurementID><patientPosition>HFS</patientPosition><protocolName>test</protocolName>
  </measurementInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <encodedSpace>
      <matrixSize><x>{ex}</x><y>{ey}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{efx}</x><y>{efy}</y><z>8</z></fieldOfView_mm>
    </encodedSpace>
    <reconSpace>
      <matrixSize><x>{rx}</x><y>{ry}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>{rfx}</x><y>{rfy}</y><z>8</z></fieldOfView_mm>
    </reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1>
        <minimum>0</minimum><maximum>{last}</maximum><center>{centre}</center>
      </kspace_encoding_step_1>
      <slice><minimum>0</minimum><maximum>{slices}</maximum><center>0</center></slice>
      <phase><minimum>0</minimum><maximum>{phases}</maximum><center>0</center></phase>
    </encodingLimits>
    <trajectory>cartesian</trajectory>{parallel}
  </encoding>
  <sequenceParameters><TR>3</TR><TE>1.5</TE><flipAngle_deg>50</flipAngle_deg></sequenceParameters>
</ismrmrdHeader>"""

PARALLEL = """
    <parallelImaging>
      <accelerationFactor>
        <kspace_encoding_step_1>{factor}</kspace_encoding_step_1><kspace_encoding_step_2>1</kspace_encoding_step_2>
      </accelerationFactor>
      <calibrationMode>{mode}</calibrationMode>
    </parallelImaging>"""


def header(
    y: int, x: int, *, phases: int = 1, slices: int = 1, factor: int = 1, mode: str | None = None, **changes: Any
) -> Any:
    """Make a header for a y by x matrix of 1.5 mm pixels; `mode` adds a section for parallel imaging."""
    values: dict[str, Any] = {
        "ex": x, "ey": y, "rx": x, "ry": y, "efx": 1.5 * x, "efy": 1.5 * y, "rfx": 1.5 * x, "rfy": 1.5 * y,
        "last": y - 1, "centre": y // 2, "phases": phases - 1, "slices": slices - 1,
        "parallel": PARALLEL.format(factor=factor, mode=mode) if mode else "",
    }  # fmt: skip
    return ismrmrd.xsd.CreateFromDocument(HEADER.format(**{**values, **changes}))


def line_header(row: int, samples: int, channels: int, **idx: int) -> ismrmrd.AcquisitionHeader:
    """Make the header of an acquired line; further arguments set its counters."""
    line = ismrmrd.AcquisitionHeader()
    line.version, line.number_of_samples, line.active_channels = 1, samples, channels
    line.center_sample = samples // 2
    line.acquisition_time_stamp = 1000 + row
    line.position, line.patient_table_position = (10.0, 20.0, 30.0), (0.0, 0.0, -5.0)
    line.read_dir, line.phase_dir, line.slice_dir = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    line.idx.kspace_encode_step_1 = row
    for name, value in idx.items():
        setattr(line.idx, name, value)
    return line


def buffer(kspace: np.ndarray, lines: np.ndarray, *, flag: int | None = None, loc: int = 0) -> ReconBuffer:
    """Put k-space (frame, coil, y, x) with acquired `lines` (frame, y) into one of Gadgetron's buffers."""
    frames, coils, rows, samples = kspace.shape
    headers = np.empty((rows, 1, frames, 1, 1), dtype=object)
    for n, row in np.ndindex(frames, rows):
        acquired = line_header(row, samples, coils, phase=n, slice=loc)
        if flag is not None:
            acquired.set_flag(flag)
        headers[row, 0, n, 0, 0] = acquired if lines[n, row] else ismrmrd.AcquisitionHeader()
    sampling = SamplingDescription()
    for name in ("encoded_matrix", "recon_matrix"):
        setattr(sampling, name, (samples, rows, 1))
    for name in ("encoded_FOV", "recon_FOV"):
        setattr(sampling, name, (1.5 * samples, 1.5 * rows, 8.0))
    acquired_rows = np.flatnonzero(lines.any(axis=0))
    sampling.sampling_limits[0] = SamplingLimit(0, samples // 2, samples - 1)
    sampling.sampling_limits[1] = SamplingLimit(int(acquired_rows[0]), rows // 2, int(acquired_rows[-1]))
    data = np.where(lines[:, None, :, None], kspace, 0).astype(np.complex64)
    return ReconBuffer(data.transpose(3, 2, 1, 0)[:, :, None, :, :, None, None], None, None, headers, sampling)


def recon_data(
    kspace: np.ndarray, lines: np.ndarray, acs_lines: np.ndarray | None = None, *, flag: int | None = None
) -> ReconData:
    """Make one slice's message; `acs_lines` (frame, y) marks the lines of the reference, which carry `flag`."""
    reference = None if acs_lines is None else buffer(kspace, acs_lines, flag=flag)
    return ReconData([ReconBit(buffer(kspace, lines), reference)])


def coil_scan(
    frames: int = 3, coils: int = 6, y: int = 36, x: int = 32, noise: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make a moving disc seen by coils: images (frame, y, x), maps (coil, y, x), k-space (frame, coil, y, x)."""
    from onebreath.mri.fourier import fft2c

    rng = np.random.default_rng(seed)
    gy, gx = np.meshgrid(np.linspace(-1, 1, y), np.linspace(-1, 1, x), indexing="ij")
    angles = 2 * np.pi * np.arange(coils) / coils
    distance = (gy[None] - 1.3 * np.sin(angles)[:, None, None]) ** 2 + (
        gx[None] - 1.3 * np.cos(angles)[:, None, None]
    ) ** 2
    maps = np.exp(-0.6 * distance + 1j * (angles[:, None, None] + 0.5 * gy))
    maps /= np.linalg.norm(maps, axis=0)
    images = np.stack(
        [
            30.0 * (gy**2 + gx**2 < 0.5) + 30.0 * ((gy - 0.1) ** 2 + gx**2 < 0.05 + 0.1 * n / frames)
            for n in range(frames)
        ]
    ).astype(complex)
    kspace = fft2c(images[:, None] * maps)
    kspace = kspace + noise * (rng.standard_normal(kspace.shape) + 1j * rng.standard_normal(kspace.shape))
    return images, maps, kspace.astype(np.complex64)
