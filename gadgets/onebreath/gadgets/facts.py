"""Facts that each gadget reports about a scan: one model per gadget, with the field names of the images' meta."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from onebreath.chain.facts import Decision, Facts


class PrewhitenFacts(Facts):
    """Facts of `prewhiten`; samples and echoes count samples, dwell times are in microseconds.

    `noise_std` is the standard deviation of the noise lines, in real and imaginary part, in units of the raw data: the
    median of the channels.
    """

    noise: str | None = None
    channels: int | None = None
    whitened: bool | None = None
    noise_lines: int | None = None
    noise_storage: str | None = None
    noise_kept: str | None = None
    channel_order: str | None = None
    noise_source: str | None = None
    noise_samples: int | None = None
    noise_std: float | None = None
    noise_dwell_us: float | None = None
    dwell_us: float | None = None
    noise_bandwidth: float | None = None
    noise_scale: float | None = None
    dwell_known: bool | None = None
    noise_lines_after_imaging_not_used: int | None = None
    model_config = ConfigDict(extra="allow")  # facts of the readout are added by name, see `mrd.readout_form`


class CompressFacts(Facts):
    """Facts of `compress`."""

    mode: Literal["none", "pca", "gcc"]
    channels: int
    channels_kept: int | str
    energy_kept: float | None = None
    slices: int | None = None
    source: str | None = None


class CalibrateFacts(Facts):
    """Facts of `calibrate`."""

    mode: str
    header_mode: str
    agreement: str
    acs_lines: int
    coil_maps: str
    coil_maps_cropped: float | None = None
    acs_block: str | None = None
    acs_left_out: int | None = None
    calibration_kept: Decision | None = None
    calibration_storage: Decision | None = None
    coil_maps_storage: str | None = None

    @property
    def stored(self) -> bool:
        """Whether the calibration lines in use are in storage, so that other scans may reuse their coil maps."""
        return any(one is not None and one.yes for one in (self.calibration_kept, self.calibration_storage))


class SortFacts(Facts):
    """Facts of `sort`: number of values of each counter, and how the lines of a group were treated."""

    values_average: int | None = None
    values_repetition: int | None = None
    values_set: int | None = None
    values_phase: int | None = None
    values_contrast: int | None = None
    values_slice: int | None = None
    model_config = ConfigDict(extra="allow")  # counters of the group, and facts of the way frames were made

    @property
    def values(self) -> dict[str, int]:
        """Return the number of values of each counter."""
        return {name.removeprefix("values_"): getattr(self, name) or 1 for name in type(self).model_fields}


class ReconstructFacts(Facts):
    """Facts of `reconstruct`; those of the method and of its choice are added by name."""

    method: str
    snr_units: str
    fallback: str | None = None
    wanted: str | None = None
    model_config = ConfigDict(extra="allow")
