"""`reconstruct`: k-space and coil maps become images, by the method that the configuration names."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from gadgetron.types import ImageArray, ReconData
from gadgetron.types.recon_data import ReconBuffer
from numpy.typing import NDArray
from pydantic import Field

from onebreath.cancellation import checkpoint
from onebreath.chain.gadget import Gadget, Message, Properties
from onebreath.chain.notes import note, read_note, read_warning
from onebreath.errors import OnebreathError
from onebreath.gadgets.reconstruct.chooser import Chooser
from onebreath.gadgets.reconstruct.guard import MethodProperties
from onebreath.gadgets.reconstruct.noise_maps import SERIES, NoiseMapProperties, noise_maps
from onebreath.methods.base import Method, Reconstruction, SliceData, compute
from onebreath.methods.guarded import Outcome
from onebreath.mrd.acs import acs_of, calibration_mode, merge_acs, with_reference
from onebreath.mrd.buffers import E1, RO, kspace_of, maps_of, mask_of, places
from onebreath.mrd.meta import (
    COUNTERS,
    ImageNumbers,
    central_line,
    image_header,
    image_meta,
    write_both,
    write_facts,
    write_role,
    write_warnings,
)
from onebreath.mri.fourier import fft2c
from onebreath.mri.partial_fourier import homodyne, pocs, zero_fill
from onebreath.mri.sampling import Sampling, describe
from onebreath.storage.calibration import lines_are_stored
from onebreath.storage.derived import Derived

FILLS = {"zero_fill": zero_fill, "pocs": pocs, "homodyne": homodyne}


class ReconstructProperties(MethodProperties, NoiseMapProperties):
    """Properties of `reconstruct`."""

    model_config = MethodProperties.model_config

    image_series: int = Field(1, ge=0, description="series number of the images")
    slices_together: int = Field(
        1,
        ge=1,
        description="slices that raki waits for to learn them side by side, which saves time on a GPU only; other "
        "methods take them one by one",
    )
    snr_units: Literal["transform", "gadgetron"] = Field(
        "transform",
        description="transform: noise is 1 fully sampled, g*sqrt(R) accelerated; gadgetron: noise is g, as there",
    )
    partial_fourier: Literal["zero_fill", "pocs", "homodyne", "method"] = Field(
        "zero_fill",
        description="how the part of k-space beyond partial Fourier and asymmetric echo is filled; method: with "
        "whatever the method made of it, which for cg_sense is mostly amplified noise",
    )
    acs_as_data: Literal["auto", "yes", "no"] = Field(
        "auto", description="whether embedded calibration lines count as data; auto: for all methods but GRAPPA"
    )


class Reconstruct(Gadget):
    """ReconData -> ImageArray."""

    name = "reconstruct"
    Properties: ClassVar[type[Properties]] = ReconstructProperties
    properties: ReconstructProperties
    consumes = ("ReconData",)
    emits = ("ImageArray",)

    def __init__(self, header: Any, properties: ReconstructProperties) -> None:
        super().__init__(header, properties)
        self.chooser = Chooser(properties, self.header)
        self._notes: dict[str, dict[str, Any]] = {}
        self._warnings: list[str] = []
        self._numbers = ImageNumbers(self.header)
        self._derived = Derived(self.header)

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Reconstruct every slice; notes are kept for the meta of the images, other messages pass."""
        for message in messages if self.properties.slices_together == 1 else self._foreseen(messages):
            if isinstance(message, ReconData):
                yield from self._reconstruct(message)
                continue
            written = read_note(message)
            if written is None:
                self._hear(message)
                yield message
            else:
                self._notes[written[0]] = written[1]

    def _hear(self, message: Message) -> None:
        text = read_warning(message)
        if text is not None and text not in self._warnings:
            self._warnings.append(text)

    def _foreseen(self, messages: Iterable[Message]) -> Iterator[Message]:
        """The messages in their order; the method is told of the slices among every so many before the first comes."""
        waiting: list[Message] = []
        for message in messages:
            waiting.append(message)
            if sum(isinstance(one, ReconData) for one in waiting) == self.properties.slices_together:
                yield from self._told_of(waiting)
                waiting = []
        yield from self._told_of(waiting)

    def _told_of(self, waiting: list[Message]) -> list[Message]:
        def slices(method: Method) -> list[SliceData]:
            found = []
            for message in slabs:
                with suppress(OnebreathError):  # told when the slice comes
                    whole = with_reference(message)
                    found += [self._slice(whole, s, loc, method.acs_as_data)[0] for s, loc in places(whole)]
            return found

        slabs = [message for message in waiting if isinstance(message, ReconData)]
        if slabs:
            self.chooser.guard(lambda: self.first_slice(with_reference(slabs[0]))).foresee(slices)
        return waiting

    def _reconstruct(self, recon_data: ReconData) -> Iterator[ImageArray]:
        begun, before = time.perf_counter(), self.surroundings.seconds()
        recon_data = with_reference(recon_data)
        guard = self.chooser.guard(lambda: self.first_slice(recon_data))
        guard.calibrate_by(self._derived if lines_are_stored(self._notes.get("calibrate", {})) else compute)
        for made in guard(lambda method: self._places(recon_data, method)):
            facts = {"method": made.method.name, "snr_units": self.properties.snr_units, **guard.facts}
            facts |= made.results[0].facts | self._derived.told()
            if made.instead:
                facts |= {"fallback": made.instead, "wanted": made.wanted}
            note(self.name, **facts)
            self._notes[self.name] = facts
            own = before.get(self.name, 0.0) + time.perf_counter() - begun
            self._notes["seconds"] = {name: round(spent, 4) for name, spent in {**before, self.name: own}.items()}
            yield from self._arrays(made, recon_data)

    def first_slice(self, recon_data: ReconData) -> SliceData:
        """Return the first slice of a message as methods with models get it."""
        s, loc = next(iter(places(recon_data)))
        return self._slice(recon_data, s, loc, acs_as_data=True)[0]

    def _places(self, recon_data: ReconData, method: Method) -> list[Reconstruction]:
        """Reconstruct all sets and slices of a message with one method."""
        results = []
        for s, loc in places(recon_data):
            data, scale = self._slice(recon_data, s, loc, method.acs_as_data)
            results.append(self._apply(method, data, s, loc))
            results[-1].facts["snr_scale"] = scale
        return results

    def _arrays(self, made: Outcome, recon_data: ReconData) -> Iterator[ImageArray]:
        """Put images and maps into messages."""
        buffer = recon_data.bits[0].data
        scales = [float(result.facts["snr_scale"]) for result in made.results]
        images = [
            result.images * (scale if self.properties.snr_units == "gadgetron" else 1)
            for result, scale in zip(made.results, scales, strict=True)
        ]
        classical = made.instead or made.beside
        series = self.properties.classical_series if classical else self.properties.image_series
        yield self._array(images, buffer, "Image", series, made)
        if not made.beside and self.properties.map_roles:
            yield from self._noise_maps(made, recon_data)

    def _slice(self, recon_data: ReconData, s: int, loc: int, acs_as_data: bool) -> tuple[SliceData, float]:
        """Gather what the method needs, and the factor from the transform's scale to Gadgetron's SNR units."""
        buffer = recon_data.bits[0].data
        kspace, mask = kspace_of(buffer, s, loc), mask_of(buffer, s, loc)
        found = self._describe(mask, buffer)
        scale = gadgetron_scale(found)
        if self._acs_is_data(recon_data, acs_as_data):
            kspace, mask = merge_acs(kspace, mask, recon_data, s, loc)
            found = self._describe(mask, buffer)
        acs = acs_of(recon_data, s, loc)
        lines, first = (None, 0) if acs is None else acs
        whitened = bool(self._notes.get("prewhiten", {}).get("whitened", True))
        return SliceData(kspace, mask, lines, first, maps_of(recon_data, s, loc), found, whitened), scale

    def _describe(self, mask: NDArray[np.bool_], buffer: ReconBuffer) -> Sampling:
        limits = buffer.sampling.sampling_limits
        readout_centre = limits[RO].center if mask.shape[2] > 1 else None
        return describe(mask, limits[E1].center, readout_centre, acceleration=self.header.acceleration)

    def _acs_is_data(self, recon_data: ReconData, wanted: bool) -> bool:
        if self.properties.acs_as_data != "auto":
            return self.properties.acs_as_data == "yes"
        return wanted and calibration_mode(recon_data, self.header) == "embedded"

    def _apply(self, method: Method, data: SliceData, s: int, loc: int) -> Reconstruction:
        checkpoint()
        try:
            result = method(data)
        except OnebreathError as error:
            raise type(error)(f"slice {loc}, set {s}, method {method.name}: {error}") from error
        result.images = np.asarray(result.images, np.complex64)
        result.facts |= {
            "sampling": data.sampling.family,
            "acceleration": data.sampling.acceleration,
            "effective_acceleration": round(data.sampling.effective_acceleration, 3),
            "partial_fourier": self._fill(result, data, method),
        }
        return result

    def _fill(self, result: Reconstruction, data: SliceData, method: Method) -> str:
        """Fill the missing side of k-space in place; return what was done."""
        found, how = data.sampling, self._filling(data, method)
        if how == "none needed":
            return how
        if how != "method":
            result.images = fill_images(FILLS[how], result.images, found)
        return f"{how} ({found.partial_fourier:.3g} of y{', asymmetric echo' if found.asymmetric_echo else ''})"

    def _filling(self, data: SliceData, method: Method) -> str:
        """How the missing side of k-space is filled after the method."""
        if data.sampling.partial_fourier >= 1 and not data.sampling.asymmetric_echo:
            return "none needed"
        how = self.properties.partial_fourier
        if how == "method" and method.name != self.properties.method:
            return "pocs"  # the property is about the wanted method; a classical one amplifies noise there
        return how

    def _noise_maps(self, made: Outcome, recon_data: ReconData) -> Iterator[ImageArray]:
        """The maps that are asked for, of all places of a message; none if the time does not suffice for one place."""
        maps, facts = [], dict(self._notes[self.name])
        for (s, loc), result in zip(places(recon_data), made.results, strict=True):
            data, scale = self._slice(recon_data, s, loc, made.method.acs_as_data)
            how = self._filling(data, made.method)
            finish = partial(fill_images, FILLS[how], sampling=data.sampling) if how in FILLS else None
            try:
                found, told = noise_maps(made.method, result, data, self.properties, scale, finish)
            except TimeoutError as error:
                self.log.warning("no noise maps are sent: slice %d, set %d: %s", loc, s, error)
                return
            maps.append(found)
            facts |= told
        images, self._notes[self.name] = self._notes[self.name], facts
        for role in self.properties.map_roles:
            yield self._array([one[role] for one in maps], recon_data.bits[0].data, role, SERIES[role], made)
        self._notes[self.name] = images

    def _array(
        self, images: list[NDArray[Any]], buffer: ReconBuffer, role: str, series: int, made: Outcome
    ) -> ImageArray:
        """Put the images (frame, y, x) of all places into one message with headers and meta."""
        samples, rows, _, _, frames, sets, slices = buffer.data.shape
        stacked = np.stack(images).astype(np.complex64).reshape(slices, sets, frames, 1, 1, rows, samples)
        headers = np.empty((frames, sets, slices), dtype=object)
        metas = []
        told = self._notes.get("sort", {})
        values = {name: int(told.get(f"values_{name}", 1)) for name in COUNTERS}
        values["phase"] = max(values["phase"], *(header.idx.phase + 1 for header in buffer.headers.flat))
        for loc, s, n in np.ndindex(slices, sets, frames):
            lines = buffer.headers[:, 0, n, s, loc]
            line = central_line(lines, buffer.sampling.sampling_limits[E1].center)
            headers[n, s, loc] = image_header(line, buffer.sampling, series, self._numbers(series, line.idx, values))
            acquired = [header for header in lines if header.number_of_samples > 0]
            meta = image_meta(line, self.header, buffer.sampling, headers[n, s, loc], acquired)
            self._describe_role(meta, role, made)
            metas.append(meta.serialize())
        return ImageArray(stacked.transpose(6, 5, 4, 3, 2, 1, 0), headers, metas)

    def _describe_role(self, meta: Any, role: str, made: Outcome) -> None:
        name, comment = made.method.name, f"Onebreath {made.method.name}"
        if made.instead:
            name, comment = f"{name}_fallback", f"{comment}, fallback for {made.wanted}: {made.instead}"
        elif made.beside:
            name, comment = f"{name}_classical", f"{comment}, beside {made.wanted}"
        write_role(meta, role)
        write_both(meta, "GADGETRON_ImageComment", comment if role == "Image" else role)
        write_both(meta, "GADGETRON_SeqDescription", f"_GT_Onebreath_{name}" if role == "Image" else role)
        if role != "Image":
            meta["Skip_processing_after_recon"] = "1"
        write_facts(meta, self._notes)
        write_warnings(meta, self._warnings)
        meta["Onebreath_chain"] = json.dumps(self.surroundings.steps)


def gadgetron_scale(sampling: Sampling) -> float:
    """Return the factor from the unitary transform's scale to Gadgetron's SNR units, in which noise is g.

    Gadgetron scales the zero-filled data to unit noise and divides the unfolded image by R: sqrt(y / lines) / R, here
    with the samples along the readout counted likewise.
    """
    first, last = sampling.readout
    readout = sampling.shape[2] / (last - first + 1) if sampling.shape[2] > 1 else 1.0
    return math.sqrt(sampling.effective_acceleration * readout) / sampling.acceleration


def fill_images(fill: Any, images: NDArray[np.complex64], sampling: Sampling) -> NDArray[np.complex64]:
    """Apply a partial Fourier method to images (frame, y, x), whose k-space ends where the acquisition ended."""
    readout = sampling.readout if sampling.shape[2] > 1 else None
    return np.asarray(fill(fft2c(images), y=sampling.acquired, x=readout), np.complex64)
