"""`calibrate`: calibration lines become coil maps, which travel with the k-space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from gadgetron.types import ReconData
from numpy.typing import NDArray
from pydantic import Field, model_validator

from onebreath.budget import claim
from onebreath.chain.facts import Decision, facts_of
from onebreath.chain.gadget import Gadget, Message, Properties
from onebreath.chain.notes import note, read_note
from onebreath.errors import ScanError
from onebreath.gadgets.facts import CalibrateFacts, CompressFacts, PrewhitenFacts
from onebreath.methods.base import Derive, compute
from onebreath.mrd.acs import Acs, acs_of, calibration_mode, with_reference
from onebreath.mrd.buffers import E1, RO, acquired_of, checked, places, with_maps
from onebreath.mrd.volumes import calibration_block, has_partitions, mode_of_volume
from onebreath.mri.coils import inati_maps, walsh_maps
from onebreath.mri.espirit import MOST_LOST, WIDER, cropped, share_of_zeros
from onebreath.mri.fourier import ifft2c
from onebreath.mri.volume_maps import volume_maps
from onebreath.storage.calibration import CalibrationStorage
from onebreath.storage.derived import Derived


class CalibrateProperties(Properties):
    """Properties of `calibrate`."""

    coil_map_algorithm: Literal["espirit", "inati", "walsh", "none"] = Field(
        "espirit", description="how coil maps are made; none: methods get no maps and combine by root sum of squares"
    )
    no_acs: Literal["error", "pass", "storage"] = Field(
        "error",
        description="without calibration lines: stop with an error, go on without coil maps, or take the lines of an "
        "earlier scan of the session from storage (an error if there are none)",
    )
    keep_calibration: bool = Field(
        False,
        description="keep the calibration lines, and the coil maps and kernels made of them, in storage for later "
        "scans; needs channels that no gadget mixes",
    )
    calibration_size: int = Field(
        32, ge=8, le=1024, description="lines around the k-space centre used for the maps; of samples twice as many"
    )
    espirit_sets: int = Field(1, ge=1, le=2, description="map sets; 2 if the field of view is smaller than the object")
    espirit_kernel: int = Field(6, ge=3, le=12, description="kernel size of ESPIRiT in samples")
    espirit_wider: float = Field(WIDER, ge=1, le=2, description="field of view over the scan's; not of volumes")
    espirit_threshold: float = Field(0.0, ge=0, lt=1, description="relative null-space threshold; 0: by the noise")
    espirit_crop: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="maps are zero where the eigenvalue is lower, which keeps noise out of the background; 0: nowhere. "
        "Nothing is cropped where that would take away what the calibration lines show, as it does with few of them",
    )
    espirit_soft: bool = Field(False, description="fade the maps out around `espirit_crop` instead of cropping them")

    @model_validator(mode="after")
    def _soft_needs_a_threshold(self) -> CalibrateProperties:
        if self.espirit_soft and self.espirit_crop == 0:
            raise ValueError("espirit_soft fades out around espirit_crop; set that too, for example to 0.8")
        return self


class Calibrate(Gadget):
    """ReconData -> ReconData with coil maps."""

    name = "calibrate"
    usual = prepares = True
    Properties: ClassVar[type[Properties]] = CalibrateProperties
    properties: CalibrateProperties
    consumes = ("ReconData",)
    emits = ("ReconData",)

    def __init__(self, header: Any, properties: CalibrateProperties) -> None:
        super().__init__(header, properties)
        self._storage = CalibrationStorage(self.header)
        self._derived = Derived(self.header)

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Attach coil maps to every slice; other messages pass."""
        for message in messages:
            if isinstance(message, ReconData):
                yield from self._calibrate(checked(message))
                continue
            if (heard := read_note(message)) is not None:
                self._read_note(*heard)
            yield message

    def _read_note(self, gadget: str, facts: dict[str, Any]) -> None:
        """Read from another gadget's note what happened to the channels."""
        if (white := facts_of(PrewhitenFacts, {gadget: facts}, "prewhiten")) is not None:
            self._storage.whitened = bool(white.whitened)
        elif (mixed := facts_of(CompressFacts, {gadget: facts}, "compress")) is not None:
            self._storage.compressed = mixed.mode != "none"

    def _calibrate(self, recon_data: ReconData) -> Iterator[Message]:
        if has_partitions(recon_data):
            yield from self._calibrate_volume(recon_data)
            return
        mode = calibration_mode(recon_data, self.header)
        recon_data = with_reference(recon_data)
        acs, lines = _every_acs(recon_data)
        kept: Decision | None = None
        looked: Decision | None = None
        if lines == 0 and self.properties.no_acs == "storage":
            extended, looked = self._storage.find(recon_data)
            if extended is not None:
                recon_data, mode = extended, "external"
                acs, lines = _every_acs(recon_data)
        elif lines > 0 and self.properties.keep_calibration:
            kept = self._storage.keep(recon_data, acs)
        for text in sorted({one.left_out for one in acs if one is not None and one.left_out}):
            yield from self.warn(text)
        algorithm = self._algorithm(lines, mode, recon_data)
        facts = self._facts(mode, lines, algorithm, calibration_kept=kept, calibration_storage=looked)
        maps = None
        if algorithm != "none":
            found = [one for one in acs if one is not None]
            lost: list[float] = []
            maps = self._maps(found, recon_data, self._derived if facts.stored else compute, lost)
            yield from self._not_cropped(sum(one > MOST_LOST for one in lost), len(lost), "slices")
            facts = facts.model_copy(update={"coil_maps_cropped": share_of_zeros(maps)})
        yield note(self.name, facts.model_copy(update=self._derived.pop_facts()))
        yield recon_data if maps is None else with_maps(recon_data, maps)

    def _calibrate_volume(self, recon_data: ReconData) -> Iterator[Message]:
        """Attach coil maps to a scan with partitions; its calibration lines stay where they are."""
        if self.properties.keep_calibration or self.properties.no_acs == "storage":
            yield from self.warn(
                "The calibration lines of scans with partitions are neither kept in storage nor taken from it."
            )
        blocks = [calibration_block(recon_data, s, loc) for s, loc in places(recon_data)]
        mode = mode_of_volume(recon_data, self.header.calibration_mode)
        lines = min(0 if one is None else one.lines.shape[1] * one.lines.shape[2] for one in blocks)
        algorithm = self._algorithm(lines, mode, recon_data)
        more: dict[str, Any] = {}
        if lines and blocks[0] is not None:
            _, partitions, rows, _ = blocks[0].lines.shape
            more = {"acs_block": f"{rows} lines x {partitions} partitions", "acs_left_out": len(blocks[0].left_out)}
            yield from self.warn(blocks[0].strays) if blocks[0].left_out else []
        if algorithm == "none":
            yield note(self.name, self._facts(mode, lines, algorithm, **more))
            yield recon_data
            return
        samples, rows, partitions, coils = recon_data.bits[0].data.data.shape[:4]
        settings = {**self._settings(), "size": self.properties.calibration_size}
        sets = settings.get("n_sets", 1)
        claim(8 * len(blocks) * sets * coils * partitions * rows * samples, "the coil maps")
        maps = np.empty((len(blocks), sets, coils, partitions, rows, samples), np.complex64)
        left_out = 0
        for place, block in enumerate(blocks):
            assert block is not None
            left_out += volume_maps(block.lines, block.first, maps[place], algorithm, settings)  # type: ignore[arg-type]
        yield from self._not_cropped(left_out, len(blocks) * samples, "planes")
        yield note(self.name, self._facts(mode, lines, algorithm, coil_maps_cropped=share_of_zeros(maps), **more))
        del blocks
        yield with_maps(recon_data, maps)

    def _not_cropped(self, count: int, of: int, what: str) -> Iterator[Message]:
        """Warn where cropping was left out."""
        if count:
            crop, kernel = self.properties.espirit_crop, self.properties.espirit_kernel
            yield from self.warn(
                f"The coil maps of {count} of {of} {what} are not cropped: espirit_crop={crop:g} would take away what "
                "the calibration lines show. That is usual with fewer than twice as many of them as the kernel "
                f"(espirit_kernel={kernel}) has."
            )

    def _facts(self, mode: str, lines: int, algorithm: str, **more: Any) -> CalibrateFacts:
        return CalibrateFacts(
            mode=mode,
            header_mode=self.header.calibration_mode or "not stated",
            agreement=self._agreement(mode),
            acs_lines=lines,
            coil_maps=algorithm,
            **more,
        )

    def _algorithm(self, lines: int, mode: str, recon_data: ReconData) -> str:
        if lines > 0 or self.properties.coil_map_algorithm == "none":
            return self.properties.coil_map_algorithm
        if self.properties.no_acs == "pass":
            return "none"
        claim = self.header.calibration_mode
        raise ScanError(
            f"The scan has no calibration lines (ACS): none are flagged, and the imaging lines have no fully sampled "
            f"centre (sampling found: {mode}{f'; the header says {claim}' if claim else ''}): "
            f"{_what_came(recon_data)}. Acquire ACS lines, or "
            f"choose a configuration that needs none (Onebreath_Cine_ZeroFilled.xml, Onebreath_Static_ZeroFilled.xml)."
        )

    def _agreement(self, mode: str) -> str:
        claim = self.header.calibration_mode
        accelerated = (self.header.stated_acceleration or 1) > 1
        if claim is None or claim == mode or (mode == "centre" and claim == "embedded"):
            return "yes"
        if mode == "full" and not accelerated:
            return "yes"
        self.log.warning("the header's calibration mode is %s, but the lines show %s; the lines are used", claim, mode)
        return f"no: the header says {claim}, the lines show {mode}; the lines were used"

    def _maps(self, acs: list[Acs], recon_data: ReconData, derive: Derive, lost: list[float]) -> NDArray[np.complex64]:
        """Estimate coil maps (slice, set, coil, y, x); `lost` gets the share that cropping would remove of each."""
        samples, rows, _, coils = recon_data.bits[0].data.data.shape[:4]
        limits = recon_data.bits[0].data.sampling.sampling_limits
        algorithm, settings = self.properties.coil_map_algorithm, self._settings()
        if algorithm == "espirit":
            material = [_centre(found, limits, self.properties.calibration_size) for found in acs]
        else:
            material = [_windowed(found, rows) for found in acs]

        def estimate(lines: NDArray[np.complex64]) -> NDArray[np.complex64]:
            if algorithm == "espirit":
                claim(8 * lines.shape[0] * rows * samples, "the coil maps")
                found, away = cropped(lines, (rows, samples), **settings)
                lost.append(away)
                return np.asarray(found, np.complex64)
            return np.asarray((inati_maps if algorithm == "inati" else walsh_maps)(ifft2c(lines)), np.complex64)[None]

        return derive(
            "coil_maps",
            material,
            {"algorithm": algorithm, **settings},
            (len(acs), settings.get("n_sets", 1), coils, rows, samples),
            lambda: np.stack([estimate(lines) for lines in material]),
        )

    def _settings(self) -> dict[str, Any]:
        """Parameters of the algorithm that makes the maps."""
        chosen = self.properties
        if chosen.coil_map_algorithm != "espirit":
            return {}
        return {
            "n_sets": chosen.espirit_sets,
            "kernel": chosen.espirit_kernel,
            "threshold": chosen.espirit_threshold or None,
            "wider": chosen.espirit_wider,
            "crop": chosen.espirit_crop or None,
            "soft": chosen.espirit_soft,
        }


def _what_came(recon_data: ReconData) -> str:
    """Describe for an error how many lines of each slice arrived: "slice 2 has 20 of 64 lines"."""
    headers = recon_data.bits[0].data.headers
    texts = {}
    for loc in range(headers.shape[4]):
        came = acquired_of(headers[..., loc])
        numbers = [header.idx.slice for header in headers[..., loc].flat if header.number_of_samples > 0]
        number = numbers[0] if numbers else loc
        texts[number] = f"slice {number} has {int(came.any(axis=(2, 3)).sum())} of {came[:, :, 0, 0].size} lines"
    return ", ".join(texts[number] for number in sorted(texts))


def _every_acs(recon_data: ReconData) -> tuple[list[Acs | None], int]:
    """Return the calibration lines of all slices, and the smallest number of lines that a slice has."""
    acs = [acs_of(recon_data, s, loc) for s, loc in places(recon_data)]
    return acs, min(0 if found is None else found.lines.shape[1] for found in acs)


def _centre(acs: Acs, limits: NDArray[np.object_], size: int) -> NDArray[np.complex64]:
    """Return at most `size` lines, and twice as many samples, that lie symmetrically around the k-space centre."""
    # An asymmetric echo leaves fewer samples on one side; ESPIRiT needs a block without holes.
    centre, first, last = limits[E1].center, acs.first, acs.first + acs.lines.shape[1]
    half = min(centre - first, last - centre, size // 2)
    if half * 2 < min(size, acs.lines.shape[1]) // 2:
        raise ScanError(
            f"The calibration lines, rows {first} to {last - 1}, do not surround the k-space centre {centre}."
        )
    lines = acs.lines[:, centre - half - first : centre + half - first]
    readout = limits[RO]
    width = min(readout.center - readout.min, readout.max + 1 - readout.center, size)
    return lines[:, :, readout.center - width : readout.center + width]


def _windowed(acs: Acs, rows: int) -> NDArray[np.complex64]:
    """Place the lines in the matrix, the outermost tapered so that the low-resolution images do not ring.

    The readout keeps its resolution. Maps that are blurred along it, however smooth the coils are, cost more than the
    noise that they keep out: 2 dB of a cine of 16 channels at R = 3 and SNR 150, and nothing is gained at SNR 8.
    """
    coils, lines, samples = acs.lines.shape
    claim(8 * coils * rows * samples, "the coil maps")
    kspace = np.zeros((coils, rows, samples), np.complex64)
    kspace[:, acs.first : acs.first + lines] = acs.lines * _taper(lines)[:, None]
    return kspace


def _taper(lines: int) -> NDArray[np.float32]:
    """Return weights (line,): 1, falling like a cosine over a tenth of the lines at either end."""
    edge = round(lines / 10)
    rising = np.hanning(2 * edge + 3)[1 : edge + 1]
    return np.concatenate([rising, np.ones(lines - 2 * edge), rising[::-1]]).astype(np.float32)
