import pytest

from onebreath.errors import ScanError
from onebreath.training.data.preparation import choose
from onebreath.training.recipe import Source
from onebreath.training.split import REPORT_ONLY, check_disjoint, check_purpose
from tests.training.recipes import tiny_slice


@pytest.mark.parametrize("patient", [*REPORT_ONLY, "scd0000401"])
@pytest.mark.parametrize("purpose", ["train", "validate"])
def test_patients_kept_for_reports_are_refused(patient, purpose):
    with pytest.raises(ScanError, match="reserved for reports"):
        check_purpose(patient, purpose)
    check_purpose(patient, "report")


def test_patterns_of_a_recipe_are_kept_as_well():
    with pytest.raises(ScanError, match="patient site7-003"):
        check_purpose("site7-003", "train", ["site7-*"])
    check_purpose("site8-003", "train", ["site7-*"])


def test_choosing_never_leaves_a_kept_patient_out_in_silence():
    series = [tiny_slice(patient="SCD0000101"), tiny_slice(patient="SCD0000401")]
    with pytest.raises(ScanError, match="SCD0000401"):
        choose(Source(kind="simulator"), iter(series), "validate", [])


def test_per_patient_spreads_over_the_slices():
    series = [tiny_slice(seed) for seed in range(9)]
    chosen = choose(Source(kind="simulator", per_patient=3), iter(series), "train", [])
    assert [one.name for one in chosen] == ["slice0", "slice4", "slice8"]


def test_a_patient_on_two_sides_is_an_error():
    with pytest.raises(ScanError, match="patients b are in 'train' and in 'validate'"):
        check_disjoint({"train": {"a", "b"}, "validate": {"b", "c"}})
