"""Parameter names of the released codes, mapped one to one to ours.

Each function takes the released state (name to array) and returns ours, to be loaded strictly. Names are the facts of
dong845/CRUNet-MR and dong845/CRUNet, and of js3611/Deep-MRI-Reconstruction.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from onebreath.errors import ModelError

Array = TypeVar("Array")

_RECURRENT = {"i2h": "input", "h2h": "time", "ih2ih": "cascade"}
_CRUNET_UNITS = {
    "d_crnn1": "encoder1",
    "d_crnn2": "encoder2",
    "bcrnn": "bottleneck",
    "u_crnn1": "decoder2",
    "u_crnn2": "decoder1",
}
_CRUNET_LAYERS = {
    "conv0": "head",
    "conv": "tail",
    "conv11": "encoder1.side",
    "conv21": "encoder2.side",
    "conv31": "bottleneck.side",
    "conv41": "decoder2.side",
    "conv51": "decoder1.side",
}
_CRUNET_2PLUS1 = {
    "d_conv": "down",
    "convs1": "refine2",
    "convs2": "refine3",
    "conv1": "merge2",
    "u_conv": "up",
    "conv2": "merge1",
}
_CRUNET_LEVELS = {"0": "bottleneck", "1": "level2", "2": "level1"}
_PART = {"conv2d": "spatial", "conv1d": "temporal", "convTranspose2d": "spatial", "convTranspose1d": "temporal"}


def crunet_mr(official: Mapping[str, Array]) -> dict[str, Array]:
    """Rename the state of CRUNet-MR, with or without feature bank.

    ``cascades.N.pp`` is dropped: CRUNet-MR never uses it.

    Raises
    ------
    ModelError
        Naming keys that are not known.
    """
    kept = {key: value for key, value in official.items() if not re.fullmatch(r"cascades\.\d+\.pp", key)}
    return _rename(kept, _crunet_name, "CRUNet-MR")


def crnn_mri(official: Mapping[str, Array]) -> dict[str, Array]:
    """Rename the state of CRNN-MRI, with weights shared by all cascades or ``cascadeN.`` before each name.

    Raises
    ------
    ModelError
        Naming keys that are not known.
    """
    return _rename(official, _crnn_name, "CRNN-MRI")


def _rename(official: Mapping[str, Array], name: Callable[[str], str | None], network: str) -> dict[str, Array]:
    unknown = sorted(key for key in official if name(key) is None)
    if unknown:
        raise ModelError(f"not parameters of {network}: {', '.join(unknown)}")
    return {str(name(key)): value for key, value in official.items()}


def _crunet_name(key: str) -> str | None:
    if fused := re.fullmatch(r"cascades\.(\d+)\.mon_convs\.([012])\.(weight|bias)", key):
        cascade, level, kind = fused.groups()
        return f"bank.fusers.{int(cascade) - 1}.{_CRUNET_LEVELS[level]}.{kind}"
    if not (match := re.fullmatch(r"cascades\.(\d+)\.(\w+)\.(?:(.+)\.)?(weight|bias)", key)):
        return None
    cascade, module, inner, kind = match.groups()
    ours = None
    if inner is None:
        ours = _CRUNET_LAYERS.get(module)
    elif module in _CRUNET_2PLUS1 and inner in _PART:
        ours = f"{_CRUNET_2PLUS1[module]}.{_PART[inner]}"
    elif module in _CRUNET_UNITS and inner.removeprefix("CRNN_model.") in _RECURRENT:
        ours = f"{_CRUNET_UNITS[module]}.{_RECURRENT[inner.removeprefix('CRNN_model.')]}"
    return f"blocks.{cascade}.{ours}.{kind}" if ours else None


def _crnn_name(key: str) -> str | None:
    match = re.fullmatch(r"(?:cascade(\d+)\.)?(.+)\.(weight|bias)", key)
    if not match:
        return None
    cascade, module, kind = match.groups()
    block = f"blocks.{cascade or 0}"
    if recurrent := re.fullmatch(r"bcrnn\.CRNN_model\.(i2h|h2h|ih2ih)", module):
        return f"{block}.recurrent.{_RECURRENT[recurrent[1]]}.{kind}"
    if layer := re.fullmatch(r"conv([123])_([xh])", module):
        return f"{block}.layers.{int(layer[1]) - 1}.{'input' if layer[2] == 'x' else 'cascade'}.{kind}"
    return f"{block}.tail.{kind}" if module == "conv4_x" else None
