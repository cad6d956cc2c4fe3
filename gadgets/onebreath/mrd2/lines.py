"""Acquisitions and waveforms of MRD 2 and of ISMRMRD (MRD 1), field by field."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import ismrmrd
import numpy as np

from onebreath.errors import ScanError
from onebreath.mrd2.header import mrd_package

_COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)
_NUMBERS = ("discard_pre", "discard_post", "center_sample", "encoding_space_ref")
_STAMPS = ("scan_counter", "acquisition_time_stamp")
_VECTORS = ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position")
_LISTS = {"physiology_time_stamp": 3, "user_int": 8, "user_float": 8}
_LAST16 = 2**16 - 1
_MASK_WORDS, _WORD = 16, 64


def line_to_v1(line: Any, where: str) -> ismrmrd.Acquisition:
    """Return an acquisition of MRD 2 as one of ISMRMRD.

    What is not stated becomes 0, which is what ISMRMRD says of such fields.

    Raises
    ------
    ScanError
        If it holds what ISMRMRD cannot; `where` begins the text.
    """
    theirs, head = line.head, ismrmrd.AcquisitionHeader()
    head.version = 1
    head.flags = int(theirs.flags)
    head.measurement_uid = theirs.measurement_uid
    for name in _STAMPS:
        setattr(head, name, getattr(theirs, name) or 0)
    head.sample_time_us = theirs.sample_time_us or 0.0
    for name in _NUMBERS:
        setattr(head, name, _short(getattr(theirs, name), name, where))
    for name in _COUNTERS:
        setattr(head.idx, name, _short(getattr(theirs.idx, name), f"idx.{name}", where))
    _fill(head.idx.user, [_short(one, "idx.user", where) for one in theirs.idx.user], "idx.user", where)
    for name in _VECTORS:
        getattr(head, name)[:] = [float(one) for one in getattr(theirs, name)]
    for name in _LISTS:
        _fill(getattr(head, name), getattr(theirs, name), name, where)
    channels, samples = line.data.shape
    head.active_channels = head.available_channels = _short(channels, "number of channels", where)
    head.number_of_samples = _short(samples, "number of samples", where)
    _mask(head, theirs.channel_order, channels, where)
    path = np.ascontiguousarray(np.asarray(line.trajectory, np.float32).T)
    if path.size and len(path) != samples:
        raise ScanError(f"{where} has {samples} samples, but {len(path)} points of its trajectory")
    path = path if path.size else np.zeros((samples, 0), np.float32)
    head.trajectory_dimensions = path.shape[1]
    return ismrmrd.Acquisition(head, np.ascontiguousarray(line.data, np.complex64), path)


def line_to_v2(line: ismrmrd.Acquisition, where: str) -> Any:
    """Return an acquisition of ISMRMRD as one of MRD 2.

    Raises
    ------
    ScanError
        If its channel mask names other channels than it has; MRD 2 states the channels in their place.
    """
    mrd, head = mrd_package(), line.getHead()
    channels = _channels_of(head)
    if channels and len(channels) != head.active_channels:
        raise ScanError(f"{where} has {head.active_channels} channels, but its channel mask names {len(channels)}")
    made = mrd.AcquisitionHeader(
        flags=mrd.AcquisitionFlags(head.flags),
        idx=mrd.EncodingCounters(**{name: getattr(head.idx, name) for name in _COUNTERS}, user=list(head.idx.user)),
        measurement_uid=head.measurement_uid,
        channel_order=channels,
        sample_time_us=head.sample_time_us,
        **{name: getattr(head, name) for name in (*_STAMPS, *_NUMBERS)},
        **{name: np.array(getattr(head, name), np.float32) for name in _VECTORS},
        **{name: list(getattr(head, name)) for name in _LISTS},
    )
    path = np.ascontiguousarray(np.asarray(line.traj, np.float32).T)
    path = path if path.size else np.zeros((0, 0), np.float32)
    return mrd.Acquisition(head=made, data=np.ascontiguousarray(line.data), trajectory=path)


def waveform_to_v1(waveform: Any, where: str) -> ismrmrd.Waveform:
    """Return a waveform of MRD 2 as one of ISMRMRD; errors as in `line_to_v1`."""
    data = np.ascontiguousarray(waveform.data, np.uint32)
    head = ismrmrd.WaveformHeader()
    head.version = 1
    head.channels, head.number_of_samples = data.shape
    head.flags = int(waveform.flags)
    for name in ("measurement_uid", "scan_counter", "time_stamp", "sample_time_us"):
        setattr(head, name, getattr(waveform, name))
    head.waveform_id = _short(waveform.waveform_id, "waveform_id", where)
    return ismrmrd.Waveform(head, data)


def waveform_to_v2(waveform: ismrmrd.Waveform) -> Any:
    """Return a waveform of ISMRMRD as one of MRD 2."""
    head = waveform.getHead()
    names = ("flags", "measurement_uid", "scan_counter", "time_stamp", "sample_time_us", "waveform_id")
    values = {name: getattr(head, name) for name in names}
    return mrd_package().Waveform(**values, data=np.ascontiguousarray(waveform.data, np.uint32))


def _short(value: int | None, name: str, where: str) -> int:
    """Return a number that ISMRMRD has 16 bits for."""
    if value is not None and value > _LAST16:
        raise ScanError(f"{where}: {name} is {value}; ISMRMRD counts to {_LAST16}")
    return value or 0


def _fill(array: Any, values: Any, name: str, where: str) -> None:
    if len(values) > len(array):
        raise ScanError(f"{where} has {len(values)} values of {name}; ISMRMRD has room for {len(array)}")
    array[: len(values)] = list(values)


def _mask(head: ismrmrd.AcquisitionHeader, order: list[int], channels: int, where: str) -> None:
    """State the channels in the mask."""
    if not order:
        return
    if len(order) != channels:
        raise ScanError(f"{where} has {channels} channels, but channel_order names {len(order)}")
    if any(after <= before for before, after in pairwise(order)):
        raise ScanError(f"{where}: channel_order is {order}; ISMRMRD has channels in ascending order only")
    if order[-1] >= _MASK_WORDS * _WORD:
        raise ScanError(f"{where}: channel_order names channel {order[-1]}; ISMRMRD has {_MASK_WORDS * _WORD}")
    for channel in order:
        head.channel_mask[channel // _WORD] |= 1 << (channel % _WORD)


def _channels_of(head: ismrmrd.AcquisitionHeader) -> list[int]:
    bits = ((word, bit) for word in range(_MASK_WORDS) for bit in range(_WORD))
    return [word * _WORD + bit for word, bit in bits if head.channel_mask[word] >> bit & 1]
