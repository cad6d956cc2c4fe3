"""Checks of the inputs of a multi-coil network."""

from torch import Tensor

from onebreath.errors import MethodError

AXES = ("batch", "frame", "coil", "y", "x")


def check_inputs(kspace: Tensor, mask: Tensor, maps: Tensor) -> None:
    """Raise MethodError for inputs that a network cannot reconstruct.

    Parameters
    ----------
    kspace
        Sampled k-space, complex, ``(batch, frame, coil, y, x)``.
    mask
        True (or non-zero) where sampled; each axis equals that of `kspace` or is 1, the coil axis is 1.
    maps
        Coil maps, complex, ``(batch, 1 or frame, coil, y, x)``.

    Raises
    ------
    MethodError
        Names the argument, the value found and the value expected.
    """
    for name, array in (("kspace", kspace), ("mask", mask), ("maps", maps)):
        if array.ndim != len(AXES):
            raise MethodError(f"{name} has {array.ndim} axes {tuple(array.shape)}, expected 5: {', '.join(AXES)}")
    for name, array in (("kspace", kspace), ("maps", maps)):
        if not array.is_complex():
            raise MethodError(f"{name} is {array.dtype}, expected a complex type")
    if mask.is_complex():
        raise MethodError(f"mask is {mask.dtype}, expected a boolean or real type")
    _check_axes("mask", mask, kspace, single=AXES, repeated=("batch", "frame", "y", "x"))
    _check_axes("maps", maps, kspace, single=("frame",), repeated=AXES)
    for name, array in (("kspace", kspace), ("maps", maps)):
        finite = array.isfinite()
        if not bool(finite.all()):
            raise MethodError(f"{name} holds {int((~finite).sum())} values that are not finite, expected none")
    if not bool((mask != 0).any()):
        raise MethodError(f"mask {tuple(mask.shape)} marks 0 samples, expected at least 1")


def _check_axes(name: str, array: Tensor, kspace: Tensor, single: tuple[str, ...], repeated: tuple[str, ...]) -> None:
    """Compare sizes axis by axis: 1 is allowed on the `single` axes, the size of `kspace` on the `repeated` ones."""
    for axis, size, wanted in zip(AXES, array.shape, kspace.shape, strict=True):
        allowed = [1] if axis in single else []
        if axis in repeated:
            allowed.append(wanted)
        if size not in allowed:
            expected = " or ".join(str(value) for value in dict.fromkeys(allowed))
            raise MethodError(f"{name} has size {size} along {axis}, expected {expected} (kspace has {wanted})")
