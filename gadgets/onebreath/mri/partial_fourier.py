"""Images from k-space of which one side was not acquired.

All functions take k-space ``(..., y, x)`` (frames, coils, sets in front, treated one by one), centred, with the
acquired range along y and x as ``(first, last)`` samples, both included; None means the whole axis. With a range
along z the k-space is ``(..., z, y, x)``. They return complex images of the same shape in the scale of the unitary
transform.
"""

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace, device

from onebreath.cancellation import checkpoint
from onebreath.errors import MethodError, ScanError
from onebreath.mri import Array
from onebreath.mri.coils import phase_factor
from onebreath.mri.fourier import fftc, ifftc

Range = tuple[int, int]


def zero_fill(kspace: Array, y: Range | None = None, x: Range | None = None, z: Range | None = None) -> Array:
    """Image with zeros where nothing was acquired: blurred, but free of assumptions."""
    axes = _axes(kspace, y, x, z)
    return _image(kspace * _weights(kspace, [axis.acquired() for axis in axes]), axes)


def pocs(
    kspace: Array,
    y: Range | None = None,
    x: Range | None = None,
    z: Range | None = None,
    iterations: int = 30,
    tolerance: float = 1e-4,
) -> Array:
    """Projection onto convex sets: acquired samples kept, the image phase that of the symmetric centre.

    E. M. Haacke et al., "A fast, iterative, partial-Fourier technique capable of local phase recovery", J Magn Reson
    92:126 (1991). Works along any of the axes. Samples whose mirror image was not acquired stay zero.

    Parameters
    ----------
    kspace, y, x, z
        See the module's docstring.
    iterations, tolerance
        Stop after this many iterations, or when the image changes by less than this fraction of its norm.
    """
    xp = array_namespace(kspace)
    axes = _axes(kspace, y, x, z)
    acquired = _weights(kspace, [axis.acquired() for axis in axes])
    filled = _weights(kspace, [axis.reachable() for axis in axes]) * (1 - acquired)
    data = kspace * acquired
    phase = _smooth_phase(kspace, axes)
    image = _image(data, axes)
    for _ in range(iterations):
        checkpoint()
        previous = image
        image = _image(data + filled * fftc(xp.abs(image) * phase, _last(axes)), axes)
        change = float(xp.linalg.vector_norm(image - previous))
        if change <= tolerance * float(xp.linalg.vector_norm(image)):
            break
    return image


def homodyne(kspace: Array, y: Range | None = None, x: Range | None = None, z: Range | None = None) -> Array:
    """Homodyne detection: the one-sided part doubled, the real part kept after removal of the smooth phase.

    D. C. Noll et al., "Homodyne detection in magnetic resonance imaging", IEEE Trans Med Imaging 10:154 (1991). The
    smooth phase is put back, so that the image stays complex.

    Raises
    ------
    MethodError
        If more than one axis is partial, as one corner of k-space then has no mirror image.
    """
    xp = array_namespace(kspace)
    axes = _axes(kspace, y, x, z)
    if sum(axis.partial for axis in axes) > 1:
        raise MethodError("Homodyne detection works along one partial axis only; use pocs where more are partial.")
    phase = _smooth_phase(kspace, axes)
    weighted = _image(kspace * _weights(kspace, [axis.homodyne() for axis in axes]), axes)
    return xp.real(weighted * xp.conj(phase)) * phase


@dataclass(frozen=True)
class _Axis:
    """One axis of k-space: its size and the acquired range, as distances from the centre ``size // 2``."""

    size: int
    below: int
    above: int

    @property
    def partial(self) -> bool:
        """Whether one side reaches further by more than the one sample that an even axis has more below the centre."""
        return abs(self.below - self.above) > 1

    def _k(self) -> np.ndarray:
        return np.arange(self.size) - self.size // 2

    def acquired(self) -> np.ndarray:
        """1 on the acquired samples."""
        k = self._k()
        return ((k >= -self.below) & (k <= self.above)).astype(float)

    def reachable(self) -> np.ndarray:
        """1 on the acquired samples and their mirror images."""
        return (np.abs(self._k()) <= max(self.below, self.above)).astype(float) if self.partial else self.acquired()

    def homodyne(self) -> np.ndarray:
        """2 on the one-sided samples and a ramp over the symmetric centre; ``w(k) + w(-k) = 2``."""
        if not self.partial:
            return self.acquired()
        slope = (1 if self.above > self.below else -1) / (min(self.below, self.above) + 1)
        found: np.ndarray = np.clip(1 + slope * self._k(), 0, 2) * self.acquired()
        return found

    def centre_window(self) -> np.ndarray:
        """Hann window over the symmetric centre of a partial axis, 1 on a complete one."""
        if not self.partial:
            return self.acquired()
        width = min(self.below, self.above) + 1
        return np.cos(np.pi / 2 * np.clip(self._k() / width, -1, 1)) ** 2


def _axes(kspace: Array, y: Range | None, x: Range | None, z: Range | None) -> list[_Axis]:
    """Axes of k-space with their acquired ranges; ScanError if a range does not hold the centre."""
    axes = []
    names, ranges = ("yx", (y, x)) if z is None else ("zyx", (z, y, x))
    for name, size, bounds in zip(names, kspace.shape[-len(names) :], ranges, strict=True):
        first, last = bounds or (0, size - 1)
        if not 0 <= first <= size // 2 <= last < size:
            raise ScanError(
                f"acquired range {name} = ({first}, {last}) must hold the centre {size // 2} of {size} samples"
            )
        axes.append(_Axis(size, size // 2 - first, last - size // 2))
    return axes


def _last(axes: list[_Axis]) -> tuple[int, ...]:
    return tuple(range(-len(axes), 0))


def _image(kspace: Array, axes: list[_Axis]) -> Array:
    return ifftc(kspace, _last(axes))


def _weights(kspace: Array, along: list[np.ndarray]) -> Array:
    """Product of a weight along each axis, as a real array beside `kspace`."""
    xp = array_namespace(kspace)
    product = along[0]
    for weight in along[1:]:
        product = product[..., None] * weight
    return xp.asarray(product, dtype=xp.real(kspace).dtype, device=device(kspace))


def _smooth_phase(kspace: Array, axes: list[_Axis]) -> Array:
    """Phase factor of the image of the symmetric centre."""
    return phase_factor(_image(kspace * _weights(kspace, [axis.centre_window() for axis in axes]), axes))
