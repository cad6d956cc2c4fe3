"""Images as ISMRMRD has them, as those of MRD 2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from onebreath.errors import ScanError
from onebreath.images.reading import Series
from onebreath.mrd2.header import mrd_package

_SAME = (
    "measurement_uid",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "acquisition_time_stamp",
    "image_index",
    "image_series_index",
)
_VECTORS = {
    "field_of_view": "field_of_view",
    "position": "position",
    "col_dir": "read_dir",
    "line_dir": "phase_dir",
    "slice_dir": "slice_dir",
    "patient_table_position": "patient_table_position",
}
"""Names in MRD 2, and in ISMRMRD: a line of an image runs along the readout, its columns are counted along it."""
_KINDS = {
    "uint16": "ImageUint16",
    "int16": "ImageInt16",
    "uint32": "ImageUint32",
    "int32": "ImageInt32",
    "float32": "ImageFloat",
    "float64": "ImageDouble",
    "complex64": "ImageComplexFloat",
    "complex128": "ImageComplexDouble",
}


def images_to_v2(series: Series) -> Iterator[Any]:
    """Yield the images of a series as items of a stream, pixels and meta unchanged (values of the meta are texts).

    Raises
    ------
    ScanError
        If MRD 2 has no such kind of pixels or image.
    """
    mrd = mrd_package()
    kind = _KINDS.get(series.data.dtype.name)
    if kind is None:
        raise ScanError(f"series {series.number} has pixels of type {series.data.dtype}, which MRD 2 has no kind for")
    for number, (pixels, head, meta) in enumerate(zip(series.data, series.headers, series.metas, strict=True)):
        types = {one.value: one for one in mrd.ImageType}
        if int(head["image_type"]) not in types:
            raise ScanError(
                f"image {number + 1} of series {series.number} is of type {int(head['image_type'])}, which MRD 2 has "
                f"none for (it has {', '.join(one.name for one in mrd.ImageType)})"
            )
        made = mrd.ImageHeader(
            flags=mrd.ImageFlags(int(head["flags"])),
            image_type=types[int(head["image_type"])],
            physiology_time_stamp=[int(one) for one in head["physiology_time_stamp"]],
            user_int=[int(one) for one in head["user_int"]],
            user_float=[float(one) for one in head["user_float"]],
            **{name: int(head[name]) for name in _SAME},
            **{name: np.array(head[other], np.float32) for name, other in _VECTORS.items()},
        )
        values = {name: [mrd.ImageMetaValue.String(str(one)) for one in _several(text)] for name, text in meta.items()}
        image = mrd.Image(head=made, data=np.ascontiguousarray(pixels), meta=values)
        yield getattr(mrd.StreamItem, kind)(image)


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
