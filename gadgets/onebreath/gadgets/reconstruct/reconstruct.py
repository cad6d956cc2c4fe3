"""`reconstruct`: k-space and coil maps become images, by the method that the configuration names."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Literal

from gadgetron.types import ImageArray, ReconData
from pydantic import Field, model_validator

from onebreath.chain.facts import facts_of, readable
from onebreath.chain.gadget import Gadget, Message, Properties
from onebreath.chain.notes import note, read_note, read_warning
from onebreath.errors import MethodError, OnebreathError
from onebreath.gadgets.facts import CalibrateFacts, PrewhitenFacts, ReconstructFacts
from onebreath.gadgets.recon_space import ReconSpace
from onebreath.gadgets.reconstruct.chooser import Chooser
from onebreath.gadgets.reconstruct.gather import Gathering, unmeasured
from onebreath.gadgets.reconstruct.guard import MethodProperties
from onebreath.gadgets.reconstruct.images import ImageMaker, Label
from onebreath.gadgets.reconstruct.noise_maps import SERIES, NoiseMapProperties, noise_maps
from onebreath.gadgets.reconstruct.volumes import volume_noise_maps, volume_places
from onebreath.methods.base import Fact, compute
from onebreath.methods.choice.likeness import UNLIKE
from onebreath.methods.guarded import Guarded, Outcome
from onebreath.methods.place import AnyPlace, Fill, Place
from onebreath.methods.volumes.place import VolumePlace
from onebreath.mrd.acs import with_reference
from onebreath.mrd.buffers import checked
from onebreath.mrd.volumes import has_partitions
from onebreath.storage.derived import Derived
from onebreath.validation import SeriesNumber

DOUBTFUL = 0.15
"""Part of calibration lines that images may leave unexplained: there, half as much of the image is wrong."""


class ReconstructProperties(MethodProperties, NoiseMapProperties):
    """Properties of `reconstruct`."""

    model_config = MethodProperties.model_config

    image_series: SeriesNumber = Field(1, description="series number of the images")
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
    partial_fourier: Fill = Field(
        "zero_fill",
        description="how the part of k-space beyond partial Fourier and asymmetric echo is filled; method: with "
        "whatever the method made of it, which for cg_sense is mostly amplified noise",
    )
    acs_as_data: Literal["auto", "yes", "no"] = Field(
        "auto", description="whether embedded calibration lines count as data; auto: for all methods but GRAPPA"
    )

    @model_validator(mode="after")
    def _series_differ(self) -> ReconstructProperties:
        """Check that no two series share a number; the series of other parts are numbered 1000 higher each."""
        numbers = {"image_series": self.image_series, **{role: SERIES[role] for role in self.map_roles}}
        if self.send_out_classical or self.make_fallback() is not None:
            numbers["classical_series"] = self.classical_series
        for name, number in numbers.items():
            for other, same in numbers.items():
                if name < other and (number - same) % 1000 == 0:
                    raise ValueError(f"{name} and {other} would both be series {number % 1000}; choose another number")
        return self


class Reconstruct(Gadget):
    """ReconData -> ImageArray."""

    name = "reconstruct"
    Properties: ClassVar[type[Properties]] = ReconstructProperties
    properties: ReconstructProperties
    usual = True
    consumes = ("ReconData",)
    emits = ("ImageArray",)

    def __init__(self, header: Any, properties: ReconstructProperties) -> None:
        super().__init__(header, properties)
        self.chooser = Chooser(properties, self.header, properties.send_out_error_map)
        self._notes: dict[str, dict[str, Any]] = {}
        self._warnings: list[str] = []
        self._begun = self._unlike = self._said = False
        self._images = ImageMaker(self.header)
        self._derived = Derived(self.header)

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Reconstruct every slice; notes are kept for the meta of the images, other messages pass."""
        for message in messages if self.properties.slices_together == 1 else self._announced(messages):
            if isinstance(message, ReconData):
                yield from self._reconstruct(with_reference(checked(message)))
                continue
            written = read_note(message)
            if written is None:
                self._keep_warning(message)
                yield message
            else:
                yield from self._take_note(*written)

    def _take_note(self, gadget: str, facts: dict[str, Any]) -> Iterator[Message]:
        """Keep a note; if `sort` has decided anew, after slices came early, all is made again, and chosen again."""
        if self._begun and gadget not in self._notes:
            yield from self.warn(
                f"What gadget '{gadget}' says came after images were made, so their meta lacks it: {readable(facts)}. "
                "Set trigger_dimension of gadget 'sort' to none, so that all images wait for the end of the scan."
            )
        anew = gadget == "sort" and facts.get("decided_again") and not self._notes.get("sort", {}).get("decided_again")
        if anew:
            self.chooser = Chooser(self.properties, self.header, self.properties.send_out_error_map)
        self._notes[gadget] = facts

    def _keep_warning(self, message: Message) -> None:
        text = read_warning(message)
        if text is not None and text not in self._warnings:
            self._warnings.append(text)

    def _announced(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Yield messages in their order; the method gets the slices of each group before the first is reconstructed."""
        waiting: list[Message] = []
        for message in messages:
            waiting.append(message)
            if sum(isinstance(one, ReconData) for one in waiting) == self.properties.slices_together:
                self._announce(waiting)
                yield from waiting
                waiting = []
        self._announce(waiting)
        yield from waiting

    def _announce(self, waiting: list[Message]) -> None:
        given = [checked(message) for message in waiting if isinstance(message, ReconData)]
        slabs = [with_reference(one) for one in given if not has_partitions(one)]
        places: list[Place] = []
        for slab in slabs:
            with suppress(OnebreathError):  # raised again when the slice is reconstructed
                places += self._gathering.every(slab)
        if slabs:
            self.chooser.guard(self._gathering.first(slabs[0]).merged).foresee(places)

    @property
    def _gathering(self) -> Gathering:
        chosen, said = self.properties, facts_of(PrewhitenFacts, self._notes, "prewhiten")
        whitened = said is None or said.whitened is not False
        return Gathering(self.header, chosen.acs_as_data, whitened, chosen.partial_fourier, chosen.method)

    def _reconstruct(self, recon_data: ReconData) -> Iterator[Message]:
        self._begun = True
        begun, before = time.perf_counter(), self.surroundings.seconds()
        places: Sequence[AnyPlace]
        if has_partitions(recon_data):
            places, guard = volume_places(self._gathering, recon_data), self.chooser.guard_of_volumes()
        else:
            places = slices = self._gathering.every(recon_data)
            for text in filter(None, map(unmeasured, slices)):
                yield from self.warn(text)
            guard = self.chooser.guard(slices[0].merged, [one.merged for one in slices[1:]])
        guard.calibrate_by(self._derived if self._calibration_is_stored() else compute)
        for made in guard(places):
            facts = self._facts(guard, made, places)
            note(self.name, ReconstructFacts.model_validate(facts[0]))
            for place, one in zip(places, facts, strict=True):
                yield from self._doubted(place, one)
            own = before.get(self.name, 0.0) + time.perf_counter() - begun
            seconds = {name: round(spent, 4) for name, spent in {**before, self.name: own}.items()}
            shared = {**self._notes, "seconds": seconds}
            yield self._image_array(made, recon_data, places, [{**shared, self.name: one} for one in facts])
            if self.properties.map_roles and not made.beside:
                notes = [{**shared, self.name: one} for one in facts]
                yield from self._noise_maps(made, recon_data, places, notes)

    def _doubted(self, place: object, facts: dict[str, Fact]) -> Iterator[Message]:
        """Warn of images that do not explain their calibration lines, and of noise that cannot be that of the lines."""
        left, noise = facts.get("acs_unexplained", 0.0), facts.get("noise_overstated", 0.0)
        texts = []
        known = str(facts.get("choice_error_90_percent", ""))
        if not self._unlike and UNLIKE in known:
            self._unlike = True
            texts.append(
                f"{place}: {known.partition('as ')[2]}, so what was chosen and estimated there "
                "may not be right for it. Further slices like it are named in their meta only."
            )
        if (more := facts.get("noise_understated", 0.0)) and not self._said:
            texts.append(
                f"The lines hold {more} times the noise that the noise scan says, so it is not that of this scan or "
                "has another gain. The noise in the lines was used, but SNR and pixel values are too large by that."
            )
        if noise and not self._said:
            texts.append(
                f"The noise scan says at least {noise} times the noise that the lines can hold, so it is not that of "
                "this scan, or has another dwell time than its header says; SNR and pixel values are too small by that."
            )
        self._said |= bool(more or noise)  # slices differ in the number only
        if isinstance(left, float) and left > DOUBTFUL:
            texts.append(
                f"{place}: {left:.0%} of the calibration lines are not explained by these images, which are wrong to "
                "that extent if both were acquired alike: too few channels tell the aliased pixels apart. Set "
                "espirit_crop=0.8 if it is 0, try method grappa, or acquire with less acceleration or with the "
                "calibration lines embedded."
            )
        for text in texts:
            for said in self.warn(text):
                self._keep_warning(said)
                yield said

    def _calibration_is_stored(self) -> bool:
        said = facts_of(CalibrateFacts, self._notes, "calibrate")
        return said is not None and said.stored

    def _facts(self, guard: Guarded, made: Outcome, places: Sequence[AnyPlace]) -> list[dict[str, Fact]]:
        """Return the facts of each slice and set."""
        shared = {"method": made.method.name, "snr_units": self.properties.snr_units, **guard.facts}
        after: dict[str, Fact] = dict(self._derived.pop_facts())
        if made.instead:
            after |= {"fallback": made.instead, "wanted": made.wanted}
        own = [self.chooser.facts_of(place.merged) if isinstance(place, Place) else {} for place in places]
        if made.instead and "choice_error_90_percent" in shared:
            own = [{"choice_error_90_percent": "not known, as the fallback made these images"} for _ in places]
        facts = [{**shared, **result.facts, **mine, **after} for result, mine in zip(made.results, own, strict=True)]
        for one in facts:
            if str(one.get("choice_error_90_percent", "")).startswith("not known"):
                one.pop("choice_error", None)
        return facts

    def _image_array(
        self, made: Outcome, recon_data: ReconData, places: Sequence[AnyPlace], notes: list[dict[str, Any]]
    ) -> ImageArray:
        """Return the message with a method's images."""
        scaled = self.properties.snr_units == "gadgetron"
        images = [
            result.images * (place.snr_scale if scaled else 1)
            for place, result in zip(places, made.results, strict=True)
        ]
        classical = made.instead or made.beside
        series = self.properties.classical_series if classical else self.properties.image_series
        return self._images.array(images, recon_data.bits[0].data, self._label("Image", series, made, notes))

    def _noise_maps(
        self, made: Outcome, recon_data: ReconData, places: Sequence[AnyPlace], notes: list[dict[str, Any]]
    ) -> Iterator[Message]:
        """Make the messages with the requested maps; none if time is too short for one of the slices."""
        maps, space = [], ReconSpace.of(recon_data.bits[0].data)
        errors = [self._error_of(made, place) for place in places]
        roles = [role for role in self.properties.map_roles if role != "Error_MAP" or None not in errors]
        for place, error in zip(places, errors, strict=True):
            if error is None and self.properties.send_out_error_map:
                yield from self.warn(
                    f"No error map of {place} is sent: its error is not known (choice_error_90_percent)."
                )
        for place, result, facts, error in zip(places, made.results, notes, errors, strict=True):
            try:
                if isinstance(place, VolumePlace):
                    found, how = volume_noise_maps(made.method, result, place, self.properties, roles, space)
                else:
                    assert isinstance(place, Place)
                    found, how = noise_maps(made.method, result, place, self.properties, roles, space, error)
            except (TimeoutError, MethodError) as why:
                self.log.warning("no noise maps are sent: %s: %s", place, why)
                return
            if "Error_MAP" in found and self.properties.snr_units == "gadgetron":  # as the images
                found["Error_MAP"] = found["Error_MAP"] * place.snr_scale
            maps.append(found)
            facts[self.name] = facts[self.name] | how
        for role in roles:
            label = self._label(role, SERIES[role], made, notes)
            yield self._images.array([one[role] for one in maps], recon_data.bits[0].data, label)

    def _error_of(self, made: Outcome, place: AnyPlace) -> float | None:
        """Return the error of a place's images, relative to them, where held-back lines tell it."""
        return None if made.instead or not isinstance(place, Place) else self.chooser.error_of(place.merged)

    def _label(self, role: str, series: int, made: Outcome, notes: list[dict[str, Any]]) -> Label:
        return Label(role, series, made, notes, self._warnings, self.surroundings.steps)
