"""A measured multi-coil series, prepared once for all cascades of a network.

Notation: ``A = M F S`` with coil maps S, centred unitary Fourier transform F and sampling mask M.
"""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onebreath.errors import MethodError
from onebreath.mri.sense import normal_matrices
from onebreath.networks.shared.inputs import check_inputs


class SampledSeries:
    """A measured series, prepared once so that every cascade needs the fewest transforms.

    Where the mask does not vary along an axis, ``M`` and the transform along that axis commute: the measured k-space is
    transformed once, and cascades work in hybrid space. The shifts that centre the remaining transforms are applied
    once, to the maps, the mask and the k-space, instead of to the coil arrays of every cascade.

    Parameters
    ----------
    kspace, mask, maps
        As in `onebreath.networks.shared.inputs.check_inputs`, which is called first. Samples outside the mask are
        set to zero.
    by_matrices
        Whether ``A^H A`` may be computed as a matrix for each column of pixels, without coils and transforms, where the
        mask is the same in all frames: much faster, and equal but for rounding. There `regularised` is exact.
    """

    def __init__(self, kspace: Tensor, mask: Tensor, maps: Tensor, by_matrices: bool = False) -> None:
        check_inputs(kspace, mask, maps)
        mask = mask != 0
        learned_maps = torch.is_grad_enabled() and maps.requires_grad
        self._lines = _common_lines(mask, maps) if by_matrices and not learned_maps else None
        self._at_once = _columns_at_once(kspace)
        small = self._lines is not None and self._at_once == kspace.shape[-1]
        self._matrices = normal_matrices(maps, self._lines) if small else None
        self._unshifted = maps
        self._inverse: Tensor | None = None
        self.axes = _transformed_axes(mask)
        kspace = torch.where(mask, kspace, torch.zeros((), dtype=kspace.dtype, device=kspace.device))
        for axis in {-2, -1} - set(self.axes):
            shifted = torch.fft.ifftshift(kspace, dim=axis)
            kspace = torch.fft.fftshift(torch.fft.ifft(shifted, dim=axis, norm="ortho"), dim=axis)
        self._kspace = torch.fft.ifftshift(kspace, dim=self.axes)
        self._mask = torch.fft.ifftshift(mask, dim=self.axes)
        self._maps = torch.fft.ifftshift(maps.to(kspace.dtype), dim=self.axes)

    def zero_filled(self) -> Tensor:
        """``A^H y``, ``(batch, frame, y, x)``."""
        return torch.fft.fftshift(self._adjoint, dim=self.axes)

    @cached_property
    def _adjoint(self) -> Tensor:
        """``A^H y``, not shifted back."""
        return self._combine(self._kspace)

    def normal(self, image: Tensor) -> Tensor:
        """``A^H A x`` of an image ``(batch, frame, y, x)``."""
        if self._matrices is not None:
            return _apply(self._matrices, image)
        return torch.fft.fftshift(self._normal(torch.fft.ifftshift(image, dim=self.axes)), dim=self.axes)

    def filled(self, image: Tensor) -> Tensor:
        """``F^-1 (y + A x)``: coil images ``(batch, frame, coil, y, x)`` from sampled k-space positions alone."""
        kspace = self._kspace + self._mask * self._coil_kspace(torch.fft.ifftshift(image, dim=self.axes))
        return torch.fft.fftshift(torch.fft.ifftn(kspace, dim=self.axes, norm="ortho"), dim=self.axes)

    def replace(self, image: Tensor, weight: Tensor | None = None) -> Tensor:
        """Replace the sampled k-space of an image by the measurement, or blend them.

        Parameters
        ----------
        image
            ``(batch, frame, y, x)``.
        weight
            Weight of the measurement against the prediction, 0 to 1, broadcastable to ``(batch, 1, 1, 1, 1)``; None: 1
            (hard).

        Returns
        -------
        Tensor
            ``S^H F^-1`` of the blended k-space, ``(batch, frame, y, x)``.
        """
        predicted = self._coil_kspace(torch.fft.ifftshift(image, dim=self.axes))
        if weight is None:
            blended = torch.where(self._mask, self._kspace, predicted)
        else:
            blended = predicted + (weight * self._mask) * (self._kspace - predicted)
        return torch.fft.fftshift(self._combine(blended), dim=self.axes)

    def regularised(self, image: Tensor, weight: Tensor, iterations: int, one_step: bool = False) -> Tensor:
        """Minimise ``weight ||A x - y||^2 + ||x - image||^2`` by conjugate gradients that start at `image`.

        ``A`` does not mix frames, so each has its own step lengths; gradients flow through all of them. Where all
        frames have the same lines (see `by_matrices`) the solution is exact, in a fifth of the time. So an image does
        not depend on the device or on the number of channels, training sees the function that makes the images, and a
        derivative in forward mode is that of the image.

        Parameters
        ----------
        image
            ``(batch, frame, y, x)``.
        weight
            Weight of the measurement, broadcastable to ``(batch, 1, 1, 1, 1)``.
        iterations
            Conjugate-gradient steps, where the solution is not exact.
        one_step
            One step length for all frames of a series, with a check for divergence.

        Raises
        ------
        MethodError
            With `one_step` and without gradients, if the residual ends larger than both the right-hand side and the
            first residual, or is not finite.
        """
        axes = (-3, -2, -1) if one_step else (-2, -1)
        weight = weight[:, 0]
        if self._lines is not None and not one_step:
            return self._solved(image, weight)
        start = torch.fft.ifftshift(image, dim=self.axes)
        solution = start
        residual = weight * (self._adjoint - self._normal(start))
        direction, energy = residual, _energy(residual, axes)
        first = energy
        tiny = torch.finfo(energy.dtype).tiny
        for _ in range(iterations):
            image_of_direction = direction + weight * self._normal(direction)
            curvature = (direction.conj() * image_of_direction).real.sum(axes, keepdim=True)
            step = energy / curvature.clamp_min(tiny)
            solution = solution + step * direction
            residual = residual - step * image_of_direction
            previous, energy = energy, _energy(residual, axes)
            direction = residual + (energy / previous.clamp_min(tiny)) * direction
        if one_step and not torch.is_grad_enabled():
            _check_converged(energy, torch.maximum(first, _energy(weight * self._adjoint, axes)), iterations)
        return torch.fft.fftshift(solution, dim=self.axes)

    def _solved(self, image: Tensor, weight: Tensor) -> Tensor:
        """Solve the equations of `regularised` by a matrix for each column, some of them at a time."""
        columns = (image + weight * self.zero_filled()).permute(0, 3, 2, 1)
        solve = _Solve.apply if torch.is_grad_enabled() else _solve
        blocks = (slice(first, first + self._at_once) for first in range(0, columns.shape[1], self._at_once))
        solved = [solve(self._matrices_at(some), columns[:, some], weight) for some in blocks]
        return torch.cat(solved, dim=1).permute(0, 3, 2, 1)

    def _matrices_at(self, columns: slice) -> Tensor:
        """``A^H A`` of some columns of pixels, ``(batch, x, y, y)``."""
        if self._matrices is not None:
            return self._matrices[:, columns]
        assert self._lines is not None
        made: Tensor = normal_matrices(self._unshifted[..., columns], self._lines)
        return made

    def noise_shape(self) -> tuple[Tensor, Tensor, Tensor]:
        """Fractions of the samples that were acquired, and in all frames; the maps' energy; each ``(batch,)``."""
        real = self._maps.real.dtype
        share, common = (mask.to(real).flatten(1).mean(1) for mask in (self._mask, self._mask.all(1)))
        energy = self._maps[:, 0].abs().square().flatten(1).sum(1)
        return share, common, energy

    def ridge(self, image: Tensor, weight: float | Tensor, start: Tensor, iterations: int) -> Tensor:
        """Minimise ``||A x - y||^2 + weight ||x - image||^2``: exactly by matrices, else by conjugate gradients.

        Parameters
        ----------
        image, start
            ``(batch, frame, y, x)``; conjugate gradients begin at `start`.
        weight
            Weight of the distance from `image`, one number or ``(batch, 1, 1, 1)``; always the same for one series, as
            its inverse matrices are cached.
        iterations
            Conjugate-gradient steps, without matrices.
        """
        right = self.zero_filled() + weight * image
        if self._matrices is not None:
            if self._inverse is None:
                eye = torch.eye(self._matrices.shape[-1], dtype=right.dtype, device=right.device)
                # Hermitian and positive; `inv` fails in threaded builds of MKL on batches of such matrices.
                self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(self._matrices + weight * eye))
            return _apply(self._inverse, right)
        solution = start
        residual = right - self.normal(start) - weight * start
        direction, energy = residual, _energy(residual, (-2, -1))
        tiny = torch.finfo(energy.dtype).tiny
        for _ in range(iterations):
            of_direction = self.normal(direction) + weight * direction
            step = energy / (direction.conj() * of_direction).real.sum((-2, -1), keepdim=True).clamp_min(tiny)
            solution, residual = solution + step * direction, residual - step * of_direction
            previous, energy = energy, _energy(residual, (-2, -1))
            direction = residual + (energy / previous.clamp_min(tiny)) * direction
        return solution

    def gradient(self, image: Tensor) -> Tensor:
        """``A^H (A x - y)``, half the gradient of ``||A x - y||^2``, of an image ``(batch, frame, y, x)``."""
        if self._matrices is not None:
            return self.normal(image) - self.zero_filled()
        residual = self._coil_kspace(torch.fft.ifftshift(image, dim=self.axes)) * self._mask - self._kspace
        return torch.fft.fftshift(self._combine(residual), dim=self.axes)

    def _coil_kspace(self, image: Tensor) -> Tensor:
        return torch.fft.fftn(image[:, :, None] * self._maps, dim=self.axes, norm="ortho")

    def _combine(self, kspace: Tensor) -> Tensor:
        return (torch.fft.ifftn(kspace, dim=self.axes, norm="ortho") * self._maps.conj()).sum(dim=2)

    def _normal(self, image: Tensor) -> Tensor:
        """``A^H A`` of an image with shifted axes; the matrices apply to unshifted ones."""
        if self._matrices is not None:
            unshifted = _apply(self._matrices, torch.fft.fftshift(image, dim=self.axes))
            return torch.fft.ifftshift(unshifted, dim=self.axes)
        return self._combine(self._coil_kspace(image) * self._mask)


def _factors(matrices: Tensor, weight: Tensor) -> Tensor:
    """Cholesky's factors of ``weight matrices + 1``."""
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
    factors: Tensor = torch.linalg.cholesky(weight * matrices + eye)
    return factors


def _solve(matrices: Tensor, columns: Tensor, weight: Tensor) -> Tensor:
    """Solve ``(weight matrices + 1) x = columns``; matrices ``(batch, x, y, y)``, columns ``(batch, x, y, frame)``."""
    return torch.cholesky_solve(columns, _factors(matrices, weight))


class _Solve(torch.autograd.Function):
    """`_solve` with derivatives that use its factors again, in place of differentiating how they are made."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, columns: Tensor, weight: Tensor) -> Tensor:
        factors = _factors(matrices, weight)
        solution = torch.cholesky_solve(columns, factors)
        ctx.save_for_backward(matrices, factors, solution)
        return solution

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        matrices, factors, solution = ctx.saved_tensors
        of_columns = torch.cholesky_solve(gradients[0], factors)
        of_weight = -(of_columns.conj() * (matrices @ solution)).real.sum((1, 2, 3), keepdim=True)
        return None, of_columns, of_weight


def _columns_at_once(kspace: Tensor) -> int:
    """Return of how many columns the matrices, doubled while they are made, fit into four copies of the k-space."""
    frames, coils, lines, columns = kspace.shape[1:]
    return min(columns, max(1, 2 * frames * coils * columns // lines))


def _common_lines(mask: Tensor, maps: Tensor) -> Tensor | None:
    """Which lines ``(batch, y)`` all frames have; None unless these are the same, and the maps, and lines are whole."""
    first = mask[:, :1, ..., :1]
    if maps.shape[1] > 1 or mask.shape[-2] != maps.shape[-2] or bool((mask != first).any()):
        return None
    return first[:, 0, 0, :, 0]


def _apply(matrices: Tensor, image: Tensor) -> Tensor:
    """Apply matrices ``(batch, x, y, y)`` to an image ``(batch, frame, y, x)``."""
    columns = image.permute(0, 3, 2, 1)
    if _alone_on_cpu(image):
        # 160 products of 192 x 192 x 12 take OpenBLAS, numpy's, 5.4 ms and MKL, torch's, 11.8 (AMD, one thread).
        product = torch.from_numpy(np.matmul(matrices.numpy(), columns.contiguous().numpy()))
    else:
        product = matrices @ columns
    return product.permute(0, 3, 2, 1)


def _alone_on_cpu(image: Tensor) -> bool:
    """Whether nobody asks for derivatives of what is made of an image, and it lies on a CPU."""
    return torch.is_inference_mode_enabled() and image.device.type == "cpu"


def _transformed_axes(mask: Tensor) -> tuple[int, ...]:
    """Image axes along which every cascade needs transforms."""
    if mask.shape[-1] == 1 or bool((mask == mask[..., :1]).all()):
        return (-2,)
    if mask.shape[-2] == 1 or bool((mask == mask[..., :1, :]).all()):
        return (-1,)
    return (-2, -1)


def _energy(image: Tensor, axes: tuple[int, ...]) -> Tensor:
    return (image.real**2 + image.imag**2).sum(axes, keepdim=True)


def _check_converged(energy: Tensor, allowed: Tensor, iterations: int) -> None:
    """Raise MethodError if the squared residual exceeds what is allowed."""
    if not bool((energy <= allowed).all()):
        ratio = float((energy / allowed).max().sqrt())
        raise MethodError(
            f"conjugate gradients do not converge: after {iterations} steps the residual is {ratio:.3g} times what it "
            "was. Check the coil maps (sum of squares over coils 1) and the k-space for huge values"
        )
