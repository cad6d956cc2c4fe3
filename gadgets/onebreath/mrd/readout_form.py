"""Uniform readouts: lines reversed, echo centred, oversampling removed; reported once per kind of line."""

from __future__ import annotations

from typing import Any

from onebreath.errors import ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import REVERSE, bit, describe
from onebreath.mrd.readout import Extent, ImageCrop, Line, oversampled_to, place_echo


class ReadoutForm:
    """Converts the lines of one scan to the form that all later gadgets expect, and counts the kinds of lines."""

    def __init__(self, header: ScanHeader) -> None:
        self.encoded = header.encoded_matrix.x
        self.kept = oversampled_to(self.encoded, header.encoded_fov.x, header.recon_fov.x)
        self.crop = ImageCrop(self.encoded, self.kept) if self.kept < self.encoded else None
        self.forms: set[Extent] = set()
        self.cropped: bool | None = None
        """Whether a gadget before this one removed the oversampling; None if unknown."""

    def __call__(
        self, data: Line, header: Any, as_acquired: bool = False
    ) -> tuple[Line, Extent, dict[str, Any] | None]:
        """Convert a line (..., coil, x); for a new kind of line, also return facts about it."""
        extent = placed = Extent.of(header, as_acquired)
        if header.flags & bit(REVERSE):
            data = data[:, ::-1]
        if extent.measured > self.encoded:
            raise ScanError(
                f"{describe(header)} has {extent.measured} samples, more than the {self.encoded} of the encoded matrix "
                "in the header. Correct the matrix (and with it the field of view), or convert the raw data again."
            )
        # A gadget before this one may have removed the oversampling: the header of the scan does not state this.
        cropped_before = extent.samples <= self.kept < self.encoded and (
            self.cropped is True or (self.cropped is None and extent.fills(self.kept))
        )
        size = self.kept if cropped_before else self.encoded
        if extent.samples != size or not extent.in_place:
            data, placed = place_echo(data, extent, size), extent.placed(size)
        final = placed
        if self.crop and not cropped_before:
            data, final = self.crop(data), placed.resampled(self.kept)
        facts = None
        if extent not in self.forms:
            self.forms.add(extent)
            facts = self._facts(extent, placed, final, cropped_before)
            facts["readout_echo_stated"] = header.center_sample > 0
        return data, final, facts

    def _facts(self, extent: Extent, placed: Extent, final: Extent, cropped_before: bool) -> dict[str, Any]:
        removed = "before" if cropped_before else "here" if self.crop else "none"
        return {
            "readout_samples": extent.samples,
            "readout_samples_out": final.samples,
            "readout_echo": extent.centre,
            "readout_measured": f"{final.before}..{final.samples - final.after - 1}",
            "readout_samples_cut": extent.measured - placed.measured,
            "readout_oversampling": round(self.encoded / self.kept, 4),
            "readout_oversampling_removed": removed,
            "readout_kinds": len(self.forms),
        }
