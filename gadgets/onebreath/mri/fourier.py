"""The one Fourier convention: centred and unitary, ``fftshift(fft(ifftshift(x), norm="ortho"))``.

For odd sizes ``ifftshift`` and ``fftshift`` differ; the order above is used in both directions, so that the inverse
undoes the forward transform exactly and sample ``n // 2`` is the centre of k-space and of the image.
"""

import os
from collections.abc import Sequence

from array_api_compat import array_namespace, device, is_numpy_array

from onebreath.mri import Array

# More threads are no faster at MR matrix sizes and would compete with the other gadgets of a chain.
_WORKERS = min(os.cpu_count() or 1, 8)


def fft2c(x: Array) -> Array:
    """Image ``(..., y, x)`` to k-space of the same shape, centred and unitary."""
    return fftc(x, (-2, -1))


def ifft2c(x: Array) -> Array:
    """K-space ``(..., y, x)`` to image of the same shape, centred and unitary."""
    return ifftc(x, (-2, -1))


def fftc(x: Array, axes: int | Sequence[int]) -> Array:
    """Centred unitary Fourier transform along the given axes; complex64 stays complex64."""
    xp, axes = array_namespace(x), _tuple(axes)
    return xp.fft.fftshift(fft(xp.fft.ifftshift(x, axes=axes), axes), axes=axes)


def ifftc(x: Array, axes: int | Sequence[int]) -> Array:
    """Inverse of `fftc` along the given axes."""
    xp, axes = array_namespace(x), _tuple(axes)
    return xp.fft.fftshift(ifft(xp.fft.ifftshift(x, axes=axes), axes), axes=axes)


def fft(x: Array, axes: int | Sequence[int], overwrite: bool = False) -> Array:
    """Unitary transform whose centre is sample 0: for inner loops that shift their arrays once, outside.

    With `overwrite` the content of `x` may be destroyed (it saves a copy where the library can use it).
    """
    return _transform("fftn", x, _tuple(axes), overwrite)


def ifft(x: Array, axes: int | Sequence[int], overwrite: bool = False) -> Array:
    """Inverse of `fft`."""
    return _transform("ifftn", x, _tuple(axes), overwrite)


def resize(x: Array, shape: Sequence[int]) -> Array:
    """Crop or zero-pad the last ``len(shape)`` axes about the centre sample ``n // 2``.

    In k-space this changes the pixel size at a constant field of view, in an image the field of view.
    """
    xp = array_namespace(x)
    leading = x.ndim - len(shape)
    take, put = [slice(None)] * leading, [slice(None)] * leading
    for old, new in zip(x.shape[leading:], shape, strict=True):
        first = old // 2 - new // 2
        take.append(slice(max(first, 0), min(first + new, old)))
        put.append(slice(max(-first, 0), min(old - first, new)))
    out = xp.zeros((*x.shape[:leading], *shape), dtype=x.dtype, device=device(x))
    out[tuple(put)] = x[tuple(take)]
    return out


def _transform(name: str, x: Array, axes: tuple[int, ...], overwrite: bool) -> Array:
    if is_numpy_array(x):
        # numpy < 2 computes in double precision; scipy keeps complex64 and uses threads. Imported late: it is slow.
        import scipy.fft

        return getattr(scipy.fft, name)(x, axes=axes, norm="ortho", workers=_WORKERS, overwrite_x=overwrite)
    return getattr(array_namespace(x).fft, name)(x, axes=axes, norm="ortho")


def _tuple(axes: int | Sequence[int]) -> tuple[int, ...]:
    return (axes,) if isinstance(axes, int) else tuple(axes)
