import ast
from pathlib import Path

import numpy as np
import pytest

from onebreath.errors import ConfigError, MethodError
from onebreath.methods import base
from onebreath.methods.base import SliceData, check_finite, join_sets, method_class
from onebreath.mri.sampling import describe
from onebreath.registry import METHODS
from tests.helpers import backend  # noqa: F401
from tests.methods.slices import lines, synthetic


def test_unknown_method_names_the_closest_one():
    with pytest.raises(ConfigError, match=r"'grapa'\. Did you mean: grappa"):
        method_class("grapa")
    with pytest.raises(ConfigError, match="zero_filled"):
        method_class("qqq")


@pytest.mark.parametrize("name", ["zero_filled", "cg_sense", "grappa"])
def test_classes_know_their_name_and_document_their_parameters(name):
    cls = method_class(name)
    assert cls.name == name
    assert all(field.description for field in cls.Parameters.model_fields.values())


def test_every_registered_method_is_where_the_table_says():
    for entry in METHODS.values():
        module, _, attribute = entry.partition(":")
        path = Path(base.__file__).parents[2] / f"{module.replace('.', '/')}.py"
        names = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
        assert attribute in names, f"{path} has no class {attribute}"


def test_wrong_parameters_are_named():
    with pytest.raises(ConfigError, match=r"cg_sense: there is no parameter 'iteration'. Did you mean: iterations"):
        method_class("cg_sense")(iteration=3)
    with pytest.raises(ConfigError, match=r"method grappa: grappa_kSize_RO: .*must be odd"):
        method_class("grappa")(grappa_kSize_RO=4)
    with pytest.raises(ConfigError, match="method cg_sense: regularisation"):
        method_class("cg_sense")(regularisation="much")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kspace": np.ones((4, 64, 48))}, "must be \\(frame, coil, y, x\\)"),
        ({"mask": np.ones((3, 64, 1), bool)}, "mask has shape \\(3, 64, 1\\)"),
        ({"maps": np.ones((1, 4, 64, 32))}, "coil maps' shape"),
        ({"acs": np.ones((4, 24))}, "must be \\(coil, y, x\\)"),
        ({"acs": np.ones((6, 24, 48))}, "have 6 channels, the k-space has 4"),
        ({"acs": np.ones((4, 24, 40))}, "have 40 samples along the readout, the k-space has 48"),
        ({"acs_first": 50}, "lines 50..73 lie outside the 64 lines"),
    ],
)
def test_parts_that_do_not_belong_together_are_named(change, words):
    data = synthetic(lines(64, 2, 24), coils=4).data
    with pytest.raises(MethodError, match=words):
        SliceData(**{**vars(data), **change})


@pytest.mark.parametrize("part", ["kspace", "acs", "maps"])
def test_samples_that_are_not_finite_are_counted(part, backend):  # noqa: F811
    data = synthetic(lines(64, 2, 24), coils=4).data
    broken = getattr(data, part).copy()
    broken[0, 0, 3] = np.nan
    broken[0, 1, 3, ...] = np.inf
    values = {**vars(data), part: broken}
    values |= {name: backend(values[name]) for name in ("kspace", "mask", "acs", "maps")}
    with pytest.raises(MethodError, match=r"some: the .* hold \d+ samples that are NaN or infinite"):
        check_finite(SliceData(**values), "some")


def test_join_sets_keeps_one_set_and_adds_the_energy_of_two(backend):  # noqa: F811
    one = backend(np.array([[[[3 + 4j, 0]]]]))
    assert np.asarray(join_sets(one)).tolist() == [[[3 + 4j, 0]]]
    two = backend(np.array([[[[3 + 0j, 0, 2j]]], [[[4j, 2, 0]]]]))
    np.testing.assert_allclose(np.asarray(join_sets(two)), [[[5, 2, 2j]]])


def test_sampling_is_described_for_the_slice():
    data = synthetic(lines(64, 2, 24), coils=4).data
    assert data.sampling == describe(data.mask)
