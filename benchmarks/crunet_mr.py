"""Time and memory of CRUNet-MR against a plain transcription of the published forward pass.

    python benchmarks/crunet_mr.py                                   # 12 frames, 10 coils, 128 x 128, CPU
    python benchmarks/crunet_mr.py --device cuda --size 12 10 448 204
    python benchmarks/crunet_mr.py --size 12 10 448 204 --who onebreath --training

Each subject runs in a process of its own, see ``benchmarks/timing.py``: ``published`` as its users run it, with the
defaults of the C library and of OpenMP; ``published-settings`` and ``onebreath`` with memory, waiting threads and
vectors as in the worker. The data are random, the weights random and equal.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import Result, apart, comparison, place, series_arguments, time_runs
from onebreath.networks.crunet_mr.cine_unet import CineUNet
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from onebreath.networks.shared.conv2plus1d import SpaceTimeConv
from onebreath.networks.shared.recurrent import RecurrentUnit
from onebreath.threads import settle_process, share_cores


@dataclass(frozen=True)
class Task:
    """What to run; `size` is frames, coils, y, x."""

    size: tuple[int, int, int, int] = (12, 10, 128, 128)
    channels: int = 64
    cascades: int = 5
    device: str = "cpu"
    precision: str = "float32"
    runs: int = 3
    training: bool = False


def published_forward(network: CRUNetMR, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
    """Reconstruct one series as published: cells frame by frame, features from zeros, full transforms, one format."""
    kspace = kspace[0]
    image = (_transform(kspace, torch.fft.ifft2) * maps[0].conj()).sum(1)
    features = None
    for block in network.blocks:
        refined, features = _published_block(block, image, features)
        predicted = _transform(refined[:, None] * maps[0], torch.fft.fft2)
        consistent = (1 - mask[0].float()) * predicted + mask[0] * kspace
        image = (_transform(consistent, torch.fft.ifft2) * maps[0].conj()).sum(1)
    return image[None]


def _transform(array: Tensor, transform: Callable[..., Tensor]) -> Tensor:
    axes = (-2, -1)
    return torch.fft.fftshift(transform(torch.fft.ifftshift(array, dim=axes), norm="ortho"), dim=axes)


def _published_block(
    block: CineUNet, image: Tensor, features: tuple[Tensor, ...] | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    planes = torch.stack([image.real, image.imag], dim=1)
    mean, std = planes.mean(), planes.std()
    height, width = planes.shape[-2:]
    top, left = (-height % 8) // 2, (-width % 8) // 2
    planes = F.pad((planes - mean) / std, (left, -width % 8 - left, top, -height % 8 - top))
    start = block.head(planes)
    if features is None:
        low = start.new_zeros(*start.shape[:2], start.shape[2] // 2, start.shape[3] // 2)
        features = (torch.zeros_like(start), low, low)
    skip1 = _published_unit(block.encoder1, start, features[0])
    encoded2 = _published_unit(block.encoder2, _published_2plus1(block.down, skip1), features[1])
    skip2 = _published_2plus1(block.refine2, encoded2)
    bottom = _published_2plus1(block.refine3, _published_unit(block.bottleneck, skip2, features[2]))
    decoded2 = _published_unit(block.decoder2, bottom, features[1])
    merged2 = _published_2plus1(block.merge2, torch.cat([skip2, decoded2], dim=1))
    decoded1 = _published_unit(block.decoder1, _published_2plus1(block.up, merged2), features[0])
    merged1 = _published_2plus1(block.merge1, torch.cat([skip1, decoded1], dim=1))
    planes = (planes + block.tail(merged1))[..., top : top + height, left : left + width] * std + mean
    return torch.complex(planes[:, 0], planes[:, 1]), (merged1, merged2, bottom)


def _published_unit(unit: RecurrentUnit, frames: Tensor, features: Tensor) -> Tensor:
    order = list(range(len(frames)))
    directions = {"forward": [order], "backward": [order[::-1]], "both": [order, order[::-1]]}[unit.direction]
    total = torch.zeros_like(features)
    for direction in directions:
        state, states = torch.zeros_like(features[:1]), {}
        for t in direction:
            state = torch.relu(unit.input(frames[t : t + 1]) + unit.time(state) + unit.cascade(features[t : t + 1]))
            states[t] = state
        total = total + torch.cat([states[t] for t in order])
    return total + unit.side(frames)


def _published_2plus1(layer: SpaceTimeConv, frames: Tensor) -> Tensor:
    spatial = torch.relu(layer.spatial(frames))
    count, channels, height, width = spatial.shape
    lines = spatial.permute(2, 3, 1, 0).reshape(-1, channels, count)
    lines = F.conv1d(F.pad(lines, (1, 1), mode="circular"), layer.temporal.weight, layer.temporal.bias)
    return lines.reshape(height, width, channels, count).permute(3, 2, 0, 1)


def make_inputs(task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Random k-space with every eighth line and eight lines in the centre, and unit-norm maps."""
    frames, coils, y, x = task.size
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 1, coils, y, x, dtype=torch.complex64, generator=generator)
    maps = maps / maps.abs().square().sum(2, keepdim=True).sqrt()
    mask = torch.zeros(1, 1, 1, y, 1, dtype=torch.bool)
    mask[..., ::8, :] = True
    mask[..., y // 2 - 4 : y // 2 + 4, :] = True
    kspace = torch.randn(1, frames, coils, y, x, dtype=torch.complex64, generator=generator) * mask
    return kspace.to(task.device), mask.to(task.device), maps.to(task.device)


SUBJECTS = ("published", "published-settings", "onebreath")


def run(who: str, task: Task) -> Result:
    """Run one of `SUBJECTS` in this process."""
    if who != "published":
        settle_process()
    torch.manual_seed(0)
    network = CRUNetMR(channels=task.channels, cascades=task.cascades, checkpointing=task.training).to(task.device)
    if who == "onebreath":
        network.use_precision(task.precision)
    inputs = make_inputs(task)

    def step() -> Tensor:
        with torch.inference_mode(not task.training):
            image = network(*inputs) if who == "onebreath" else published_forward(network, *inputs)
            if task.training:
                image.abs().mean().backward()
        return image.detach()

    return time_runs(step, task.runs, task.device)


def report(results: dict[str, Result], task: Task) -> str:
    """Write the results as a Markdown table, with what is needed to repeat them."""
    frames, coils, y, x = task.size
    title = (
        f"CRUNet-MR, {task.channels} channels, {task.cascades} cascades; {frames} frames, {coils} coils, {y} x {x}, "
        f"{task.precision}; {'training step' if task.training else 'inference'} on {place(task.device)}"
    )
    return comparison(title, results)


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = series_arguments(__doc__, Task.size, Task.runs)
    parser.add_argument("--channels", type=int, default=Task.channels)
    parser.add_argument("--cascades", type=int, default=Task.cascades)
    parser.add_argument("--precision", default=Task.precision, help="of onebreath: float32, bfloat16 or auto")
    parser.add_argument("--training", action="store_true", help="a step with gradients, onebreath with checkpointing")
    parser.add_argument("--who", nargs="+", default=SUBJECTS, choices=SUBJECTS)
    arguments = vars(parser.parse_args())
    subjects = arguments.pop("who")
    task = Task(**{**arguments, "size": tuple(arguments["size"])})
    given = dict(os.environ)
    results: dict[str, Result] = {}
    for who in subjects:
        if who != "published":
            share_cores()  # in the environment of the process that follows
        results |= apart(run, task, [who])
        os.environ.clear()
        os.environ.update(given)
    print(report(results, task))


if __name__ == "__main__":
    main()
