"""`retrieve`: a gadget that returns images which were made after their own scan had ended (``deliver=later``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import ClassVar

import ismrmrd
from pydantic import Field

from onebreath.cancellation import checkpoint
from onebreath.chain.gadget import Gadget, Message, Properties
from onebreath.diagnostics.reports import cause_in
from onebreath.errors import NotKept
from onebreath.mrd.meta import write_warnings
from onebreath.storage.results import Result, Results, exam_of, same_exam

log = logging.getLogger("onebreath.retrieve")

POLL = 0.2  # seconds between looks at whether images are ready


class RetrieveProperties(Properties):
    """Properties of `retrieve`."""

    scan: str = Field("latest", description="identifier of the scan (Onebreath_host_scan in its images), or latest")
    wait_s: float = Field(60.0, ge=0, le=3600, description="seconds to wait for images that are not ready yet")


class Retrieve(Gadget):
    """Acquisition -> Image: the lines are dropped, the images are those of an earlier scan of the same exam."""

    name = "retrieve"
    light = alone = True
    Properties: ClassVar[type[Properties]] = RetrieveProperties
    properties: RetrieveProperties
    consumes = ("Acquisition",)
    emits = ("Image",)

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Discard all lines, then yield the images, and say if their scan was cut short.

        Raises
        ------
        NotKept
            If there are none, or they are not ready in time.
        """
        for message in messages:
            if not isinstance(message, (ismrmrd.Acquisition, ismrmrd.Waveform)):
                yield message
        results = Results()
        found = self._ready(results)
        texts = [f"Images of scan {found.scan} may be incomplete: {found.text}."] if found.text else []
        for text in texts:
            yield from self.warn(text)
        for image in results.images(found.scan):
            write_warnings(image.meta, texts)
            image.meta["Onebreath_host_scan"] = found.scan  # by which they can be asked for again
            yield image

    def _ready(self, results: Results) -> Result:
        """Wait until the scan is done."""
        exam = exam_of(self.header.xml)
        deadline = time.monotonic() + self.properties.wait_s
        while True:
            chosen = self.properties.scan
            if not exam:
                raise NotKept("this scan's header names no patient and no study; no images are found for it")
            result = results.latest(exam) if chosen == "latest" else results.read(chosen)
            if not same_exam(result.exam, exam):
                raise NotKept(f"scan {result.scan} is of another patient, study or scanner than this one")
            if result.state == "failed":
                raise NotKept(f"scan {result.scan} could not be reconstructed: {cause_in(result.text)}")
            if result.state == "done":
                log.info("images of scan %s are given", result.scan)
                return result
            if time.monotonic() > deadline:
                raise NotKept(f"scan {result.scan} is still being reconstructed; ask again in some minutes")
            checkpoint()
            time.sleep(POLL)
