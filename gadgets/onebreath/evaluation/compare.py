"""Comparison of methods on the same scans: images, measures and times, each stored so that a run can be resumed."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from onebreath.errors import MethodError
from onebreath.evaluation.candidates import Candidate
from onebreath.evaluation.dists.network import Dists
from onebreath.evaluation.metrics import Convention, measure, prepare
from onebreath.evaluation.regions import dynamic_region, measure_region
from onebreath.evaluation.scans import MaskChoice, ReferenceScan, ScanChoice, coil_maps, reference_scan, undersampled
from onebreath.keeping import whole, write_text
from onebreath.mri.sampling import describe
from onebreath.training.data.measured_coils import maps_identity
from onebreath.training.data.series import ImageSeries, KspaceSeries, Series

LOG = logging.getLogger("onebreath.evaluation")
# Raised whenever the same settings give other numbers, so that outdated results are not used.
_VERSION = 3

Measures = dict[str, dict[str, float]]
"""Values by region (overall, dynamic, static) and measure."""


@dataclass(frozen=True, eq=False)
class Case:
    """One slice with one sampling mask, to be reconstructed by all methods."""

    series: Series
    truth: np.ndarray | None
    choice: ScanChoice
    mask: MaskChoice | None
    data: str = ""
    """Name of the data set; empty if all cases are of one."""

    @cached_property
    def group(self) -> str:
        """Description of data set, view, sampling and noise; cases of one group are compared with each other."""
        sampling = _as_acquired(self.series) if self.mask is None else str(self.mask)
        parts = (self.data, self.series.view, sampling, _noise(self.series, self.choice))
        return ", ".join(part for part in parts if part)

    @cached_property
    def identity(self) -> list[Any]:
        """Everything on which the scan and its ground truth depend."""
        series, coils = self.series, self.choice.measured_coils
        if isinstance(series, ImageSeries):
            facts = {name: str(value) for name, value in series.facts.items()}  # they may state the acquired matrix
            content: list[Any] = [_hash(series.images), list(series.pixel_mm), facts]
        else:
            content = [_hash(series.kspace), _hash(series.mask), _hash(series.maps), series.noise_std]
        return [
            content,
            _hash(self.truth),
            [series.patient, series.name],
            self.choice.model_dump(mode="json", exclude={"measured_coils"}),
            None if coils is None else maps_identity(coils),
            None if self.mask is None else self.mask.model_dump(mode="json"),
        ]


def _hash(array: np.ndarray | None) -> list[Any] | None:
    """Type, shape and SHA-256 of an array; None if there is none."""
    if array is None:
        return None
    return [str(array.dtype), list(array.shape), hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()]


def _as_acquired(series: Series) -> str:
    """The sampling of a scan that was not fully sampled when it was measured."""
    mask = series.mask if isinstance(series, KspaceSeries) else None
    if mask is None:
        return "as acquired"
    sampling = describe(mask)
    return f"as acquired ({sampling.family} R={sampling.acceleration})"


def _noise(series: Series, choice: ScanChoice) -> str:
    """The noise of a scan: simulated, measured, or added to a measurement whose own is not known."""
    if isinstance(series, ImageSeries):
        low, high = choice.snr
        return f"SNR {low:g}" if low == high else f"SNR {low:g}-{high:g}"
    return "noise as measured" if series.noise_std > 0 else f"noise added, SNR {choice.snr[1]:g} at the brightest pixel"


@dataclass
class Result:
    """Result of one method for one case.

    Attributes
    ----------
    group, patient, slice, method
        Names of the case and the method.
    truth_is
        Description of the ground truth.
    failure
        Reason why there is no image; empty if there is one.
    seconds
        Time of the method, without coil maps.
    warm
        Whether the method had already run in this process; only then its time counts.
    facts
        Decisions of the method.
    measures
        Measures by convention.
    """

    group: str
    patient: str
    slice: str
    method: str
    truth_is: str
    failure: str = ""
    seconds: float = 0.0
    warm: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, Measures] = field(default_factory=dict)


class Evaluation:
    """Runs methods on cases and stores the results.

    Parameters
    ----------
    candidates
        The methods.
    conventions
        See `onebreath.evaluation.metrics`.
    dists
        Measure DISTS; None: it is omitted.
    folder
        Folder of results; those of the same scan, method and settings are reused.
    """

    def __init__(
        self, candidates: Sequence[Candidate], conventions: Sequence[Convention], dists: Dists | None, folder: Path
    ) -> None:
        self.candidates, self.conventions, self.dists = candidates, conventions, dists
        self._measures = [list(conventions), None if dists is None else dists.identity]
        self._results, self._images = folder / "results", folder / "images"
        self._results.mkdir(parents=True, exist_ok=True)
        self._images.mkdir(exist_ok=True)
        self._warm: set[str] = set()

    def run(self, cases: Iterable[Case], pictured: Sequence[Case] = ()) -> Iterator[Result]:
        """Yield the result of each method for each case, with the reason if a method fails.

        Parameters
        ----------
        cases
            Cases of one scan should be in sequence, as the scan is then made once.
        pictured
            Cases whose images are stored.
        """
        last: tuple[int, ScanChoice] | None = None
        scan, maps = None, None
        for case in cases:
            missing = [one for one in self.candidates if not self._is_kept(case, one, case in pictured)]
            if missing and last != (id(case.series), case.choice):
                scan = reference_scan(case.series, case.choice, case.truth)
                maps = coil_maps(scan)
                last = (id(case.series), case.choice)
            for candidate in self.candidates:
                if candidate in missing and scan is not None and maps is not None:
                    self._keep(case, scan, maps, candidate, case in pictured)
                yield self._kept(case, candidate)

    def images(self, case: Case) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Truth, and magnitudes by method, (frame, y, x) of a case whose images were stored."""
        truth, found = np.empty(0), {}
        for candidate in self.candidates:
            file = self._images / f"{self._key(case, candidate)}.npz"
            if file.is_file():
                with np.load(file) as content:
                    truth, found[candidate.label] = content["truth"], content["image"]
        return truth, found

    def _keep(
        self,
        case: Case,
        scan: ReferenceScan,
        maps: tuple[np.ndarray, np.ndarray],
        candidate: Candidate,
        pictured: bool,
    ) -> None:
        """Run a method and write its result, and with `pictured` its image."""
        data = replace(undersampled(scan, case.mask, case.choice.seed), maps=candidate.crop(*maps))
        result = Result(case.group, scan.patient, scan.name, candidate.label, scan.truth_is)
        key = self._key(case, candidate)
        started = time.perf_counter()
        try:
            found = candidate.method(data)
        except MethodError as error:
            LOG.warning("%s %s, %s: %s", scan.patient, scan.name, case.group, error)
            result.failure = str(error)
        else:
            result.seconds = time.perf_counter() - started
            result.warm = candidate.label in self._warm
            self._warm.add(candidate.label)
            result.facts = dict(found.facts)
            image = np.abs(found.images).astype(np.float32)
            result.measures = {name: self._measured(scan.truth, image, name) for name in self.conventions}
            if pictured:
                with whole(self._images / f"{key}.npz") as part, part.open("wb") as file:
                    np.savez(file, truth=scan.truth, image=image)
        write_text(self._results / f"{key}.json", json.dumps(asdict(result), indent=1))
        LOG.info("%s %s, %s: %s in %.1f s", scan.patient, scan.name, case.group, candidate.label, result.seconds)

    def _measured(self, truth: np.ndarray, image: np.ndarray, convention: Convention) -> Measures:
        overall = {name: float(np.mean(values)) for name, values in measure(truth, image, convention).items()}
        if self.dists is not None:
            target, prediction, data_range = prepare(truth, image, convention)
            pair = (np.clip(x / data_range, 0, 1) for x in (target, prediction))
            overall["dists"] = float(self.dists.similarity(*pair).mean())
        dynamic = dynamic_region(truth)
        if not dynamic.any():
            return {"overall": overall}
        return {
            "overall": overall,
            "dynamic": measure_region(truth, image, dynamic, convention),
            "static": measure_region(truth, image, ~dynamic, convention),
        }

    def _kept(self, case: Case, candidate: Candidate) -> Result:
        content = json.loads((self._results / f"{self._key(case, candidate)}.json").read_text(encoding="utf-8"))
        return Result(**{**content, "method": candidate.label, "group": case.group})

    def _is_kept(self, case: Case, candidate: Candidate, pictured: bool) -> bool:
        key = self._key(case, candidate)
        file, image = self._results / f"{key}.json", self._images / f"{key}.npz"
        return file.is_file() and (not pictured or image.is_file() or bool(self._kept(case, candidate).failure))

    def _key(self, case: Case, candidate: Candidate) -> str:
        """File name of a result, a hash of data, settings and method."""
        text = json.dumps([_VERSION, case.identity, candidate.identity, self._measures], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]
