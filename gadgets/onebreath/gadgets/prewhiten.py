"""Gadget: noise whitening and the readout (reversed lines, asymmetric echo, oversampling). Acquisition -> Acquisition.

Afterwards noise has unit standard deviation in the real and in the imaginary part of every channel, the echo is at
sample ``n // 2``, and the line covers the recon field of view along the readout.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onebreath.chain import gadget
from onebreath.chain.gadget import Gadget, Message, PermittedPath
from onebreath.chain.notes import note
from onebreath.errors import ScanError
from onebreath.gadgets.facts import PrewhitenFacts
from onebreath.gadgets.only_noise import check_kept, warnings_of
from onebreath.gadgets.whitening import POSSIBLE_NOISE, STORED_NOISE, SilentChannels, Whitening
from onebreath.mrd.blocks import LineBlock, together_or_singly
from onebreath.mrd.lines import (
    NOISE,
    REVERSE,
    SIDE_BITS,
    bad_samples,
    bit,
    changed,
    describe,
    finite,
    header_of,
    is_no_image,
    mixed,
)
from onebreath.mrd.opening import Directions, Echoes, Opening
from onebreath.mrd.readout import Extent
from onebreath.mrd.readout_form import ReadoutForm
from onebreath.mrd.trajectory import Trajectories
from onebreath.mri.noise import covariance
from onebreath.storage.noise import StoredCovariance
from onebreath.storage.noise_storage import FoundNoise, find_noise, keep_noise

CHECKED = 32
"""Lines by which a stored covariance is checked."""


class PrewhitenProperties(gadget.Properties):
    """Properties of `prewhiten`."""

    noise_covariance: PermittedPath = Field("", description="stored covariance (.npz) for scans without noise lines")
    store_noise_covariance: PermittedPath = Field(
        "", description="file (.npz) to keep the covariance of the noise lines in"
    )
    use_storage: bool = Field(
        True,
        description="keep the noise covariance for later scans of the session, and look for one where a scan has no "
        "noise lines",
    )
    noise_max_age_h: float = Field(
        24, ge=0, description="hours after which a covariance in storage is not used any more; 0: it may have any age"
    )
    keep_noise: bool = Field(True, description="keep the covariance in storage; no: storage is only read")
    only_noise: bool = Field(False, description="send no line on: the scan is only measured for its noise")


class Prewhiten(Gadget):
    """Whiten every line, and convert its readout to the form that all later gadgets expect.

    Noise lines at the start of the scan give the covariance and are consumed; else a stored one is used: from the file
    that a property names, or from storage, where an earlier scan left it; else the channels stay as they are. Which of
    these, and what was done to the readout, is said in notes. Lines that are no part of an image (navigators, dummies,
    phase correction, ...) pass on untouched.
    """

    name = "prewhiten"
    usual = prepares = light = True
    Properties = PrewhitenProperties
    consumes = ("Acquisition",)
    emits = ("Acquisition",)
    takes_blocks = True
    properties: PrewhitenProperties

    def __init__(self, header: Any, properties: PrewhitenProperties) -> None:
        super().__init__(header, properties)
        self._stored = StoredCovariance.load(properties.noise_covariance) if properties.noise_covariance else None
        self._noise: list[NDArray[np.complex64]] = []
        self._noise_dwell = 0.0
        self._used: Whitening | None = None
        self._to_keep: StoredCovariance | None = None
        self._channels = 0
        self._late_noise = 0
        self._readout = ReadoutForm(self.header)
        self._facts: dict[str, Any] = {}
        self._opening = Opening(self.header, self._readout.kept, self._readout.encoded)
        self._echoes = Echoes(self.header)
        self._trajectories = Trajectories()
        self._directions = Directions(self.header.space)
        self._found: FoundNoise | None = None
        self._left_out: Counter[int] = Counter()
        self._silent = SilentChannels()

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Consume noise lines, whiten imaging and calibration lines, and pass on all other messages."""
        asked = self.properties
        if not asked.only_noise:
            yield from self._whiten(messages)
            return
        yield from warnings_of(self._whiten(messages))
        check_kept(self._facts, file=bool(asked.store_noise_covariance), storage=asked.use_storage and asked.keep_noise)

    def _whiten(self, messages: Iterable[Message]) -> Iterator[Message]:
        for message in messages:
            if isinstance(message, ismrmrd.Acquisition):
                yield from self._take(message)
            elif isinstance(message, LineBlock):
                yield from together_or_singly(message, self._block, self._take)
            else:
                yield message
        yield from self._finish()

    def _take(self, line: ismrmrd.Acquisition) -> Iterator[Message]:
        header = header_of(line)
        self._directions.see(header)
        if header.flags & bit(NOISE):
            self._take_noise(line)
        elif is_no_image(header, self._channels, self.header.space):
            yield line
        else:
            self._trajectories.check(line)
            if self._channels:
                yield from self._give(line)
                return
            self._opening.hold(line)
            if self._opening.ready(self._lines_to_see()):
                yield from self._open()

    def _lines_to_see(self) -> int:
        """Return how many lines are held before the scan is opened; a stored covariance is checked with them."""
        if self._noise or self._stored is not None or not self.properties.use_storage:
            return 1
        if self._found is None and (channels := self._opening.channels()):
            self._found = find_noise(self.header, channels, self.properties.noise_max_age_h)
        return CHECKED if self._found is not None and self._found.covariance is not None else 1

    def _open(self) -> Iterator[Message]:
        """Choose the processing of the scan from its first lines, and yield these."""
        first, held = self._opening.release()
        self._readout.cropped = self._opening.cropped
        yield from self._start(first, held)
        for line in held:
            if is_no_image(header_of(line), self._channels, self.header.space):
                yield line
            else:
                yield from self._give(line)

    def _give(self, line: ismrmrd.Acquisition) -> Iterator[Message]:
        """Whiten a line; a reversed line once the position of its echo is known."""
        if header_of(line).active_channels != self._channels and self._opening.expected == self._channels:
            self._left_out[header_of(line).active_channels] += 1
            return
        yield from self._whitened(self._echoes.settle(line))

    def _whitened(self, lines: Iterable[ismrmrd.Acquisition]) -> Iterator[Message]:
        for line in lines:
            whitened, news = self._line(line, header_of(line))
            yield from [self._note(**news)] if news else []
            yield whitened

    def _take_noise(self, line: ismrmrd.Acquisition) -> None:
        if self._channels:
            self._late_noise += 1
            return
        header = header_of(line)
        expected = self._opening.expected
        if self._noise and len(line.data) != len(self._noise[0]) and expected in (len(line.data), len(self._noise[0])):
            other = self._noise if len(line.data) == expected else [line.data]
            self._left_out[len(other[0])] += len(other)
            if other is not self._noise:
                return
            self._noise = []
        if self._noise and (len(line.data) != len(self._noise[0]) or header.sample_time_us != self._noise_dwell):
            raise ScanError(
                f"Noise {describe(header)} has {len(line.data)} channels and a dwell time of {header.sample_time_us} "
                f"us, the noise lines before it {len(self._noise[0])} and {self._noise_dwell} us; they must agree."
            )
        self._noise_dwell = header.sample_time_us
        self._noise.append(line.data)

    def _note(self, **facts: Any) -> ismrmrd.Waveform:
        """Add to the facts about the scan; every note holds all of them, as it replaces the previous one."""
        self._facts |= facts
        return note(self.name, PrewhitenFacts.model_validate(self._facts))

    def _start(self, first: ismrmrd.Acquisition, held: list[ismrmrd.Acquisition]) -> Iterator[Message]:
        """Choose the noise covariance once the first lines have arrived."""
        self._channels = len(first.data)
        facts = self._facts = {**self._facts, "noise": "none", "channels": self._channels}
        used: StoredCovariance | None = None
        if self._noise:
            self._to_keep = used = self._from_noise_lines()
            facts["noise"], facts["noise_lines"] = "scan", len(self._noise)
            self._noise.clear()
        elif self._stored is not None:
            used, matched = self._stored.ordered_for(self.header.coil_labels, self._channels)
            facts["noise"], facts["channel_order"] = "stored", matched
        elif self.properties.use_storage:
            oldest = self.properties.noise_max_age_h
            used, looked, unfit = self._found or find_noise(self.header, self._channels, oldest)
            facts |= looked
            if unfit:
                yield from self.warn(f"The stored noise covariance was not used: {unfit}")
            if used is not None:
                facts["noise"] = "storage"
                unfit = Whitening(used, self.header.noise_bandwidth).unfit(held, STORED_NOISE)
                if unfit:
                    used, facts["noise"], facts["noise_storage"] = None, "none", f"not used: {unfit}"
                    yield from self.warn(f"The stored noise covariance was not used: {unfit}.")
        facts["whitened"] = used is not None
        if used is None:
            return
        if len(used.matrix) != self._channels:
            raise ScanError(
                f"The noise lines have {len(used.matrix)} channels, but {describe(header_of(first))} has "
                f"{self._channels}. Take a noise scan with the coils of this scan."
            )
        dwell = header_of(first).sample_time_us
        self._used = Whitening(used, self.header.noise_bandwidth)
        self._used.matrix(dwell)
        unfit = self._used.unfit(held, POSSIBLE_NOISE)
        if unfit:
            raise ScanError(
                f"The noise scan does not belong to these lines: {unfit}. Repeat the scan with its noise scan."
            )
        facts |= self._used.facts(dwell)

    def _from_noise_lines(self) -> StoredCovariance:
        samples = np.concatenate(self._noise, axis=1)
        source, labels = self.header.measurement_id or "", tuple(self.header.coil_labels)
        if len(labels) != len(samples):
            labels = ()
        found = StoredCovariance(covariance(samples), self._noise_dwell, labels, samples.shape[1], source, time.time())
        if self.properties.store_noise_covariance:
            found.save(self.properties.store_noise_covariance)
        return found

    def _line(self, line: ismrmrd.Acquisition, header: Any) -> tuple[ismrmrd.Acquisition, dict[str, Any] | None]:
        data = line.data
        if len(data) != self._channels:
            raise ScanError(
                f"The number of channels changes within the scan: {describe(header)} has {len(data)}, the lines "
                f"before it have {self._channels}. If the header's receiverChannels said which belong to the image, "
                "the others would be left out."
            )
        data, extent, news = self._readout(self._silent.see(data), header, self._echoes.as_acquired(header))
        fields = {**extent.fields, "flags": header.flags & ~bit(REVERSE)}
        if self._used is None:
            if not finite(data):
                raise ScanError(bad_samples(data, header))
            return changed(line, data, **fields), news
        # Whitening acts along channels only, so it may follow the readout, when the line is shorter.
        return mixed(line, self._used.matrix(header.sample_time_us), data, **fields), news

    def _block(self, block: LineBlock) -> LineBlock | None:
        """Whiten a block of lines like the previous ones together; None if they must be handled one by one."""
        flags, header = block.headers["flags"], block.header(0)
        if self._used is None or header.active_channels != self._channels or (flags & (SIDE_BITS | bit(REVERSE))).any():
            return None
        if not header.number_of_samples or (block.headers["encoding_space_ref"] != self.header.space).any():
            return None
        alike = block.agree("center_sample", "discard_pre", "discard_post", "sample_time_us")
        if not alike or Extent.of(header) not in self._readout.forms:
            return None
        self._directions.see_forward(block.headers)
        samples, extent, _ = self._readout(self._silent.see(block.samples), header)
        return block.mixed([self._used.matrix(header.sample_time_us)] * len(block), samples, **extent.fields)

    def _finish(self) -> Iterator[Message]:
        if not self._channels and self._opening.held:
            yield from self._open()
        yield from self._whitened(self._echoes.rest())
        for channels, count in self._left_out.items():
            yield from self.warn(
                f"{count} lines of {channels} channels were left out: the header says that the scan has "
                f"{self._channels} (body coil lines among those of the array?)."
            )
        for text in (*self._directions.warnings(), *self._silent.warnings()):
            yield from self.warn(text)
        if self._noise and (self.properties.store_noise_covariance or self.properties.use_storage):
            self._to_keep = found = self._from_noise_lines()
            said = "stored for later scans" if self.properties.store_noise_covariance else "measured for later scans"
            yield self._note(noise=said, noise_lines=len(self._noise), noise_samples=found.samples)
        if self._to_keep is not None and self.properties.use_storage and self.properties.keep_noise:
            yield self._note(**keep_noise(self.header, self._to_keep))
        if self._late_noise:
            yield self._note(noise_lines_after_imaging_not_used=self._late_noise)
