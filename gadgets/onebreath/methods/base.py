"""Interface of every reconstruction method: its input and its result.

Axis order is `(frame, coil, y, x)`, complex64, y = phase encoding, x = readout. K-space is centred, its transform
unitary, its noise has unit standard deviation in the real and in the imaginary part. Images keep that scale: their
noise is 1 where a slice is fully sampled and g * sqrt(R) where it is accelerated.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from array_api_compat import array_namespace
from pydantic import BaseModel, ConfigDict, ValidationError

from onebreath.errors import ConfigError, MethodError, OutsideDomain
from onebreath.mri import Array
from onebreath.mri.coils import phase_factor, rss
from onebreath.mri.noise_level import NoiseFloor
from onebreath.names import did_you_mean
from onebreath.registry import METHODS
from onebreath.validation import Problem, problems

if TYPE_CHECKING:
    from onebreath.methods.volumes.data import VolumeData
    from onebreath.mri.sampling import Sampling
    from onebreath.zoo.domain import Scan

Fact: TypeAlias = str | int | float
Derive: TypeAlias = Callable[
    [str, Sequence[np.ndarray], Mapping[str, Any], tuple[int, ...], Callable[[], np.ndarray]], np.ndarray
]
"""Gives an array that depends on nothing but (a name, arrays, settings), of a shape, which the last argument computes;
maybe from storage: see `onebreath.storage.derived`."""

MOST_ITERATIONS = 10_000
"""Largest number that a configuration may ask for, of noise replicas too: what has not converged by then never will."""


@dataclass(frozen=True)
class SliceData:
    """One slice, as a method gets it.

    Parameters
    ----------
    kspace : (frame, coil, y, x) complex
        Whitened; zero where nothing was acquired.
    mask : bool, broadcastable to (frame, y, x)
        True where a sample was acquired.
    acs : (coil, ya, x) complex, or None
        Calibration lines, averaged over time.
    acs_first : int
        Row of the matrix in which `acs[:, 0]` lies.
    maps : (set, coil, y, x) complex, or None
        Coil maps, sum over coils of |map|^2 = 1.
    sampling : Sampling
        What the mask was found to be.
    whitened
        Whether the noise is known to have unit standard deviation; False where the scan came without noise lines.
    start : (frame, y, x) complex, or None
        Images that the method named by `Method.begins_with` made of the slice already.

    Raises
    ------
    MethodError
        If the shapes do not belong to each other.
    """

    kspace: Array
    mask: Array
    acs: Array | None
    acs_first: int
    maps: Array | None
    sampling: Sampling
    whitened: bool = True
    start: Array | None = None

    def __post_init__(self) -> None:
        if self.kspace.ndim != 4:
            raise MethodError(f"k-space must be (frame, coil, y, x), but its shape is {tuple(self.kspace.shape)}")
        frames, coils, ny, nx = self.kspace.shape
        mask_shape = tuple(self.mask.shape)
        if len(mask_shape) != 3 or any(m not in (1, n) for m, n in zip(mask_shape, (frames, ny, nx), strict=True)):
            raise MethodError(f"the mask has shape {mask_shape}, the k-space (frame, y, x) {(frames, ny, nx)}")
        if self.maps is not None and (self.maps.ndim != 4 or tuple(self.maps.shape[1:]) != (coils, ny, nx)):
            raise MethodError(
                f"the coil maps' shape {tuple(self.maps.shape)} does not fit the k-space (coil, y, x) {(coils, ny, nx)}"
            )
        if self.acs is not None:
            self._check_acs(coils, ny, nx)

    @cached_property
    def noise_floor(self) -> NoiseFloor:
        """Noise of the weakest part of the k-space, measured when it is first asked for."""
        return NoiseFloor.of(self.kspace, self.mask)

    @cached_property
    def settled(self) -> dict[object, Any]:
        """What methods settled on for this slice and keep for its replicas."""
        return {}

    def replica(self, kspace: Array) -> SliceData:
        """Return the slice with other samples and what was settled on this one: all replicas are of one method."""
        made = replace(self, kspace=kspace)
        made.__dict__.update(noise_floor=self.noise_floor, settled=dict(self.settled))
        return made

    def _check_acs(self, coils: int, ny: int, nx: int) -> None:
        if len(shape := tuple(self.acs.shape) if self.acs is not None else ()) != 3:
            raise MethodError(f"the calibration lines must be (coil, y, x), but their shape is {shape}")
        if shape[0] != coils:
            raise MethodError(f"the calibration lines have {shape[0]} channels, the k-space has {coils}")
        if shape[2] != nx:
            raise MethodError(f"the calibration lines have {shape[2]} samples along the readout, the k-space has {nx}")
        if (last := self.acs_first + shape[1] - 1) >= ny or self.acs_first < 0:
            raise MethodError(f"calibration lines {self.acs_first}..{last} lie outside the {ny} lines of the matrix")


@dataclass
class Reconstruction:
    """Result of a method.

    Parameters
    ----------
    images : (frame, y, x) complex
        In SNR units of the unitary transform.
    gfactor : (frame or 1, y, x) real, or None
        Noise amplification over a fully sampled scan, without the sqrt(R) of the shorter scan.
    facts : dict
        What was decided and measured; goes into the images' meta.
    """

    images: Array
    gfactor: Array | None = None
    facts: dict[str, Fact] = field(default_factory=dict)


class MethodParameters(BaseModel):
    """Base of every method's parameters: typed, documented, immutable, and unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Method(ABC):
    """One way to reconstruct one slice.

    A subclass sets `name` and `Parameters`, and implements `__call__`. `Cls(**parameters)` checks the parameters.

    Raises
    ------
    ConfigError
        If a parameter is unknown or ill-typed.
    """

    name: ClassVar[str]
    acs_as_data: ClassVar[bool] = True
    """Whether embedded calibration lines are given to it as imaging lines too."""
    learned: ClassVar[bool] = False
    """Whether it uses a model trained on other scans, so that a fallback must be there to make the images."""
    begins_with: str = ""
    """Method, with its usual parameters, whose images it improves; it makes them itself unless they are given."""
    without_gfactor: ClassVar[Mapping[str, Any]] = {}
    """Parameters that leave out its own g-factor map, if it makes one."""
    seconds_per_million: ClassVar[float] = 1.0
    """Time of one core for a million samples (frame, coil, y, x), for decisions that must not depend on a clock."""
    Parameters: ClassVar[type[MethodParameters]] = MethodParameters
    parameters: MethodParameters

    def __init__(self, **parameters: Any) -> None:
        try:
            self.parameters = self.Parameters(**parameters)
        except ValidationError as error:
            details = "; ".join(_explain(self.Parameters, problem) for problem in problems(error))
            raise ConfigError(f"method {self.name}: {details}") from error
        self.derive: Derive = compute
        """Where what is calibrated comes from; replaced for scans whose calibration lines lie in storage."""

    def prepare(self, scan: Scan | None = None) -> None:
        """Load what the method needs besides the data, before the first data arrive; most methods need nothing.

        Parameters
        ----------
        scan
            What the header states about the scan.

        Raises
        ------
        OnebreathError
            If it is not there.
        """
        return

    def foresee(self, slices: Sequence[SliceData]) -> None:
        """Prepare for slices that will be reconstructed one after the other; most methods ignore it."""
        return

    def for_replicas(self) -> Method:
        """Return the same method, with its calibration, for images of noise replicas, without g-factor maps."""
        if not self.without_gfactor:
            return self
        plain = copy.copy(self)
        plain.parameters = self.parameters.model_copy(update=dict(self.without_gfactor))
        return plain

    def check(self, data: SliceData) -> None:
        """Check that the method is meant for a slice; most methods are for all.

        Raises
        ------
        OutsideDomain
            If it is not for such scans.
        """
        return

    def effort(self, data: SliceData) -> float:
        """Estimate the seconds of one core of a usual CPU for a slice, from its size: the same on every machine."""
        return self.seconds_per_million * float(np.prod(data.kspace.shape)) / 1e6

    def trial(self, part: SliceData) -> Reconstruction:
        """Reconstruct a part of a slice that passed `check`, to measure the method's error."""
        return self(part)

    def volume(self, data: VolumeData) -> Reconstruction:
        """Reconstruct a scan with partitions: images (frame, z, y, x); few methods can.

        Raises
        ------
        OutsideDomain
            If this one cannot.
        """
        raise OutsideDomain(
            f"{self.name} reconstructs two-dimensional scans only, and this one has partitions; use cg_sense, grappa "
            "or zero_filled"
        )

    @abstractmethod
    def __call__(self, data: SliceData) -> Reconstruction:
        """Reconstruct one slice; raises MethodError if this method cannot do it."""


def _explain(parameters: type[MethodParameters], problem: Problem) -> str:
    if problem.unknown:
        return f"there is no parameter '{problem.where}'. {did_you_mean(problem.where, parameters.model_fields)}"
    return str(problem)


def method_class(name: str) -> type[Method]:
    """Return the class of a method, importing its module only now; raises ConfigError if there is none of this name."""
    found: type[Method] = METHODS.load(name)
    return found


def compute(
    name: str,
    inputs: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    shape: tuple[int, ...],
    make: Callable[[], np.ndarray],
) -> np.ndarray:
    """Compute an array each time: a `Derive` without a cache."""
    return make()


def check_finite(data: SliceData, method: str) -> None:
    """Raise a MethodError that says which part of the slice holds NaN or infinite samples.

    Without this a single bad sample would spread over the whole image, or over every frame.
    """
    parts = {"k-space": data.kspace, "calibration lines": data.acs, "coil maps": data.maps}
    for what, values in parts.items():
        if values is None:
            continue
        xp = array_namespace(values)
        bad = int(xp.sum(xp.astype(~xp.isfinite(values), xp.int64)))
        if bad:
            raise MethodError(f"{method}: the {what} hold {bad} samples that are NaN or infinite; check the raw data")


def join_sets(images: Array) -> Array:
    """Combine the images of several map sets into one: root of the sum of squares, with the phase of the first set.

    Where anatomy folds into the field of view, each set holds one of the layers; a stored image shows them on top of
    each other, as a conventional reconstruction does.

    Parameters
    ----------
    images : (set, frame, y, x) complex

    Returns
    -------
    (frame, y, x) complex
    """
    if images.shape[0] == 1:
        return images[0]
    return rss(images, 0) * phase_factor(images[0])
