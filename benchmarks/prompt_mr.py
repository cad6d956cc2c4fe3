"""PromptMR of a whole series against one forward pass per frame of a plain transcription of the published form.

    python -m benchmarks.prompt_mr                                    # 12 frames, 10 coils, 64 x 64, CPU
    python -m benchmarks.prompt_mr --device cuda --size 12 10 448 204

The plain form estimates coil maps of all frames of every window, keeps the k-space of all coils of the window and
transforms all of it in every cascade. The data are random, the weights random and equal. Each subject runs in a process
of its own, see ``benchmarks/timing.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.crunet_mr import make_inputs
from benchmarks.timing import Result, apart, comparison, place, series_arguments, time_runs
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.networks.prompt_mr.prompt_mr import PromptMR
from onebreath.networks.prompt_mr.sensitivity import centre_lines
from onebreath.networks.prompt_mr.unet import AttentionBlock, Decoder, PromptUNet


@dataclass(frozen=True)
class Task:
    """What to run; `size` is frames, coils, y, x, and `arguments` are those of the network by name."""

    size: tuple[int, int, int, int] = (12, 10, 64, 64)
    device: str = "cpu"
    runs: int = 3
    arguments: tuple[tuple[str, object], ...] = ()


def published_series(network: PromptMR, kspace: Tensor, mask: Tensor) -> Tensor:
    """Reconstruct a series ``(1, frame, coil, y, x)``: one forward pass of the published form for each frame."""
    frames, half = kspace.shape[1], network.window // 2
    windows = [[(frame + offset) % frames for offset in range(-half, half + 1)] for frame in range(frames)]
    return torch.stack([_published_window(network, kspace[0, window], mask[0]) for window in windows])[None]


def _published_window(network: PromptMR, measured: Tensor, mask: Tensor) -> Tensor:
    """Magnitude of the frame in the middle of a window ``(frame, coil, y, x)``."""
    assert network.sensitivity is not None
    centre = measured * centre_lines(mask[None], measured.shape[-2:])[0]
    images = ifft2c(centre).flatten(0, 1)[:, None]
    maps = _published_unet(network.sensitivity.unet, images, network.slope).reshape(measured.shape)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    kspace = measured.clone()
    for block, step in zip(network.blocks, network.steps, strict=True):
        image = (ifft2c(kspace) * maps.conj()).sum(1)
        difference = torch.where(mask, kspace - measured, torch.zeros_like(kspace[:1, :1])) * step
        refined = _published_unet(block, image[None], network.slope)[0]
        kspace = kspace - difference - fft2c(refined[:, None] * maps)
    return ifft2c(kspace[network.window // 2]).abs().square().sum(0).sqrt()


def _published_unet(unet: PromptUNet, images: Tensor, slope: Tensor) -> Tensor:
    """Run on windows ``(window, frame, y, x)``."""
    planes = torch.cat([images.real, images.imag], dim=1)
    mean, std = planes.mean((1, 2, 3), keepdim=True), planes.std((1, 2, 3), keepdim=True)
    height, width = planes.shape[-2:]
    top, left = (-height % 8) // 2, (-width % 8) // 2
    x = unet.head(F.pad((planes - mean) / std, (left, -width % 8 - left, top, -height % 8 - top)))
    skips = []
    for level, (blocks, down) in enumerate(zip(unet.encoder, unet.down, strict=True)):
        for index, block in enumerate(blocks):
            x = _published_block(block, x, unet.first_slope if level == index == 0 else slope)
        skips.append(x)
        x = down(x)
    x = _published_blocks(unet.bottleneck, x, slope)
    for decoder in unet.decoder:
        x = _published_decoder(decoder, x, skips.pop(), slope)
    x = unet.tail(x)[..., top : top + height, left : left + width] * std + mean
    return torch.complex(*x.chunk(2, dim=1))


def _published_decoder(decoder: Decoder, x: Tensor, skip: Tensor, slope: Tensor) -> Tensor:
    prompt = decoder.prompt
    weights = F.softmax(prompt.weigh(x.mean((-2, -1))), dim=1)
    mixed = (weights[:, :, None, None, None] * prompt.prompts).sum(1)
    mixed = prompt.refine(F.interpolate(mixed, x.shape[-2:], mode="bilinear"))
    x = decoder.reduce(_published_blocks(decoder.fuse, torch.cat([x, mixed], dim=1), slope))
    x = decoder.narrow(F.interpolate(x, scale_factor=2, mode="bilinear"))
    return _published_block(decoder.merge, x + _published_block(decoder.skip, skip, slope), slope)


def _published_blocks(blocks: Sequence[AttentionBlock], x: Tensor, slope: Tensor) -> Tensor:
    for block in blocks:
        x = _published_block(block, x, slope)
    return x


def _published_block(block: AttentionBlock, x: Tensor, slope: Tensor) -> Tensor:
    inner = block.second(F.prelu(block.first(x), slope))
    squeezed = torch.relu(block.attention.squeeze(F.adaptive_avg_pool2d(inner, 1)))
    return inner * torch.sigmoid(block.attention.excite(squeezed)) + x


def run(who: str, task: Task) -> Result:
    """Run one subject, ``published`` or ``onebreath``, in this process."""
    torch.manual_seed(0)
    network = PromptMR(**dict(task.arguments)).to(task.device)  # type: ignore[arg-type]
    kspace, mask, maps = make_inputs(task)
    with torch.inference_mode():
        result = time_runs(
            lambda: network(kspace, mask, maps) if who == "onebreath" else published_series(network, kspace, mask),
            task.runs,
            task.device,
        )
    return Result(result.seconds, result.peak, result.image.abs())


def report(results: dict[str, Result], task: Task) -> str:
    """Write the results as a Markdown table, with what is needed to repeat them."""
    frames, coils, y, x = task.size
    title = f"PromptMR, {frames} frames, {coils} coils, {y} x {x}; inference of the series on {place(task.device)}"
    return comparison(title, results)


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = series_arguments(__doc__, Task.size, Task.runs)
    parser.add_argument("--cascades", type=int, default=5)
    parser.add_argument("--at-once", type=int, default=4, help="windows that a U-Net of onebreath sees together")
    options = parser.parse_args()
    arguments = (("cascades", options.cascades), ("at_once", options.at_once))
    task = Task(tuple(options.size), options.device, options.runs, arguments)
    print(report(apart(run, task, ("published", "onebreath")), task))


if __name__ == "__main__":
    main()
