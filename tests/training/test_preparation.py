import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.training.data.preparation import load_prepared, prepare, save_prepared
from tests.training.recipes import tiny_recipe, tiny_slice


def write_cine(folder, *patients):
    rng = np.random.default_rng(0)
    for patient in patients:
        np.savez(folder / f"{patient}.npz", images=rng.integers(1, 200, (1, 2, 48, 48)).astype(np.int16))


def recipe(folder, validate=(), **changes):
    scan = {"variants": 2, "coils": [4, 4], "channels": 4, "calibration_lines": [20, 20], "matrix": [0.9, 1.0]}
    train = [{"kind": "cine_npz", "path": str(folder), "patients": changes.pop("patients", ["P*"])}]
    sides = [{"kind": "cine_npz", "path": str(folder), "patients": list(validate)}] if validate else []
    return tiny_recipe(train=train, validate_on=sides, scan=scan, **changes)


def test_slices_are_prepared_once(tmp_path):
    write_cine(tmp_path, "P1", "P2", "Q1")
    first = prepare(recipe(tmp_path, ["Q*"]), tmp_path / "cache")
    assert {one.patient for one in first["train"]} == {"P1", "P2"}
    assert {one.patient for one in first["validate"]} == {"Q1"}
    assert len(first["train"]) == 4
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    again = prepare(recipe(tmp_path, ["Q*"]), tmp_path / "cache")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()} == files
    assert np.array_equal(first["train"][3].maps, again["train"][3].maps)
    prepare(recipe(tmp_path, ["Q*"], seed=4), tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2 * len(files)


def test_test_patients_cannot_leak(tmp_path):
    write_cine(tmp_path, "P1", "SCD0000401")
    with pytest.raises(ScanError, match="SCD0000401 is reserved for reports"):
        prepare(recipe(tmp_path, patients=["*"]), tmp_path / "cache")
    with pytest.raises(ScanError, match="must not be used to validate"):
        prepare(recipe(tmp_path, ["SCD*"]), tmp_path / "cache")
    with pytest.raises(ScanError, match="P1 is reserved for reports"):
        prepare(recipe(tmp_path, report_only=["P1"]), tmp_path / "cache")
    assert not any(load_prepared(file).patient == "SCD0000401" for file in (tmp_path / "cache").glob("*"))


def test_a_patient_on_both_sides_is_an_error(tmp_path):
    write_cine(tmp_path, "P1", "P2")
    with pytest.raises(ScanError, match="patients P2 are in 'train' and in 'validate'"):
        prepare(recipe(tmp_path, ["P2"]), tmp_path / "cache")


def test_an_empty_split_is_an_error(tmp_path):
    write_cine(tmp_path, "P1")
    with pytest.raises(ScanError, match="nothing to train on"):
        prepare(recipe(tmp_path, patients=["none"]), tmp_path / "cache")
    with pytest.raises(ScanError, match="nothing to validate on"):
        prepare(recipe(tmp_path, ["none"]), tmp_path / "cache")


def test_a_prepared_slice_survives_writing_and_reading(tmp_path):
    one = tiny_slice(2)
    save_prepared(one, tmp_path / "one.safetensors")
    found = load_prepared(tmp_path / "one.safetensors")
    assert (found.patient, found.name, found.noisy) == (one.patient, one.name, one.noisy)
    for name in ("image", "coils", "maps", "lines"):
        np.testing.assert_array_equal(getattr(found, name), getattr(one, name))
    content = (tmp_path / "one.safetensors").read_bytes()
    (tmp_path / "one.safetensors").write_bytes(content[:-100])
    with pytest.raises(ScanError, match="delete it"):
        load_prepared(tmp_path / "one.safetensors")
