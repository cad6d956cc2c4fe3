"""A-LIKNet: low-rank, image and k-space branches (Comput Med Imaging Graph 120:102475, 2025; midas-tum/A-LIKNet)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from onebreath.errors import MethodError, ModelError
from onebreath.mri.fourier import fftc, ifftc
from onebreath.networks.a_liknet.iteration import Design, Iteration, Measurement
from onebreath.networks.a_liknet.low_rank import SMALLEST_IMAGE
from onebreath.networks.a_liknet.windows import cut_windows, join_windows, window_starts
from onebreath.networks.consistency.data_consistency import DataConsistency
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.shared.inputs import check_inputs
from onebreath.networks.shared.series_network import SeriesNetwork

_MOST = 4096
"""Upper limit of frames, lines and columns where the weights set none."""
_AT_ONCE = 4
"""Windows per batch; more need more memory, and on a CPU twice the time, as they do not fit into the cache."""


class ALIKNet(SeriesNetwork):
    """A-LIKNet; the published network has the defaults (2,477,961 real parameters). Without attention it is LIKNet.

    Frames are channels of its k-space branch, and frames and coils have attention weights of their own, so the weights
    fix both numbers. A longer series is cut into the fewest windows that hold all frames, averaged where they overlap.
    Fewer frames, and other numbers of coils, are refused.

    Parameters
    ----------
    frames, coils
        Number of frames and coils of the series.
    iterations
        Number of iterations; none share weights.
    channels
        Width of the U-Net.
    kspace_channels
        Widths of the k-space network.
    kspace_branch, image_branch, low_rank_branch
        Which of the three branches exist (ablations).
    time_attention, coil_attention
        Attention over the frames in the U-Net and over the coils in the k-space network (ablations).
    sharing
        Whether image and k-space are mixed in every iteration, or (ablation) only after the last.
    masked_sharing
        Whether only sampled k-space is exchanged, as in the released code.
    kspace_residual
        See `KSpaceNetwork`.
    upsample_kernel
        See `ComplexUpsample`.
    image_consistency
        ``gradient``: a step of learned length down the gradient of the data term, as published; ``cg``: see
        `DataConsistency`.
    last_consistency
        Data consistency after the last iteration: ``none``, as published, or a kind of `DataConsistency`.
    noise_level
        Noise level of ``cg``, and of ``soft`` or ``cg`` after the last iteration: see `DataConsistency`.
    columns
        Readout columns that the network sees at once, as many as in its training; None: all. A wider image is cut into
        windows that overlap by a quarter; this keeps the data exact, as they are fully sampled along x.
    checkpointing
        See `UnrolledNetwork`.

    Raises
    ------
    ModelError
        If an argument is out of range.
    """

    def __init__(
        self,
        *,
        frames: int = 25,
        coils: int = 15,
        iterations: int = 8,
        channels: int = 12,
        kspace_channels: tuple[int, int] = (32, 8),
        kspace_branch: bool = True,
        image_branch: bool = True,
        low_rank_branch: bool = True,
        time_attention: bool = True,
        coil_attention: bool = True,
        sharing: bool = True,
        masked_sharing: bool = False,
        kspace_residual: bool = False,
        upsample_kernel: int = 1,
        image_consistency: Literal["gradient", "cg"] = "gradient",
        last_consistency: Literal["none", "hard", "soft", "cg"] = "none",
        noise_level: float | None = None,
        columns: int | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        sizes = {"frames": frames, "coils": coils, "iterations": iterations, "channels": channels}
        for name, size in (*sizes.items(), ("kspace_channels", min(kspace_channels))):
            if size < 1:
                raise ModelError(f"{name} is {size}, expected at least 1")
        if columns is not None and columns < SMALLEST_IMAGE:
            raise ModelError(f"columns is {columns}, expected at least {SMALLEST_IMAGE}")
        if upsample_kernel not in (1, 2):
            raise ModelError(f"upsample_kernel is {upsample_kernel}, expected 1 or 2")
        if not (kspace_branch or image_branch or low_rank_branch):
            raise ModelError("kspace_branch, image_branch and low_rank_branch are all False, expected one at least")
        design = Design(
            frames, coils, iterations, channels, kspace_channels, kspace_branch, image_branch, low_rank_branch,
            time_attention, coil_attention, sharing, masked_sharing, kspace_residual, upsample_kernel,
            image_consistency == "cg", noise_level,
        )  # fmt: skip
        self.design, self.checkpointing = design, checkpointing
        self.columns = _MOST if columns is None else columns
        self.overlap = self.columns // 4
        self.iterations = nn.ModuleList(Iteration(design, last=n == iterations) for n in range(1, iterations + 1))
        if kspace_branch:
            self.kspace_weight = nn.Parameter(torch.tensor(0.5))
        self.last = None if last_consistency == "none" else DataConsistency(last_consistency, noise_level)

    def forward(
        self,
        kspace: Tensor,
        mask: Tensor,
        maps: Tensor,
        noise_std: Tensor | None = None,
        with_kspace: bool = False,
    ) -> Any:
        """Image after the last iteration; for training also the k-space, see `reconstruct`."""
        found = self.reconstruct(kspace, mask, maps, noise_std)
        return found if with_kspace else found[0]

    @property
    def predicts_kspace(self) -> bool:
        """Whether `reconstruct` also returns k-space."""
        return self.design.kspace_branch

    def reconstruct(
        self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Image ``(batch, frame, y, x)`` and multi-coil k-space ``(batch, frame, coil, y, x)``.

        None instead of k-space without a k-space branch. Arguments and errors as in `forward`.
        """
        check_inputs(kspace, mask, maps)
        self._check(kspace, mask)
        in_time, along_x = self._windows(kspace.shape[1], kspace.shape[-1])
        arrays = [kspace * (mask != 0), mask != 0, maps.to(kspace.dtype)]
        if len(in_time) > 1:
            arrays = [cut_windows(array, 1, in_time, self.design.frames) for array in arrays]
        if len(along_x) > 1:
            arrays[0], arrays[1] = ifftc(arrays[0], -1), arrays[1][..., :1]
            arrays = [cut_windows(array, -1, along_x, self.columns) for array in arrays]
            arrays[0] = fftc(arrays[0], -1)
        if noise_std is not None:
            noise_std = noise_std.repeat_interleave(len(in_time) * len(along_x))
        parts = [array.expand(len(arrays[0]), *array.shape[1:]).split(_AT_ONCE) for array in arrays]
        noises = [None] * len(parts[0]) if noise_std is None else noise_std.split(_AT_ONCE)
        results = [self._run(*part) for part in zip(*parts, noises, strict=True)]
        image = torch.cat([image for image, _ in results])
        predicted = [kspace for _, kspace in results if kspace is not None]
        final = torch.cat(predicted) if predicted else None
        if len(along_x) > 1:
            image = join_windows(image, -1, along_x, self.overlap)
            if final is not None:
                final = fftc(join_windows(ifftc(final, -1), -1, along_x, self.overlap), -1)
        if len(in_time) > 1:
            image = join_windows(image, 1, in_time)
            final = None if final is None else join_windows(final, 1, in_time)
        return image, final

    def _windows(self, frames: int, width: int) -> tuple[list[int], list[int]]:
        """First frames and first columns of the windows."""
        in_time = window_starts(frames, self.design.frames)
        return in_time, [0] if width <= self.columns else window_starts(width, self.columns, self.overlap)

    def _run(
        self, measured: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Reconstruct a few windows."""
        measurement = Measurement(measured, mask, maps, noise_std, SampledSeries(measured, mask, maps))
        image = measurement.series.zero_filled()
        kspace = measurement.kspace if self.design.kspace_branch else None
        weight = self.kspace_weight.abs() if self.design.kspace_branch else image.real.new_ones(())
        for iteration in self.iterations:
            with self.reduced_precision(image.device):
                image, kspace = iteration(image, kspace, measurement, weight, self.checkpointing)
        return image if self.last is None else self.last(image, measurement.series, noise_std), kspace

    def _check(self, kspace: Tensor, mask: Tensor) -> None:
        frames, coils = kspace.shape[1:3]
        if frames < self.design.frames:
            raise MethodError(
                f"kspace has {frames} frames, but the network was built for {self.design.frames} and takes no fewer"
            )
        if coils != self.design.coils:
            raise MethodError(
                f"kspace has {coils} coils, but the network was built for {self.design.coils}; compress the channels "
                "to as many (upstream_coil_compression_num_modesKept)"
            )
        if kspace.shape[-1] > self.columns and not bool((mask == mask[..., :1]).all()):
            raise MethodError(
                f"mask changes along x, but the network sees {self.columns} of {kspace.shape[-1]} columns at once, "
                "which needs whole readouts"
            )

    def rehearse(self, frames: int, coils: int, y: int, x: int) -> None:
        """Run the branches of one iteration on a batch of windows, with the k-space of all windows in memory."""
        device = next(self.parameters()).device
        in_time, along_x = self._windows(frames, x)
        size = (len(in_time) * len(along_x), self.design.frames, coils, y, min(x, self.columns))
        kspace = torch.empty(2, *size, dtype=torch.complex64, device=device)
        iteration = self.iterations[0]
        assert isinstance(iteration, Iteration)
        iteration.refine(torch.empty_like(kspace[0, :_AT_ONCE, :, 0]), torch.empty_like(kspace[1, :_AT_ONCE]))

    def facts(self, frames: int) -> dict[str, str | int]:
        """Number and length of the windows in time, and the columns seen at once."""
        in_time, _ = self._windows(frames, 1)
        columns = "all" if self.columns == _MOST else self.columns
        return {"frame_windows": len(in_time), "window_frames": self.design.frames, "window_columns": columns}

    def limits(self) -> dict[str, tuple[int, int]]:
        """Limits of coils and frames, which the weights fix, and of the matrix."""
        smallest = SMALLEST_IMAGE if self.design.low_rank_branch else 1
        sizes = {"matrix_y": (smallest, _MOST), "matrix_x": (smallest, _MOST)}
        return {"coils": (self.design.coils,) * 2, "frames": (self.design.frames, _MOST), **sizes}
