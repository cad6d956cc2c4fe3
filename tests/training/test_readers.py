import importlib.util
from dataclasses import replace

import h5py
import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.evaluation.data import read_slices
from onebreath.mri.fourier import ifft2c
from onebreath.simulation.scan import ScanOptions, simulate
from onebreath.training.data.measured import calibrate_measured
from onebreath.training.data.scanning import ScanSettings
from onebreath.training.readers.cmrxrecon import full_sample
from onebreath.training.readers.dicom import dicom_folder
from onebreath.training.readers.fastmri import multicoil_file
from onebreath.training.readers.magnitude import cine_npz, static_npz
from onebreath.training.readers.mrd import mrd_file
from onebreath.training.readers.simulator import phantoms
from onebreath.training.recipe import Source
from onebreath.training.sources import read_source
from tests.helpers import complex_normal, nrmse


def write_mat(path, kspace, name="kspace_full"):
    """Write (t, slice, coil, ky, kx) as MATLAB v7.3 stores complex numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.zeros(kspace.shape, [("real", "f4"), ("imag", "f4")])
    stored["real"], stored["imag"] = kspace.real, kspace.imag
    with h5py.File(path, "w", userblock_size=512) as file:
        file[name] = stored
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))


@pytest.fixture
def cine():
    return complex_normal(np.random.default_rng(0), (3, 2, 4, 12, 10), np.complex64)


def test_cmrxrecon_files(tmp_path, cine):
    write_mat(tmp_path / "FullSample" / "P007" / "cine_sax.mat", cine)
    series = list(read_source(Source(kind="cmrxrecon", path=str(tmp_path))))
    assert [(one.patient, one.name) for one in series] == [("P007", "cine_sax-slice00"), ("P007", "cine_sax-slice01")]
    np.testing.assert_array_equal(series[1].kspace, cine[:, 1])
    assert series[0].mask is None


def test_undersampled_cmrxrecon_files_come_with_their_mask(tmp_path, cine):
    path = tmp_path / "P001" / "cine_lax.mat"
    write_mat(path, cine, "kspace_sub04")
    with pytest.raises(ScanError, match="no such file"):
        list(full_sample(path))
    mask = np.zeros((12, 10))
    mask[::4] = 1
    with h5py.File(path.with_name("cine_lax_mask.mat"), "w") as file:
        file["mask04"] = mask
    series = list(full_sample(path))
    np.testing.assert_array_equal(np.flatnonzero(series[0].mask[0]), [0, 4, 8])
    assert list(full_sample(path.with_name("cine_lax_mask.mat"))) == []


def test_damaged_cmrxrecon_files_are_refused(tmp_path, cine):
    path = tmp_path / "P001" / "cine_sax.mat"
    write_mat(path, cine)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ScanError, match="truncated"):
        list(full_sample(path))
    write_mat(path, cine, "something")
    with pytest.raises(ScanError, match="none of the variables kspace_full"):
        list(full_sample(path))


def test_fastmri_files_have_readout_and_phase_exchanged(tmp_path):
    kspace = complex_normal(np.random.default_rng(1), (2, 3, 10, 8), np.complex64)
    with h5py.File(tmp_path / "file7.h5", "w") as file:
        file["kspace"] = kspace
        file["mask"] = np.arange(8) % 2 == 0
        file.attrs["patient_id"] = "abc"
    series = list(multicoil_file(tmp_path / "file7.h5"))
    assert [one.patient for one in series] == ["abc", "abc"]
    np.testing.assert_array_equal(series[1].kspace[0], kspace[1].swapaxes(-1, -2))
    np.testing.assert_array_equal(series[1].mask, [np.arange(8) % 2 == 0])
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["other"] = 1
    with pytest.raises(ScanError, match="no array 'kspace'; it holds other"):
        list(multicoil_file(tmp_path / "bad.h5"))


@pytest.mark.parametrize(
    ("kspace", "mask", "text"),
    [
        (np.ones((2, 3, 10, 8)), None, "of type float64, expected complex"),
        (np.ones((0, 3, 10, 8), np.complex64), None, r"shape \(0, 3, 10, 8\)"),
        (np.ones((2, 3, 10, 8), np.complex64), np.ones(7), r"the mask has the shape \(1, 7\), expected .* 8 lines"),
    ],
)
def test_fastmri_files_of_other_arrays_are_refused(tmp_path, kspace, mask, text):
    with h5py.File(tmp_path / "file7.h5", "w") as file:
        file["kspace"] = kspace
        if mask is not None:
            file["mask"] = mask
    with pytest.raises(ScanError, match=text):
        list(multicoil_file(tmp_path / "file7.h5"))


def test_cine_npz_brings_rows_along_the_phase_encoding(tmp_path):
    images = np.random.default_rng(0).integers(1, 9, (2, 3, 6, 8)).astype(np.int16)
    np.savez(tmp_path / "P1.npz", images=images)
    (tmp_path / "meta.json").write_text('{"P1": {"phase_dir": "ROW", "pixel_spacing_mm": [1.0, 2.0]}}')
    series = list(cine_npz(tmp_path / "P1.npz"))
    assert [(one.patient, one.name, one.pixel_mm) for one in series] == [
        ("P1", "slice00", (2.0, 1.0)),
        ("P1", "slice01", (2.0, 1.0)),
    ]
    np.testing.assert_array_equal(series[1].images, images[1].swapaxes(1, 2))


def test_static_npz_takes_patients_from_names(tmp_path):
    names = np.array(["SC-N-02-IM-0001-0048.dcm.png", "SC-N-03-IM-0001-0059.dcm.png"])
    np.savez(tmp_path / "s.npz", images=np.ones((2, 6, 8), np.uint8), names=names)
    source = Source(kind="static_npz", path=str(tmp_path / "s.npz"), patients=("SC-N-*",), exclude=("*-03",))
    assert [(one.patient, one.name) for one in read_source(source)] == [("SC-N-02", "0001-0048.dcm.png")]


def test_names_without_the_patient_are_refused(tmp_path):
    np.savez(tmp_path / "s.npz", images=np.ones((1, 6, 8), np.uint8), names=np.array(["P001_slice3"]))
    with pytest.raises(ScanError, match="P001_slice3 is not of the form PATIENT-IM-SERIES-NUMBER"):
        list(static_npz(tmp_path / "s.npz"))


def test_images_that_are_no_magnitudes_are_refused_and_complex_ones_become_such(tmp_path):
    images = np.random.default_rng(0).random((1, 3, 6, 8)) + 1
    for values, text in ((images - 1.5, "no magnitudes"), (images.astype(str), "expected numbers")):
        np.savez(tmp_path / "P1.npz", images=values)
        with pytest.raises(ScanError, match=text):
            list(cine_npz(tmp_path / "P1.npz"))
    for values in (images * 1j, np.where(images > 1.01, images, -0.01)):
        np.savez(tmp_path / "P1.npz", images=values)
        (one,) = cine_npz(tmp_path / "P1.npz")
        np.testing.assert_allclose(one.images, np.maximum(np.abs(values[0]) * (values[0].real > -0.001), 0), rtol=1e-6)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("[]", "expected an object"),
        ('{"P1": null}', "expected an object"),
        ('{"P1": {"phase_dir": "row"}}', "phase_dir is 'row', expected COL or ROW"),
        ('{"P1": {"pixel_spacing_mm": 1.2}}', "pixel_spacing_mm is 1.2, expected the sizes"),
    ],
)
def test_wrong_values_beside_the_images_are_refused(tmp_path, content, text):
    np.savez(tmp_path / "P1.npz", images=np.ones((1, 3, 6, 8)))
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(ScanError, match=text):
        list(cine_npz(tmp_path / "P1.npz"))


def test_damaged_npz_files_are_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(ScanError, match="damaged"):
        list(cine_npz(tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", other=1)
    with pytest.raises(ScanError, match="no array 'images'"):
        list(cine_npz(tmp_path / "y.npz"))
    np.savez(tmp_path / "z.npz", images=np.ones((3, 3)))
    with pytest.raises(ScanError, match="expected"):
        list(cine_npz(tmp_path / "z.npz"))


@pytest.mark.skipif(importlib.util.find_spec("pydicom") is not None, reason="pydicom is installed")
def test_without_pydicom_the_message_says_what_to_install(tmp_path):
    with pytest.raises(ScanError, match="pip install pydicom"):
        list(dicom_folder(tmp_path))


def test_dicom_folders(shared):
    pytest.importorskip("pydicom", reason="DICOM files are read with pydicom, which is not installed")
    series = list(dicom_folder(shared / "data" / "cine_sunnybrook" / "dicom_SCD0000401_slice06"))
    assert len(series) == 1
    with np.load(shared / "data" / "cine_sunnybrook" / "SCD0000401.npz") as stack:
        frames = series[0].images
        assert any(np.array_equal(np.abs(one), frames.swapaxes(1, 2)) for one in stack["images"].astype(np.float32))


@pytest.fixture(scope="module")
def mrd(tmp_path_factory):
    options = ScanOptions(matrix=(48, 40), slices=2, phases=4, coils=4, acceleration=1, noise_lines=64)
    scan = simulate(options)
    path = tmp_path_factory.mktemp("mrd") / "scan.h5"
    scan.write(path)
    return path, scan.truth


def test_ismrmrd_files_come_whitened_and_sorted(mrd):
    path, truth = mrd
    series = list(mrd_file(path))
    assert len(series) == 2
    assert series[0].kspace.shape == (4, 4, 48, 40)
    assert series[0].noise_std == 1
    air = ifft2c(series[0].kspace)[..., :6, :6]
    assert air.real.std() == pytest.approx(1, abs=0.15)
    prepared = calibrate_measured(series[0], ScanSettings(channels=4, calibration_lines=(24, 24)))
    combined = np.sum(np.conj(prepared.maps) * prepared.image, axis=1)
    assert prepared.noisy
    assert nrmse(np.abs(combined), np.abs(truth["image"][0])) < 0.15


def test_embedded_calibration_lines_are_data_and_slices_have_names_of_their_own(tmp_path):
    options = ScanOptions(
        matrix=(48, 40), slices=2, phases=3, coils=4, acceleration=4, acs_mode="embedded", acs_lines=16, noise_lines=64
    )
    scan = simulate(options)
    scan.write(tmp_path / "scan.h5")
    series = list(mrd_file(tmp_path / "scan.h5"))
    assert len({one.name for one in series}) == 2
    acquired = scan.truth["mask"] | scan.truth["calibration_mask"]
    for one, lines in zip(series, acquired, strict=True):
        assert np.array_equal(np.broadcast_to(one.mask, lines.shape), lines)
        assert np.array_equal(one.kspace.any(axis=(1, 3)), lines)


def test_separate_calibration_lines_make_the_maps_of_scans_without_a_full_centre(mrd, tmp_path):
    options = ScanOptions(
        matrix=(48, 40), slices=2, phases=4, coils=4, acceleration=4, acs_mode="separate", acs_lines=24, noise_lines=64
    )
    scan = simulate(options)
    scan.write(tmp_path / "scan.h5")
    complete = mrd_file(mrd[0])
    settings = ScanSettings(channels=4, calibration_lines=(24, 24))
    for number, one in enumerate(mrd_file(tmp_path / "scan.h5")):
        mask = scan.truth["mask"][number]
        assert np.array_equal(np.broadcast_to(one.mask, mask.shape), mask)
        assert np.flatnonzero(one.calibration.any(axis=(0, 2))).tolist() == list(range(12, 36))
        assert np.array_equal(calibrate_measured(one, settings).lines, one.mask)
        # All lines of the same object, with the maps of the few.
        prepared = calibrate_measured(replace(one, kspace=next(complete).kspace, mask=None), settings)
        combined = np.sum(np.conj(prepared.maps) * prepared.image, axis=1)
        assert nrmse(np.abs(combined), np.abs(scan.truth["image"][number])) < 0.15
    more = ScanSettings(channels=4, calibration_lines=(32, 32))
    with pytest.raises(ScanError, match="the middle 32 lines are not all acquired, nor are there so many calibration"):
        calibrate_measured(one, more)
    assert calibrate_measured(replace(one, mask=None), more).lines.all()  # the scan's own centre, where it is complete
    with pytest.raises(ScanError, match=r"the calibration lines are \(4, 24, 40\), expected \(4, 48, 40\)"):
        replace(one, calibration=one.calibration[:, :24])


def test_truncated_ismrmrd_files_are_refused(mrd, tmp_path):
    content = mrd[0].read_bytes()
    (tmp_path / "half.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(ScanError):
        list(mrd_file(tmp_path / "half.h5"))


def test_every_phantom_is_a_patient_and_beats():
    series = list(phantoms(range(5, 7)))
    chosen = Source(
        kind="simulator", subjects=4, first_seed=4, patients=("phantom?",), exclude=("phantom4", "phantom7")
    )
    assert [one.patient for one in read_source(chosen)] == [one.patient for one in series]
    assert {one.patient for one in series} == {"phantom5", "phantom6"}
    assert len(series) == 6
    assert np.abs(series[0].images).std(axis=0).max() > 0.2
    assert not np.array_equal(series[0].images, series[3].images)


def test_phantoms_of_a_second_contrast_are_the_same_patients():
    plain, spoiled = (
        list(read_source(Source(kind="simulator", subjects=1, first_seed=5, spoiled=how))) for how in (False, True)
    )
    assert [one.patient for one in spoiled] == [one.patient for one in plain]  # so that no split takes them for two
    for bright, dark in zip(spoiled, plain, strict=True):
        a, b = (np.abs(one.images).ravel() for one in (bright, dark))
        assert 0.3 < np.corrcoef(a, b)[0, 1] < 0.97
    named = [series for series, _ in read_slices("simulator_spoiled", None, ["phantom0"], [0])]
    again = next(iter(read_source(Source(kind="simulator", subjects=1, spoiled=True))))
    assert np.array_equal(named[0].images, again.images)


def test_a_folder_without_files_is_an_error(tmp_path):
    with pytest.raises(ScanError, match=r"no file \*\.h5 or \*\.mrd"):
        list(read_source(Source(kind="mrd", path=str(tmp_path))))


def test_calibration_needs_its_lines(cine):
    from onebreath.training.data.series import KspaceSeries

    lines = np.zeros((1, 40), bool)
    lines[:, ::2] = True
    kspace = complex_normal(np.random.default_rng(0), (2, 4, 40, 40), np.complex64)
    with pytest.raises(ScanError, match="coil maps cannot be estimated"):
        calibrate_measured(KspaceSeries("p", "s", kspace * lines[0][:, None], lines), ScanSettings())
