"""Parameter names and axes of the released A-LIKNet (midas-tum/A-LIKNet, in TensorFlow), mapped to ours.

The released network's image axes are (x, y), with lines missing along the second one; they become our (y, x).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from onebreath.errors import ModelError
from onebreath.networks.a_liknet.low_rank import BLOCKS, chunk_length
from onebreath.networks.released import count_after, parameters_of

_SPATIAL, _TEMPORAL, _KSPACE = (4, 0, 3, 1, 2, 5), (4, 0, 3, 5), (4, 2, 3, 0, 1, 5)
"""Axes of a released kernel, (k1, k2, k3, in, out, part), in our order; omitted axes have size 1."""
_SCALARS = {
    r"ImgDC/(\d+)/weight": "iterations.{}.step",
    r"ISL/(\d+)/tau_ksp/scalar": "iterations.{}.sharing.kspace_weight",
    r"ISL/(\d+)/tau_img/scalar": "iterations.{}.sharing.image_weight",
    r"ImgLrNet/(\d+)/tau/scalar": "iterations.{}.image.tau",
    r"ImgLrNet/(\d+)/p_weight/scalar": "iterations.{}.image.weight",
}
_CONVOLUTIONS = {
    "R/ops/0/0/0": ("encoders.0.0", _SPATIAL),
    "R/ops/0/0/1": ("encoders.0.1", _TEMPORAL),
    "R/ops/0/1/0": ("encoders.1.0", _SPATIAL),
    "R/ops/0/1/1": ("encoders.1.1", _TEMPORAL),
    "R/ops/1/0": ("bottom.0", _SPATIAL),
    "R/ops/1/1": ("bottom.1", _TEMPORAL),
    "R/ops/2/0/0": ("decoders.1.0", _TEMPORAL),
    "R/ops/2/0/1": ("decoders.1.1", _SPATIAL),
    "R/ops/2/1/0": ("decoders.0.0", _TEMPORAL),
    "R/ops/2/1/1": ("decoders.0.1", _SPATIAL),
}
_UPSAMPLING = {"R/ops/1/2": "up.1", "R/ops/2/0/3": "up.0"}
_ATTENTION = {"R/ops/2/0/2": "attentions.1", "R/ops/2/1/2": "attentions.0"}
_DENSE = {"1": "squeeze", "2": "excite"}


def a_liknet(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of the released network with our names and order of axes.

    Raises
    ------
    ModelError
        If a name is unknown, or an array has another number of axes than the released one.
    """
    state: dict[str, Tensor] = {}
    for key, value in official.items():
        try:
            name, array = _ours(key, value)
        except (RuntimeError, IndexError) as error:
            raise ModelError(f"'{key}' of A-LIKNet cannot have the shape {tuple(value.shape)}") from error
        state[name] = array.contiguous()
    return state


def _ours(key: str, value: Tensor) -> tuple[str, Tensor]:
    """Our name and array of a released parameter."""
    if key == "ksp_dc_weight/scalar":
        return "kspace_weight", value.reshape(())
    for pattern, name in _SCALARS.items():
        match = re.fullmatch(pattern, key)
        if match:
            return name.format(match[1]), value.reshape(())
    image = re.fullmatch(r"ImgLrNet/(\d+)/(.*)", key)
    kspace = re.fullmatch(r"KspNet/(\d+)/Nw/(\d)/(.*)", key)
    if image:
        name, array = _image_branch(image[2], value, key)
        return f"iterations.{image[1]}.image.{name}", array
    if kspace:
        name, array = _kspace_branch(int(kspace[2]), kspace[3], value, key)
        return f"iterations.{kspace[1]}.kspace.layers.{name}", array
    raise _unknown(key)


def _image_branch(layer: str, value: Tensor, key: str) -> tuple[str, Tensor]:
    if layer == "D/thres_coef":
        return "low_rank.coefficients", value
    module, _, part = layer.rpartition("/")
    activation = module.endswith("/activation") and part == "bias"
    module = module.removesuffix("/activation")
    if part not in ("kernel", "bias"):
        raise _unknown(key)
    if layer in ("R/ops/3/kernel", "R/ops/3/bias"):
        return f"denoiser.out.{_part(part)}", _convolution(part, value, (4, 0, 3, 5))
    if module in _CONVOLUTIONS:
        ours, order = _CONVOLUTIONS[module]
        if activation:
            return f"denoiser.{ours}.activation.bias", value
        return f"denoiser.{ours}.conv.{_part(part)}", _convolution(part, value, order)
    if module in _UPSAMPLING:
        ours = f"denoiser.{_UPSAMPLING[module]}"
        if activation:
            return f"{ours}.activation.bias", value
        if part == "bias":
            return f"{ours}.bias", value.flatten()
        # The released layer library conjugates the kernel of a transposed convolution.
        return f"{ours}.values.weight", (value[0, 0, 0] * torch.tensor([1.0, -1.0]))[:, None]
    dense = re.fullmatch(r"(.*)/SE_time/([12])/(kernel|bias)", layer)
    if dense and dense[1] in _ATTENTION:
        return f"denoiser.{_ATTENTION[dense[1]]}.weights.{_dense(dense[2], dense[3])}", _dense_array(dense[3], value)
    raise _unknown(key)


def _kspace_branch(index: int, layer: str, value: Tensor, key: str) -> tuple[str, Tensor]:
    dense = re.fullmatch(r"SE_coil/([12])/(kernel|bias)", layer)
    if dense and index in (1, 3):
        return f"{3 * (index - 1) // 2 + 2}.weights.{_dense(dense[1], dense[2])}", _dense_array(dense[2], value)
    if index in (0, 2, 4) and layer == "kernel":
        return f"{3 * index // 2}.weight", _convolution("kernel", value, _KSPACE)
    if index in (0, 2) and layer == "activation/bias":
        return f"{3 * index // 2 + 1}.bias", value
    raise _unknown(key)


def _convolution(part: str, value: Tensor, order: tuple[int, ...]) -> Tensor:
    if part == "bias":
        return value.flatten()
    omitted = [axis for axis in range(6) if axis not in order]
    kernel = value.permute(*omitted, *order)
    return kernel.reshape(kernel.shape[len(omitted) :])


def _dense(layer: str, part: str) -> str:
    return f"{_DENSE[layer]}.{_part(part)}"


def _dense_array(part: str, value: Tensor) -> Tensor:
    return value.T if part == "kernel" else value


def _part(released: str) -> str:
    return "weight" if released == "kernel" else released


def _unknown(key: str) -> ModelError:
    return ModelError(f"not the parameters of A-LIKNet: unknown '{key}'")


@parameters_of("A-LIKNet")
def arguments_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of the network, derived from the shapes in our state.

    Raises
    ------
    ModelError
        If a parameter is missing, or the number of thresholds does not fit the frames.
    """
    frames = state["iterations.0.kspace.layers.6.weight"].shape[0]
    thresholds = len(state["iterations.0.image.low_rank.coefficients"])
    arguments = {
        "frames": frames,
        "coils": len(state["iterations.0.kspace.layers.1.bias"]),
        "iterations": count_after(state, "iterations."),
        "channels": state["iterations.0.image.denoiser.encoders.0.0.conv.weight"].shape[0],
        "kspace_channels": [state[f"iterations.0.kspace.layers.{n}.weight"].shape[0] for n in (0, 3)],
        "upsample_kernel": round(
            (
                state["iterations.0.image.denoiser.up.0.values.weight"].shape[0]
                / (len(state["iterations.0.image.denoiser.up.0.bias"]) / 2)
            )
            ** (1 / 3)
        ),
    }
    expected = frames // chunk_length(frames) * BLOCKS**2
    if thresholds != expected:
        raise ModelError(
            f"the weights have {thresholds} thresholds of singular values, but {frames} frames are cut into {expected} "
            "patches"
        )
    return arguments
