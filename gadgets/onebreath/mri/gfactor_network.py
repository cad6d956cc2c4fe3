"""g-factor of interpolation networks (RAKI) in closed form, at full size and without the Jacobian.

A small change of one measured sample changes only those predicted samples whose sources include it, by what the
network's local derivative there says. Summed over all samples, the noise in a pixel needs only the second moments of
these local kernels, one matrix for the whole slice: with U_s(n) = sum over displacements d and coils c of
conj(p_c(n)) G_s(d, c) exp(2 pi i d n / N) and p the coil combination,

    sum_s |U_s(n)|^2 = sum_(d c d' c') conj(p_c(n)) p_c'(n) exp(2 pi i (d - d') n / N) C(d c, d' c')

with C = sum_s G_s G_s^H: a Fourier series in n. The derivative is that of P. Dawood et al., "Image space formalism of
convolutional neural networks for k-space interpolation", arXiv:2402.17410 (2024), there with the activation frozen to
a mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from onebreath.budget import KERNEL, claim
from onebreath.cancellation import checkpoint
from onebreath.mri.fourier import ifft2c

Derivative: TypeAlias = Literal["frozen", "exact"]
"""Derivative of the activation: multiplication by act(z) / z as in the paper (``frozen``), or the exact one, which also
involves conj(z)."""

Gain: TypeAlias = tuple[np.ndarray, np.ndarray | None]
"""Factors of dz and of conj(dz) of one activation; the second is None for the frozen derivative."""

# Samples whose local kernels are computed at once: bounds the memory.
_BLOCK = 256


@dataclass(frozen=True)
class Linearisation:
    """A network linearised about the data of one slice.

    Attributes
    ----------
    weights
        Kernels (out, in, line, sample) of the layers; the last one's outputs are ordered (coil, target).
    responses
        Input of each activation (channel, row, column), rows being sampled lines; computed with `reach` rows of zeros
        before and after the sampled lines, and half of the reach in columns.
    slope
        Slope of the leaky rectifier for negative values.
    acceleration, first_target, targets
        Target j of the sources in the lines y, y + R, ... is line y + first_target + j.
    """

    weights: list[np.ndarray]
    responses: list[np.ndarray]
    slope: float
    acceleration: int
    first_target: int
    targets: int

    @property
    def reach(self) -> tuple[int, int]:
        """Receptive field of all kernels together: sampled lines, readout samples."""
        lines, samples = (sum(weight.shape[axis] - 1 for weight in self.weights) + 1 for axis in (2, 3))
        return lines, samples

    def gains(self, derivative: Derivative) -> list[Gain]:
        """Factors of dz and of conj(dz) of each activation, zero beyond the responses by the reach on each side."""
        ky, kx = self.reach
        found: list[Gain] = []
        for z in self.responses:
            padded = np.pad(z, ((0, 0), (ky, ky), (kx, kx)))
            real, imag = (np.where(part < 0, self.slope, 1.0) for part in (padded.real, padded.imag))
            if derivative == "frozen":
                activated = padded.real * real + 1j * padded.imag * imag
                found.append((np.divide(activated, padded, out=np.zeros_like(padded), where=padded != 0), None))
            else:
                weight = (padded != 0).astype(padded.real.dtype)
                found.append((weight * (real + imag) / 2, weight * (real - imag) / 2))
        return found


@dataclass(frozen=True)
class GfactorMap:
    """A g-factor map (y, x) float32 and its relative standard error from the choice of samples (0: all were used)."""

    gfactor: np.ndarray
    error: float


def network_gfactor(
    network: Linearisation,
    offset: int,
    replaced: np.ndarray,
    acquired: np.ndarray,
    maps: np.ndarray,
    derivative: Derivative = "exact",
    samples: int = 4096,
    seed: int = 0,
) -> GfactorMap:
    """g-factor of one slice and its standard error.

    Noise in the real and in the imaginary part of a pixel differs a little where the activation is not complex-linear;
    this is their root mean square.

    Parameters
    ----------
    network
        The network, linearised about the slice's data.
    offset
        The sources are lines offset + n R.
    replaced : (y,) bool
        Lines that hold predictions.
    acquired : (y,) bool
        Measured lines.
    maps : (coil, y, x) complex
        Coil maps, sum over coils |map|^2 = 1 or 0.
    derivative
        See `Derivative`.
    samples
        Largest number of measured samples used, drawn at random; 0: all.
    seed
        Seed of the random draw.
    """
    nx = maps.shape[2]
    rows = np.flatnonzero(acquired[offset :: network.acceleration])
    sites = np.stack(np.meshgrid(rows, np.arange(nx), indexing="ij"), -1).reshape(-1, 2)
    used = sites
    if 0 < samples < len(sites):
        used = sites[np.random.default_rng(seed).choice(len(sites), samples, replace=False)]
    gains = network.gains(derivative)
    halves = [_moments(network, gains, part, offset, replaced, nx) for part in (used[::2], used[1::2])]
    rest = np.count_nonzero(acquired & ~replaced) - np.count_nonzero(~replaced[offset :: network.acceleration][rows])
    variances = [
        _variance(moments * (len(sites) / (len(used) / 2)), displacements(network), maps) + rest * nx
        for moments in halves
    ]
    mean, difference = (variances[0] + variances[1]) / 2, (variances[0] - variances[1]) / 2
    inside = mean > 0
    error = 0.0 if used is sites else float(np.sqrt(np.mean((difference[inside] / mean[inside]) ** 2)) / 2)
    covered = np.count_nonzero(acquired | replaced)
    gfactor = np.sqrt(np.maximum(mean, 0) / (covered * nx * network.acceleration))
    return GfactorMap((gfactor * np.any(maps, axis=0)).astype(np.float32), error)


def displacements(network: Linearisation) -> np.ndarray:
    """Distances (displacement, 2) in lines and columns from a source to the samples it changes, itself last."""
    ky, kx = network.reach
    row, column, target = np.meshgrid(np.arange(ky), np.arange(kx), np.arange(network.targets), indexing="ij")
    dy = network.first_target + network.acceleration * (row - ky + 1) + target
    return np.concatenate([np.stack([dy, column - kx // 2], -1).reshape(-1, 2), [[0, 0]]])


def local_kernels(network: Linearisation, gains: list[Gain], sites: np.ndarray) -> list[np.ndarray]:
    """Effect of a unit change of each coil's sample: [factor of dv, factor of conj(dv)], the second only if not frozen.

    Parameters
    ----------
    network
        The network, linearised about the slice's data.
    gains
        Result of `Linearisation.gains`.
    sites : (site, 2) int
        Sampled line (counted on the lattice) and column of the samples.

    Returns
    -------
    list of (site, source coil, displacement without the last, coil) complex
    """
    (ky, kx), coils = network.reach, network.weights[0].shape[1]
    direct = np.broadcast_to(np.eye(coils, dtype=network.weights[0].dtype), (len(sites), 1, 1, coils, coils))
    linear = all(mirrored is None for _, mirrored in gains)
    parts = [direct] if linear else [direct, np.zeros_like(direct)]
    # Rows and columns of the border that the responses were computed with.
    corner = sites + np.array([ky, kx // 2])
    for layer, weight in enumerate(network.weights):
        parts = [_spread(weight, part) for part in parts]
        corner = corner - (np.array(weight.shape[2:]) - 1)
        if layer < len(gains):
            around = [
                None if g is None else _patch(g, corner + np.array([ky, kx]), parts[0].shape) for g in gains[layer]
            ]
            parts = _activate(parts, around)
    shape = (len(sites), ky, kx, coils, network.targets, coils)
    return [part.reshape(shape).transpose(0, 5, 1, 2, 4, 3).reshape(len(sites), coils, -1, coils) for part in parts]


def _spread(weight: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Convolution layer on patches (site, row, column, in, source): they grow by the kernel on the low side."""
    sites, ny, nx, _, sources = part.shape
    fan_out, _, ky, kx = weight.shape
    out = np.zeros((sites, ny + ky - 1, nx + kx - 1, fan_out, sources), weight.dtype)
    for a in range(ky):
        for b in range(kx):
            out[:, ky - 1 - a : ky - 1 - a + ny, kx - 1 - b : kx - 1 - b + nx] += weight[:, :, a, b] @ part
    return out


def _patch(gain: np.ndarray, corner: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The gains (site, row, column, channel, 1) of patches with these corners; corners beyond the edge hold zeros."""
    rows = corner[:, :1] + np.arange(shape[1])
    columns = corner[:, 1:] + np.arange(shape[2])
    found: np.ndarray = gain[:, rows[:, :, None], columns[:, None, :]].transpose(1, 2, 3, 0)[..., None]
    return found


def _activate(parts: list[np.ndarray], gains: list[np.ndarray | None]) -> list[np.ndarray]:
    """Chain rule through an activation for the factors of dv and of conj(dv)."""
    direct, mirrored = gains
    if direct is None or mirrored is None:
        return [part * direct for part in parts]
    one, two = parts
    return [direct * one + mirrored * np.conj(two), direct * two + mirrored * np.conj(one)]


def _moments(
    network: Linearisation,
    gains: list[Gain],
    sites: np.ndarray,
    offset: int,
    replaced: np.ndarray,
    nx: int,
) -> np.ndarray:
    """Sum over sites and source coils of the outer products (displacement coil, displacement coil) of their effects."""
    moves, coils = displacements(network), network.weights[0].shape[1]
    size = len(moves) * coils
    claim(network.weights[0].dtype.itemsize * size**2, "the products of a g-factor", advice=KERNEL)
    total = np.zeros((size, size), network.weights[0].dtype)
    for start in range(0, len(sites), _BLOCK):
        checkpoint()
        block = sites[start : start + _BLOCK]
        line = offset + network.acceleration * block[:, 0]
        target = line[:, None] + moves[:-1, 0]
        column = block[:, 1:] + moves[:-1, 1]
        inside = (target >= 0) & (target < len(replaced)) & (column >= 0) & (column < nx)
        inside &= replaced[np.clip(target, 0, len(replaced) - 1)]
        stays = ~replaced[line]
        for index, kernel in enumerate(local_kernels(network, gains, block)):
            kept = np.eye(coils) * (stays if index == 0 else 0 * stays)[:, None, None]
            change = np.concatenate([kernel * inside[:, None, :, None], kept[:, :, None]], 2)
            flat = change.reshape(-1, total.shape[0]).astype(total.dtype)
            total += flat.T @ np.conj(flat)
    return total


def _variance(moments: np.ndarray, moves: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Evaluate the Fourier series in the pixels (y, x)."""
    coils, ny, nx = maps.shape
    by_pair = moments.reshape(len(moves), coils, len(moves), coils)
    difference = moves[:, None] - moves[None]
    index = ((difference[..., 0] + ny // 2) % ny) * nx + (difference[..., 1] + nx // 2) % nx
    variance = np.zeros((ny, nx))
    for c in range(coils):
        checkpoint()
        series = np.zeros((coils, ny * nx), moments.dtype)
        for other in range(coils):
            np.add.at(series[other], index.ravel(), by_pair[:, c, :, other].ravel())
        values = ifft2c(series.reshape(coils, ny, nx)) * np.sqrt(ny * nx)
        variance += np.real(np.conj(maps[c]) * np.sum(maps * values, axis=0))
    return variance
