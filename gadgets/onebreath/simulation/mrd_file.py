"""Writer of raw data files in the layout of the ISMRMRD library."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
from ismrmrd import Acquisition, Waveform, xsd
from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype, waveform_dtype, waveform_header_dtype
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.serializers import XmlSerializer
from xsdata.formats.dataclass.serializers.config import SerializerConfig

from onebreath.keeping import whole

_GROUP = "dataset"


def write_mrd(
    path: Path, header: xsd.ismrmrdHeader, acquisitions: list[Acquisition], waveforms: list[Waveform]
) -> None:
    """Write a raw data file atomically; the same content gives the same bytes.

    Parameters
    ----------
    path
        File to write; an existing one is replaced.
    header, acquisitions, waveforms
        Content of the file.
    """
    lines = np.zeros(len(acquisitions), acquisition_dtype)
    for index, acquisition in enumerate(acquisitions):
        lines["head"][index] = np.frombuffer(acquisition.getHead(), acquisition_header_dtype)[0]
        lines["data"][index] = np.ascontiguousarray(acquisition.data).view(np.float32).ravel()
        lines["traj"][index] = np.asarray(acquisition.traj, np.float32).ravel()
    records = np.zeros(len(waveforms), waveform_dtype)
    for index, waveform in enumerate(waveforms):
        records["head"][index] = np.frombuffer(waveform.getHead(), waveform_header_dtype)[0]
        records["data"][index] = waveform.data.ravel()
    content = io.BytesIO()  # HDF5 does not recover from a failed write, as on a full disk
    with h5py.File(content, "w", track_order=False) as file:
        group = file.create_group(_GROUP)
        xml = group.create_dataset("xml", (1,), h5py.special_dtype(vlen=bytes))
        xml[0] = header_text(header)
        group.create_dataset("data", data=lines, maxshape=(None,), chunks=(1,))
        if waveforms:
            group.create_dataset("waveforms", data=records, maxshape=(None,), chunks=(1,))
    with whole(Path(path)) as part:
        part.write_bytes(content.getbuffer())


def header_text(header: xsd.ismrmrdHeader) -> str:
    """Header as XML; ``ismrmrd.xsd.ToXML`` of ismrmrd 1.14 fails with current releases of xsdata."""
    serializer = XmlSerializer(config=SerializerConfig(encoding="ascii", indent=" "), context=XmlContext())
    return str(serializer.render(header, ns_map={"": "http://www.ismrm.org/ISMRMRD"}))
