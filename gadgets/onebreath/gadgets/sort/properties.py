"""Properties of the gadget `sort`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from onebreath.chain import gadget

Dimension = Literal["auto", "none", "phase", "repetition", "average", "contrast", "set", "segment"]


class SortProperties(gadget.Properties):
    """Properties of `sort`."""

    N_dimension: Dimension | Literal["physiology"] = Field(
        "auto",
        description="counter that numbers the frames; physiology: bin into cardiac phases by the trigger stamps; auto: "
        "physiology if `phases` is set, else phase or repetition, the first of them that has several values",
    )
    S_dimension: Dimension = Field("auto", description="counter on axis S; auto: set and contrast")
    averages: Literal["combine", "separate"] = Field(
        "combine", description="combine averages into one k-space whose noise keeps standard deviation 1, or keep each"
    )
    trigger_dimension: Literal["auto", "none", "slice", "repetition"] = Field(
        "auto",
        description="auto: send the k-space of a slice as soon as it is certain that all its lines came, else at the "
        "end of the scan; slice, repetition: as soon as this counter moves on; none: at the end of the scan",
    )
    phases: int = Field(
        0, ge=0, le=1000, description="cardiac phases to bin into; 0: as many as were counted for most rows"
    )
    binning: Literal["nearest", "linear"] = Field(
        "nearest", description="take the line nearest in cardiac phase, or interpolate between two"
    )
    arrhythmia_rejector_factor: float = Field(
        0.25,
        gt=0,
        le=1e6,
        description="reject heart beats whose RR deviates from the median RR by more than this part of it",
    )
    time_tick: float = Field(2.5, gt=0, le=1e6, description="unit of the time stamps in ms")
    incomplete_phases: Literal["keep", "fill", "drop", "error"] = Field(
        "fill",
        description="frames that lack lines which most frames have: fill from the nearest frame, keep them so (the "
        "mask tells), drop them, or stop with an error",
    )
