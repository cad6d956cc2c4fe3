"""Memory that a network needs for a series, memory available, and execution plans that fit."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from onebreath.methods.learned.meta_shapes import WithoutCompiler, result
from onebreath.networks.shared.tiling import TiledNetwork
from onebreath.networks.shared.unrolled import UnrolledNetwork
from onebreath.zoo.architectures import hollow

GIB = 2**30

_RESERVE = 1.35
"""Allocators round up and convolutions need workspace: resident memory on a CPU was 1.08 to 1.33 times the count."""
_RESIDENT_COIL_SERIES, _TEMPORARY_COIL_SERIES = 2, 4
"""Copies of the k-space, in complex numbers, kept for the whole run, and at the peak of data consistency."""
_CGROUP_FILES = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Limit and use of a control group's memory, in version 2 and in version 1."""
_NO_LIMIT = 1 << 60  # version 1 has no word for it, but a number larger than any memory
_NARROWEST_TILE = 32


@dataclass(frozen=True)
class Size:
    """Size of a series."""

    frames: int
    coils: int
    y: int
    x: int


@dataclass(frozen=True)
class Way:
    """Execution plan of a network: type of the convolutions, tiles and halo as in `TiledNetwork` (one tile: unchanged).

    `features_elsewhere`: whether the features that wait for the next cascade are in other memory than the tiles.
    """

    dtype: torch.dtype = torch.float32
    tiles: int = 1
    halo: int = 0
    features_elsewhere: bool = False


@dataclass(frozen=True)
class Plan:
    """Execution plan: device, number of tiles (1: the whole image), bytes needed and free."""

    device: str
    tiles: int
    needed: int
    free: int | None

    def __str__(self) -> str:
        pieces = "whole image" if self.tiles == 1 else f"{self.tiles} tiles"
        free = "unknown" if self.free is None else f"{self.free / GIB:.2f}"
        return f"{pieces} on {self.device}: needs {self.needed / GIB:.2f} GiB, free {free} GiB"


class Meter(WithoutCompiler):
    """Counts the bytes of all tensors allocated while it is active; `meta` tensors need no memory."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._live = 0
        self._elsewhere = False
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count the bytes of its results."""
        made = result(function, args, kwargs or {}, composite=True)
        if made is None:
            made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage())
        return made

    def elsewhere(self, sizes: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Return a meta tensor that is not counted, in place of one in other memory."""
        self._elsewhere = True
        try:
            return torch.empty(sizes, dtype=dtype, device="meta")
        finally:
            self._elsewhere = False

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        if self._elsewhere:
            return
        self._live += storage.nbytes()
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._release, storage.nbytes())

    def _release(self, count: int) -> None:
        self._live -= count


def needed_bytes(architecture: str, arguments: Mapping[str, Any], size: Size, way: Way) -> int:
    """Estimate the memory that a network needs for a series, its input included.

    The learned parts are counted by running the network without numbers; data consistency by its number of copies.

    Parameters
    ----------
    architecture, arguments
        As in a card.
    size
        Of the series.
    way
        How the network runs.
    """
    spelled = json.dumps(dict(arguments), sort_keys=True)
    learned, weights = _counted(architecture, spelled, size, way)
    coil_series = 8 * size.frames * size.coils * size.y * size.x
    peak = max(learned, _TEMPORARY_COIL_SERIES * coil_series)
    return int(_RESERVE * (weights + _RESIDENT_COIL_SERIES * coil_series + peak))


@lru_cache(maxsize=64)
def _counted(architecture: str, arguments: str, size: Size, way: Way) -> tuple[int, int]:
    """Return the peak of the bytes inside the learned parts, and the bytes of the weights."""
    network = hollow(architecture, json.loads(arguments))
    weights = sum(value.numel() * 4 for value in network.state_dict().values())
    network = network.to(way.dtype).requires_grad_(False)
    with torch.inference_mode(), Meter() as meter:
        if way.tiles > 1:
            assert isinstance(network, UnrolledNetwork)
            store = meter.elsewhere if way.features_elsewhere else partial(torch.empty, device="meta")
            network = TiledNetwork(network, way.tiles, way.halo, lambda sizes, dtype: store(sizes, dtype=dtype))
        network.rehearse(size.frames, size.coils, size.y, size.x)
    return meter.peak, weights


def free_bytes(device: str, limit: int | None = None) -> int | None:
    """Return the memory (bytes) that may be used on a device; None if unknown.

    On a CPU: what the kernel calls available, or less if the container that the process runs in allows less.

    Parameters
    ----------
    device
        As torch names it.
    limit
        What the configuration allows.
    """
    known = [value for value in (limit, _free(device)) if value is not None]
    return min(known, default=None)


def _free(device: str) -> int | None:
    if torch.device(device).type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return None
    lines = dict(line.split(":") for line in meminfo.read_text(encoding="ascii").splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    allowed = container_bytes(Path("/sys/fs/cgroup"))
    return available if allowed is None else min(available, allowed)


def container_bytes(cgroup: Path) -> int | None:
    """Return the memory (bytes) that a control group still allows; None without a limit."""
    for limit, used in _CGROUP_FILES:
        if (cgroup / limit).is_file() and (cgroup / used).is_file():
            text = (cgroup / limit).read_text(encoding="ascii").strip()
            if text == "max" or int(text) >= _NO_LIMIT:
                return None
            return max(0, int(text) - int((cgroup / used).read_text(encoding="ascii")))
    return None


def tile_counts(width: int) -> list[int]:
    """List the numbers of tiles to try, from the whole image to tiles that are mostly halo."""
    counts = [1]
    while width // (2 * counts[-1]) >= _NARROWEST_TILE:
        counts.append(2 * counts[-1])
    return counts


def plans(
    devices: Sequence[tuple[str, int | None]],
    tiles: Sequence[int],
    needs: Callable[[str, int], int],
    passed_over: list[str],
) -> Iterator[Plan]:
    """Yield the execution plans that fit into memory: first device first, fewest tiles first.

    Parameters
    ----------
    devices
        Names and free bytes (None: not known, then everything fits).
    tiles
        Numbers of tiles to try.
    needs
        Bytes needed on a device for a number of tiles.
    passed_over
        Gets a text for every way that does not fit.
    """
    for device, free in devices:
        for count in tiles:
            plan = Plan(device, count, needs(device, count), free)
            if free is None or plan.needed <= free:
                yield plan
            else:
                passed_over.append(str(plan))
