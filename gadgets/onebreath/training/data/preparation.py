"""Preparation of slices from sources: selected by patient, simulated or calibrated once, and cached."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from onebreath.errors import ScanError
from onebreath.keeping import replacing
from onebreath.terminal import steps
from onebreath.training.data.measured import calibrate_measured
from onebreath.training.data.scanning import ScanSettings, make_scan
from onebreath.training.data.series import NOT_CYCLIC, ImageSeries, PreparedSlice, Series
from onebreath.training.recipe import Recipe, Source
from onebreath.training.sources import read_source
from onebreath.training.split import Purpose, check_disjoint, check_purpose

LOG = logging.getLogger("onebreath.training")
# Raised whenever preparation changes, so that outdated slices in a cache are not used.
_VERSION = 2


def prepare(recipe: Recipe, cache: Path, workers: int = 0) -> dict[Purpose, list[PreparedSlice]]:
    """Prepared slices of a recipe.

    Parameters
    ----------
    recipe
        The recipe.
    cache
        Folder of prepared slices; those of the same source and settings are reused.
    workers
        Number of processes; 0: only this one.

    Returns
    -------
    dict
        Slices to ``train`` and to ``validate`` on.

    Raises
    ------
    ScanError
        If a patient occurs in both or is reserved for reports, or no data are found to train or to validate on.
    """
    return prepare_sides(
        recipe, lambda chosen, source, number: _prepare_source(chosen, source, number, recipe, cache, workers)
    )


def prepare_sequences(recipe: Recipe) -> dict[Purpose, list[ImageSeries]]:
    """Image series of a recipe's sources, for examples made on the device; errors as for `prepare`."""

    def images(chosen: list[Series], source: Source, _: int) -> list[ImageSeries]:
        for one in chosen:
            if not isinstance(one, ImageSeries):
                raise ScanError(f"{source.kind} {source.path} holds k-space; synthesis needs images without coils")
        return [one for one in chosen if isinstance(one, ImageSeries)]

    return prepare_sides(recipe, images)


class HasPatient(Protocol):
    """Anything made from a patient's series."""

    @property
    def patient(self) -> str:
        """The patient's name."""


Prepared = TypeVar("Prepared", bound=HasPatient)


def prepare_sides(
    recipe: Recipe, prepare_source: Callable[[list[Series], Source, int], list[Prepared]]
) -> dict[Purpose, list[Prepared]]:
    """Prepared data of a recipe by purpose, source by source.

    Parameters
    ----------
    recipe
        The recipe.
    prepare_source
        Function from the chosen series of a source, the source, and its number among those of its purpose to prepared
        data.

    Raises
    ------
    ScanError
        If a patient occurs in both or is reserved for reports, or no data are found to train or to validate on.
    """
    prepared: dict[Purpose, list[Prepared]] = {"train": [], "validate": []}
    sides: tuple[tuple[Purpose, tuple[Source, ...]], ...] = (("train", recipe.train), ("validate", recipe.validate_on))
    for purpose, sources in sides:
        for number, source in enumerate(sources):
            chosen = choose(source, read_source(source), purpose, recipe.report_only)
            prepared[purpose] += prepare_source(chosen, source, number)
    check_disjoint({side: {one.patient for one in found} for side, found in prepared.items()})
    if not prepared["train"] and recipe.train:
        raise ScanError("nothing to train on: the sources are empty, or their patterns match no patient")
    if not prepared["validate"] and recipe.validate_on:
        raise ScanError(
            "nothing to validate on: the sources of validate_on are empty, or their patterns match no patient; mend "
            "them, or leave validate_on out"
        )
    return prepared


def choose(source: Source, series: Iterator[Series], purpose: Purpose, kept: Sequence[str]) -> list[Series]:
    """Series of a source, at most `per_patient` of each patient; ScanError for a patient reserved for reports."""
    by_patient: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        check_purpose(one.patient, purpose, kept)
        by_patient[one.patient].append(one)
    limit = source.per_patient
    chosen: list[Series] = []
    for found in by_patient.values():
        count = len(found) if limit is None else min(limit, len(found))
        chosen += [found[i] for i in np.linspace(0, len(found) - 1, count).round().astype(int)]
    return chosen


def _prepare_source(
    chosen: list[Series], source: Source, number: int, recipe: Recipe, cache: Path, workers: int
) -> list[PreparedSlice]:
    jobs = []
    for index, one in enumerate(chosen):
        variants = source.variants or recipe.scan.variants
        for variant in range(variants if isinstance(one, ImageSeries) else 1):
            jobs.append((one, recipe.scan, (recipe.seed, number, index, variant), cache))
    if workers == 0:
        files = [_prepare_one(*job) for job in steps(jobs, "preparing", unit="slices")]
    else:
        # Forked processes would inherit the locks of torch's threads.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            made = pool.map(_prepare_one, *zip(*jobs, strict=True), chunksize=4)
            files = list(steps(made, "preparing", len(jobs), "slices"))
    LOG.info("%d slices prepared from %d series of %s %s", len(files), len(chosen), source.kind, source.path)
    return [load_prepared(file) for file in files]


def _prepare_one(series: Series, settings: ScanSettings, seed: tuple[int, ...], cache: Path) -> Path:
    file = cache / f"{_key(series, settings, seed)}.safetensors"
    if not file.is_file():
        if isinstance(series, ImageSeries):
            save_prepared(make_scan(series, settings, seed), file)
        else:
            save_prepared(calibrate_measured(series, settings), file)
    return file


def _key(series: Series, settings: ScanSettings, seed: tuple[int, ...]) -> str:
    """File name of a prepared slice, a hash of data, settings and seed."""
    digest = hashlib.sha256()
    arrays: list[np.ndarray | None]
    if NOT_CYCLIC in series.facts:
        digest.update(NOT_CYCLIC.encode())
    if isinstance(series, ImageSeries):
        arrays = [series.images]
    else:
        arrays = [series.kspace, series.mask, series.maps]
        arrays += [] if series.calibration is None else [series.calibration]
    for array in arrays:
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    digest.update(json.dumps([_VERSION, series.patient, series.name, settings.model_dump(mode="json"), seed]).encode())
    return digest.hexdigest()[:24]


def save_prepared(one: PreparedSlice, file: Path) -> None:
    """Write a prepared slice atomically."""
    arrays = {
        "image": _as_real(one.image),
        "coils": _as_real(one.coils),
        "maps": _as_real(one.maps),
        "lines": one.lines.astype(np.uint8),
    }
    write_arrays(file, arrays, {"patient": one.patient, "name": one.name, "noisy": str(int(one.noisy))})


def write_arrays(file: Path, arrays: dict[str, np.ndarray], header: dict[str, str] | None = None) -> None:
    """Write arrays as safetensors, atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        save_file(arrays, partial, metadata=header)


def load_prepared(file: Path) -> PreparedSlice:
    """Prepared slice of a file, memory-mapped where possible.

    Raises
    ------
    ScanError
        If the file is damaged.
    """
    try:
        with safe_open(file, framework="np") as content:
            header = content.metadata()
            arrays = {key: content.get_tensor(key) for key in ("image", "coils", "maps", "lines")}
    except (OSError, SafetensorError) as error:
        raise ScanError(f"prepared slice {file} is damaged ({error}); delete it, and it is made again") from error
    return PreparedSlice(
        header["patient"], header["name"], _as_complex(arrays["image"]), _as_complex(arrays["coils"]),
        _as_complex(arrays["maps"]), arrays["lines"].astype(bool), header["noisy"] == "1",
    )  # fmt: skip


def _as_real(array: np.ndarray) -> np.ndarray:
    """Array with real and imaginary part along a last axis, as older safetensors have no complex numbers."""
    return np.ascontiguousarray(array, np.complex64).view(np.float32).reshape(*array.shape, 2)


def _as_complex(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(np.complex64)[..., 0]
