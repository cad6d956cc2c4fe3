"""Unrolled networks: a model of the zoo reconstructs a slice.

The network knows nothing of scales, masks' origins or devices: this method normalises the data as the model's card says
and undoes it exactly, chooses device, precision and pieces, and says what it chose.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from onebreath import zoo
from onebreath.errors import MethodError, OutsideDomain
from onebreath.methods.base import Fact, Method, Reconstruction, SliceData, check_finite, method_class
from onebreath.methods.device import back
from onebreath.methods.known_noise import contradicted
from onebreath.methods.learned.devices import device_text, devices_to_try
from onebreath.methods.learned.network_data import (
    image_derivative,
    image_function,
    make_stoppable,
    recording,
)
from onebreath.methods.learned.parameters import UnrolledParameters
from onebreath.methods.scan import scan_of
from onebreath.methods.score import domain_score
from onebreath.zoo.architectures import network_class
from onebreath.zoo.domain import Scan

if TYPE_CHECKING:
    import torch

    from onebreath.methods.learned.memory import Plan
    from onebreath.mri import Array

log = logging.getLogger("onebreath.unrolled")


class Unrolled(Method):
    """Reconstruct with a model of the zoo."""

    name = "unrolled"
    learned = True
    Parameters = UnrolledParameters
    parameters: UnrolledParameters

    scan = Scan()
    """What the header states."""

    @cached_property
    def model(self) -> zoo.Version:
        """The model's version at first access: a scan keeps its weights from first to last slice."""
        return zoo.current(self.parameters.model)

    @property
    def begins_with(self) -> str:  # type: ignore[override]
        """The method whose images are the initial ones that the card names; none if it would make others by default."""
        given = self.card.arguments
        usual = given.get("start_low_rank", 1) == 1 and given.get("start_sparse") is None
        return self._start if usual and given.get("start_wavelets") else ""

    @property
    def _start(self) -> str:
        """The initial image that the card names; such starts are named as the methods."""
        return str(self.card.arguments.get("start") or "")

    @property
    def card(self) -> zoo.Card:
        """The model's card."""
        return self.model.card

    def prepare(self, scan: Scan | None = None) -> None:
        """Check that the model exists, is undamaged, and covers the known properties of the scan.

        Raises
        ------
        ModelError
            If it is not there, or damaged.
        OutsideDomain
            If the model is not for such scans.
        """
        self.scan = scan or self.scan
        self._judge(self.scan)

    def __call__(self, data: SliceData) -> Reconstruction:
        """Reconstruct one slice.

        Raises
        ------
        MethodError
            If there are no coil maps, samples are not finite or all zero, the scan is outside the model's domain, or
            there is not enough memory.
        ModelError
            If the weights are not what the card says.
        """
        if data.maps is None:
            raise MethodError("unrolled needs coil maps; let the calibrate gadget run before it")
        check_finite(data, self.name)
        facts: dict[str, Fact] = {
            "model": self.card.name,
            "model_version": self.card.version,
            "weights_sha256": self.card.weights.sha256,
            "domain": self._judge(scan_of(data, self.scan)),
        }
        if self.model.warning:
            facts["model_not_newest"] = self.model.warning
        if data.maps.shape[0] > 1:
            facts["map_sets_unused"] = int(data.maps.shape[0]) - 1
        images, how = self._first_that_works(self._begun(data))
        facts |= contradicted(data)
        if self.parameters.domain_score:
            how |= self._score(data)
        return Reconstruction(back(images, data.kspace), facts=facts | how)

    def check(self, data: SliceData) -> None:
        """Compare the card's domain with a slice; raises OutsideDomain unless the parameters allow it all."""
        self._judge(scan_of(data, self.scan))

    def effort(self, data: SliceData) -> float:
        """Estimate the seconds of one core of a usual CPU for a slice, from the network's operations."""
        from onebreath.methods.learned.effort import network_seconds

        begun = method_class(self._start)().effort(data) if self._start else 0.0
        return begun + network_seconds(self.card.architecture, self.card.arguments, tuple(data.kspace.shape))

    def trial(self, part: SliceData) -> Reconstruction:
        """Reconstruct a part of a slice, whose size and lines the card does not cover."""
        return Reconstruction(back(self._first_that_works(self._begun(part))[0], part.kspace))

    def _begun(self, data: SliceData) -> SliceData:
        """Return a slice with the images that the network begins with, unless they are there.

        They are the method's own, not those of its short form inside of the network: the same whether the network is
        tested, one of a mean, or alone, and as good as that method's where coil maps are worse than the noise.
        """
        if not self.begins_with or data.start is not None:
            return data
        return replace(data, start=method_class(self.begins_with)()(data).images)

    def _judge(self, scan: Scan) -> str:
        """Compare a scan with the card; return a description for the facts."""
        verdict = self.card.domain.judge(scan)
        if verdict.outside:
            return self._outside(f"the scan is outside the domain of model {self.card.name}", verdict.outside)
        return f"inside; not known: {', '.join(verdict.unknown)}" if verdict.unknown else "inside"

    def _outside(self, finding: str, reasons: Sequence[str]) -> str:
        """Refuse a scan, or accept it with a warning, by the parameters; return a description for the facts."""
        text = "; ".join(reasons)
        if self.parameters.outside_domain == "refuse":
            raise OutsideDomain(f"{finding}: {text}")
        log.warning("%s: %s", finding, text)
        return f"outside: {text}"

    def _score(self, data: SliceData) -> dict[str, Fact]:
        """Measure the out-of-domain score, compare it with the limit, and return facts."""
        try:
            score = domain_score(self.trial, data)
        except MethodError as error:
            log.warning("%s", error)
            return {"domain_score": f"not measured: {error}"}
        limit = self.card.score_limit
        facts: dict[str, Fact] = {"domain_score": round(score.value, 4), "domain_score_limit": limit}
        if score.value > limit:
            reason = f"held-back lines show an error of {score.value:.2g} of the image, the limit is {limit:g}"
            facts["domain_score_verdict"] = self._outside(f"model {self.card.name} does not fit this scan", [reason])
        return facts

    def _first_that_works(self, data: SliceData) -> tuple[torch.Tensor, dict[str, Fact]]:
        """Try the plans one after another; those that failed are listed in the facts."""
        import torch

        passed_over: list[str] = []
        for plan in self._plans(data, passed_over):
            try:
                images, facts, seam_deviation = self._run(data, plan)
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                passed_over.append(f"{plan}, but memory ran out")
                continue
            if seam_deviation > self.parameters.tile_tolerance:
                passed_over.append(f"{plan}, but tiles differ by {seam_deviation:.2g} at a seam")
                continue
            if passed_over:
                facts["passed_over"] = "; ".join(passed_over)
                log.warning("%s: passed over: %s", self.card.name, facts["passed_over"])
            return images, facts
        raise MethodError(
            f"model {self.card.name} cannot run on this slice, (frame, coil, y, x) {tuple(data.kspace.shape)}: "
            f"{'; '.join(passed_over)}. Free memory, raise memory_limit_gb, or set device to auto."
        )

    def derivative(self, data: SliceData) -> Callable[[Array], Array] | None:
        """Return the images' derivative by the k-space, see `onebreath.methods.noise`; None if memory is too small."""
        plan = next(self._plans(data, [], copies=3), None)
        if plan is None or plan.tiles > 1:
            return None
        return image_derivative(self.model.on(plan.device, self.parameters.precision), data, plan.device)

    def _plans(self, data: SliceData, passed_over: list[str], copies: int = 1) -> Iterator[Plan]:
        """Yield execution plans that fit into memory, for `copies` times the memory of a reconstruction."""
        import torch

        from onebreath.methods.learned import memory
        from onebreath.networks.shared.precision import compute_dtype

        p = self.parameters
        size = memory.Size(*data.kspace.shape)

        def needs(device: str, tiles: int) -> int:
            dtype = compute_dtype(p.precision, torch.device(device))
            way = memory.Way(dtype, tiles, p.tile_halo, features_elsewhere=device != "cpu")
            return copies * memory.needed_bytes(self.card.architecture, self.card.arguments, size, way)

        limit = None if p.memory_limit_gb is None else int(p.memory_limit_gb * memory.GIB)
        devices = [(name, memory.free_bytes(name, limit)) for name in devices_to_try(p.device)]
        counts = self._tile_counts(size.x)
        return memory.plans(devices, counts, needs, passed_over)

    def _tile_counts(self, width: int) -> list[int]:
        """The numbers of tiles to try."""
        from onebreath.methods.learned.memory import tile_counts

        wanted = self.parameters.tiles
        if network_class(self.card.architecture).can_be_tiled:
            return [wanted] if wanted else tile_counts(width)
        if wanted > 1:
            name = self.card.architecture
            raise MethodError(f"tiles is {wanted}, but {name} runs on whole images only; leave the property out")
        return [1]

    def _run(self, data: SliceData, plan: Plan) -> tuple[torch.Tensor, dict[str, Fact], float]:
        """Reconstruct by a plan; return images (frame, y, x), facts, and the difference of tiles at seams."""
        import torch

        from onebreath.networks.convolution.loading import code_for
        from onebreath.networks.shared.precision import true_float32
        from onebreath.networks.shared.tiling import TiledNetwork
        from onebreath.networks.shared.unrolled import UnrolledNetwork

        loaded = self.model.on(plan.device, self.parameters.precision)
        make_stoppable(loaded.network)
        pieces, way = None, loaded.network
        if plan.tiles > 1:
            assert isinstance(loaded.network, UnrolledNetwork)
            way = pieces = TiledNetwork(loaded.network, plan.tiles, self.parameters.tile_halo)
        elif self.parameters.recorded:
            way = recording(loaded)
        with torch.inference_mode(), true_float32(loaded.compute_dtype):
            function, kspace, scale = image_function(way, data, plan.device, loaded.card)
            images = function(kspace)
        facts: dict[str, Fact] = {
            "device": device_text(plan.device),
            "precision": str(loaded.compute_dtype).removeprefix("torch."),
            "convolutions": code_for(plan.device, loaded.compute_dtype),
            "scale": scale,
            "memory_needed_gb": round(plan.needed / 2**30, 3),
            "pieces": "whole image",
            **({"recorded": way is not loaded.network} if self.parameters.recorded else {}),
            **loaded.network.facts(data.kspace.shape[0]),
        }
        if pieces is None:
            return images, facts, 0.0
        facts["pieces"] = f"{plan.tiles} tiles along the readout, halo {self.parameters.tile_halo}"
        facts["seam_deviation"] = pieces.seam_deviation
        return images, facts, pieces.seam_deviation
