"""CineNet: small U-Nets on slices of the temporal spectrum, and conjugate gradients (A. Kofler et al., Med Phys 2021).

The original is radial; here ``A = M F S`` is Cartesian. Layers that the paper does not specify are those of the
released code (koflera/DynamicRadCineMRI): three stages, two convolutions each, 16 filters.
"""

import itertools
import math
import sys
from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from onebreath.errors import MethodError, ModelError
from onebreath.mri.fourier import fftc, ifftc
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.convolution.filters import Conv
from onebreath.networks.shared.checkpointing import run_step
from onebreath.networks.shared.normalise import Normalised, to_complex, to_planes
from onebreath.networks.shared.refinement import Refinement
from onebreath.networks.shared.unrolled import Features, UnrolledNetwork

_SLOPE = 0.01
_SMALLEST_PENALTY = 1e-6
"""The data are weighted by the inverse of the penalty; in single precision a smaller one would leave only the data."""


class StageConvs(nn.ModuleList):
    """Convolutions of one stage, 3 x 3 without bias, each with a leaky ReLU."""

    def __init__(self, in_channels: int, channels: int, count: int) -> None:
        widths = [in_channels] + [channels] * count
        super().__init__(Conv(a, b, bias=False) for a, b in itertools.pairwise(widths))

    def forward(self, planes: Tensor) -> Tensor:
        """Convolve ``(slice, channel, position, frequency)``."""
        for conv in self:
            planes = F.leaky_relu(conv(planes), _SLOPE, inplace=True)
        return planes


class SliceUNet(nn.Module):
    """U-Net on slices of one axis of the image and the temporal frequency.

    Parameters
    ----------
    channels
        Channels of the first stage; each further one has twice as many.
    stages
        Number of encoder stages; all but the last end with a 2 x 2 max pooling.
    convs
        Convolutions per stage.
    """

    def __init__(self, channels: int, stages: int, convs: int) -> None:
        super().__init__()
        widths = [channels * 2**stage for stage in range(stages)]
        self.down = nn.ModuleList(StageConvs(a, b, convs) for a, b in itertools.pairwise([2, *widths]))
        self.up = nn.ModuleList(Conv(2 * width, width, bias=False) for width in widths[-2::-1])
        self.merge = nn.ModuleList(StageConvs(2 * width, width, convs) for width in widths[-2::-1])
        self.tail = nn.Conv2d(channels, 2, 1, bias=False)

    def forward(self, planes: Tensor) -> Tensor:
        """Convolve ``(slice, 2, position, frequency)``."""
        kept: list[Tensor] = []
        for stage in self.down:
            planes = stage(F.max_pool2d(kept[-1], 2) if kept else planes)
            kept.append(planes)
        planes = kept.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            skip = kept.pop()
            wider = F.interpolate(planes, skip.shape[-2:], mode="bilinear", align_corners=False)
            planes = merge(torch.cat([up(wider), skip], dim=1))
        out: Tensor = self.tail(planes)
        return out


class SpectrumBlock(Refinement):
    """The learned part of an alternation: the mean of U-Nets on all x-t and all y-t slices of the dynamic part.

    Parameters
    ----------
    channels, stages, convs
        See `SliceUNet`.
    separate
        Whether x-t and y-t slices have U-Nets of their own.
    pad_multiple
        See `Refinement`.
    """

    def __init__(self, channels: int, stages: int, convs: int, separate: bool, pad_multiple: int) -> None:
        super().__init__()
        self.pad_multiple = pad_multiple
        self.smallest = 2 ** (stages - 1)
        self.nets = nn.ModuleList(SliceUNet(channels, stages, convs) for _ in range(2 if separate else 1))

    def normalise(self, planes: Tensor) -> Normalised:
        """Subtract the static part, the mean over the frames."""
        mean = planes.mean(1, keepdim=True)
        return Normalised(planes - mean, mean, torch.ones_like(mean[:, :, :1, :1, :1]))

    def correction(self, planes: Tensor, features: None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Difference between the U-Nets' output, which is the image itself, and their input.

        Raises
        ------
        MethodError
            If an axis is too short for the stages.
        """
        frames, _, y, x = planes.shape[1:]
        if min(frames, y, x) < self.smallest:
            raise MethodError(
                f"the series has {frames} frames of {y} x {x} pixels; this CineNet needs at least {self.smallest} "
                "along each axis, since its U-Nets halve them. Use another method for so few frames"
            )
        spectrum = to_planes(fftc(to_complex(planes), 1)).to(next(self.parameters()).dtype)
        # Slices with y fixed are (x, frequency), those with x fixed are (y, frequency).
        images = [
            _on_slices(net, spectrum, order)
            for net, order in zip((self.nets[0], self.nets[-1]), ((0, 3, 2, 4, 1), (0, 4, 2, 3, 1)), strict=True)
        ]
        mean = ((images[0] + images[1]) / 2).to(planes.dtype)
        return to_planes(ifftc(to_complex(mean), 1)) - planes, ()


class PenalisedConsistency(nn.Module):
    """Data consistency: the x that minimises ``||A x - y||^2 + penalty ||x - image||^2``, with a learned penalty.

    Parameters
    ----------
    iterations
        Conjugate-gradient steps; all frames of a series share step lengths, as in the released code.
    """

    def __init__(self, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        # softplus of this is 1
        self.penalty = nn.Parameter(torch.tensor(math.log(math.e - 1)))

    def forward(self, image: Tensor, series: SampledSeries, noise_std: Tensor | None = None) -> Tensor:
        """Make an image consistent with the data; `noise_std` is ignored.

        Raises
        ------
        MethodError
            If the iterations diverge, see `SampledSeries.regularised`.
        """
        penalty = F.softplus(self.penalty).clamp_min(_SMALLEST_PENALTY).to(image.real.dtype)
        return series.regularised(image, (1 / penalty).reshape(1, 1, 1, 1, 1), self.iterations, one_step=True)


class CineNet(UnrolledNetwork):
    """CineNet; 646,725 parameters by default, 129,349 with shared weights.

    Parameters
    ----------
    channels, stages, convs
        See `SliceUNet`.
    cascades
        Alternations of U-Nets and data consistency.
    shared
        Whether all alternations share their U-Nets (the original). Each has its own penalty; with equal penalties this
        is the original.
    separate
        Whether x-t and y-t slices have U-Nets of their own.
    iterations
        Conjugate-gradient steps of an alternation.
    pad_multiple
        Matrix sizes are padded to a multiple of this; 1 as in the released code. Tiles of an image only share a pooling
        grid if it is a multiple of ``2 ** (stages - 1)``.
    unets_alone
        One pass of the U-Nets without data consistency, the first stage of the original's training. The parameters are
        the same; only with `shared`.
    checkpointing
        See `UnrolledNetwork`.

    Raises
    ------
    ModelError
        If a number is below 1, or `unets_alone` is set without `shared`.
    """

    def __init__(
        self,
        *,
        shared: bool = False,
        separate: bool = False,
        channels: int = 16,
        stages: int = 3,
        convs: int = 2,
        cascades: int = 5,
        iterations: int = 4,
        pad_multiple: int = 4,
        unets_alone: bool = False,
        checkpointing: bool = False,
    ) -> None:
        counts = {"channels": channels, "stages": stages, "convs": convs, "iterations": iterations}
        for name, count in {**counts, "pad_multiple": pad_multiple}.items():
            if count < 1:
                raise ModelError(f"{name} is {count}, expected at least 1")
        if unets_alone and not shared:
            raise ModelError("unets_alone trains one set of U-Nets; it needs shared: true")
        super().__init__(cascades, checkpointing=checkpointing)
        self.unets_alone = unets_alone
        self.smallest = 2 ** (stages - 1)
        self.consistency = nn.ModuleList(PenalisedConsistency(iterations) for _ in range(cascades))
        self.blocks = nn.ModuleList(
            SpectrumBlock(channels, stages, convs, separate, pad_multiple) for _ in range(1 if shared else cascades)
        )

    def states(
        self, kspace: Tensor, mask: Tensor, maps: Tensor, noise_std: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Features]]:
        """Yield the image after each alternation; see `UnrolledNetwork`."""
        if not self.unets_alone:
            yield from super().states(kspace, mask, maps, noise_std)
            return
        image = SampledSeries(kspace, mask, maps).zero_filled()
        with self.reduced_precision(kspace.device):
            yield run_step(self.refine, 0, image, None, None, checkpointing=self.checkpointing)

    def limits(self) -> dict[str, tuple[int, int]]:
        """Fewest frames, as the U-Nets halve the temporal frequencies."""
        return {"frames": (self.smallest, sys.maxsize)}


def _on_slices(net: nn.Module, spectrum: Tensor, order: tuple[int, ...]) -> Tensor:
    """Run a U-Net on slices of ``(batch, frequency, 2, y, x)``; the first two axes of `order` count slices."""
    slices = spectrum.permute(order)
    folded = slices.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    out = net(folded).unflatten(0, slices.shape[:2])
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return out.permute(inverse)
