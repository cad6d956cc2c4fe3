"""Parameter names of the released CineNet (koflera/DynamicRadCineMRI), mapped to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from onebreath.errors import ModelError
from onebreath.networks.released import count_after, parameters_of

_ENCODING = "EncObj."
"""Prefix of the released network's radial trajectory, which is not part of the weights."""
_RULES = (
    (r"encoder\.enc_blocks\.(\d+)\.conv_block\.(\d+)", "down"),
    (r"decoder\.upconvs\.(\d+)", "up"),
    (r"decoder\.dec_blocks\.(\d+)\.conv_block\.(\d+)", "merge"),
    (r"c1x1", "tail"),
)
_NETS = {"xt_yt": 0, "xt": 0, "yt": 1}


def cinenet(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Released state with our names: one set of U-Nets and one penalty that all alternations share.

    The ``xt`` net acts on slices of one row, which have the axes column and frequency; it is our first.

    Raises
    ------
    ModelError
        If a name is unknown.
    """
    return {_our_name(key): _value(key, array) for key, array in official.items() if not key.startswith(_ENCODING)}


def _value(key: str, array: Tensor) -> Tensor:
    return array.reshape(()) if key == "lambda_reg" else array


def _our_name(released: str) -> str:
    if released == "lambda_reg":
        return "consistency.0.penalty"
    net = re.fullmatch(r"(?:cnn\.)*conv_(xt_yt|xt|yt)\.(.*)\.weight", released)
    if net:
        for pattern, ours in _RULES:
            layer = re.fullmatch(pattern, net[2])
            if layer:
                # Convolutions and activations alternate in a released block.
                numbers = [str(int(n) // (1 + index)) for index, n in enumerate(layer.groups())]
                return ".".join([f"blocks.0.nets.{_NETS[net[1]]}", ours, *numbers, "weight"])
    raise ModelError(f"not the parameters of CineNet: unknown '{released}'")


@parameters_of("CineNet")
def arguments_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of the network, derived from the shapes in our state.

    With shared U-Nets the state does not depend on the number of alternations; the network's default is five.

    Raises
    ------
    ModelError
        If a parameter is missing.
    """
    first, penalties = "blocks.0.nets.0.", count_after(state, "consistency.")
    arguments: dict[str, Any] = {
        "channels": state[f"{first}tail.weight"].shape[1],
        "stages": count_after(state, f"{first}down."),
        "convs": count_after(state, f"{first}down.0."),
        "separate": any(key.startswith("blocks.0.nets.1.") for key in state),
        "shared": count_after(state, "blocks.") == 1,
    }
    return arguments if penalties <= 1 else {**arguments, "cascades": penalties}


def complete(state: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> dict[str, Tensor]:
    """State in which every alternation has the one penalty of the released network."""
    if "consistency.1.penalty" in state or "consistency.0.penalty" not in state:
        return dict(state)
    names = [f"consistency.{n}.penalty" for n in range(arguments["cascades"])]
    return {**state, **{name: state["consistency.0.penalty"].clone() for name in names}}
