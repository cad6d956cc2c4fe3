"""Preparation of magnitude images of one size from sources, selected by patient and cached."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np

from onebreath.errors import ConfigError, ScanError
from onebreath.mri.coils import rss
from onebreath.mri.fourier import ifft2c
from onebreath.training.data.preparation import prepare_sides, write_arrays
from onebreath.training.data.series import ImageSeries, Series
from onebreath.training.recipe import Recipe, Source
from onebreath.training.restoration import RestorationSettings, StoredImages, to_size
from onebreath.training.split import Purpose

LOG = logging.getLogger("onebreath.training")


def prepare_images(recipe: Recipe, cache: Path) -> dict[Purpose, list[StoredImages]]:
    """Prepared images of a recipe with `restoration`, by purpose.

    Parameters
    ----------
    recipe
        The recipe.
    cache
        Folder of prepared images; those of the same series and size are reused.

    Raises
    ------
    ConfigError
        If the recipe has no `restoration`.
    ScanError
        If a patient occurs in both or is reserved for reports, k-space lacks lines, or there is no training data.
    """
    if recipe.restoration is None:
        raise ConfigError(f"recipe {recipe.name} trains no network for magnitude images; it has no field restoration")
    settings = recipe.restoration

    def images_of(chosen: list[Series], source: Source, _: int) -> list[StoredImages]:
        stored = [_stored(one, settings, cache) for one in chosen]
        LOG.info("images of %d series of %s %s", len(chosen), source.kind, source.path)
        return stored

    return prepare_sides(recipe, images_of)


def _stored(series: Series, settings: RestorationSettings, cache: Path) -> StoredImages:
    """Images of a series in the cache, written there if missing."""
    images = _magnitudes(series)
    chosen = images[np.linspace(0, len(images) - 1, min(len(images), settings.frames)).round().astype(int)]
    made = to_size(chosen, settings.size, settings.crop)
    digest = hashlib.sha256(made.tobytes() + f"{series.patient}/{series.name}".encode()).hexdigest()[:24]
    file = cache / f"images-{digest}.safetensors"
    if not file.is_file():
        write_arrays(file, {"images": np.ascontiguousarray(made)})
    return StoredImages(series.patient, series.name, file, len(made))


def _magnitudes(series: Series) -> np.ndarray:
    """Magnitudes ``(frame, y, x)`` of images, or root sum of squares of measured coil images."""
    if isinstance(series, ImageSeries):
        return np.abs(series.images)
    if series.mask is not None and not series.mask.all():
        raise ScanError(
            f"{series.patient} {series.name} lacks lines; networks for magnitude images are trained on complete k-space"
        )
    return np.asarray(rss(ifft2c(series.kspace), 1))
