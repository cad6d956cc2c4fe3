"""Noise maps as parametric maps of real numbers: one instance per frame of slices that are alike in all else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onebreath import __version__
from onebreath.dicom.apart import Part
from onebreath.dicom.identity import Identity, digest, uid
from onebreath.dicom.instances import titled
from onebreath.dicom.texts import CHARACTER_SET, put
from onebreath.errors import ScanError
from onebreath.images.geometry import Geometry
from onebreath.images.reading import Series
from onebreath.images.stacks import Stack, in_space
from onebreath.images.upright import stood_up
from onebreath.mrd.meta import upper_end
from onebreath.optional import required
from onebreath.report.facts import Facts

QUANTITIES = {
    "Gfactor": ("GFACTOR", "g-factor"),
    "SNR_MAP": ("SNR", "Signal to noise ratio"),
    "Normality": ("NORMALITY", "Lilliefors statistic over its 5 % limit"),
    "STD_MAP": ("NOISE_STD", "Standard deviation of the noise"),
}
"""Label and meaning of a map by its role; DICOM has no codes for them, so they are private."""
SCHEME = "99ONEBREATH"
TIMELESS = ("19000101", "000000")
"""Date and time of what states none."""


def is_map(series: Series) -> bool:
    """Whether a series can become a parametric map."""
    return series.role in QUANTITIES and series.part == "magnitude"


def parametric_maps(part: Part, images: Sequence[Any], who: Identity) -> Iterator[Any]:
    """Yield a `highdicom.pm.ParametricMap` for each frame of a map; its frames are the slices.

    Echoes, repetitions of a cine and slices of other directions are instances of their own, as those of images are.

    Parameters
    ----------
    part
        The map.
    images
        Instances of the images to which it belongs, with patient and study.
    who
        Patient, study and equipment.

    Raises
    ------
    ConfigError
        If highdicom is not installed.
    ScanError
        If pixels are not finite, or slices lie at the same place.
    """
    series = part.series
    series_uid = uid("series", who.study_uid, str(series.number), digest([series]))
    window = _window(series)
    groups = in_space(series)
    number = 0
    for group in groups:
        title = _title(group) if len(groups) > 1 else ""
        for frame in range(max(len(stack.images) for stack in group)):
            slices = [one for stack in group if frame < len(stack.images) for one in _slices(stack, frame)]
            number += 1
            made = _map(series, slices, images[:1], (series_uid, number), window, who)
            _make_reproducible(made, part, who)
            if title:
                put(made, "ImageComments", title)
            yield made


def _map(
    series: Series,
    slices: Sequence[tuple[np.ndarray, tuple[Geometry, int]]],
    sources: Sequence[Any],
    numbered: tuple[str, int],
    window: tuple[float, float],
    who: Identity,
) -> Any:
    """Return the map of slices of one size and direction, with the series' identifier and a number in the series."""
    highdicom = required("highdicom.pm", "dicom", "A parametric map")
    content = required("highdicom.content", "dicom", "A parametric map")
    series_uid, number = numbered
    low, high = window
    values = np.stack([one for one, _ in slices])
    places = {tuple(np.round(geometry.position((0, 0, z)), 3)) for _, (geometry, z) in slices}
    if len(places) < len(slices):
        raise ScanError(
            f"{len(slices)} slices of series {series.number} lie at {len(places)} places: a parametric map has one at "
            "each. Say --maps mr to write them as images."
        )
    return highdicom.ParametricMap(
        source_images=list(sources),
        pixel_array=values,
        series_instance_uid=series_uid,
        series_number=series.number,
        sop_instance_uid=uid("instance", series_uid, str(number - 1)),
        instance_number=number,
        manufacturer="Onebreath",
        manufacturer_model_name="Onebreath",
        software_versions=__version__,
        device_serial_number=who.attributes.get("DeviceSerialNumber") or "none",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_mapping(series, values)],
        pixel_measures=_measures(slices[0][1][0]),
        plane_orientation=_orientation(slices[0][1][0]),
        plane_positions=[_position(geometry, z) for _, (geometry, z) in slices],
        voi_lut_transformations=[
            content.VOILUTTransformation((low + high) / 2, high - low, voi_lut_function="LINEAR_EXACT")
        ],
        content_label=QUANTITIES[series.role][0],
        content_description=f"{QUANTITIES[series.role][1]}; not for diagnosis",
    )


def _title(group: Sequence[Stack]) -> str:
    """What tells these slices from others of the series, counted from 1: "echo 2"; empty if only their directions."""
    place = {name: value for name, value in group[0].place.items() if name != "slice"}
    return replace(group[0], place=place).title


def _window(series: Series) -> tuple[float, float]:
    """Lower and upper value for display: 0 or the minimum, and the 99.5th percentile."""
    values = np.stack([series.values(image) for image in range(len(series.data))])
    if broken := int(np.count_nonzero(~np.isfinite(values))):
        raise ScanError(f"{broken} pixels of series {series.number} are NaN or infinite; they have no place in a map.")
    low = min(0.0, float(values.min()))
    return low, upper_end(low, float(np.percentile(values, 99.5)), float(values.max()))


def _slices(stack: Stack, frame: int) -> Iterator[tuple[np.ndarray, tuple[Geometry, int]]]:
    image = stack.images[frame]
    values = stack.series.values(image)[0]
    turn, geometry = stood_up(Geometry.of(stack.series.headers[image], values.shape))
    for z, one in enumerate(turn.pixels(values)):
        yield one, (geometry, z)


def _mapping(series: Series, values: np.ndarray) -> Any:
    content = required("highdicom.pm", "dicom", "A parametric map")
    coding = required("pydicom.sr.coding", "dicom", "DICOM")
    label, meaning = QUANTITIES[series.role]
    return content.RealWorldValueMapping(
        lut_label=label,
        lut_explanation=meaning,
        unit=coding.Code("1", "UCUM", "no units"),
        value_range=(float(values.min()), float(values.max())),
        slope=1.0,
        intercept=0.0,
        quantity_definition=coding.Code(label, SCHEME, meaning),
    )


def _measures(geometry: Geometry) -> Any:
    content = required("highdicom.content", "dicom", "A parametric map")
    x, y, z = geometry.spacing
    return content.PixelMeasuresSequence(pixel_spacing=[y, x], slice_thickness=z)


def _orientation(geometry: Geometry) -> Any:
    content = required("highdicom.content", "dicom", "A parametric map")
    row, column = geometry.in_plane()
    return content.PlaneOrientationSequence("PATIENT", [float(one) for one in (*row, *column)])


def _position(geometry: Geometry, z: int) -> Any:
    content = required("highdicom.content", "dicom", "A parametric map")
    return content.PlanePositionSequence("PATIENT", [float(one) for one in geometry.position((0, 0, z))])


def _make_reproducible(made: Any, part: Part, who: Identity) -> None:
    """Replace current times and random identifiers by reproducible ones."""
    own = made.SOPInstanceUID
    made.ContentDate = who.attributes.get("StudyDate") or TIMELESS[0]
    made.ContentTime = who.attributes.get("StudyTime") or TIMELESS[1]
    for name in ("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime"):
        if name in made:
            delattr(made, name)
    organisation = uid("dimensions", own)
    for sequence in (made.DimensionOrganizationSequence, made.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = organisation
    title = Facts(part.series.metas, who.secrets).one("SeriesDescription")
    made.SpecificCharacterSet = CHARACTER_SET
    put(made, "SeriesDescription", titled(title or QUANTITIES[part.series.role][1], part))
    made.FrameOfReferenceUID, made.Laterality = who.frame_uid, ""
    for item in made.get("ContributingEquipmentSequence", []):
        item.pop("ContributionDateTime", None)
