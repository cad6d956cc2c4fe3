"""Selection of the reader for a source."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path

from onebreath.errors import ScanError
from onebreath.training.data.series import Series
from onebreath.training.recipe import Source, source_path
from onebreath.training.split import matches

# Reader (module:function) and pattern of the files it reads one by one; with an empty pattern it gets the whole path.
_READERS: dict[str, tuple[str, str]] = {
    "cine_npz": ("magnitude:cine_npz", "*.npz"),
    "static_npz": ("magnitude:static_npz", "*.npz"),
    "clips_npz": ("magnitude:clips_npz", "*.npz"),
    "views_npz": ("magnitude:views_npz", "*.npz"),
    "images": ("images:image_folder", ""),
    "dicom": ("dicom:dicom_folder", ""),
    "mrd": ("mrd:mrd_file", "*.h5 *.mrd"),
    "cmrxrecon": ("cmrxrecon:full_sample", "cine_*.mat"),
    "fastmri": ("fastmri:multicoil_file", "*.h5"),
    "kspace_npy": ("kspace:kspace_npy", "*.npy"),
}


def read_source(source: Source) -> Iterator[Series]:
    """Yield the series of a source that match its patterns.

    Files named after their patient are only opened, and phantoms only drawn, if the patient matches.

    Raises
    ------
    ConfigError
        If the path does not exist.
    ScanError
        If there is no file of this kind, a file is damaged, or views are selected and a file does not state its view.
    """
    if source.kind == "simulator":
        from onebreath.training.readers.simulator import phantom_name, phantoms

        seeds = range(source.first_seed, source.first_seed + source.subjects)
        wanted = [seed for seed in seeds if _wanted(source, phantom_name(seed))]
        yield from (one for one in phantoms(wanted, source.spoiled) if _in_view(source, one))
        return
    reader, pattern = _READERS[source.kind]
    module, _, function = reader.partition(":")
    read: Callable[[Path], Iterator[Series]] = getattr(
        importlib.import_module(f"onebreath.training.readers.{module}"), function
    )
    for file in _files(source_path(source), pattern):
        if source.kind == "cine_npz" and not _wanted(source, file.stem):
            continue
        yield from (series for series in read(file) if _wanted(source, series.patient) and _in_view(source, series))


def _wanted(source: Source, patient: str) -> bool:
    return matches(patient, source.patients) and not matches(patient, source.exclude)


def _in_view(source: Source, series: Series) -> bool:
    """Whether a series matches the selected views; ScanError if its view is unknown and not all views are selected."""
    if tuple(source.views) == ("*",):
        return True
    if not series.view:
        raise ScanError(
            f"{series.patient} {series.name} ({source.kind} {source.path}) does not state its view, so the views "
            f"{' '.join(source.views)} cannot be selected; leave views out"
        )
    return matches(series.view, source.views)


def _files(path: Path, pattern: str) -> list[Path]:
    if path.is_file() or not pattern:
        return [path]
    files = sorted({file for one in pattern.split() for file in path.rglob(one) if file.is_file()})
    if not files:
        raise ScanError(f"{path}: there is no file {pattern.replace(' ', ' or ')} in it")
    return files
