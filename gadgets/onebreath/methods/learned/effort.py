"""Estimate of a network's run time for a series, from its number of operations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from onebreath.zoo.architectures import hollow

OPERATIONS_PER_SECOND = 4.2e10
"""Of one core: CRUNet-MR, 8 frames of 128 x 112, 6 channels, has 43e9 operations in its layers and takes 1.03 s."""


def network_seconds(architecture: str, arguments: Mapping[str, Any], shape: tuple[int, ...]) -> float:
    """Estimate the seconds of one core for a series (frame, coil, y, x); the rate includes data consistency."""
    return _operations(architecture, json.dumps(dict(arguments), sort_keys=True), shape) / OPERATIONS_PER_SECOND


@lru_cache(maxsize=64)
def _operations(architecture: str, arguments: str, shape: tuple[int, ...]) -> int:
    """Count multiplications and additions of the learned parts, by running them on meta tensors."""
    import torch

    from onebreath.methods.learned.meta_shapes import OperationCount

    network = hollow(architecture, json.loads(arguments)).requires_grad_(False)
    with torch.inference_mode(), OperationCount() as counter:
        network.rehearse(*shape)
    return int(counter.total)
