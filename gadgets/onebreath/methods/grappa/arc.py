"""GRAPPA on any mask: for each missing sample, weights for the sampled neighbours in a window around it.

P. J. Beatty et al., "A method for autocalibrating 2-D accelerated volumetric parallel imaging with clinically practical
reconstruction times" (ARC), Proc ISMRM 2007, 1749. Weights are solved once per distinct neighbourhood and kept. The
normal matrix of the calibration is built once per set of source lines; each neighbourhood takes its rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from onebreath.budget import KERNEL, claim, claim_equations
from onebreath.cancellation import checkpoint
from onebreath.errors import MethodError
from onebreath.methods.base import Fact
from onebreath.methods.grappa.lattice import readout_phases
from onebreath.mri.fourier import ifft2c
from onebreath.mri.sampling import Sampling

# Source values gathered at once, in complex numbers: bounds the memory.
_BLOCK = 1 << 22
# Part of the calibration lines that the sources and the missing sample may span together.
_SPAN = 1 / 3


@dataclass
class ArcKernels:
    """Weights by neighbourhood, solved when first met.

    Parameters
    ----------
    acs : (coil, ya, x) complex
        Calibration lines in k-space.
    window
        Lines and samples of the neighbourhood, both odd.
    regularisation
        Tikhonov: this part of ||A^H A||_F / n is added to the diagonal of the n x n normal matrix A^H A.
    padded
        Calibrate on all windows that touch the calibration lines, with zeros beyond them, and use all sources in the
        window: more equations, some of them slightly wrong. Else on windows inside them, with fewer sources:
    nearest
        Lines used, those nearest the missing sample, but not so many that they span more than a third of the
        calibration lines: weights fitted in so few positions fail elsewhere.

    Raises
    ------
    MethodError
        If there are fewer than 2 calibration lines or fewer samples than the window has.
    """

    acs: np.ndarray
    window: tuple[int, int]
    regularisation: float
    padded: bool = False
    nearest: int = 3
    _normals: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _weights: dict[bytes, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines, samples = self.acs.shape[1:]
        if lines < 2 or samples < self.window[1]:
            raise MethodError(
                f"grappa: the arc kernel needs at least 2 calibration lines of {self.window[1]} samples, "
                f"there are {lines} of {samples}; acquire more calibration lines"
            )

    @property
    def patterns(self) -> int:
        """Number of neighbourhoods met so far."""
        return len(self._weights)

    def weights(self, pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of one neighbourhood.

        Parameters
        ----------
        pattern : (ky, kx) bool
            Sampled positions; the centre is not sampled.

        Returns
        -------
        used : (ky, kx) bool
            The positions that serve as sources; none if all are farther than the calibration lines reach.
        weights : (target coil, source coil, position) complex64
        """
        key = np.packbits(pattern).tobytes()
        if key not in self._weights:
            self._weights[key] = self._solve(pattern)
        return self._weights[key]

    def _solve(self, pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        coils, width = self.acs.shape[0], self.window[1]
        used = self._fitting(pattern)
        if not used.any():
            return used, np.zeros((coils, coils, 0), np.complex64)
        checkpoint()
        rows = np.flatnonzero(used.any(axis=1))
        normal, right = self._equations(tuple(int(row) for row in rows))
        columns = np.flatnonzero(used[rows].ravel())
        sources = (np.arange(coils)[:, None] * len(rows) * width + columns).ravel()
        gram = normal[np.ix_(sources, sources)]
        gram = gram + np.eye(len(sources)) * (self.regularisation * np.linalg.norm(gram) / len(sources))
        solution = np.linalg.solve(gram, right[sources]).astype(np.complex64)
        claim(solution.nbytes, "the weights of arc kernels", solution, KERNEL)
        return used, solution.T.reshape(coils, coils, len(columns))

    def _fitting(self, pattern: np.ndarray) -> np.ndarray:
        """Reduce a pattern to lines near the target for which the calibration lines suffice; possibly none."""
        if self.padded:
            return pattern
        middle, present = self.window[0] // 2, self.acs.shape[1]
        rows: list[int] = []
        for row in self._nearest_first(pattern):
            span = np.ptp([*rows, middle, row]) + 1
            if span <= (_SPAN * present if rows else present):
                rows.append(int(row))
        used = np.zeros_like(pattern)
        used[rows[: self.nearest]] = pattern[rows[: self.nearest]]
        return used

    def _nearest_first(self, pattern: np.ndarray) -> np.ndarray:
        """Sort the sampled rows of a pattern: first the nearest on either side, for interpolation, then by distance."""
        rows, middle = np.flatnonzero(pattern.any(axis=1)), self.window[0] // 2
        distance = np.abs(rows - middle)
        nearest = [distance[side].min(initial=self.window[0]) for side in (rows <= middle, rows >= middle)]
        bracket = ((rows <= middle) & (distance == nearest[0])) | ((rows >= middle) & (distance == nearest[1]))
        return rows[np.lexsort((distance, ~bracket))]

    def _equations(self, rows: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """A^H A and A^H b for sources on some lines of the window, columns ordered (coil, line, sample)."""
        if rows not in self._normals:
            (height, width), (coils, _, _) = self.window, self.acs.shape
            acs = self.acs.astype(np.complex128)
            top, bottom = min((*rows, height // 2)), max((*rows, height // 2))
            if self.padded:
                acs = np.pad(acs, ((0, 0), (height // 2,) * 2, (width // 2,) * 2))
                top, bottom = 0, height - 1
            windows = sliding_window_view(acs, width, axis=2)  # coil, line, position, sample
            count = acs.shape[1] - (bottom - top)
            claim_equations(count * windows.shape[2], coils * len(rows) * width, "the equations of an arc kernel")
            sources = np.stack([windows[:, row - top : row - top + count] for row in rows])
            matrix = sources.transpose(2, 3, 1, 0, 4).reshape(-1, coils * len(rows) * width)
            centre = height // 2 - top
            target = windows[:, centre : centre + count, :, width // 2].reshape(coils, -1).T
            normal = np.conj(matrix.T) @ matrix
            claim(normal.nbytes, "the equations of arc kernels", normal, KERNEL)
            self._normals[rows] = (normal, np.conj(matrix.T) @ target)
        return self._normals[rows]


@dataclass
class ArcFiller:
    """Fills the frames of a scan, each missing sample from its own neighbourhood."""

    kernels: ArcKernels
    sampling: Sampling
    _seen: int = 0
    _unreached: int = 0

    def coil_images(self, kspace: np.ndarray, mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Coil images (frame, coil, y, x) of frames with one mask (y, x), with the wanted lines (y,) predicted."""
        targets = self._targets(mask, wanted)
        groups = neighbourhoods(mask, targets, self.kernels.window)
        self._seen += int(targets.sum())
        reached = sum(len(where) for pattern, where in groups if self.kernels.weights(pattern)[0].any())
        self._unreached += int(targets.sum()) - reached
        found: np.ndarray = ifft2c(fill(kspace, groups, self.kernels))
        return found

    def line_kernels(
        self, mask: np.ndarray, wanted: np.ndarray
    ) -> tuple[dict[tuple[int, int], np.ndarray], np.ndarray] | None:
        """Kernels and kinds for `mri.gfactor.line_kernel_gfactor`, of the middle of the readout; None for 2-D masks."""
        lines, samples = np.any(mask, axis=1), np.any(mask, axis=0)
        if not np.array_equal(mask, lines[:, None] & samples):
            return None
        height, width = self.kernels.window
        around = sliding_window_view(np.pad(lines, height // 2), height)
        kinds = np.full(len(lines), -1)
        by_distance: dict[tuple[int, int], np.ndarray] = {}
        known: dict[bytes, int] = {}
        for line in np.flatnonzero(wanted & around.any(axis=1)):
            key = around[line].tobytes()
            if key not in known:
                known[key] = len(known)
                by_distance.update(self._by_distance(known[key], np.repeat(around[line][:, None], width, axis=1)))
            kinds[line] = known[key]
        return by_distance, kinds

    def facts(self) -> dict[str, Fact]:
        """Return window, number of neighbourhoods, and the share of missing samples without any neighbour."""
        size = f"{self.kernels.window[0]} lines x {self.kernels.window[1]} samples"
        unreached = round(self._unreached / max(self._seen, 1), 4)
        return {"kernel_size": size, "neighbourhoods": self.kernels.patterns, "left_at_zero": unreached}

    def _targets(self, mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Samples to predict (y, x): the wanted lines, and holes in the measured ones, within the sampled readout."""
        first, last = self.sampling.readout if self.sampling.shape[2] > 1 else (0, mask.shape[1] - 1)
        readout = np.arange(mask.shape[1])
        found: np.ndarray = (wanted | mask.any(axis=1))[:, None] & (readout >= first) & (readout <= last) & ~mask
        return found

    def _by_distance(self, kind: int, pattern: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
        """Weights of one neighbourhood of whole lines with the readout in image space."""
        used, weights = self.kernels.weights(pattern)
        nx, (height, width) = self.kernels.acs.shape[2], self.kernels.window
        phases = readout_phases(nx, width)
        rows = np.flatnonzero(used.any(axis=1))
        by_line = weights.reshape(*weights.shape[:2], len(rows), width)
        image = np.einsum("dslw,xw->lxds", by_line, phases, optimize=True).astype(np.complex64)
        return {(kind, height // 2 - int(row)): image[i] for i, row in enumerate(rows)}


def fill(kspace: np.ndarray, groups: list[tuple[np.ndarray, np.ndarray]], kernels: ArcKernels) -> np.ndarray:
    """Predict missing samples of frames that share one mask.

    Parameters
    ----------
    kspace : (frame, coil, y, x) complex
        Zero where nothing was acquired.
    groups
        Samples to predict, from `neighbourhoods`.
    kernels
        Weights; new neighbourhoods are added.

    Returns
    -------
    (frame, coil, y, x) complex
        A copy; measured samples are untouched.
    """
    (ky, kx), nx = kernels.window, kspace.shape[3]
    padded = np.pad(kspace, ((0, 0), (0, 0), (ky // 2,) * 2, (kx // 2,) * 2))
    stride = padded.shape[-1]
    flat = padded.reshape(*kspace.shape[:2], -1)
    out = kspace.copy().reshape(*kspace.shape[:2], -1)
    for pattern, targets in groups:
        checkpoint()
        used, weights = kernels.weights(pattern)
        if not used.any():  # all neighbours are farther than the calibration lines reach: the sample stays at zero
            continue
        rows, columns = np.nonzero(used)
        base = targets // nx * stride + targets % nx
        matrix = weights.reshape(weights.shape[0], -1)
        block = max(1, _BLOCK // (matrix.shape[1] * kspace.shape[0]))
        for start in range(0, len(targets), block):
            index = base[start : start + block] + (rows * stride + columns)[:, None]
            sources = flat[:, :, index].reshape(kspace.shape[0], matrix.shape[1], -1)
            out[:, :, targets[start : start + block]] = matrix @ sources
    found: np.ndarray = out.reshape(kspace.shape)
    return found


def neighbourhoods(
    mask: np.ndarray, wanted: np.ndarray, window: tuple[int, int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Group the wanted samples by the sampling pattern around them.

    Parameters
    ----------
    mask, wanted : (y, x) bool
        Sampled positions; missing positions to predict.
    window
        Lines and samples, both odd.

    Returns
    -------
    list of (pattern, targets)
        Pattern (ky, kx) bool with at least one sampled position, and the flat indices of the samples that have it.
    """
    targets = np.flatnonzero(wanted)
    around = np.pad(mask, [(size // 2,) * 2 for size in window])
    patterns = sliding_window_view(around, window).reshape(-1, window[0] * window[1])[targets]
    keys = np.packbits(patterns, axis=1)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(group.ravel(), minlength=len(first)))[:-1]
    members = np.split(targets[order], ends)
    found = [(patterns[i].reshape(window), m) for i, m in zip(first, members, strict=True)] if len(targets) else []
    return [(pattern, where) for pattern, where in found if pattern.any()]
