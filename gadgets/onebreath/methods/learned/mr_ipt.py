"""MR-IPT and similar networks for magnitude images, applied to a multi-coil scan.

The coils are combined, the network restores the magnitude, the phase of the combined image is kept. The published
network ends there; afterwards a data-consistency step returns what was measured, unless it is turned off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from onebreath.errors import MethodError
from onebreath.methods.base import Fact, SliceData
from onebreath.methods.cg_sense import conjugate_gradients
from onebreath.methods.learned.mask_type import Choice, choose
from onebreath.methods.learned.network_data import make_stoppable, to_tensor
from onebreath.methods.learned.parameters import UnrolledParameters
from onebreath.methods.learned.unrolled import Unrolled
from onebreath.mri.coils import phase_factor
from onebreath.mri.sense import SenseOperator
from onebreath.registry import RESTORATION

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from onebreath.methods.learned.memory import Plan
    from onebreath.networks.restoration.restoration import RestorationNetwork

_CG_ITERATIONS, _CG_TOLERANCE = 15, 1e-4


class MrIptParameters(UnrolledParameters):
    """Parameters of `MrIpt`."""

    model: str = Field(description="Name of the model, mr_ipt.TAG, unet.TAG or vit.TAG, for example mr_ipt.static.")
    data_consistency: Literal["replace", "cg", "off"] = Field(
        default="replace",
        description="What follows the network: replace puts the measured samples of every coil back; cg solves for the "
        "image that fits the samples and, weighed by consistency_weight, the network's image; off is as published.",
    )
    consistency_weight: float = Field(
        default=0.05, gt=0, description="Weight of the network's image in cg, relative to a sample of unit noise."
    )
    prompts: Literal["nearest", "interpolated"] = Field(
        default="nearest",
        description="Prompt of a ratio that lies between two acceleration levels of the network: that of the nearest "
        "one, or between both. Head and tail are always those of the nearest.",
    )

    @field_validator("model")
    @classmethod
    def _is_of_this_kind(cls, model: str) -> str:
        if model.partition(".")[0] not in RESTORATION:
            kinds = ", ".join(RESTORATION)
            raise ValueError(f"model '{model}' is not for magnitude images ({kinds}); use it with method=unrolled")
        return model


class MrIpt(Unrolled):
    """Restore magnitude images with a model of the zoo, frame by frame."""

    name = "mr_ipt"
    Parameters = MrIptParameters
    parameters: MrIptParameters

    def derivative(self, data: SliceData) -> None:
        """None: a magnitude has no derivative where it is 0, and noise maps are measured with replicas."""

    def _run(self, data: SliceData, plan: Plan) -> tuple[torch.Tensor, dict[str, Fact], float]:
        """Reconstruct; see `Unrolled`. There are no tiles, and so no seams."""
        import torch

        from onebreath.networks.restoration.restoration import RestorationNetwork
        from onebreath.networks.shared.precision import true_float32

        loaded = self.model.on(plan.device, self.parameters.precision)
        p, network = self.parameters, loaded.network
        assert isinstance(network, RestorationNetwork)
        make_stoppable(network)
        choice = choose(data.sampling, data.mask, network.levels, network.types, p.prompts == "interpolated")
        with torch.inference_mode(), true_float32(loaded.compute_dtype):
            kspace, mask, maps = (to_tensor(x, plan.device) for x in (data.kspace, data.mask, data.maps))
            operator = SenseOperator(maps[:1], mask)
            combined = operator.adjoint(kspace)
            scale = _largest(combined)
            across = self.card.conventions.phase_encoding == "x"
            magnitudes = restore(network, combined.abs(), choice, across)
            images = magnitudes * phase_factor(combined)
            images = consistent(images, combined, operator, p.data_consistency, p.consistency_weight)
        facts: dict[str, Fact] = {
            "device": plan.device,
            "precision": str(loaded.compute_dtype).removeprefix("torch."),
            "scale": scale,
            "memory_needed_gb": round(plan.needed / 2**30, 3),
            "data_consistency": p.data_consistency,
            **_choice_facts(network, choice, p.prompts),
        }
        if p.data_consistency == "cg":
            facts["consistency_weight"] = p.consistency_weight
        return images, facts, 0.0


def restore(network: RestorationNetwork, magnitudes: Tensor, choice: Choice, across: bool = False) -> Tensor:
    """Run a network on magnitudes ``(frame, y, x)`` of any scale, one frame at a time.

    Parameters
    ----------
    network
        For images whose maximum is 1.
    magnitudes
        Of the zero-filled frames; a frame of zeros stays one.
    choice
        What the network receives.
    across
        Whether the network expects the missing lines along the other axis.

    Returns
    -------
    Tensor
        Magnitudes, not negative.
    """
    import torch

    restored = []
    for frame in magnitudes:
        largest = frame.max()
        image = (frame.T if across else frame)[None, None] / torch.where(largest > 0, largest, 1)
        made = network(image, [choice.level], [choice.kind], [choice.prompt])[0, 0].clamp_min(0)
        restored.append((made.T if across else made) * largest)
    return torch.stack(restored)


def consistent(images: Tensor, combined: Tensor, operator: SenseOperator, how: str, weight: float) -> Tensor:
    """Make images consistent with the measured k-space.

    Parameters
    ----------
    images
        ``(frame, y, x)`` complex, of the network.
    combined
        A^H y, the zero-filled combined images.
    operator
        The model A of the scan, with maps of unit sum of squares.
    how
        ``off``, ``replace`` (x - A^H A x + A^H y: measured samples in place of those of x, then combined), or ``cg``
        (the minimum of |A z - y|^2 + weight |z - x|^2).
    weight
        For ``cg``.
    """
    if how == "off":
        return images
    if how == "replace":
        replaced: Tensor = images - operator.normal(images) + combined
        return replaced
    solved, _ = conjugate_gradients(operator, (combined + weight * images)[None], weight, _CG_ITERATIONS, _CG_TOLERANCE)
    both: Tensor = solved[0]
    return both


def _largest(combined: Tensor) -> float:
    largest = float(combined.abs().max())
    if largest == 0:
        raise MethodError("the combined image is zero everywhere: the sampled k-space holds no signal; check the data")
    return largest


def _choice_facts(network: RestorationNetwork, choice: Choice, prompts: str) -> dict[str, Fact]:
    """Return the mask type found, and the one passed to the network."""
    facts: dict[str, Fact] = {"mask_type_found": choice.pattern, "acceleration_found": round(choice.acceleration, 3)}
    if not network.levels:
        return facts | {"told": "nothing: the network treats all scans alike"}
    return facts | {
        "level_used": network.levels[choice.level],
        "mask_type_used": network.types[choice.kind],
        "prompts": f"{prompts}, {choice.prompt:.3g}" if prompts == "interpolated" else prompts,
    }
