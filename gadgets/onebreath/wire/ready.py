"""Acquisitions received already, read from the stream as one block."""

from __future__ import annotations

import ismrmrd
import numpy as np
from gadgetron.external import constants

from onebreath.mrd.blocks import LineBlock
from onebreath.mrd.lines import HEADER
from onebreath.wire.framing import Stream
from onebreath.wire.messages import ACQUISITION_HEADER

_IDENTIFIER = np.frombuffer(constants.uint16.pack(constants.GADGET_MESSAGE_ISMRMRD_ACQUISITION), np.uint8)
_BODY = _IDENTIFIER.size + ACQUISITION_HEADER
_SAME = ("active_channels", "number_of_samples", "trajectory_dimensions")


def read_block(stream: Stream, like: ismrmrd.Acquisition) -> LineBlock | None:
    """Read the received acquisitions of equal form; None, and nothing is read, if there is only one.

    Nothing is waited for, so that a line which comes alone is worked on at once.

    Parameters
    ----------
    stream
        Where a message is over and the next one begins.
    like
        An acquisition that was read and checked; those of the block announce the same sizes.
    """
    form = like._head
    shape = form.active_channels, form.number_of_samples
    if form.trajectory_dimensions or not all(shape):
        return None
    size = _BODY + 8 * shape[0] * shape[1]
    octets = stream.at_hand(size)
    if len(octets) < 2 * size:  # as for every line that comes at a scanner's pace
        return None
    messages = np.frombuffer(octets, np.uint8).reshape(-1, size)
    headers = np.ascontiguousarray(messages[:, _IDENTIFIER.size : _BODY]).view(HEADER)[:, 0]
    alike = (messages[:, : _IDENTIFIER.size] == _IDENTIFIER).all(axis=1)
    for name in _SAME:
        alike &= headers[name] == getattr(form, name)
    count = len(alike) if alike.all() else int(alike.argmin())
    if count < 2:
        return None
    samples = np.empty((count, size - _BODY), np.uint8)
    samples[:] = messages[:count, _BODY:]
    stream.skip(count * size)
    return LineBlock(headers[:count], samples.view(np.complex64).reshape(count, *shape))
