"""Iterative SENSE: conjugate gradients on the normal equations of the coil-map model.

K. P. Pruessmann et al., "Advances in sensitivity encoding with arbitrary k-space trajectories", Magn Reson Med 46:638
(2001); with two map sets as in M. Uecker et al., "ESPIRiT", Magn Reson Med 71:990 (2014).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from array_api_compat import array_namespace
from pydantic import Field

from onebreath.cancellation import checkpoint
from onebreath.errors import MethodError
from onebreath.methods.base import (
    MOST_ITERATIONS,
    Fact,
    Method,
    MethodParameters,
    Reconstruction,
    SliceData,
    check_finite,
    join_sets,
)
from onebreath.methods.device import Device, back, place
from onebreath.methods.expected import expected_of
from onebreath.methods.known_noise import contradicted
from onebreath.methods.volumes.data import VolumeData, by_planes
from onebreath.methods.volumes.judge import unexplained
from onebreath.mri import Array
from onebreath.mri.gfactor import pseudo_replica
from onebreath.mri.sense import SenseOperator

USUAL = 1e-3


class CgSenseParameters(MethodParameters):
    """Parameters of `CgSense`."""

    regularisation: Annotated[float, Field(ge=0)] | Literal["noise"] = Field(
        default=USUAL,
        description="lambda of (A^H A + lambda) x = A^H y. The eigenvalues of A^H A lie between 0 and 1 whatever the "
        "scan, so the value needs no scaling; 1e-3 stops noise blow-up and shrinks images by less than 0.1 % * R. "
        "noise: the noise over what the image of the calibration lines does not explain, about that image; 1e-3 for "
        "partitions, and where no noise lines give the noise level.",
    )
    iterations: int = Field(default=30, ge=1, le=MOST_ITERATIONS, description="Largest number of iterations.")
    tolerance: float = Field(
        default=1e-6, gt=0, description="Stop when the residual, relative to A^H y, is below this in every frame."
    )
    device: Device = Field(default="auto", description="Where to compute: auto (a GPU if there is one), cpu, cuda.")
    gfactor_replicas: int = Field(
        default=0,
        ge=0,
        le=MOST_ITERATIONS,
        description="Number of noise replicas of the first frame for a g-factor map; 0: no map.",
    )


class CgSense(Method):
    """CG-SENSE with one or two sets of coil maps, all frames at once, each with its own step lengths."""

    name = "cg_sense"
    seconds_per_million = 0.35
    without_gfactor: ClassVar[Mapping[str, Any]] = {"gfactor_replicas": 0}
    Parameters = CgSenseParameters
    parameters: CgSenseParameters

    def __call__(self, data: SliceData) -> Reconstruction:
        """Reconstruct one slice, on any mask.

        Raises
        ------
        MethodError
            If there are no coil maps, or samples are not finite.
        """
        if data.maps is None:
            raise MethodError("cg_sense needs coil maps; let the calibrate gadget run before it")
        check_finite(data, self.name)
        chosen = self.parameters.regularisation
        expected = expected_of(data) if chosen == "noise" and data.whitened else None
        overstated = 0.0 if expected is None else expected.overstated
        expected = None if overstated else expected
        regularisation = USUAL if chosen == "noise" else chosen
        if expected is not None:
            regularisation = expected.regularisation
        placed, where = place(
            data if expected is None else replace(data, kspace=expected.unexplained), self.parameters.device
        )
        images, progress = self._solve(placed, placed.kspace, float(regularisation))
        images = back(images, data.kspace)
        more: dict[str, Fact] = {"expected_image": "none, as the noise is not known"} if chosen == "noise" else {}
        if overstated:
            more["noise_overstated"] = round(overstated, 2)
        if expected is not None:
            more |= contradicted(data)
            more["expected_image"] = "zero" if expected.image is None else "that of the calibration lines"
            if expected.image is not None:
                images = images + back(expected.image, data.kspace)
        facts: dict[str, Fact] = {
            "iterations": progress.iterations,
            "residual": progress.residual,
            "converged": "yes" if progress.converged else "no",
            "regularisation": float(regularisation),
            **more,
            "map_sets": int(data.maps.shape[0]),
            "backend": where,
        }
        if progress.empty_frames:
            facts["empty_frames"] = progress.empty_frames
        gfactor = self._gfactor(placed, float(regularisation)) if self.parameters.gfactor_replicas else None
        return Reconstruction(images, None if gfactor is None else back(gfactor, data.kspace), facts)

    def for_planes(self) -> CgSense:
        """Return the method with one regularisation for all planes; their g-factor is that of the volume's lattice."""
        plane = copy(self)
        changed: dict[str, Any] = {"gfactor_replicas": 0}
        if self.parameters.regularisation == "noise":  # planes with little signal would have less noise than others
            changed["regularisation"] = USUAL
        plane.parameters = self.parameters.model_copy(update=changed)
        return plane

    def volume(self, data: VolumeData) -> Reconstruction:
        """Reconstruct a scan with partitions, plane by plane; raises as for a slice."""
        made = by_planes(self.for_planes(), data)
        left = unexplained(made.images, data)
        if left is not None:
            made.facts["acs_unexplained"] = round(left, 3)
        return made

    def _solve(self, data: SliceData, kspace: Array, regularisation: float) -> tuple[Array, Progress]:
        operator = SenseOperator(data.maps, data.mask)
        rhs = operator.adjoint(kspace)
        sets = rhs if rhs.ndim == 4 else rhs[None]
        p = self.parameters
        images, progress = conjugate_gradients(operator, sets, regularisation, p.iterations, p.tolerance)
        return join_sets(images), progress

    def _gfactor(self, data: SliceData, regularisation: float) -> Array:
        """Return the g-factor map of the first frame that holds lines."""
        found = data.sampling
        filled = [number for number, lines in enumerate(data.mask) if bool(lines.any())]
        chosen = slice(filled[0], filled[0] + 1) if filled else slice(1)
        one = SliceData(data.kspace[chosen], data.mask[chosen], None, 0, data.maps, found, data.whitened)
        return pseudo_replica(
            lambda noisy: self._solve(one, noisy, regularisation)[0],
            one.kspace,
            one.mask,
            acceleration=found.reduction,
            replicas=self.parameters.gfactor_replicas,
            coverage=found.coverage,
        )


@dataclass(frozen=True)
class Progress:
    """Outcome of an iteration: number of steps, largest relative residual, whether below tolerance, frames of zeros."""

    iterations: int
    residual: float
    converged: bool
    empty_frames: int


def conjugate_gradients(
    operator: SenseOperator, rhs: Array, regularisation: float, iterations: int, tolerance: float
) -> tuple[Array, Progress]:
    """Solve (A^H A + lambda) x = rhs from x = 0, frame by frame in one batch.

    The frames are independent systems, so each has its own (real) step length, and a frame that has converged stands
    still: mixing them would make one frame's image depend on the others.

    Parameters
    ----------
    operator
        The model A.
    rhs : (set, frame, y, x) complex
        A^H y.
    regularisation
        lambda.
    iterations, tolerance
        Limits on the steps and on the residual relative to `rhs`.

    Returns
    -------
    tuple
        Images (set, frame, y, x) and the `Progress`.
    """
    xp = array_namespace(rhs)
    x, residual, direction = xp.zeros_like(rhs), rhs, rhs
    energy = _energy(residual)
    start = energy
    limit = start * tolerance**2
    done = 0
    while done < iterations and bool(xp.any(energy > limit)):
        checkpoint()
        image = operator.normal(direction) + regularisation * direction
        curvature = _real_dot(direction, image)
        active = energy > limit
        step = xp.where(active, energy / _nonzero(curvature), xp.zeros_like(energy))
        x = x + _per_frame(step) * direction
        residual = residual - _per_frame(step) * image
        previous, energy = energy, _energy(residual)
        direction = residual + _per_frame(energy / _nonzero(previous)) * direction
        done += 1
    worst = float(xp.max(xp.sqrt(energy / _nonzero(start))))
    return x, Progress(done, worst, not bool(xp.any(energy > limit)), int(xp.sum(xp.astype(start == 0, xp.int64))))


def _real_dot(a: Array, b: Array) -> Array:
    """Real part of sum conj(a) b for each frame of (set, frame, y, x)."""
    xp = array_namespace(a)
    return xp.sum(xp.real(a) * xp.real(b) + xp.imag(a) * xp.imag(b), axis=(0, 2, 3))


def _energy(a: Array) -> Array:
    return _real_dot(a, a)


def _per_frame(values: Array) -> Array:
    return values[None, :, None, None]


def _nonzero(values: Array) -> Array:
    """Replace zeros by 1: avoids divisions by zero in frames of zeros, which stay zero."""
    xp = array_namespace(values)
    return xp.where(values > 0, values, xp.ones_like(values))
