"""The Cartesian SENSE model: coil maps, Fourier transform, sampling.

K. P. Pruessmann et al., "SENSE: Sensitivity encoding for fast MRI", Magn Reson Med 42:952 (1999); several map sets
as in M. Uecker et al., "ESPIRiT", Magn Reson Med 71:990 (2014), eq. 19.
"""

import numpy as np
from array_api_compat import array_namespace, is_numpy_array
from scipy.linalg import get_lapack_funcs

from onebreath.mri import Array
from onebreath.mri.fourier import fft, fft2c, ifft, ifft2c


class SenseOperator:
    """``k = M F sum_set(S_set x_set)`` for a series of frames.

    Parameters
    ----------
    maps
        Coil maps ``(set, coil, y, x)`` complex; ``(coil, y, x)`` means one set.
    mask
        Bool, broadcastable to ``(frame, y, x)``; ``(y, x)`` holds for all frames.

    Raises
    ------
    ValueError
        If shapes do not fit; the message names the argument and both shapes.

    Notes
    -----
    `normal` is the inner loop of every iterative method. Maps and mask are therefore shifted once, here, so that the
    loop needs no shifts of coil arrays, and where the mask does not depend on x the transforms along x cancel and
    are left out.
    """

    def __init__(self, maps: Array, mask: Array) -> None:
        xp = array_namespace(maps, mask)
        maps = maps[None] if maps.ndim == 3 else maps
        mask = mask[None] if mask.ndim == 2 else mask
        if maps.ndim != 4:
            raise ValueError(f"maps must be (set, coil, y, x), got shape {tuple(maps.shape)}")
        matrix = tuple(maps.shape[-2:])
        if mask.ndim != 3 or any(m not in (1, n) for m, n in zip(mask.shape[-2:], matrix, strict=True)):
            raise ValueError(f"mask of shape {tuple(mask.shape)} does not broadcast to (frame, y, x) = (*, {matrix})")
        self.maps = maps
        self.mask = mask
        self._axes = (-2,) if mask.shape[-1] == 1 or bool(xp.all(mask == mask[..., :1])) else (-2, -1)
        shifted_mask = mask[..., :1] if self._axes == (-2,) else mask
        # numpy gains from one frame at a time (it stays in the cache), a GPU from the whole series at once.
        self._by_frame = is_numpy_array(maps)
        self._shifted_maps = xp.fft.ifftshift(maps, axes=self._axes)[:, None]
        self._shifted_conj = xp.conj(self._shifted_maps)
        self._shifted_mask = xp.fft.ifftshift(xp.astype(shifted_mask, xp.real(maps).dtype), axes=self._axes)[:, None]

    @property
    def n_sets(self) -> int:
        """Number of map sets."""
        return int(self.maps.shape[0])

    def forward(self, image: Array) -> Array:
        """Image ``(frame, y, x)`` or ``(set, frame, y, x)`` to sampled k-space ``(frame, coil, y, x)``."""
        xp = array_namespace(image)
        coil_images = xp.sum(self.maps[:, None] * self._with_sets(image)[:, :, None], axis=0)
        return fft2c(coil_images) * xp.astype(self.mask[:, None], xp.real(image).dtype)

    def adjoint(self, kspace: Array) -> Array:
        """K-space ``(frame, coil, y, x)`` to image ``(frame, y, x)``, or ``(set, frame, y, x)`` with several sets."""
        xp = array_namespace(kspace)
        if kspace.ndim != 4 or tuple(kspace.shape[1:]) != tuple(self.maps.shape[1:]):
            raise ValueError(
                f"kspace has shape {tuple(kspace.shape)}, maps of shape {tuple(self.maps.shape)} need "
                f"(frame, coil, y, x) = (*, {', '.join(map(str, self.maps.shape[1:]))})"
            )
        self._check_frames("kspace", kspace.shape[0], kspace.shape)
        coil_images = ifft2c(kspace * xp.astype(self.mask[:, None], xp.real(kspace).dtype))
        image = xp.sum(xp.conj(self.maps)[:, None] * coil_images, axis=2)
        return image[0] if self.n_sets == 1 else image

    def normal(self, image: Array) -> Array:
        """``adjoint(forward(image))``, same shape as `image`, without the transforms that cancel."""
        xp = array_namespace(image)
        sets = xp.fft.ifftshift(self._with_sets(image), axes=self._axes)
        if self._by_frame:
            frames = [self._normal(sets[:, i : i + 1], self._frame_mask(i)) for i in range(sets.shape[1])]
            out = xp.concat(frames, axis=1)
        else:
            out = self._normal(sets, self._shifted_mask)
        return xp.reshape(xp.fft.fftshift(out, axes=self._axes), image.shape)

    def _normal(self, sets: Array, mask: Array) -> Array:
        """The normal operator on shifted images ``(set, frame, y, x)`` with a mask ``(frame, 1, y, x)``."""
        xp = array_namespace(sets)
        maps = self._shifted_maps
        coil_images = sets[0][:, None] * maps[0]
        for image, map_set in zip(sets[1:], maps[1:], strict=True):
            coil_images = coil_images + image[:, None] * map_set
        kspace = fft(coil_images, self._axes, overwrite=True)
        kspace *= mask
        coil_images = ifft(kspace, self._axes, overwrite=True)
        return xp.sum(self._shifted_conj * coil_images, axis=2)

    def _frame_mask(self, frame: int) -> Array:
        return self._shifted_mask[frame : frame + 1] if self._shifted_mask.shape[0] > 1 else self._shifted_mask

    def _with_sets(self, image: Array) -> Array:
        """The image as ``(set, frame, y, x)``."""
        sets = image[None] if image.ndim == 3 else image
        if sets.ndim != 4 or sets.shape[0] != self.n_sets or tuple(sets.shape[-2:]) != tuple(self.maps.shape[-2:]):
            raise ValueError(
                f"image has shape {tuple(image.shape)}, maps of shape {tuple(self.maps.shape)} need "
                f"(frame, y, x) or (set, frame, y, x) with {self.n_sets} sets and matrix {tuple(self.maps.shape[-2:])}"
            )
        self._check_frames("image", sets.shape[1], image.shape)
        return sets

    def _check_frames(self, name: str, frames: int, shape: tuple[int, ...]) -> None:
        if self.mask.shape[0] not in (1, frames):
            raise ValueError(
                f"{name} of shape {tuple(shape)} has {frames} frames, mask has shape {tuple(self.mask.shape)}"
            )


def normal_matrices(maps: Array, lines: Array) -> Array:
    """``A^H A`` for a mask of whole lines, the same in all frames, as a matrix for each column of pixels.

    Along y the projection onto the samples is a convolution with the point-spread function p of the mask, so that an
    entry is ``p[y - y'] sum_c conj(S_c[y]) S_c[y']``.

    Parameters
    ----------
    maps
        ``(..., set, coil, y, x)`` complex.
    lines
        ``(..., y)``, nonzero where a line was acquired.

    Returns
    -------
    Array
        ``(..., x, set y, set y)``.
    """
    xp = array_namespace(maps)
    *leading, sets, coils, ny, nx = maps.shape
    spread = ifft(xp.fft.ifftshift(xp.astype(lines, maps.dtype), axes=-1), -1) / ny**0.5
    row = xp.arange(ny, device=getattr(maps, "device", None))
    toeplitz = spread[..., (row[:, None] - row[None]) % ny]
    first = len(leading)
    by_column = xp.permute_dims(maps, (*range(first), first + 3, first, first + 2, first + 1))
    columns = xp.reshape(by_column, (*leading, nx, sets * ny, coils))
    blocks = xp.tile(toeplitz, (*[1] * first, sets, sets))
    return (xp.conj(columns) @ xp.matrix_transpose(columns)) * blocks[..., None, :, :]


def inverse_positive(matrices: Array) -> Array:
    """Return the inverses of Hermitian positive definite matrices ``(..., n, n)``.

    numpy inverts a batch as general matrices, which takes seven times as long as LAPACK's routines for such matrices;
    SciPy has these for one matrix at a time.

    Raises
    ------
    numpy.linalg.LinAlgError
        If one is not positive definite; torch raises its own error.
    """
    if not is_numpy_array(matrices):
        xp = array_namespace(matrices)
        # Not `inv` of the matrices, which fails in threaded builds of MKL on batches of such.
        factor = xp.linalg.inv(xp.linalg.cholesky(matrices))
        return xp.conj(xp.matrix_transpose(factor)) @ factor
    factored, inverted = get_lapack_funcs(("potrf", "potri"), (matrices,))
    inverse = np.empty_like(matrices)
    for index in np.ndindex(matrices.shape[:-2]):
        # LAPACK stores by columns: transposes go there and back without a copy, and only one triangle is filled.
        factor, failed = factored(matrices[index].T, clean=True)
        if failed:
            raise np.linalg.LinAlgError("matrix is not positive definite")
        triangle = inverted(factor, overwrite_c=True)[0].T
        inverse[index] = triangle + np.conj(triangle.T)
        inverse[index].reshape(-1)[:: matrices.shape[-1] + 1] /= 2  # the diagonal, which is in both triangles
    return inverse
