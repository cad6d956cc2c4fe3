"""Parameters of the method `unrolled`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from onebreath.methods.base import MethodParameters
from onebreath.registry import RESTORATION


class UnrolledParameters(MethodParameters):
    """Model, place, precision and pieces of a reconstruction, and what happens outside the model's domain."""

    model: str = Field(description="Name of the model, architecture.tag, for example crunet_mr.cine.")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where to compute: auto (a GPU if there is one, the CPU if its memory is too small), cpu, cuda, "
        "cuda:1, ... A device that is named is never changed.",
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        default="float32",
        description="Of the convolutions: float32 gives the same image on every machine; bfloat16 is faster on a GPU; "
        "auto is bfloat16 where the device computes it in hardware.",
    )
    memory_limit_gb: float | None = Field(
        default=None, gt=0, description="Memory in GiB that may be used on any device; not given: what is free there."
    )
    tiles: int = Field(
        default=0, ge=0, description="Pieces along the readout; 1: the whole image; 0: as few as fit into memory."
    )
    tile_halo: int = Field(default=48, ge=1, description="Columns that a tile sees on either side of its own.")
    tile_tolerance: float = Field(
        default=0.01,
        gt=0,
        description="Largest difference of two tiles at their seam, relative to the maximum; above it the tiles "
        "are not used.",
    )
    recorded: bool = Field(
        default=False,
        description="On a GPU: record the network's launches for the first slice of a size and replay them for the "
        "others (CUDA graphs), which spares the time between kernels. Images stay the same to rounding.",
    )
    outside_domain: Literal["refuse", "allow"] = Field(
        default="refuse", description="What happens to a scan that the model's card does not allow; allow states it."
    )
    domain_score: bool = Field(
        default=False,
        description="Reconstruct once more without a few of the acquired lines and compare: a scan whose score is "
        "above the card's score_limit counts as one that the card does not allow.",
    )

    @field_validator("model")
    @classmethod
    def _is_of_this_kind(cls, model: str) -> str:
        if model.partition(".")[0] in RESTORATION:
            raise ValueError(f"model '{model}' restores magnitude images; use it with method=mr_ipt")
        return model
