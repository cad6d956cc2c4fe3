"""Random numbers on torch's meta device: shapes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class Valueless(TorchFunctionMode):
    """Networks that are made within get no random numbers; within ``torch.device("meta")`` they would have no values.

    Torch has Python code for normal numbers on that device, which imports its compiler and SymPy when it first runs:
    about a second for a process that only looks at the shapes of weights.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function of torch, unless it draws random numbers."""
        given = dict(kwargs or {})
        if func in (torch.randn, torch.rand):
            given.pop("generator", None)
            return torch.empty(*args, **given)
        if func is torch.Tensor.normal_ or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else given["tensor"]
        return func(*args, **given)
