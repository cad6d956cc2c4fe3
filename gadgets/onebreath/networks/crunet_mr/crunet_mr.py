"""CRUNet-MR: unrolled convolutional recurrent U-Net for cine, with or without a feature bank (dong845/CRUNet-MR)."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from onebreath.errors import ModelError
from onebreath.networks.consistency.data_consistency import Kind
from onebreath.networks.consistency.start import LowRankSparseStart, Start
from onebreath.networks.crunet_mr.cine_unet import CineUNet, LevelFeatures
from onebreath.networks.crunet_mr.feature_bank import AttentionStyle, FeatureBank, Fusion
from onebreath.networks.shared.recurrent import Direction, RecurrentUnit
from onebreath.networks.shared.unrolled import CHANNELS, Features, Input, UnrolledNetwork


class CRUNetMR(UnrolledNetwork):
    """CRUNet-MR; the published network has the defaults (4,537,930 parameters).

    The released code counts 4,788,810, as it has 50,176 unused parameters per cascade.

    Parameters
    ----------
    channels, cascades, dilations
        Width, number of cascades, and dilations of level 1, level 2 and the bottleneck.
    side_branches, side_kernel
        Whether a convolution of this width runs beside each recurrent unit (ablation: off).
    circular_time
        Whether temporal convolutions wrap around (ablation: off).
    cross_cascade
        Whether features flow from cascade to cascade (ablation: off).
    fusion
        ``none``: from the previous cascade alone; ``conv`` and ``ca``: from the feature bank, see `FeatureBank`.
    ca_style, ca_reduction, bank_window
        See `FeatureBank`.
    data_consistency, noise_level
        See `DataConsistency`.
    pad_multiple
        See `CineUNet`.
    checkpointing, follows_noise, inputs
        See `UnrolledNetwork`.
    start, start_iterations, start_low_rank, start_sparse, start_wavelets
        Initial image of the cascades; the numbers are those of `LowRankSparseStart`. New weights do not change a
        regularised start.
    patch
        See `CineUNet`.
    blocks
        Number of learned blocks, which the cascades use in turn; None: one per cascade.

    Raises
    ------
    ModelError
        If arguments contradict each other.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        cascades: int = 5,
        dilations: tuple[int, int, int] = (1, 2, 4),
        side_branches: bool = True,
        side_kernel: int = 1,
        circular_time: bool = True,
        cross_cascade: bool = True,
        fusion: Fusion = "none",
        ca_style: AttentionStyle = "cab",
        ca_reduction: int = 16,
        bank_window: int | None = None,
        data_consistency: Kind = "hard",
        noise_level: float | None = None,
        pad_multiple: int = 8,
        checkpointing: bool = False,
        follows_noise: bool = False,
        inputs: tuple[Input, ...] = (),
        start: Start = "zero_filled",
        start_iterations: int = 15,
        start_low_rank: float = 1.0,
        start_sparse: float | None = None,
        start_wavelets: bool = False,
        patch: int = 1,
        blocks: int | None = None,
    ) -> None:
        if blocks is not None and not 1 <= blocks <= cascades:
            raise ModelError(f"blocks is {blocks}, expected 1 to {cascades}, the number of cascades")
        regularised = None
        if start == "low_rank_sparse":
            regularised = LowRankSparseStart(start_iterations, start_low_rank, start_sparse, start_wavelets)
        bank = None
        if fusion != "none":
            bank = FeatureBank(
                cascades, channels, dilations, fusion, ca_style, ca_reduction, bank_window, checkpointing
            )
            if not cross_cascade:
                raise ModelError(f"fusion is {fusion!r} and cross_cascade is False: without the flow nothing is fused")
        remembered = bank.window if bank is not None else int(cross_cascade)
        super().__init__(
            cascades, data_consistency, noise_level, checkpointing, remembered, regularised, inputs, follows_noise
        )

        def unit(direction: Direction, dilation: int) -> nn.Module:
            side = side_kernel if side_branches else None
            return RecurrentUnit(channels, channels, dilation, direction, cross_cascade, side)

        options: dict[str, Any] = {
            "pad_multiple": pad_multiple,
            "further_channels": sum(CHANNELS[name] for name in inputs),
            "patch": patch,
            "starts_at_zero": start != "zero_filled",
        }
        self.blocks = nn.ModuleList(
            CineUNet(unit, channels, dilations, circular_time, **options) for _ in range(blocks or cascades)
        )
        self.bank = bank

    def recall(self, index: int, history: Sequence[Features]) -> Features | None:
        """Features of the previous cascade, or those fused by the feature bank."""
        if self.bank is None or not history:
            return super().recall(index, history)
        return self.bank(index, [LevelFeatures(*features) for features in history])
