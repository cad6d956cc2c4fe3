"""Unrolled networks that run their convolutions on tiles of an image, to save memory."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from onebreath.errors import ModelError
from onebreath.networks.shared.refinement import ExtraInputs, Refinement
from onebreath.networks.shared.unrolled import Features, UnrolledNetwork

Store = Callable[[Sequence[int], torch.dtype], Tensor]


class Tile(NamedTuple):
    """Columns of a tile: those it contributes to the image, and those it sees."""

    inner: slice
    outer: slice


def cut_tiles(width: int, tiles: int, halo: int, step: int) -> list[Tile]:
    """Tiles of nearly equal width along an axis that see `halo` more columns on either side.

    Parameters
    ----------
    width
        Length of the axis, a multiple of `step`.
    tiles
        Number of tiles.
    halo
        Columns on either side, rounded up to a multiple of `step`.
    step
        All borders are multiples of this.

    Raises
    ------
    ModelError
        If there are more tiles than steps.
    """
    if not 1 <= tiles <= width // step:
        raise ModelError(f"tiles is {tiles}, expected 1 to {width // step}: the image has {width} columns")
    halo += -halo % step
    edges = [round(index * width / (tiles * step)) * step for index in range(tiles + 1)]
    return [
        Tile(slice(first, last), slice(max(0, first - halo), min(width, last + halo)))
        for first, last in itertools.pairwise(edges)
    ]


def in_host_memory(sizes: Sequence[int], dtype: torch.dtype) -> Tensor:
    """New tensor in the memory of the CPU."""
    return torch.empty(sizes, dtype=dtype)


class TiledNetwork(UnrolledNetwork):
    """A network with the weights of another one that runs in tiles along the readout.

    Data consistency and normalisation still see the whole image; the convolutions of a cascade see a tile of all frames
    and lines (aliasing is along y) with a halo along the readout. Features of several earlier cascades are joined frame
    by frame, with the same result. Tiles change the image where the halo is narrower than the receptive field of the
    convolutions; `seam_deviation` says by how much.

    Parameters
    ----------
    network
        The other network; it is not changed.
    tiles, halo
        See `cut_tiles`.
    store
        Makes a tensor of a size and type that holds features for later cascades, which need most of the memory of a
        tiled network.
    """

    def __init__(self, network: UnrolledNetwork, tiles: int, halo: int, store: Store = in_host_memory) -> None:
        super().__init__(len(network.consistency), remembered=network.remembered)
        self.start, self.inputs = network.start, network.inputs
        self.network, self.tiles, self.halo, self.store = network, tiles, halo, store
        self.consistency = network.consistency
        self._compute_dtype = network._compute_dtype
        self._deviations: list[Tensor] = []

    @property
    def seam_deviation(self) -> float:
        """Largest difference of neighbouring tiles at a seam, in all cascades so far.

        Relative to the largest value of the normalised image. Both tiles see the image on either side of a seam up to
        their halos, so they agree if the halo is wide enough.
        """
        return float(torch.stack(self._deviations).max()) if self._deviations else 0.0

    def recall(self, index: int, history: Sequence[Features]) -> Features | None:
        """Features as recalled by the other network, frame by frame if it joins several cascades."""
        if self.network.remembered < 2 or not history:
            return self.network.recall(index, history)
        device = next(self.parameters()).device
        frames = history[0][0].shape[1]
        joined: list[Tensor] = []
        for frame in range(frames):
            one = slice(frame, frame + 1)
            seen = [tuple(level[:, one].to(device) for level in features) for features in history]
            parts = self.network.recall(index, seen)
            assert parts is not None
            joined = joined or [self._room(part, frames, part.shape[-1]) for part in parts]
            for whole, part in zip(joined, parts, strict=True):
                whole[:, one].copy_(part)
        return tuple(joined)

    def refine(
        self, index: int, image: Tensor, features: Features | None, extra: ExtraInputs | None = None
    ) -> tuple[Tensor, Features]:
        """Run the block of cascade `index` tile by tile."""
        block = self.network.block(index)
        return block(image, features, correct=partial(self._in_tiles, block), extra=extra)

    def _in_tiles(self, block: Refinement, planes: Tensor, features: Features | None) -> tuple[Tensor, Features]:
        width, largest = planes.shape[-1], planes.abs().max()
        corrections = torch.empty_like(planes[:, :, :2])
        kept: list[Tensor] = []
        seam = None
        for tile in cut_tiles(width, self.tiles, self.halo, block.pad_multiple):
            seen = None
            if features is not None:
                seen = tuple(_columns(level, tile.outer, width).to(planes.device) for level in features)
            part, handed = block.correction(planes[..., tile.outer], seen)
            begin, end = tile.inner.start - tile.outer.start, tile.inner.stop - tile.outer.start
            corrections[..., tile.inner] = part[..., begin:end]
            if self.remembered:
                kept = kept or [
                    self._room(one, one.shape[1], one.shape[-1] * width // part.shape[-1]) for one in handed
                ]
                for whole, one in zip(kept, handed, strict=True):
                    _columns(whole, tile.inner, width).copy_(_columns(one, slice(begin, end), part.shape[-1]))
            if seam is not None:
                self._deviations.append((seam - part[..., begin - 1 : begin + 1]).abs().max() / largest)
            seam = part[..., end - 1 : end + 1].clone() if self.halo else None
        return corrections, tuple(kept)

    def _room(self, part: Tensor, frames: int, width: int) -> Tensor:
        """Tensor for the features of the whole series, of which `part` is a part; channels are innermost in memory."""
        batch, _, channels, height, _ = part.shape
        return self.store((batch, frames, height, width, channels), part.dtype).permute(0, 1, 4, 2, 3)


def _columns(level: Tensor, columns: slice, width: int) -> Tensor:
    """Features at some columns of an image of `width` columns; the features may have a coarser grid."""
    scale = width // level.shape[-1]
    return level[..., columns.start // scale : columns.stop // scale]
