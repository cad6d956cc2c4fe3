"""Parameter names and sizes of the released MR-IPT (GuoyaoShen/MR-IPT), mapped to ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onebreath.errors import ModelError
from onebreath.networks.released import parameters_of

if TYPE_CHECKING:
    from torch import Tensor

_DROPPED = re.compile(
    r"image_decoder\.(output_hypernetworks_mlp|transformer\.(final_attn_token_to_image|norm_final_attn))\."
)
"""Modules whose results the released network never uses."""
_STACKED = re.compile(r"prompt_encoder\.(level|type)_embeddings\.(\d+)\.weight")
_RULES: tuple[tuple[str, str], ...] = (
    (r"^head\.(\d+)\.0\.", r"heads.\1.0."),
    (r"^head\.(\d+)\.([12])\.body\.0\.", r"heads.\1.\2.first."),
    (r"^head\.(\d+)\.([12])\.body\.2\.", r"heads.\1.\2.second."),
    (r"^tail\.(\d+)\.1\.", r"tails.\1."),
    (r"^image_encoder\.pos_embed$", "encoder.positions"),
    (r"^image_encoder\.patch_embed\.proj\.", "encoder.patches."),
    (r"^image_encoder\.", "encoder."),
    (r"\.attn\.rel_pos_h$", ".attention.relative_y"),
    (r"\.attn\.rel_pos_w$", ".attention.relative_x"),
    (r"\.attn\.proj\.", ".attention.out."),
    (r"\.attn\.qkv\.", ".attention.qkv."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "prompts.frequencies"),
    (r"^image_decoder\.transformer\.layers\.", "decoder.blocks."),
    (r"^image_decoder\.output_upscaling\.", "decoder.upscaling."),
    (r"\.self_attn\.", ".self_attention."),
    (r"\.cross_attn_token_to_image\.", ".to_image."),
    (r"\.cross_attn_image_to_token\.", ".to_tokens."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.out_proj\.", ".out."),
    (r"\.mlp\.lin1\.", ".mlp.0."),
    (r"\.mlp\.lin2\.", ".mlp.2."),
)


def mr_ipt(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of the released network with our names, without the modules that it never uses."""
    import torch

    flat = _flat_groups({key: value for key, value in official.items() if not _DROPPED.match(key)})
    renamed: dict[str, Tensor] = {}
    stacks: dict[str, dict[int, Tensor]] = {}
    for key, value in flat.items():
        stacked = _STACKED.fullmatch(key)
        if stacked:
            stacks.setdefault(f"prompts.{stacked[1]}_tokens", {})[int(stacked[2])] = value
            continue
        for pattern, ours in _RULES:
            key = re.sub(pattern, ours, key)
        renamed[key] = value
    return renamed | {name: torch.cat([rows[n] for n in sorted(rows)]) for name, rows in stacks.items()}


def _flat_groups(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Number heads and tails consecutively; the `split` variant is released as ``[type][level]``."""
    found = [re.match(r"head\.\d+\.(\d+)\.0\.weight", key) for key in official]
    levels = max((int(match[1]) + 1 for match in found if match), default=0)
    if not levels:
        return dict(official)

    def number(match: re.Match[str]) -> str:
        return f"{match[1]}.{int(match[2]) * levels + int(match[3])}."

    return {re.sub(r"^(head|tail)\.(\d+)\.(\d+)\.", number, key): value for key, value in official.items()}


@parameters_of("MR-IPT")
def arguments_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of the network, derived from the shapes in our state, except for the number of the decoder's heads.

    Raises
    ------
    ModelError
        If a parameter is missing.
    """
    grid, width = state["encoder.positions"].shape[1], state["encoder.positions"].shape[3]
    blocks = [key for key in state if re.fullmatch(r"encoder\.blocks\.\d+\.attention\.relative_y", key)]
    sides = [(len(state[f"encoder.blocks.{n}.attention.relative_y"]) + 1) // 2 for n in range(len(blocks))]
    windows = {side for side in sides if side != grid}
    return {
        "variant": _variant(state),
        "image_size": grid * state["encoder.patches.weight"].shape[-1],
        "channels": state["heads.0.0.weight"].shape[0],
        "width": width,
        "depth": len(sides),
        "heads": width // state["encoder.blocks.0.attention.relative_y"].shape[1],
        "window": min(windows, default=grid),
        "global_blocks": [index for index, side in enumerate(sides) if side == grid],
        "embedding": state["encoder.neck.0.weight"].shape[0],
        "decoder_hidden": state["decoder.blocks.0.mlp.0.weight"].shape[0],
    }


def _variant(state: Mapping[str, Tensor]) -> str:
    """Variant with as many heads as the state has tails."""
    groups = sum(bool(re.fullmatch(r"tails\.\d+\.bias", key)) for key in state)
    levels, types = len(state["prompts.level_tokens"]), len(state["prompts.type_tokens"])
    if groups not in (levels, types, levels * types):
        raise ModelError(f"MR-IPT with {groups} heads fits neither {levels} levels, nor {types} types, nor their pairs")
    return "type" if groups == types else "level" if groups == levels else "split"
