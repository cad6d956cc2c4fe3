"""Parameter names of fastMRI's U-Net (facebookresearch/fastMRI), on which UNet128 is built, mapped to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from onebreath.errors import ModelError
from onebreath.networks.released import count_after, parameters_of

_CONVS = {"0": "0", "4": "3"}
"""Indices of the two convolutions in a released block, which has a dropout after each activation, and in ours."""
_TRAINER = "unet."
"""Prefix of all names in the released training program."""


def unet(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of the released network with our names, from the network alone or its trainer.

    Raises
    ------
    ModelError
        If a name is unknown.
    """
    state = {key.removeprefix(_TRAINER): value for key, value in official.items() if not key.startswith("loss.")}
    last = max((int(m[1]) for m in (re.match(r"up_conv\.(\d+)\.", key) for key in state) if m), default=0)
    return {_our_name(key, last): value for key, value in state.items()}


def _our_name(released: str, last: int) -> str:
    if released in (f"up_conv.{last}.1.weight", f"up_conv.{last}.1.bias"):
        return f"tail.{released.rpartition('.')[2]}"
    # The last block of the decoder is in one sequence with the convolution to one image.
    key = re.sub(rf"^up_conv\.{last}\.0\.", f"up_conv.{last}.", released)
    for pattern, ours in (
        (r"down_sample_layers\.(\d+)\.layers\.([04])\.weight", "down"),
        (r"up_conv\.(\d+)\.layers\.([04])\.weight", "merge"),
    ):
        match = re.fullmatch(pattern, key)
        if match:
            return f"{ours}.{match[1]}.{_CONVS[match[2]]}.weight"
    if match := re.fullmatch(r"conv\.layers\.([04])\.weight", key):
        return f"bottom.{_CONVS[match[1]]}.weight"
    if match := re.fullmatch(r"up_transpose_conv\.(\d+)\.layers\.0\.weight", key):
        return f"up.{match[1]}.0.weight"
    raise ModelError(f"not the parameters of fastMRI's U-Net: unknown '{released}'")


@parameters_of("a U-Net")
def arguments_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of the network, derived from the shapes in our state.

    Raises
    ------
    ModelError
        If a parameter is missing, or the network has several images as input.
    """
    channels, images = state["down.0.0.weight"].shape[:2]
    if images != 1:
        raise ModelError(f"the U-Net takes {images} images at once; here one magnitude image is restored at a time")
    return {"channels": channels, "pools": count_after(state, "down.")}
