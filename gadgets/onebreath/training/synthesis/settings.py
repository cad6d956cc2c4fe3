"""Settings of examples made on the device."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from onebreath.validation import CorrelationRange

Range = tuple[float, float]


class SynthesisSettings(BaseModel):
    """Ranges and fractions of the properties of scans, drawn anew for each scan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hearts: float = Field(3.0, ge=0, description="weight of sequences from the recipe's sources")
    phantoms: float = Field(1.0, ge=0, description="weight of phantoms with a random anatomy and heart rate")
    clips: float = Field(2.0, ge=0, description="weight of procedural clips: textured layers that move and deform")
    frames: tuple[int, int] = Field((8, 12), description="frames of an example")
    rows: tuple[int, int] = Field((112, 192), description="phase encoding lines of a scan, including odd numbers")
    width: tuple[int, int] = Field((88, 144), description="readout columns of a scan")
    columns: int | None = Field(
        40, ge=8, description="columns of an example, cropped since masks do not depend on x; null: all of the scan"
    )
    crops: int = Field(4, ge=1, description="examples made from a scan, each with its own columns, mask and noise")
    full_cycle: float = Field(0.5, ge=0, le=1, description="share of sequences whose frames are one whole cycle")
    coils: tuple[int, int] = Field((8, 24), description="receive channels before compression")
    channels: int = Field(10, ge=1, description="channels after compression; scans with fewer coils keep all channels")
    measured_coils: tuple[str, ...] = Field(
        (), description="files with measured k-space (coil, y, x), .npy, whose coil maps are also used"
    )
    measured_share: float = Field(0.4, ge=0, le=1, description="share of scans with coil maps of `measured_coils`")
    noise_correlation: CorrelationRange = Field((0.0, 0.5), description="correlation of the channels' noise")
    snr: Range = Field((8.0, 300.0), description="SNR of the brightest tissues, fully sampled; drawn log-uniformly")
    calibration_lines: tuple[int, int] = Field((20, 32), description="calibration lines for the coil maps")
    cropped: float = Field(0.0, ge=0, le=1, description="share of scans whose coil maps are zero in the background")
    crop: float = Field(0.8, gt=0, lt=1, description="eigenvalue up to which these maps are zero, as `espirit_crop`")
    partial_fourier: float = Field(0.15, ge=0, le=1, description="share of examples with partial Fourier along y")
    partial_fourier_fraction: Range = Field((0.6, 0.9), description="acquired fraction of the lines in these examples")
    bounded: float = Field(
        0.0, ge=0, le=1, description="share of scans whose body is made to end inside of the field of view"
    )
    breathing: float = Field(0.2, ge=0, le=1, description="share of sequences that drift as in a poor breath-hold")
    breathing_pixels: float = Field(3.0, ge=0, description="largest drift along y in pixels")

    @model_validator(mode="after")
    def _possible(self) -> SynthesisSettings:
        if not self.hearts + self.phantoms + self.clips > 0:
            raise ValueError("hearts, phantoms and clips are all 0: there is nothing to draw")
        for name in ("frames", "rows", "width", "coils", "calibration_lines", "snr", "partial_fourier_fraction"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} is {low} to {high}, expected a rising range above 0")
        if self.columns is not None and self.columns > self.width[0]:
            raise ValueError(f"columns is {self.columns}, more than the smallest width {self.width[0]}")
        if self.calibration_lines[1] > self.rows[0]:
            raise ValueError(f"calibration_lines reach {self.calibration_lines[1]}, more than {self.rows[0]} rows")
        return self
