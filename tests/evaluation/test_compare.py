"""What stored results of an evaluation are valid for."""

from dataclasses import replace

import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.evaluation.candidates import parse_candidates
from onebreath.evaluation.compare import Case, Evaluation
from onebreath.evaluation.scans import MaskChoice, ScanChoice
from onebreath.training.data.series import ImageSeries, KspaceSeries
from tests.helpers import complex_normal

CHOICE = ScanChoice(calibration_lines=16, channels=4, snr=(30, 30))


@pytest.fixture
def measured() -> Case:
    """A measured scan with everything that can be known of it."""
    rng = np.random.default_rng(0)
    weight = np.hanning(48)[:, None] * np.hanning(48)
    kspace, maps = complex_normal(rng, (2, 4, 48, 48)) * weight, complex_normal(rng, (4, 48, 48))
    lines = np.arange(48)[None] % 2 == 0
    lines[:, 12:36] = True
    maps /= np.linalg.norm(maps, axis=0)
    series = KspaceSeries("A", "raw", (kspace * lines[:, None, :, None]).astype(np.complex64), lines, maps, 0.1)
    return Case(series, rng.random((2, 48, 48)), CHOICE, None)


CHANGES = {
    "truth": lambda case: replace(case, truth=case.truth * 2),
    "maps": lambda case: replace(case, series=replace(case.series, maps=-case.series.maps)),
    "lines": lambda case: replace(case, series=replace(case.series, mask=case.series.mask & (np.arange(48) > 0))),
    "noise": lambda case: replace(case, series=replace(case.series, noise_std=0.2)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_results_of_other_data_are_not_reused(measured, tmp_path, change):
    evaluation = Evaluation(parse_candidates(["zero_filled"]), ("strict",), None, tmp_path)
    (first,), (again,) = evaluation.run([measured]), evaluation.run([measured])
    assert again == first
    changed = change(measured)
    (other,) = evaluation.run([changed])
    (alone,) = Evaluation(parse_candidates(["zero_filled"]), ("strict",), None, tmp_path / "alone").run([changed])
    assert other.measures == alone.measures
    assert len(list((tmp_path / "results").glob("*.json"))) == 2


def test_what_the_header_says_of_images_is_part_of_their_scan():
    series = ImageSeries("A", "slice0", np.ones((2, 64, 64), np.float32), (1.4, 1.4), {"acquired_lines": 40})
    mask = MaskChoice(family="cmrxrecon", acceleration=4)
    others = (
        replace(series, facts={"acquired_lines": 48}),
        replace(series, pixel_mm=(1.4, 2.0)),
        replace(series, images=np.ones((2, 32, 128), np.float32)),
    )
    same = replace(series, facts=dict(series.facts))
    assert Case(same, None, CHOICE, mask).identity == Case(series, None, CHOICE, mask).identity
    assert all(Case(one, None, CHOICE, mask).identity != Case(series, None, CHOICE, mask).identity for one in others)


def test_a_file_of_coil_maps_counts_by_its_content(tmp_path):
    series = ImageSeries("A", "slice0", np.ones((2, 64, 64), np.float32), (1.4, 1.4))
    found = []
    for name, value in (("first", 1), ("second", 2), ("copy", 1)):
        file = tmp_path / f"{name}.npy"
        np.save(file, np.full((2, 8, 8), value, np.complex64))
        choice = CHOICE.model_copy(update={"measured_coils": str(file)})
        found.append(Case(series, None, choice, None).identity)
    assert found[0] == found[2] != found[1]
    choice = CHOICE.model_copy(update={"measured_coils": str(tmp_path / "none.npy")})
    with pytest.raises(ScanError, match=r"measured_coils: .* cannot be read"):
        _ = Case(series, None, choice, None).identity
