"""Unrolled networks: a model of the zoo reconstructs a slice.

The network knows nothing of scales, masks' origins or devices: this method normalises the data as the model's card says
and undoes it exactly, chooses device, precision and pieces, and says what it chose.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from array_api_compat import is_numpy_array
from pydantic import Field

from onebreath import zoo
from onebreath.errors import MethodError
from onebreath.methods.base import Fact, Method, MethodParameters, Reconstruction, SliceData, check_finite
from onebreath.methods.device import back
from onebreath.mri.fourier import ifft2c
from onebreath.zoo.architectures import network_class
from onebreath.zoo.domain import Scan
from onebreath.zoo.store import read_weights_file

if TYPE_CHECKING:
    import torch

    from onebreath.methods.memory import Plan
    from onebreath.mri import Array

log = logging.getLogger("onebreath.unrolled")


class UnrolledParameters(MethodParameters):
    """Parameters of `Unrolled`."""

    model: str = Field(description="Name of the model, architecture.tag, for example crunet_mr.cine.")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where to compute: auto (a GPU if there is one, the CPU if its memory is too small), cpu, cuda, "
        "cuda:1, ... A device that is named is never changed.",
    )
    precision: Literal["float32", "bfloat16", "auto"] = Field(
        default="float32",
        description="Of the convolutions: float32 gives the same image on every machine; bfloat16 is faster on a GPU; "
        "auto is bfloat16 where the device computes it in hardware.",
    )
    memory_limit_gb: float | None = Field(
        default=None, gt=0, description="Memory in GiB that may be used on any device; not given: what is free there."
    )
    tiles: int = Field(
        default=0, ge=0, description="Pieces along the readout; 1: the whole image; 0: as few as fit into memory."
    )
    tile_halo: int = Field(default=48, ge=1, description="Columns that a tile sees on either side of its own.")
    tile_tolerance: float = Field(
        default=0.01,
        gt=0,
        description="Largest difference of two tiles at their seam, relative to the maximum; above it the tiles "
        "are not used.",
    )
    outside_domain: Literal["refuse", "allow"] = Field(
        default="refuse", description="What happens to a scan that the model's card does not allow; allow states it."
    )


class Unrolled(Method):
    """Reconstruct with a model of the zoo."""

    name = "unrolled"
    Parameters = UnrolledParameters
    parameters: UnrolledParameters

    @cached_property
    def card(self) -> zoo.Card:
        """The model's card."""
        return zoo.read_card(zoo.find(self.parameters.model))

    def prepare(self) -> None:
        """Check that the model is there and undamaged.

        Raises
        ------
        ModelError
            If it is not.
        """
        read_weights_file(zoo.find(self.parameters.model), self.card)

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
            "domain": self._domain(data),
        }
        if data.maps.shape[0] > 1:
            facts["map_sets_unused"] = int(data.maps.shape[0]) - 1
        images, how = self._first_that_works(data)
        return Reconstruction(back(images, data.kspace), facts=facts | how)

    def _domain(self, data: SliceData) -> str:
        """Compare the scan with the card; words for the facts."""
        verdict = self.card.domain.judge(scan_of(data))
        if verdict.outside:
            text = "; ".join(verdict.outside)
            if self.parameters.outside_domain == "refuse":
                raise MethodError(f"the scan is outside the domain of model {self.card.name}: {text}")
            log.warning("the scan is outside the domain of model %s: %s", self.card.name, text)
            return f"outside: {text}"
        return f"inside; not checked here: {', '.join(verdict.unknown)}" if verdict.unknown else "inside"

    def _first_that_works(self, data: SliceData) -> tuple[torch.Tensor, dict[str, Fact]]:
        """Try the plans one after another; every one that was passed over is stated."""
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

    def _plans(self, data: SliceData, passed_over: list[str]) -> Iterator[Plan]:
        import torch

        from onebreath.methods import memory
        from onebreath.networks.precision import compute_dtype

        p = self.parameters
        size = memory.Size(*data.kspace.shape)

        def needs(device: str, tiles: int) -> int:
            dtype = compute_dtype(p.precision, torch.device(device))
            way = memory.Way(dtype, tiles, p.tile_halo, features_elsewhere=device != "cpu")
            return memory.needed_bytes(self.card.architecture, self.card.arguments, size, way)

        limit = None if p.memory_limit_gb is None else int(p.memory_limit_gb * memory.GIB)
        devices = [(name, memory.free_bytes(name, limit)) for name in devices_to_try(p.device)]
        counts = self._tile_counts(size.x)
        return memory.plans(devices, counts, needs, passed_over)

    def _tile_counts(self, width: int) -> list[int]:
        """The numbers of tiles to try."""
        from onebreath.methods.memory import tile_counts

        wanted = self.parameters.tiles
        if network_class(self.card.architecture).runs_in_pieces:
            return [wanted] if wanted else tile_counts(width)
        if wanted > 1:
            name = self.card.architecture
            raise MethodError(f"tiles is {wanted}, but {name} runs on whole images only; leave the property out")
        return [1]

    def _run(self, data: SliceData, plan: Plan) -> tuple[torch.Tensor, dict[str, Fact], float]:
        """Reconstruct as planned: images (frame, y, x), how they came about, and how much tiles differ at seams."""
        import torch

        from onebreath.networks.pieces import InPieces
        from onebreath.networks.unrolled import UnrolledNetwork

        loaded = zoo.load(self.card.name, plan.device, self.parameters.precision)
        pieces = None
        if plan.tiles > 1:
            assert isinstance(loaded.network, UnrolledNetwork)
            pieces = InPieces(loaded.network, plan.tiles, self.parameters.tile_halo)
        with torch.inference_mode(), _true_float32(loaded.compute_dtype):
            kspace, mask, maps = (to_tensor(x, plan.device) for x in (data.kspace, data.mask, data.maps))
            scale = max_zero_filled_coil_images(kspace, mask)
            noise_std = torch.full((1,), 1 / scale, device=kspace.device)
            network = loaded.network if pieces is None else pieces
            images = network((kspace / scale)[None], mask[None, :, None], maps[None, :1], noise_std)[0] * scale
        facts: dict[str, Fact] = {
            "device": _device_text(plan.device),
            "precision": str(loaded.compute_dtype).removeprefix("torch."),
            "scale": scale,
            "memory_needed_gb": round(plan.needed / 2**30, 3),
            "pieces": "whole image",
            **loaded.network.facts(data.kspace.shape[0]),
        }
        if pieces is None:
            return images, facts, 0.0
        facts["pieces"] = f"{plan.tiles} tiles along the readout, halo {self.parameters.tile_halo}"
        facts["seam_deviation"] = pieces.seam_deviation
        return images, facts, pieces.seam_deviation


def scan_of(data: SliceData) -> Scan:
    """What a slice shows of the scan, to be compared with a model's domain; the header knows the rest."""
    frames, coils, ny, nx = data.kspace.shape
    acs = data.sampling.acs
    return Scan(
        acceleration=data.sampling.acceleration,
        mask_family=data.sampling.family,
        acs_lines=0 if acs is None else acs[1] - acs[0] + 1,
        frames=frames,
        matrix_y=ny,
        matrix_x=nx,
        coils=coils,
    )


def devices_to_try(device: str) -> list[str]:
    """List devices in the order of preference; a device that is named stands alone.

    Raises
    ------
    MethodError
        If a GPU is named that torch does not see.
    """
    import torch

    if device == "cpu":
        return ["cpu"]
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return [f"cuda:{torch.cuda.current_device()}", "cpu"] if there else ["cpu"]
    index = int(device.partition(":")[2] or 0)
    if index >= there:
        raise MethodError(f"device is '{device}', but torch sees {there} CUDA devices; use 'auto' or 'cpu'")
    return [f"cuda:{index}"]


def to_tensor(x: Array, device: str) -> torch.Tensor:
    """The array as a tensor, numbers as complex64, on a device."""
    import torch

    if is_numpy_array(x) and not x.flags.writeable:
        # torch cannot mark memory as read-only, which arrays from the wire are.
        x = x.copy()
    tensor = torch.asarray(x, device=device)
    return tensor.to(torch.complex64) if tensor.is_complex() else tensor


def max_zero_filled_coil_images(kspace: torch.Tensor, mask: torch.Tensor) -> float:
    """Largest magnitude of the zero-filled coil images of all frames: what the models were trained to see as 1.

    Parameters
    ----------
    kspace : (frame, coil, y, x) complex
    mask : broadcastable to (frame, y, x)

    Raises
    ------
    MethodError
        If there is no signal.
    """
    sampled = mask.expand(kspace.shape[0], -1, -1)
    largest = max(float(ifft2c(k * m).abs().max()) for k, m in zip(kspace, sampled, strict=True))
    if largest == 0:
        raise MethodError("the sampled k-space holds nothing but zeros; check the raw data")
    return largest


def _true_float32(dtype: torch.dtype) -> AbstractContextManager[None]:
    """Keep convolutions in float32 from being rounded to 10 bits (TF32), as GPUs do by default."""
    import torch

    if dtype != torch.float32 or not torch.cuda.is_available():
        return nullcontext()
    cudnn = torch.backends.cudnn
    return cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    )


def _device_text(device: str) -> str:
    import torch

    return device if device == "cpu" else f"{device} {torch.cuda.get_device_name(device)}"
