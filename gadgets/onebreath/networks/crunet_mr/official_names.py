"""Parameter names of released CRUNet-MR and CRNN-MRI, mapped one to one to ours.

Each function takes a released state (name -> array) and returns ours. The names are those of dong845/CRUNet-MR,
dong845/CRUNet and js3611/Deep-MRI-Reconstruction.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor

from onebreath.errors import ModelError
from onebreath.networks.released import parameters_of

Array = TypeVar("Array")

_BLOCKS = r"blocks\.(\d+)\."

_RECURRENT = {"CRNN_model.i2h": "input", "CRNN_model.h2h": "time", "CRNN_model.ih2ih": "cascade"}
_CRUNET_UNITS = {
    "d_crnn1": "encoder1",
    "d_crnn2": "encoder2",
    "bcrnn": "bottleneck",
    "u_crnn1": "decoder2",
    "u_crnn2": "decoder1",
}
_CRUNET_CONVOLUTIONS = {
    "conv0": "head",
    "d_conv.conv2d": "down.spatial",
    "d_conv.conv1d": "down.temporal",
    "convs1.conv2d": "refine2.spatial",
    "convs1.conv1d": "refine2.temporal",
    "convs2.conv2d": "refine3.spatial",
    "convs2.conv1d": "refine3.temporal",
    "conv1.conv2d": "merge2.spatial",
    "conv1.conv1d": "merge2.temporal",
    "u_conv.convTranspose2d": "up.spatial",
    "u_conv.convTranspose1d": "up.temporal",
    "conv2.conv2d": "merge1.spatial",
    "conv2.conv1d": "merge1.temporal",
    "conv": "tail",
}
_CRUNET_SIDES = {
    "conv11": "encoder1.side",
    "conv21": "encoder2.side",
    "conv31": "bottleneck.side",
    "conv41": "decoder2.side",
    "conv51": "decoder1.side",
}
_CRUNET_FUSERS = {"mon_convs.0": "bottleneck", "mon_convs.1": "level2", "mon_convs.2": "level1"}
_CRNN_LAYERS = {
    f"conv{n}_{old}": f"layers.{n - 1}.{new}" for n in (1, 2, 3) for old, new in (("x", "input"), ("h", "cascade"))
}


def crunet_mr(official: Mapping[str, Array]) -> dict[str, Array]:
    """State of CRUNet-MR with our names, with or without side branches and feature bank.

    ``cascades.N.pp``, which the network never uses, is dropped.

    Raises
    ------
    ModelError
        If parameters are missing or unknown; names them.
    """
    kept = {key: value for key, value in official.items() if not re.fullmatch(r"cascades\.\d+\.pp", key)}
    layers = {
        **_CRUNET_CONVOLUTIONS,
        **{f"{unit}.{old}": f"{ours}.{new}" for unit, ours in _CRUNET_UNITS.items() for old, new in _RECURRENT.items()},
    }
    if any(".conv11." in key for key in kept):
        layers |= _CRUNET_SIDES
    cascades = _cascades(kept, r"cascades\.(\d+)\.")
    names = {f"cascades.{n}.{old}": f"blocks.{n}.{new}" for n in range(cascades) for old, new in layers.items()}
    if any(".mon_convs." in key for key in kept):
        names |= {
            f"cascades.{n}.{old}": f"bank.fusers.{n - 1}.{level}"
            for n in range(1, cascades)
            for old, level in _CRUNET_FUSERS.items()
        }
    return _rename(kept, names, "CRUNet-MR")


def crnn_mri(official: Mapping[str, Array]) -> dict[str, Array]:
    """State of CRNN-MRI with our names, from weights shared by all cascades or prefixed ``cascadeN.``.

    Raises
    ------
    ModelError
        If parameters are missing or unknown; names them.
    """
    layers = {f"bcrnn.{old}": f"recurrent.{new}" for old, new in _RECURRENT.items()}
    layers |= {**_CRNN_LAYERS, "conv4_x": "tail"}
    cascades = _cascades(official, r"cascade(\d+)\.")
    if cascades == 0:
        names = {old: f"blocks.0.{new}" for old, new in layers.items()}
    else:
        names = {f"cascade{n}.{old}": f"blocks.{n}.{new}" for n in range(cascades) for old, new in layers.items()}
    return _rename(official, names, "CRNN-MRI")


def _cascades(official: Mapping[str, Array], pattern: str) -> int:
    """Count cascades by the highest index in the names."""
    found = [re.match(pattern, key) for key in official]
    return max((int(match[1]) + 1 for match in found if match), default=0)


def _rename(official: Mapping[str, Array], layers: Mapping[str, str], network: str) -> dict[str, Array]:
    """Rename the weights and biases of `layers`; none may be missing, and none may be left over."""
    names = {f"{old}.{kind}": f"{new}.{kind}" for old, new in layers.items() for kind in ("weight", "bias")}
    unknown, missing = sorted(official.keys() - names.keys()), sorted(names.keys() - official.keys())
    if unknown or missing or not names:
        raise ModelError(f"not the parameters of {network}: unknown {unknown}, missing {missing}")
    return {names[key]: value for key, value in official.items()}


@parameters_of("this network")
def crunet_mr_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of CRUNet-MR, derived from the shapes in our state.

    Raises
    ------
    ModelError
        If a parameter is missing.
    """
    arguments: dict[str, Any] = {
        "channels": state["blocks.0.head.weight"].shape[0],
        "cascades": _cascades(state, _BLOCKS),
    }
    side = state.get("blocks.0.encoder1.side.weight")
    arguments |= {"side_branches": False} if side is None else {"side_kernel": int(side.shape[-1])}
    if "blocks.0.encoder1.cascade.weight" not in state:
        arguments["cross_cascade"] = False
    return arguments | (_bank(state, arguments["channels"]) if any(key.startswith("bank.") for key in state) else {})


def _bank(state: Mapping[str, Tensor], channels: int) -> dict[str, Any]:
    """Arguments of the feature bank; its first fuser takes one map, its last the most."""
    fusers = max(int(key.split(".")[2]) for key in state if key.startswith("bank.fusers."))
    last = f"bank.fusers.{fusers}.level1"
    if f"{last}.weight" in state:
        arguments: dict[str, Any] = {"fusion": "conv"}
        width = state[f"{last}.weight"].shape[1]
    else:
        squeezed, width, _, _ = state[f"{last}.attention.squeeze.weight"].shape
        style = "cab" if f"{last}.body.0.weight" in state else "se"
        arguments = {"fusion": "ca", "ca_style": style, "ca_reduction": width // squeezed}
    if width // channels < fusers + 1:
        arguments["bank_window"] = width // channels
    return arguments


@parameters_of("this network")
def crnn_mri_arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of CRNN-MRI, derived from the shapes in our state; errors as for CRUNet-MR."""
    channels, blocks = state["blocks.0.tail.weight"].shape[1], _cascades(state, _BLOCKS)
    # Shared weights do not depend on the number of cascades; the network's default is that of the released code.
    return {"channels": channels, "shared": True} if blocks == 1 else {"channels": channels, "cascades": blocks}
