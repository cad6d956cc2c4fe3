"""Time of A-LIKNet against a plain transcription of the published layers, with the same weights in the same process.

    python -m benchmarks.a_liknet                                # 12 frames, 10 coils, 96 x 80, 2 iterations, CPU
    python -m benchmarks.a_liknet --size 25 15 192 156 --device cuda --iterations 8

The transcription takes every operation as it is written down: native complex 3-D convolutions, one singular value
decomposition per patch, full transforms of every coil in both data terms. The data are random.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.crunet_mr import Task, make_inputs
from benchmarks.table import table
from benchmarks.timing import place, series_arguments
from onebreath.mri.fourier import fft2c, ifft2c
from onebreath.networks.a_liknet import ALIKNet
from onebreath.networks.a_liknet.attention import Attention
from onebreath.networks.a_liknet.denoiser import MULTIPLE, Denoiser
from onebreath.networks.a_liknet.low_rank import LowRank, block_size
from onebreath.networks.shared.complex_layers import ComplexConv, ComplexUpsample, ModReLU


def published_forward(network: ALIKNet, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
    """Reconstruct as published; arguments as of the network."""
    mask = mask.to(kspace.real.dtype)

    def combine(coils: Tensor) -> Tensor:
        return (ifft2c(coils) * maps.conj()).sum(2)

    def expand(image: Tensor) -> Tensor:
        return fft2c(image[:, :, None] * maps)

    image, current, weight = combine(kspace), kspace, network.kspace_weight
    for iteration in network.iterations:
        current = _kspace_network(iteration.kspace.layers, current)
        branches = iteration.image
        denoised = image - branches.tau / branches.iterations * _denoiser(branches.denoiser, image)
        image = branches.weight * denoised + (1 - branches.weight) * _low_rank(branches.low_rank, image)
        current = weight * mask * current + (1 - weight) * kspace + (1 - mask) * current
        image = image - iteration.step * combine(mask * (mask * expand(image) - kspace))
        own, other = iteration.sharing.image_weight, iteration.sharing.kspace_weight
        image, current = (
            own * image + (1 - own) * combine(current),
            other * current + (1 - other) * expand(image),
        )
    return image


def _conv(layer: ComplexConv, array: Tensor) -> Tensor:
    """Native complex convolution of ``(batch, n, y, x, channel)``."""
    weight = torch.view_as_complex(layer.weight).movedim(1, 2)
    if not layer.padding:
        weight = weight[..., None, None]
    bias = None if layer.bias is None else torch.view_as_complex(layer.bias.view(-1, 2))
    padding = tuple(size // 2 for size in weight.shape[2:])
    return F.conv3d(array.movedim(-1, 1), weight, bias, padding=padding).movedim(1, -1)


def _modrelu(layer: ModReLU, array: Tensor) -> Tensor:
    magnitude = (array * array.conj() + 1e-9).real.sqrt()
    return torch.relu(magnitude + layer.bias.view(layer.shape)) * array / magnitude


def _attention(layer: Attention, array: Tensor) -> Tensor:
    parts = torch.cat([array.real, array.imag], dim=1)
    weights = layer.weights
    factors = torch.sigmoid(weights.excite(weights.squeeze(parts.amax((2, 3, 4)))))
    real, imaginary = (parts * factors[:, :, None, None, None]).chunk(2, dim=1)
    return torch.complex(real, imaginary)


def _kspace_network(layers: torch.nn.Sequential, kspace: Tensor) -> Tensor:
    array = kspace.movedim(1, -1)
    for layer in layers:
        step: Callable[..., Tensor] = {ComplexConv: _conv, ModReLU: _modrelu, Attention: _attention}[type(layer)]
        array = step(layer, array)
    return array.movedim(-1, 1)


def _pair(pair: torch.nn.Sequential, array: Tensor) -> Tensor:
    for part in pair:
        array = _modrelu(part.activation, _conv(part.conv, array))
    return array


def _denoiser(network: Denoiser, image: Tensor) -> Tensor:
    sizes, padding = image.shape[1:], []
    for size in reversed(sizes):
        before = (-size % MULTIPLE) // 2
        padding += [before, -size % MULTIPLE - before]
    array, skips = F.pad(image, padding)[..., None], []
    for encoder in network.encoders:
        skips.append(_pair(encoder, array))
        array = _pool(skips[-1])
    array = _pair(network.bottom, array)
    for level in (1, 0):
        array = torch.cat([_upsample(network.up[level], array), skips[level]], dim=-1)
        array = _attention(network.attentions[level], _pair(network.decoders[level], array))
    array = _conv(network.out, array)[..., 0]
    starts = padding[4], padding[2], padding[0]
    frames, rows, columns = (slice(first, first + size) for first, size in zip(starts, sizes, strict=True))
    return array[:, frames, rows, columns]


def _pool(array: Tensor) -> Tensor:
    cells = array.unfold(1, 2, 2).unfold(2, 2, 2).unfold(3, 2, 2).flatten(-3)
    return cells.gather(-1, cells.abs().argmax(-1, keepdim=True))[..., 0]


def _upsample(layer: ComplexUpsample, array: Tensor) -> Tensor:
    kernel = torch.view_as_complex(layer.values.weight)[:, 0]
    batch, frames, height, width, _ = array.shape
    out = array.new_zeros(batch, 2 * frames, 2 * height, 2 * width, len(kernel))
    out[:, ::2, ::2, ::2] = array @ kernel.T
    return _modrelu(layer.activation, out + torch.view_as_complex(layer.bias.view(-1, 2)))


def _low_rank(layer: LowRank, image: Tensor) -> Tensor:
    total, count = torch.zeros_like(image), torch.zeros_like(image.real)
    (height, down), (width, right) = (block_size(size) for size in image.shape[-2:])
    coefficients = iter(layer.coefficients)
    for first in range(0, image.shape[1], layer.frames):
        for row in range(4):
            for column in range(4):
                place = (
                    slice(None),
                    slice(first, first + layer.frames),
                    slice(row * down, row * down + height),
                    slice(column * right, column * right + width),
                )
                patch = image[place].flatten(2)
                left, values, right_vectors = torch.linalg.svd(patch, full_matrices=False)
                threshold = torch.sigmoid(next(coefficients)) * values[:, :1]
                above = values - threshold
                lowered = torch.relu(above) + threshold * torch.sigmoid(above)
                total[place] += ((left * lowered[:, None]) @ right_vectors).view(image[place].shape)
                count[place] += 1
    return total / count


def measure(run: Callable[[], Tensor], runs: int, gpu: bool) -> tuple[list[float], Tensor]:
    """Seconds of each run after a first one, and the image."""
    seconds, image = [], run()
    for _ in range(runs):
        if gpu:
            torch.cuda.synchronize()
        started = time.perf_counter()
        image = run()
        if gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds, image


def report(size: tuple[int, int, int, int], iterations: int, device: str, runs: int) -> str:
    """Run both and write the table."""
    frames, coils, y, x = size
    torch.manual_seed(0)
    network = ALIKNet(frames=frames, coils=coils, iterations=iterations).to(device).requires_grad_(False)
    inputs = make_inputs(Task(size=size, device=device))
    gpu = device.startswith("cuda")
    with torch.inference_mode():
        published, base = measure(lambda: published_forward(network, *inputs), runs, gpu)
        seconds, image = measure(lambda: network(*inputs), runs, gpu)
    error = float((image - base).abs().max() / base.abs().max())
    count = sum(parameter.numel() for parameter in network.parameters())
    title = (
        f"A-LIKNet, {iterations} iterations, {count:,} real parameters; {frames} frames, {coils} coils, {y} x {x}; "
        f"inference on {place(device)}"
    )
    rows = [
        ("plain transcription", f"{min(published):.2f}", f"{statistics.median(published):.2f}", "1.00", ""),
        (
            "onebreath",
            f"{min(seconds):.2f}",
            f"{statistics.median(seconds):.2f}",
            f"{min(published) / min(seconds):.2f}",
            f"{error:.1e}",
        ),
    ]
    columns = ("who", "seconds, min", "seconds, median", "ratio of min", "relative error")
    return table(title, columns, rows, ("torch",))


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = series_arguments(__doc__, (12, 10, 96, 80))
    parser.add_argument("--iterations", type=int, default=2)
    arguments = parser.parse_args()
    print(report(tuple(arguments.size), arguments.iterations, arguments.device, arguments.runs))


if __name__ == "__main__":
    main()
