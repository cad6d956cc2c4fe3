"""Parameter names of the released PromptMR (hellopipu/PromptMR, hellopipu/PromptMR-plus), mapped to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onebreath.errors import ModelError
from onebreath.networks.released import count_after, parameters_of

if TYPE_CHECKING:
    from torch import Tensor

_LIGHTNING_PREFIX, _LIGHTNING_EXTRA = "promptmr.", "loss.w"
"""Prefix of all names in the released training program, and the window of its SSIM, which is not a parameter."""
_PLUS = re.compile(r"cascades\.\d+\.model\.unet\.dec_level\d\.momentum\.")
"""Layers that only PromptMR+ has; they take features of earlier cascades."""
_WINDOW = 5
"""Adjacent frames of the released networks."""
_SHARED_SLOPE = "body.1.weight"
_OWN_SLOPE = "enc_level1.encoder.0.body.1.weight"
_NETS = ((r"sens_net\.norm_unet\.unet\.(.*)", "sensitivity.unet"), (r"cascades\.(\d+)\.model\.unet\.(.*)", "blocks.{}"))
_BLOCK = {
    "body.0.weight": "first.weight",
    "body.2.weight": "second.weight",
    "CA.conv_du.0.weight": "attention.squeeze.weight",
    "CA.conv_du.2.weight": "attention.excite.weight",
}
"""Names inside an attention block."""
_MODULES = (
    (r"enc_level(\d)\.encoder\.(\d+)\.", lambda m: f"encoder.{int(m[1]) - 1}.{m[2]}."),
    (r"enc_level(\d)\.down\.", lambda m: f"down.{int(m[1]) - 1}."),
    (r"skip_attn(\d)\.skip_attn\.0\.", lambda m: f"decoder.{3 - int(m[1])}.skip."),
    (r"prompt_level(\d)\.prompt_param", lambda m: f"decoder.{3 - int(m[1])}.prompt.prompts"),
    (r"prompt_level(\d)\.linear_layer\.", lambda m: f"decoder.{3 - int(m[1])}.prompt.weigh."),
    (r"prompt_level(\d)\.dec_conv3x3\.", lambda m: f"decoder.{3 - int(m[1])}.prompt.refine."),
    (r"dec_level(\d)\.momentum\.0\.", lambda m: f"decoder.{3 - int(m[1])}.mix."),
    (r"dec_level(\d)\.momentum\.1\.", lambda m: f"decoder.{3 - int(m[1])}.mixed."),
    (r"dec_level(\d)\.fuse\.", lambda m: f"decoder.{3 - int(m[1])}.fuse."),
    (r"dec_level(\d)\.reduce\.", lambda m: f"decoder.{3 - int(m[1])}.reduce."),
    (r"dec_level(\d)\.up\.1\.", lambda m: f"decoder.{3 - int(m[1])}.narrow."),
    (r"dec_level(\d)\.ca\.", lambda m: f"decoder.{3 - int(m[1])}.merge."),
    (r"feat_extract\.", lambda m: "head."),
    (r"conv_last\.", lambda m: "tail."),
    (r"bottleneck\.", lambda m: "bottleneck."),
)


def prompt_mr(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of PromptMR with our names, from the network alone or its Lightning module.

    A released state repeats the shared slope for each block; all copies must be equal.

    Raises
    ------
    ModelError
        If a name is unknown, or copies of the shared slope differ.
    """
    for key in official:
        if _PLUS.match(key.removeprefix(_LIGHTNING_PREFIX)):
            raise ModelError(
                f"these are weights of PromptMR+ ('{key}'), which passes features from cascade to cascade; import them "
                "as prompt_mr_plus"
            )
    return prompt_mr_plus(official)


def prompt_mr_plus(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of PromptMR+ with our names; as `prompt_mr`, whose layers it has beside its own."""
    state: dict[str, Tensor] = {}
    for key, value in official.items():
        if key == _LIGHTNING_EXTRA:
            continue
        name = _our_name(key.removeprefix(_LIGHTNING_PREFIX))
        value = value[0] if name.endswith(".prompts") else value
        if not state.get(name, value).equal(value):
            raise ModelError(
                f"not the parameters of PromptMR: the slope '{key}' is {value.tolist()}, another block's is "
                f"{state[name].tolist()}; released networks share one"
            )
        state[name] = value
    return state


@parameters_of("PromptMR")
def arguments_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of the network, derived from the shapes in our state.

    Raises
    ------
    ModelError
        If a parameter is missing.
    """
    unet = _unet_arguments(state, "blocks.0.")
    window = state["blocks.0.head.weight"].shape[1] // 2
    arguments = {"cascades": count_after(state, "blocks."), "window": window, **unet}
    if not count_after(state, "sensitivity.unet.encoder."):
        return {**arguments, "coil_maps": "given"}
    unet = _unet_arguments(state, "sensitivity.unet.")
    names = ("channels", "prompt_channels", *(["prompts"] if unet["prompts"] != arguments["prompts"] else []))
    return arguments | {f"sensitivity_{name}": unet[name] for name in names}


@parameters_of("PromptMR+")
def arguments_of_plus(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of PromptMR+, derived from the shapes in our state.

    Where coil maps are made of one frame the window does not show; it is that of the released networks.

    Raises
    ------
    ModelError
        If a parameter is missing, or the U-Nets see no whole number of windows.
    """
    arguments = arguments_of(state)
    images = arguments.pop("window")
    adjacent = state["sensitivity.unet.head.weight"].shape[1] // 2 if "coil_maps" not in arguments else 1
    window = adjacent if adjacent > 1 else _WINDOW
    if images % window:
        raise ModelError(f"the U-Nets see {images} images, which is no multiple of {window} adjacent frames")
    mix = state.get("blocks.0.decoder.0.mix.weight")
    history = 0 if mix is None else mix.shape[1] // mix.shape[0] - 1
    own = {"buffers": images // window - 1, "history": history, "adjacent_maps": adjacent > 1}
    return {**arguments, "window": window, **own}


def _unet_arguments(state: Mapping[str, Tensor], unet: str) -> dict[str, Any]:
    """Arguments of the U-Net whose parameters begin with `unet`."""
    prompts = [state[f"{unet}decoder.{2 - level}.prompt.prompts"].shape for level in range(3)]
    counts = [shape[0] for shape in prompts]
    down = [state[f"{unet}down.{level}.weight"].shape for level in range(3)]
    return {
        "channels": [down[0][1], *(shape[0] for shape in down)],
        "prompt_channels": [shape[1] for shape in prompts],
        "prompt_sizes": [shape[2] for shape in prompts],
        "prompts": counts[0] if len(set(counts)) == 1 else counts,
        "encoder_blocks": [count_after(state, f"{unet}encoder.{level}.") for level in range(3)],
        "decoder_blocks": [count_after(state, f"{unet}decoder.{2 - level}.fuse.") for level in range(3)],
        "bottleneck_blocks": count_after(state, f"{unet}bottleneck."),
    }


def _our_name(released: str) -> str:
    """Our name of a released parameter."""
    step = re.fullmatch(r"cascades\.(\d+)\.dc_weight", released)
    if step:
        return f"steps.{step[1]}"
    for pattern, ours in _NETS:
        match = re.fullmatch(pattern, released)
        if match:
            *index, layer = match.groups()
            if layer.endswith(_SHARED_SLOPE) and layer != _OWN_SLOPE:
                return "slope"
            return f"{ours.format(*index)}.{_our_layer(layer, released)}"
    raise ModelError(f"not the parameters of PromptMR: unknown '{released}'")


def _our_layer(layer: str, released: str) -> str:
    """Name of a layer inside a U-Net."""
    if layer == _OWN_SLOPE:
        return "first_slope"
    for pattern, ours in _MODULES:
        match = re.match(pattern, layer)
        if match:
            rest = layer[match.end() :]
            # The name of the module is followed by a block's number, where there are several, and the name inside it.
            number, dot, inner = rest.partition(".") if rest[:1].isdigit() else ("", "", rest)
            return ours(match) + number + dot + _BLOCK.get(inner, inner)
    raise ModelError(f"not the parameters of PromptMR: unknown '{released}'")
