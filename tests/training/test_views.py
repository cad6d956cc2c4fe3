"""Views of CMRxRecon files, files of a single coil, and changes of a recipe on the command line."""

import h5py
import numpy as np
import pytest
import yaml

from onebreath.errors import ConfigError, ScanError
from onebreath.evaluation.compare import Case
from onebreath.evaluation.data import read_slices
from onebreath.evaluation.scans import MaskChoice, ScanChoice
from onebreath.training.data.measured import calibrate_measured
from onebreath.training.data.scanning import ScanSettings
from onebreath.training.readers.cmrxrecon import full_sample
from onebreath.training.recipe import Source, read_recipe
from onebreath.training.sources import read_source
from tests.helpers import complex_normal
from tests.training.recipes import CONTENT
from tests.training.test_readers import write_mat


@pytest.fixture
def cine():
    return complex_normal(np.random.default_rng(0), (3, 2, 4, 32, 30), np.complex64)


@pytest.fixture
def patients(tmp_path, cine):
    for patient in ("P001", "P002"):
        write_mat(tmp_path / "FullSample" / patient / "cine_sax.mat", cine)
        write_mat(tmp_path / "FullSample" / patient / "cine_lax.mat", cine[:, :1])
    return tmp_path


def names(source):
    return [(one.patient, one.name, one.view) for one in read_source(source)]


def test_a_source_takes_the_views_it_names(patients):
    assert len(names(Source(kind="cmrxrecon", path=str(patients)))) == 6
    lax = names(Source(kind="cmrxrecon", path=str(patients), views=("LAX",)))
    assert lax == [("P001", "cine_lax-slice00", "lax"), ("P002", "cine_lax-slice00", "lax")]
    assert {view for *_, view in names(Source(kind="cmrxrecon", path=str(patients), views=("sax",)))} == {"sax"}


def test_views_cannot_be_chosen_where_no_file_tells_them():
    with pytest.raises(ScanError, match=r"does not state its view, so the views sax cannot be selected"):
        list(read_source(Source(kind="simulator", views=("sax",), subjects=1)))


def test_evaluation_has_a_group_for_each_view(patients):
    found = list(read_slices(str(patients), "cmrxrecon", ["P001"], [0]))
    assert [series.view for series, _ in found] == ["lax", "sax"]
    choice, mask = ScanChoice(), MaskChoice(family="cmrxrecon", acceleration=4)
    groups = [Case(series, None, choice, mask).group for series, _ in found]
    assert groups[0].startswith("lax, cmrxrecon R=4")
    assert groups[1] == groups[0].replace("lax", "sax", 1)
    only = list(read_slices(str(patients), "cmrxrecon", ["*"], None, ["sax"]))
    assert [series.view for series, _ in only] == ["sax"] * 4
    with pytest.raises(ScanError, match=r"no slice of patients P001, views 4ch, is left"):
        list(read_slices(str(patients), "cmrxrecon", ["P001"], None, ["4ch"]))


def test_files_of_a_single_coil(tmp_path, cine):
    path = tmp_path / "P001" / "cine_lax.mat"
    write_mat(path, cine[:, :, 0], "kspace_single_full")
    one, two = full_sample(path)
    assert (one.kspace.shape, one.view, one.mask) == ((3, 1, 32, 30), "lax", None)
    np.testing.assert_array_equal(two.kspace[:, 0], cine[:, 1, 0])
    prepared = calibrate_measured(one, ScanSettings(calibration_lines=(8, 8)))
    assert (prepared.maps == 1).all()
    np.testing.assert_allclose(np.abs(prepared.image[:, 0]).max(), ScanSettings().snr[1], rtol=1e-5)


def test_an_undersampled_file_of_a_single_coil_has_its_mask(tmp_path, cine):
    path = tmp_path / "P001" / "cine_sax.mat"
    write_mat(path, cine[:, :, 0], "kspace_single_sub08")
    mask = np.zeros((32, 30))
    mask[::8] = 1
    with h5py.File(path.with_name("cine_sax_mask.mat"), "w") as file:
        file["mask08"] = mask
    np.testing.assert_array_equal(np.flatnonzero(next(full_sample(path)).mask[0]), [0, 8, 16, 24])


def test_axes_that_do_not_fit_the_variable_are_refused(tmp_path, cine):
    path = tmp_path / "P001" / "cine_sax.mat"
    write_mat(path, cine[:, :, 0])
    with pytest.raises(ScanError, match=r"\(t, slice, coil, ky, kx\)"):
        list(full_sample(path))
    write_mat(path, cine, "kspace_single_full")
    with pytest.raises(ScanError, match=r"\(t, slice, ky, kx\)"):
        list(full_sample(path))


@pytest.fixture
def recipe_file(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump(CONTENT))
    return file


def test_fields_of_a_recipe_are_changed(recipe_file):
    changes = ["masks.0.accelerations=[8, 24]", "train.0.views=[lax]", "steps=7", "loss.ssim=0.5"]
    recipe, before = read_recipe(recipe_file, changes), read_recipe(recipe_file)
    assert recipe.masks[0].accelerations == (8, 24)
    assert recipe.masks[0].family == before.masks[0].family
    assert recipe.train[0].views == ("lax",)
    assert (recipe.steps, recipe.loss.ssim, recipe.loss.image_mse) == (7, 0.5, before.loss.image_mse)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("steps", "expected FIELD=VALUE"),
        ("masks.9.family=vista", "there is no item 9"),
        ("steps.a=1", "cannot have a field a"),
        ("stepz=1", "stepz"),
        ("steps=[", "is not YAML"),
    ],
)
def test_changes_that_cannot_be_are_named(recipe_file, change, text):
    with pytest.raises(ConfigError, match=text):
        read_recipe(recipe_file, [change])
