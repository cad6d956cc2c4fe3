"""`export`: image arrays become images as the host expects them.

The field of view is brought to the recon space's, the wanted parts are taken (magnitude, phase, real, complex), pixels
are scaled if they are to be integers, and the meta says how.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import ismrmrd
import numpy as np
from gadgetron.types import ImageArray
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from onebreath.chain.gadget import Gadget, Message, Properties
from onebreath.errors import MethodError, OnebreathError, ScanError
from onebreath.gadgets.pixels import take_part, to_uint16
from onebreath.gadgets.recon_space import ReconSpace
from onebreath.mrd.meta import (
    UNSEALED,
    mark_quantitative,
    upper_end,
    write_both,
    write_scaling,
    write_warnings,
    write_window,
)
from onebreath.names import listed
from onebreath.validation import LAST_NUMBER
from onebreath.wire.xml_guard import read_meta


class Part(NamedTuple):
    """A part of a complex image: MRD's image type, and what Gadgetron adds to the series number for it."""

    image_type: int
    series_offset: int


PARTS = {
    "magnitude": Part(ismrmrd.IMTYPE_MAGNITUDE, 0),
    "real": Part(ismrmrd.IMTYPE_REAL, 1000),
    "imaginary": Part(ismrmrd.IMTYPE_IMAG, 2000),
    "phase": Part(ismrmrd.IMTYPE_PHASE, 3000),
    "complex": Part(ismrmrd.IMTYPE_COMPLEX, 4000),
}
ROLE_SCALES = {
    "Image": 10.0,
    "Gfactor": 100.0,
    "Normality": 100.0,
    "SNR_MAP": 10.0,
    "Error_MAP": 100.0,
    "STD_MAP": 1000.0,
}
"""Integer pixels per unit of value, as Gadgetron scales images in SNR units and their maps."""


UNITLESS = ("Gfactor", "Normality")  # roles of images whose values need no noise to have a meaning
WHITENED = ("Onebreath_prewhiten_whitened", f"Onebreath_{UNSEALED}prewhiten_whitened")
_MOST_CLIPPED = 0.9


class _Held(NamedTuple):
    """An image to be sent: values (channel, z, y, x), the part to send, header and meta."""

    values: NDArray[np.complex64]
    part: str
    header: ismrmrd.ImageHeader
    meta: ismrmrd.Meta


class ExportProperties(Properties):
    """Properties of `export`."""

    output: str = Field("magnitude", description=f"parts to send, comma-separated: {', '.join(PARTS)}")
    data_type: Literal["float32", "uint16"] = Field("float32", description="type of the pixels; complex is complex64")
    scaling_factor: float = Field(
        0,
        ge=0,
        description="uint16 pixels per unit of image value; 0: Gadgetron's, by role, where the noise is known, else so "
        "that the brightest pixel of the series is the largest",
    )
    max_intensity: int = Field(
        65535,
        ge=1,
        le=65535,
        description="largest uint16 pixel, or what BitsStored in the header allows, if that is less; larger values are "
        "clipped",
    )

    @field_validator("output")
    @classmethod
    def _known_parts(cls, output: str) -> str:
        parts = [part.strip() for part in output.split(",")]
        if unknown := [part for part in parts if part not in PARTS]:
            raise ValueError(f"unknown part '{unknown[0]}'; known are {', '.join(PARTS)}")
        if twice := [part for part in parts if parts.count(part) > 1]:
            raise ValueError(f"part '{twice[0]}' is named twice; its images would be sent twice, with the same numbers")
        return output

    @model_validator(mode="after")
    def _complex_is_float(self) -> ExportProperties:
        if self.data_type == "uint16" and "complex" in self.parts:
            raise ValueError("complex images cannot be uint16; send real and imaginary instead, or data_type float32")
        return self

    @property
    def parts(self) -> list[str]:
        """Names of the parts to send."""
        return [part.strip() for part in self.output.split(",")]


class Export(Gadget):
    """ImageArray -> Image."""

    name = "export"
    usual = light = True
    Properties: ClassVar[type[Properties]] = ExportProperties
    properties: ExportProperties
    consumes = ("ImageArray",)
    emits = ("Image",)

    def __init__(self, header: Any, properties: ExportProperties) -> None:
        super().__init__(header, properties)
        self._windows: dict[int, tuple[float, float]] = {}
        self._held: list[_Held] = []
        self._brightest: dict[int, float] = {}
        self._clipped: dict[int, int] = {}
        self._dark: list[str] = []
        bits = self.header.bits_stored
        self._largest = properties.max_intensity if bits is None else min(properties.max_intensity, 2**bits - 1)

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        """Turn every image array into images; other messages pass."""
        try:
            for message in messages:
                if isinstance(message, ImageArray):
                    yield from self._images(message)
                else:
                    yield message
        except OnebreathError:  # what was made before is not lost
            yield from self._unwhitened()
            raise
        yield from self._unwhitened()
        if self._dark:
            yield from self.warn(
                f"Only zeros are in {listed(self._dark)}: all values are below half a step of the integers. "
                "Set data_type of gadget 'export' to float32, or a larger scaling_factor."
            )
        for series, count in sorted(self._clipped.items()):
            yield from self.warn(
                f"{count} pixels of series {series} were brighter than {self._largest} and were clipped. Set a smaller "
                "scaling_factor of gadget 'export', or data_type float32."
            )
        for series, largest in sorted(self._brightest.items()):
            if largest == 0:
                raise ScanError(
                    f"All pixels of series {series} are 0. The raw data hold no signal, or scaling_factor of gadget "
                    "'export' is too small for it."
                )

    def _unwhitened(self) -> Iterator[Message]:
        """Yield the images whose scale can only be taken from their own maximum."""
        peaks: dict[int, float] = {}
        for held in self._held:
            series = held.header.image_series_index
            peaks[series] = max(peaks.get(series, 0.0), float(np.abs(held.values).max()))
        texts = {
            series: f"Series {series} is scaled to its own brightest pixel ({peak:.4g} is {self._largest}), as its "
            "noise is not known: compare no pixel values between scans."
            for series, peak in peaks.items()
        }
        for text in texts.values():
            yield from self.warn(text)
        for held in self._held:
            series = held.header.image_series_index
            write_warnings(held.meta, [texts[series]])
            yield self._image(*held, self._largest / peaks[series] if peaks[series] > 0 else 1.0)
        self._held.clear()

    def _images(self, array: ImageArray) -> Iterator[ismrmrd.Image]:
        frames, sets, slices = array.data.shape[4:]
        for place, (loc, s, n) in enumerate(np.ndindex(slices, sets, frames)):
            meta = read_meta(array.meta[place])
            pixels = array.data[:, :, :, :, n, s, loc].transpose(3, 2, 1, 0)
            space = ReconSpace.of_meta(meta, pixels.shape)
            pixels = space.bring(pixels)
            if meta.get("GADGETRON_DataRole") == "Image":
                meta["Onebreath_export_noise_factor"] = f"{space.noise:.6g}"
            for part in self.properties.parts if meta.get("GADGETRON_DataRole") == "Image" else ["magnitude"]:
                held = _Held(pixels, part, array.headers[n, s, loc], ismrmrd.Meta(meta))
                if self._without_scale(held.meta):
                    self._held.append(held)
                else:
                    yield self._image(*held)

    def _without_scale(self, meta: ismrmrd.Meta) -> bool:
        """Return whether image values are in no known unit, so that integers need the scale of the whole series."""
        chosen = self.properties
        known = all(meta.get(name) != "False" for name in WHITENED) or str(meta.get("GADGETRON_DataRole")) in UNITLESS
        return chosen.data_type == "uint16" and not chosen.scaling_factor and not known

    def _image(
        self,
        values: NDArray[np.complex64],
        part: str,
        header: ismrmrd.ImageHeader,
        meta: ismrmrd.Meta,
        own_ratio: float = 0.0,
    ) -> ismrmrd.Image:
        head = ismrmrd.ImageHeader.from_buffer_copy(header)
        head.image_type = PARTS[part].image_type
        head.image_series_index = _number(header.image_series_index, part)
        name = f"image {head.image_index} of series {head.image_series_index}"
        broken = int(np.count_nonzero(~np.isfinite(values)))
        if broken:
            raise MethodError(f"{broken} pixels of {name} are NaN or infinite; it was not sent.")
        pixels = take_part(values, part)
        _name_part(meta, part)
        ratio, offset, clipped = 1.0, 0.0, 0
        if self.properties.data_type == "uint16":
            ratio, offset = self._scaling(part, str(meta.get("GADGETRON_DataRole")), own_ratio)
            pixels, clipped = to_uint16(pixels, ratio, offset, self._largest, turns=part == "phase")
            if part == "magnitude" and not pixels.any() and values.any():
                self._dark.append(name)
            if clipped > _MOST_CLIPPED * pixels.size:
                raise MethodError(
                    f"{clipped} of the {pixels.size} pixels of {name} are beyond the range of the integers: its values "
                    f"(up to {np.abs(values).max():.4g}) make no sense in SNR units. Check the noise scan."
                )
            if clipped:
                count = self._clipped[head.image_series_index] = self._clipped.get(head.image_series_index, 0) + clipped
                self.log.warning("%d pixels of %s were clipped, %d of its series", clipped, name, count)
        if str(meta.get("GADGETRON_DataRole")) == "Image" and part == "magnitude":
            known = self._brightest.get(head.image_series_index, 0.0)
            self._brightest[head.image_series_index] = max(known, float(pixels.max()))
        meta["Onebreath_export_clipped_pixels"] = str(clipped)
        write_scaling(meta, ratio, offset)
        if part != "complex":
            write_window(meta, *self._window(head.image_series_index, pixels), ratio, offset)
        image = ismrmrd.Image.from_array(np.ascontiguousarray(pixels), transpose=False)
        head.data_type, head.channels = image.data_type, pixels.shape[0]
        head.matrix_size = pixels.shape[:0:-1]
        return ismrmrd.Image(head, meta=meta, data=image.data)

    def _scaling(self, part: str, role: str, own_ratio: float) -> tuple[float, float]:
        """Return ratio and offset from value to pixel; signed parts lie around the middle of the range.

        As in Gadgetron -pi is 0 and the range is one turn: +pi is the same angle, and 0 as well.
        """
        middle = (self._largest + 1) / 2
        if part == "phase":
            return middle / np.pi, middle
        ratio = own_ratio or self.properties.scaling_factor or ROLE_SCALES.get(role, 1.0)
        return (ratio, 0.0) if part == "magnitude" else (ratio / 2 if own_ratio else ratio, middle)

    def _window(self, series: int, pixels: NDArray[Any]) -> tuple[float, float]:
        """Return window centre and width: those of the first image, so that a series is shown alike throughout."""
        if series not in self._windows:
            low, usual = (float(end) for end in np.percentile(pixels, (0.5, 99.5)))
            brightest = float(pixels.max())
            width = upper_end(low, usual, brightest) - low
            self._windows[series] = (low + width / 2 if brightest > low else low, width)  # equal pixels are grey
        return self._windows[series]


def _number(series: int, part: str) -> int:
    """Return the number of a part's series, if an image's header can hold it; one set here always fits."""
    number = series + PARTS[part].series_offset
    if number > LAST_NUMBER:
        raise ScanError(
            f"Series {series} came to gadget 'export', and the series of its {part} images would be {number}: images "
            f"hold no number above {LAST_NUMBER}. Let the gadget before it number the series lower."
        )
    return number


def _name_part(meta: ismrmrd.Meta, part: str) -> None:
    """Add the part to the texts by which viewers name and sort a series; only magnitude is an image like others."""
    if part == "magnitude":
        return
    mark_quantitative(meta)
    for name, joined in (("GADGETRON_SeqDescription", "_"), ("GADGETRON_ImageComment", ", ")):
        if isinstance(said := meta.get(name), str):
            write_both(meta, name, f"{said}{joined}{part}" if said else part)
