"""Input of methods from a message's buffers: k-space, mask, calibration lines, maps and sampling of each slice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from gadgetron.types import ReconData
from gadgetron.types.recon_data import ReconBuffer
from numpy.typing import NDArray

from onebreath.methods.base import SliceData
from onebreath.methods.place import Fill, Place, snr_scale_of
from onebreath.mrd.acs import acs_of, calibration_mode, merge_acs
from onebreath.mrd.buffers import E1, RO, kspace_of, maps_of, mask_of, places, slice_number
from onebreath.mrd.header import ScanHeader
from onebreath.mri.sampling import Sampling, describe
from onebreath.names import listed


@dataclass(frozen=True)
class Gathering:
    """Options for gathering the slices of a message.

    Attributes
    ----------
    header
        The scan's header.
    acs_as_data
        Whether embedded calibration lines count as imaging lines; auto: for the methods that want it.
    whitened
        Whether the noise is known to have unit standard deviation.
    fill, wanted
        See `Place`.
    """

    header: ScanHeader
    acs_as_data: Literal["auto", "yes", "no"] = "auto"
    whitened: bool = True
    fill: Fill = "method"
    wanted: str = ""

    def every(self, recon_data: ReconData) -> list[Place]:
        """Return all places of a message, sets before slices; raises ScanError or MethodError if one cannot be used."""
        merge = self._merges(recon_data)
        return [self._place(recon_data, s, loc, merge) for s, loc in places(recon_data)]

    def first(self, recon_data: ReconData) -> Place:
        """Return the first place of a message; errors as in `every`."""
        s, loc = next(iter(places(recon_data)))
        return self._place(recon_data, s, loc, self._merges(recon_data))

    def _merges(self, recon_data: ReconData) -> bool:
        if self.acs_as_data == "auto":
            return calibration_mode(recon_data, self.header) == "embedded"
        return self.acs_as_data == "yes"

    def _place(self, recon_data: ReconData, s: int, loc: int, merge: bool) -> Place:
        buffer = recon_data.bits[0].data
        kspace, mask = kspace_of(buffer, s, loc), mask_of(buffer, s, loc)
        acs = acs_of(recon_data, s, loc)
        lines, first = (None, 0) if acs is None else (acs.lines, acs.first)
        found = self._describe(mask, buffer)
        data = SliceData(kspace, mask, lines, first, maps_of(recon_data, s, loc), found, self.whitened)
        imaging = merged = data
        if merge:
            kspace, mask = merge_acs(kspace, mask, recon_data, s, loc)
            merged = replace(data, kspace=kspace, mask=mask, sampling=self._describe(mask, buffer))
            imaging = merged if self.acs_as_data == "yes" else data
        number = slice_number(buffer, s, loc)
        return Place(s, loc, imaging, merged, snr_scale_of(found), self.fill, self.wanted, number)

    def _describe(self, mask: NDArray[np.bool_], buffer: ReconBuffer) -> Sampling:
        limits = buffer.sampling.sampling_limits
        readout_centre = limits[RO].center if mask.shape[2] > 1 else None
        return describe(mask, limits[E1].center, readout_centre, acceleration=self.header.acceleration)


def unmeasured(place: Place) -> str:
    """Describe the frames of a place that hold no line; empty if all do."""
    empty = np.flatnonzero(~np.asarray(place.merged.mask).any(axis=(1, 2)))
    if not empty.size:
        return ""
    return f"{place}: no line is of frame {listed(empty.tolist())}, so nothing in their images was measured."
