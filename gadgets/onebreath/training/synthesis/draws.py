"""Random numbers and random fields of one scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

# Smallest standard deviation by which a field is divided.
_TINY = 1e-6


class Draws:
    """Random numbers of a scan: scalars on the host, arrays on the device.

    Parameters
    ----------
    device
        Device of the arrays.
    seed
        Seed of all random numbers.
    """

    def __init__(self, device: torch.device, seed: Sequence[int]) -> None:
        self.device = device
        self.rng = np.random.default_rng(list(seed))
        self.generator = torch.Generator(device)
        self.generator.manual_seed(int(self.rng.integers(2**62)))

    def uniform(self, low: float, high: float) -> float:
        """Uniform random number."""
        return float(self.rng.uniform(low, high))

    def log_uniform(self, low: float, high: float) -> float:
        """Random number with a uniform logarithm."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def integer(self, low: int, high: int) -> int:
        """Random integer, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < share)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers on the device."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def complex_normal(self, *shape: int) -> Tensor:
        """Complex numbers, standard normal in the real and in the imaginary part."""
        return torch.view_as_complex(self.normal(*shape, 2))

    def tensor(self, values: object) -> Tensor:
        """Numbers as float32 on the device, without waiting for it."""
        host = torch.as_tensor(np.asarray(values, np.float32))
        return host.to(self.device, non_blocking=True)

    def smooth(self, count: int, shape: tuple[int, int], cells: float) -> Tensor:
        """Smooth random fields ``(count, y, x)`` of unit deviation, with about `cells` features on the shorter axis."""
        spacing = min(shape) / cells
        coarse = self.normal(count, 1, *(max(int(size / spacing) + 3, 4) for size in shape))
        fields = F.interpolate(coarse, size=shape, mode="bicubic", align_corners=True)[:, 0]
        return fields / fields.std(dim=(1, 2), keepdim=True).clamp_min(_TINY)

    def fractal(self, count: int, shape: tuple[int, int], slope: float) -> Tensor:
        """Fractal noise ``(count, y, x)``, mean 0 and unit deviation, with amplitudes ``frequency ** -slope``."""
        spectrum = torch.fft.rfft2(self.normal(count, *shape))
        ky = torch.fft.fftfreq(shape[0], device=self.device)[:, None]
        kx = torch.fft.rfftfreq(shape[1], device=self.device)
        radius = torch.sqrt(ky**2 + kx**2).clamp_min(1 / max(shape))
        noise = torch.fft.irfft2(spectrum * radius**-slope, s=shape)
        noise = noise - noise.mean(dim=(1, 2), keepdim=True)
        return noise / noise.std(dim=(1, 2), keepdim=True).clamp_min(_TINY)


def pixel_grid(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Coordinates ``(2, y, x)`` relative to the middle; the shorter axis is -1 to 1."""
    half = (min(shape) - 1) / 2
    axes = [(torch.arange(size, device=device, dtype=torch.float32) - (size - 1) / 2) / half for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def look_up(images: Tensor, position: Tensor, mode: str = "bilinear", padding: str = "reflection") -> Tensor:
    """Images sampled at other positions.

    Parameters
    ----------
    images
        ``(n, channel, height, width)`` real.
    position
        ``(n, 2, y, x)``, y and x coordinates from -1 to 1 over the first and last pixel of each axis.
    mode, padding
        As in `torch.nn.functional.grid_sample`.

    Returns
    -------
    Tensor
        ``(n, channel, y, x)``.
    """
    grid = position.flip(1).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode=mode, padding_mode=padding, align_corners=True)
