"""Messages of images and maps: headers, numbers and meta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gadgetron.types import ImageArray
from gadgetron.types.recon_data import ReconBuffer
from numpy.typing import NDArray

from onebreath.chain.facts import facts_of, readable
from onebreath.gadgets.facts import SortFacts
from onebreath.gadgets.reconstruct.numbers import ImageNumbers
from onebreath.methods.guarded import Outcome
from onebreath.mrd.buffers import E1, E2
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.meta import (
    UNSEALED,
    central_line,
    image_header,
    image_meta,
    write_both,
    write_chain,
    write_facts,
    write_role,
    write_warnings,
)

IN_RECON_SPACE = ("Gfactor", "SNR_MAP")
"""Roles of maps that are made in the recon space: noise is not interpolated like an image."""
Notes = Mapping[str, Mapping[str, Any]]
"""Facts by gadget."""


@dataclass(frozen=True)
class Label:
    """Meta entries of a series besides its geometry.

    Attributes
    ----------
    role
        ``Image``, or what kind of map it is.
    series
        Series number.
    outcome
        What made the images.
    notes
        Facts by gadget, for each place.
    warnings
        Texts for the person at the scanner.
    chain
        The gadgets and their properties.
    """

    role: str
    series: int
    outcome: Outcome
    notes: Sequence[Notes]
    warnings: Sequence[str] = ()
    chain: Sequence[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the method and its model, with a remark if the images are not those of the wanted method."""
        made = self.outcome
        name = f"{made.method.name}_{self.model}" if self.model else made.method.name
        return name + ("_fallback" if made.instead else "_classical" if made.beside else "")

    @property
    def model(self) -> str:
        """Name of the model; empty for methods without one."""
        return str(self.outcome.results[0].facts.get("model", "")) if self.outcome.results else ""

    @property
    def comment(self) -> str:
        """Name of the series as a readable comment."""
        made = self.outcome
        comment = f"Onebreath {made.method.name}" + (f", model {self.model}" if self.model else "")
        if made.instead:
            return f"{comment}, fallback for {made.wanted}: {made.instead}"
        return f"{comment}, beside {made.wanted}" if made.beside else comment

    def write(self, meta: Any, place: int) -> None:
        """Write the label into an image's meta."""
        is_image = self.role == "Image"
        write_role(meta, self.role)
        write_both(meta, "GADGETRON_ImageComment", self.comment if is_image else f"{self.role}, {self.comment}")
        description = f"_GT_Onebreath_{self.name}"
        write_both(meta, "GADGETRON_SeqDescription", description if is_image else f"{description}_{self.role}")
        if not is_image:
            meta["Skip_processing_after_recon"] = "1"
        facts = {gadget: readable(said) for gadget, said in self.notes[place].items()}
        doubted = str(facts.get("host", {}).get("notes_without_seal", "")).split(", ")  # by whom ever they were sent
        write_facts(meta, {UNSEALED + name if name in doubted else name: said for name, said in facts.items()})
        write_warnings(meta, self.warnings)
        write_chain(meta, self.chain)


class ImageMaker:
    """Makes messages from a scan's images, and numbers the images.

    Parameters
    ----------
    header
        The scan's header.
    """

    def __init__(self, header: ScanHeader) -> None:
        self.header = header
        self._numbers = ImageNumbers(header)

    def array(self, images: Sequence[NDArray[Any]], buffer: ReconBuffer, label: Label) -> ImageArray:
        """Return one message with the images (frame, [z,] y, x) of all places of a message's k-space.

        The meta of maps in the recon space name it as that of their pixels, too, so that nothing is left to be done.
        """
        _, rows, _, _, frames, sets, slices = buffer.data.shape
        size = (1, *images[0].shape[1:])[-3:]
        stacked = np.stack(images).astype(np.complex64).reshape(slices, sets, frames, 1, *size)
        headers = np.empty((frames, sets, slices), dtype=object)
        metas = []
        limits = buffer.sampling.sampling_limits
        values = (facts_of(SortFacts, label.notes[0], "sort") or SortFacts()).values
        values["phase"] = max(values["phase"], *(header.idx.phase + 1 for header in buffer.headers.flat))
        for loc, s, n in np.ndindex(slices, sets, frames):
            lines = buffer.headers[:, :, n, s, loc].T.ravel()  # partition by partition
            line = central_line(lines, limits[E2].center * rows + limits[E1].center)
            number = self._numbers(label.series, line.idx, values)
            headers[n, s, loc] = image_header(line, buffer.sampling, label.series, number)
            acquired = [header for header in lines if header.number_of_samples > 0]
            meta = image_meta(line, self.header, buffer.sampling, headers[n, s, loc], acquired)
            if label.role in IN_RECON_SPACE:
                meta["encoding_FOV"], meta["encoded_matrix"] = meta["recon_FOV"], meta["recon_matrix"]
            label.write(meta, loc * sets + s)
            metas.append(meta.serialize())
        return ImageArray(stacked.transpose(6, 5, 4, 3, 2, 1, 0), headers, metas)
