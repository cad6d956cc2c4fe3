"""Time and memory of MR-IPT against its plain form: whole attention matrices, heads and tails image by image.

    python benchmarks/mr_ipt.py                                     # published size at batch 1, a part of it at batch 8
    python benchmarks/mr_ipt.py --batch 8 --depth 24 --device cuda --precision auto
    python benchmarks/mr_ipt.py --batch 8 --depth 3 --image 112

Each subject runs in a process of its own, see ``benchmarks/timing.py``. Weights and images are random and equal. With
fewer than 24 blocks every third one is global, as their share matters most.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import Result, apart, comparison, place, time_runs
from onebreath.networks.mr_ipt.encoder import EncoderBlock, EncoderSizes, RelativeAttention, distances
from onebreath.networks.mr_ipt.mr_ipt import MRIPT

PUBLISHED_DEPTH = 24
SUBJECTS = ("plain", "onebreath")


@dataclass(frozen=True)
class Task:
    """What to run; `width` and `channels` scale the network down for tests."""

    batch: int = 1
    depth: int = PUBLISHED_DEPTH
    image: int = 224
    width: int = 1024
    channels: int = 64
    window: int = 14
    device: str = "cpu"
    precision: str = "float32"
    runs: int = 1

    def network(self) -> MRIPT:
        """The network with random weights, tables of positions among them."""
        blocks = (5, 11, 17, 23) if self.depth == PUBLISHED_DEPTH else tuple(range(2, self.depth, 3))
        torch.manual_seed(0)
        sizes = EncoderSizes(
            image_size=self.image, width=self.width, depth=self.depth, global_blocks=blocks, window=self.window,
            embedding=self.width // 4,
        )  # fmt: skip
        made = MRIPT("split", channels=self.channels, decoder_hidden=2 * self.width, sizes=sizes)
        for name, parameter in made.named_parameters():
            if "relative" in name or "positions" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        return made.requires_grad_(False).eval().to(self.device)


def plain_forward(network: MRIPT, images: Tensor, levels: list[int], types: list[int]) -> Tensor:
    """Restore a batch as published: one image after another through its head, whole attention matrices."""
    groups = [network.group(level, kind) for level, kind in zip(levels, types, strict=True)]
    features = torch.cat([network.heads[group](image[None]) for group, image in zip(groups, images, strict=True)])
    tokens = network.encoder.patches(features).movedim(1, -1) + network.encoder.positions
    for block in network.encoder.blocks:
        tokens = _plain_block(block, tokens)
    embedded = network.encoder.neck(tokens.movedim(-1, 1))
    prompts = network.prompts([float(level) for level in levels], types)
    decoded = network.decoder(embedded, prompts, network.prompts.positions(*embedded.shape[-2:])) + features
    return torch.cat([network.tails[group](image[None]) for group, image in zip(groups, decoded, strict=True)])


def _plain_block(block: EncoderBlock, tokens: Tensor) -> Tensor:
    normed, (height, width) = block.norm1(tokens), tokens.shape[1:3]
    if block.window:
        side = block.window
        padded = F.pad(normed, (0, 0, 0, -width % side, 0, -height % side))
        grid = padded.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
        windows = _plain_attention(block.attention, grid.flatten(0, 2)).reshape(grid.shape).transpose(2, 3)
        attended = windows.flatten(3, 4).flatten(1, 2)[:, :height, :width]
    else:
        attended = _plain_attention(block.attention, normed)
    tokens = tokens + attended
    return tokens + block.mlp(block.norm2(tokens))


def _plain_attention(layer: RelativeAttention, x: Tensor) -> Tensor:
    batch, height, width, channels = x.shape
    query, key, value = layer.qkv(x).reshape(batch, -1, 3, layer.heads, channels // layer.heads).permute(2, 0, 3, 1, 4)
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)
    grid = query.unflatten(2, (height, width))
    rows = torch.einsum("bnyxd,ykd->bnyxk", grid, distances(layer.relative_y, height))
    columns = torch.einsum("bnyxd,xkd->bnyxk", grid, distances(layer.relative_x, width))
    shaped = scores.unflatten(3, (height, width)).unflatten(2, (height, width))
    scores = (shaped + rows[..., :, None] + columns[..., None, :]).reshape(scores.shape)
    attended = scores.softmax(-1) @ value
    return layer.out(attended.transpose(1, 2).reshape(batch, height, width, channels))


def run(who: str, task: Task) -> Result:
    """Run one subject in this process; images go through different heads."""
    network = task.network()
    if who == "onebreath":
        network.use_precision(task.precision)
    images = torch.rand(task.batch, 1, task.image, task.image, generator=torch.Generator().manual_seed(1))
    images = images.to(task.device)
    levels, types = [n // 2 % 5 for n in range(task.batch)], [n // 2 % 4 for n in range(task.batch)]
    forward = network if who == "onebreath" else partial(plain_forward, network)
    with torch.inference_mode():
        return time_runs(lambda: forward(images, levels, types), task.runs, task.device)


def report(results: dict[str, Result], task: Task) -> str:
    """Write the results as a Markdown table."""
    size = "published size" if task.depth == PUBLISHED_DEPTH else f"{task.depth} of its 24 blocks"
    shape = f"{task.image} x {task.image}, batch {task.batch}"
    title = f"MR-IPT split, {size}, {shape}, {task.precision} (plain: float32), {place(task.device)}"
    return comparison(title, results)


def main() -> None:
    """Run what the command line asks for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, help="default: 1, then 8 at a size that a CPU can compute")
    parser.add_argument("--depth", type=int, default=PUBLISHED_DEPTH)
    parser.add_argument("--image", type=int, default=Task.image)
    parser.add_argument("--device", default=Task.device)
    parser.add_argument("--precision", default=Task.precision, help="of onebreath: float32, bfloat16 or auto")
    parser.add_argument("--runs", type=int, default=Task.runs)
    parser.add_argument("--who", nargs="+", default=list(SUBJECTS), choices=SUBJECTS)
    arguments = vars(parser.parse_args())
    subjects, batch = arguments.pop("who"), arguments.pop("batch")
    task = Task(batch=batch or 1, **arguments)
    tasks = [task] if batch else [task, replace(task, batch=8, depth=3, image=112)]
    print("\n\n".join(report(apart(run, one, subjects), one) for one in tasks))


if __name__ == "__main__":
    main()
