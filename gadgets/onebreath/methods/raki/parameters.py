"""Parameters of `methods.raki.Raki`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from onebreath.methods.base import MOST_ITERATIONS, MethodParameters

# Lines, samples and channels of the published networks: RAKI in image space, and iRAKI.
USUAL_SLOPE = 0.5
_PUBLISHED = {"raki": (2, 5, 128, 64), "iraki": (4, 7, 256, 128)}


class RakiParameters(MethodParameters):
    """Parameters of `Raki`."""

    variant: Literal["raki", "iraki"] = Field(
        default="raki", description="iraki: train again and again on calibration lines enlarged by the reconstruction."
    )
    targets: Literal["missing", "all"] = Field(
        default="missing",
        description="missing: measured lines stay as they are; all: predictions replace them too, as published.",
    )
    slope: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = Field(
        default=USUAL_SLOPE,
        description="Of the activation for negative numbers; 1 makes the network linear; auto: of 0, 0.25, 0.5 and 1 "
        "the one with the smallest error, estimated on the first slice by the known noise and by held-back calibration "
        "lines; that takes as long as eight slices.",
    )
    kernel_lines: int = Field(default=0, ge=0, le=64, description="Sampled lines of the first kernel; 0: 2 (iraki: 4).")
    kernel_samples: int = Field(default=0, ge=0, le=63, description="Readout samples of it, odd; 0: 5 (iraki: 7).")
    channels_1: int = Field(
        default=0, ge=0, le=4096, description="Channels after the first layer; 0: 128 (iraki: 256)."
    )
    channels_2: int = Field(
        default=0, ge=0, le=4096, description="Channels after the second layer; 0: 64 (iraki: 128)."
    )
    output_samples: int = Field(default=5, ge=1, le=63, description="Readout samples of the last kernel, odd.")
    schedule: Literal["head_start", "published"] = Field(
        default="head_start",
        description="head_start: the last layer is first solved by least squares, then all are trained with a learning "
        "rate that fades: the published loss in a fifth of the time; published: constant rate from random weights.",
    )
    iterations: int = Field(
        default=0,
        ge=0,
        le=MOST_ITERATIONS,
        description="Steps of Adam (iraki: half of it in later rounds); 0: 100 (published: 500).",
    )
    learning_rate: float = Field(default=0, ge=0, description="Of Adam; 0: 0.004 (iraki: 0.002; published: 0.0005).")
    rounds: int = Field(
        default=0, ge=0, le=100, description="Rounds of iraki; 0: as published for this acceleration (8 to 25)."
    )
    enlarged_lines: int = Field(
        default=65, ge=8, le=1024, description="Calibration lines of iraki from the second round on."
    )
    refine_iterations: int = Field(
        default=0,
        ge=0,
        le=MOST_ITERATIONS,
        description="Further iterations for each frame, on the frame's own calibration lines and with a quarter of the "
        "learning rate; needs acs_as_data = yes where they are embedded; 0: all frames share the weights.",
    )
    warm_start: bool = Field(
        default=False, description="Start from the weights of the previous slice, with half of the iterations."
    )
    time_budget_s: float = Field(
        default=0,
        ge=0,
        description="Seconds for the calibration of a slice; where it would take longer, the image is GRAPPA's "
        "(iraki: has fewer rounds; refinement ends early), and the meta says so; 0: no limit.",
    )
    virtual_coils: bool = Field(
        default=False,
        description="Learn also from virtual conjugate coils: each channel mirrored at the centre of k-space. Not with "
        "refine_iterations; the g-factor map is then mc or none.",
    )
    unsuitable: Literal["error", "grappa"] = Field(
        default="error", description="What becomes of slices that RAKI cannot do: an error, or GRAPPA's image."
    )
    coil_map_algorithm: Literal["inati", "walsh"] = Field(
        default="inati", description="Coil maps made of the calibration lines where a slice comes without any."
    )
    gfactor: Literal["none", "exact", "frozen", "mc"] = Field(
        default="exact",
        description="g-factor map: exact: closed form with the true derivative; frozen: as published, with fixed "
        "activation masks; mc: noise replicas of the whole network. Of the first frame of each lattice.",
    )
    gfactor_samples: int = Field(
        default=2048, ge=0, description="Closed forms: measured samples drawn to estimate the mean; 0: all of them."
    )
    gfactor_replicas: int = Field(default=200, ge=2, le=MOST_ITERATIONS, description="mc: noise replicas.")
    seed: int = Field(default=0, ge=0, description="Of the random weights at the start: the same scan, the same image.")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where to compute: auto, cpu, cuda, cuda:1.",
    )

    @field_validator("kernel_samples", "output_samples")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value and value % 2 == 0:
            raise ValueError("must be odd")
        return value

    @model_validator(mode="after")
    def _some_exclude_each_other(self) -> RakiParameters:
        if self.slope == "auto" and self.time_budget_s:
            raise ValueError("slope = auto takes as long as eight slices and has no time_budget_s; set one of the two")
        if self.virtual_coils and self.refine_iterations:
            raise ValueError("virtual_coils and refine_iterations exclude each other")
        if self.virtual_coils and self.gfactor in ("exact", "frozen"):
            raise ValueError(
                f"gfactor = {self.gfactor} takes the noise of all channels as independent, and that of virtual_coils "
                "is not; set gfactor to mc or none"
            )
        return self

    @property
    def kernels(self) -> list[tuple[int, int]]:
        """Kernel size of each layer: sampled lines, readout samples."""
        lines, samples, _, _ = _PUBLISHED[self.variant]
        return [(self.kernel_lines or lines, self.kernel_samples or samples), (1, 1), (1, self.output_samples)]

    @property
    def widths(self) -> list[int]:
        """Channels between the layers."""
        _, _, first, second = _PUBLISHED[self.variant]
        return [self.channels_1 or first, self.channels_2 or second]

    @property
    def usual_slope(self) -> float:
        """The slope, or the usual one where the calibration lines are to pick it."""
        return USUAL_SLOPE if self.slope == "auto" else self.slope

    @property
    def steps(self) -> int:
        """Iterations of the first training."""
        return self.iterations or (500 if self.schedule == "published" else 100)

    @property
    def rate(self) -> float:
        """Learning rate at the start."""
        if self.schedule == "published":
            return self.learning_rate or 5e-4
        return self.learning_rate or (2e-3 if self.variant == "iraki" else 4e-3)
