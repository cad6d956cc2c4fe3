"""Files of images made by hand, whose every number a test knows."""

from pathlib import Path

import h5py
import ismrmrd
import numpy as np

from onebreath.wire.image_file import ImageFile

META = {
    "GADGETRON_DataRole": "Image",
    "GADGETRON_ImageComment": "Onebreath grappa",
    "protocolName": "cine",
    "patient_position": "HFS",
    "measurementID": "scanner_PAT4711_study9_7",
    "deviceID": "scanner",
    "patientID": "PAT4711",
    "OnebreathVersion": "0.1.0",
    "Onebreath_prewhiten_whitened": "True",
    "Onebreath_prewhiten_noise": "scan",
    "Onebreath_prewhiten_noise_source": "scanner_PAT4711_study9_7",
    "Onebreath_reconstruct_method": "grappa",
    "Onebreath_seconds_sort": "0.25",
}


def write(path: Path, series: dict[int, list[ismrmrd.Image]], group: str = "images") -> Path:
    again = False
    if path.exists():
        with h5py.File(path) as before:
            again = group in before
    with ImageFile(path, group, anew=again) as file:
        for images in series.values():
            for image in images:
                file.append(image)
    return path


def image(
    values: np.ndarray, *, series: int = 1, number: int = 1, meta: dict | None = None, **head: object
) -> ismrmrd.Image:
    """An image of the pixels (z, y, x); `head` sets fields of the header."""
    made = ismrmrd.Image.from_array(np.ascontiguousarray(values)[None], transpose=False)
    header = made.getHead()
    fields = {
        "field_of_view": (360.0, 290.0, 8.0),
        "position": (20.0, 30.0, -20.0),
        "read_dir": (1.0, 0.0, 0.0),
        "phase_dir": (0.0, 1.0, 0.0),
        "slice_dir": (0.0, 0.0, 1.0),
        "image_type": ismrmrd.IMTYPE_MAGNITUDE,
        "image_series_index": series,
        "image_index": number,
    }
    counters = ("slice", "phase", "repetition", "contrast", "set", "average")
    for name, value in (fields | head).items():
        if name not in counters and isinstance(value, tuple):
            getattr(header, name)[:] = value
        else:
            setattr(header, name, value)
    return ismrmrd.Image(header, meta=ismrmrd.Meta(META | (meta or {})), data=made.data)


def cine(
    slices: int = 2, phases: int = 3, shape: tuple[int, int] = (12, 16), gap_mm: float = 10.0, series: int = 1
) -> list[ismrmrd.Image]:
    """Float images, interleaved, whose pixels say slice, phase, row and column: 1000 s + 100 p + 10 y / ny + x / nx."""
    made = []
    for number, (phase, place) in enumerate(np.ndindex(phases, slices), 1):
        y, x = np.indices(shape)
        values = 1000.0 * place + 100.0 * phase + 10 * y / shape[0] + x / shape[1]
        made.append(
            image(
                values.astype(np.float32)[None],
                number=number,
                series=series,
                slice=place,
                phase=phase,
                position=(20.0, 30.0, -20.0 + gap_mm * place),
                physiology_time_stamp=(9 + 28 * phase, 0, 0),
            )
        )
    return made
