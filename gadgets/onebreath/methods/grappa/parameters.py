"""Parameters of GRAPPA."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from onebreath.methods.base import MethodParameters


class GrappaParameters(MethodParameters):
    """Parameters of `Grappa`; names that Gadgetron's GRAPPA gadget has mean the same here."""

    kernel: Literal["auto", "uniform", "arc"] = Field(
        default="auto",
        description="uniform: one kernel for every R-th line; arc: one per neighbourhood, for any mask; auto: uniform "
        "where the lines are a lattice and the calibration lines suffice, else arc.",
    )
    grappa_kSize_RO: int = Field(  # noqa: N815  Gadgetron's name
        default=5, ge=1, le=255, description="Kernel size along the readout in samples, odd."
    )
    grappa_kSize_E1: int = Field(  # noqa: N815  Gadgetron's name
        default=4,
        ge=2,
        le=64,
        description="Uniform kernel: sampled lines used; fewer where a smaller kernel is validated, or would span "
        "more than half of the calibration lines (without validation: a quarter).",
    )
    grappa_kSize_E2: int = Field(  # noqa: N815  Gadgetron's name
        default=4, ge=2, le=64, description="Scans with partitions: the same along the partitions."
    )
    grappa_sources: int = Field(
        default=9,
        ge=2,
        le=256,
        description="Scans with partitions: sampled lines that serve a missing one, those nearest it; fewer where they "
        "would span more than a third of the calibration block.",
    )
    grappa_reg_lamda: float = Field(
        default=0.0005, ge=0, description="Uniform kernel: Tikhonov regularisation, relative to the mean diagonal."
    )
    grappa_validation: bool = Field(
        default=True,
        description="Uniform kernel: choose the number of sampled lines, up to grappa_kSize_E1, and a multiple of "
        "grappa_reg_lamda (slices: 0.1 to 60, volumes: 1 to 20) by the error on calibration lines that the kernel was "
        "not fitted to; false: as published.",
    )
    grappa_calib_over_determine_ratio: float = Field(
        default=45.0, ge=0, description="Uniform kernel: largest number of equations per unknown; 0: all there are."
    )
    arc_lines: int = Field(
        default=0,
        ge=0,
        le=255,
        description="Arc: height of the neighbourhood in lines, odd; 0: to reach across the "
        "widest gap from either side, at least 5.",
    )
    arc_sources: int = Field(
        default=3,
        ge=1,
        le=64,
        description="Arc: sampled lines used, those nearest the missing sample; fewer where these "
        "would span more than a third of the calibration lines.",
    )
    arc_regularisation: float = Field(
        default=0.01, ge=0, description="Arc: Tikhonov regularisation, relative to ||A^H A||_F / n."
    )
    arc_padding: bool = Field(
        default=False,
        description="Arc: use every sample of the neighbourhood, and calibrate on windows that reach beyond "
        "the calibration lines, into zeros (as Lustig's and pygrappa's implementations do).",
    )
    coil_map_algorithm: Literal["inati", "walsh"] = Field(
        default="inati", description="Coil maps made of the calibration lines where a slice comes without any."
    )
    gfactor: bool = Field(default=True, description="Compute the g-factor map (in closed form).")

    @field_validator("grappa_kSize_RO", "arc_lines")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value and value % 2 == 0:
            raise ValueError("must be odd")
        return value
