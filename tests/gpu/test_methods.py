"""Methods on the GPU: the images of the CPU, several slices at once, and arrays that other libraries hold."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onebreath.methods.base import SliceData, method_class
from onebreath.methods.device import upload
from onebreath.methods.learned.network_data import to_tensor
from tests.helpers import nrmse, relative_error
from tests.methods.slices import lines, synthetic
from tests.models import save_model

pytestmark = pytest.mark.cuda
RAKI = {"channels_1": 16, "channels_2": 8, "iterations": 30, "gfactor": "none"}
METHODS: dict[str, tuple[str, dict[str, Any], float]] = {
    "CG-SENSE": ("cg_sense", {"gfactor_replicas": 2}, 1e-3),
    "L+S": ("low_rank_sparse", {"iterations": 5}, 1e-3),
    "CRUNet-MR": ("unrolled", {"model": "crunet_mr.tiny", "outside_domain": "allow"}, 1e-4),
    "CRUNet-MR, recorded": ("unrolled", {"model": "crunet_mr.tiny", "outside_domain": "allow", "recorded": True}, 1e-4),
    "PromptMR": ("unrolled", {"model": "prompt_mr.tiny", "outside_domain": "allow"}, 1e-4),
    "MR-IPT": ("mr_ipt", {"model": "mr_ipt.tiny", "outside_domain": "allow"}, 1e-4),
}


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    for name in ("crunet_mr.tiny", "prompt_mr.tiny", "mr_ipt.tiny"):
        save_model(tmp_path, name)


def series() -> SliceData:
    return synthetic(np.stack([lines(48, 3, 16)] * 4), ny=48, nx=40, coils=4, acs=16).data


@pytest.mark.parametrize("name", METHODS)
def test_images_are_those_of_the_cpu(models: None, device: str, name: str) -> None:
    method, parameters, tolerance = METHODS[name]
    data = series()
    wanted = method_class(method)(**parameters, device="cpu")(data)
    found = method_class(method)(**parameters, device=device)(data)
    assert isinstance(found.images, np.ndarray)
    assert device in str(found.facts.get("device", found.facts.get("backend")))
    assert relative_error(found.images, wanted.images) < tolerance
    if "recorded" in parameters:
        assert found.facts["recorded"] is (device == "cuda")


@pytest.mark.parametrize("name", ["L+S", "CRUNet-MR", "CRUNet-MR, recorded", "MR-IPT"])
def test_slices_in_flight_at_once_do_not_mix(models: None, device: str, name: str) -> None:
    method, parameters, tolerance = METHODS[name]
    one = method_class(method)(**parameters, device=device)
    slices = [replace(data, kspace=data.kspace * np.float32(factor)) for data in [series()] for factor in (1, 2, 3, 4)]
    alone = [one(data).images for data in slices]
    with ThreadPoolExecutor(4) as pool:
        together = [found.images for found in pool.map(one, slices)]
    for index, image in enumerate(together):
        assert relative_error(image, alone[index]) < tolerance


@pytest.mark.parametrize("name", ["CG-SENSE", "L+S", "CRUNet-MR", "MR-IPT"])
def test_arrays_of_cupy_are_used_where_they_are(models: None, device: str, name: str) -> None:
    cupy = pytest.importorskip("cupy")
    if device == "cpu":
        pytest.skip("CuPy needs a GPU")
    method, parameters, tolerance = METHODS[name]
    data = series()
    wanted = method_class(method)(**parameters, device="cpu")(data).images
    there = replace(data, **{key: cupy.asarray(getattr(data, key)) for key in ("kspace", "mask", "maps")}, acs=None)
    found = method_class(method)(**parameters)(there).images
    assert isinstance(found, cupy.ndarray)
    assert nrmse(cupy.asnumpy(found), wanted) < tolerance
    assert to_tensor(there.kspace, "cuda").data_ptr() == there.kspace.data.ptr  # no copy


def test_arrays_are_uploaded_as_they_are(device: str) -> None:
    if device == "cpu":
        pytest.skip("only a GPU reads page-locked memory")
    arrays = [np.arange(24, dtype=np.complex64).reshape(4, 6) * 1j, np.arange(30).reshape(5, 6)[:, ::2] % 2 == 0]
    arrays[0].flags.writeable = False
    found = [upload(one) for one in arrays for _ in range(50)]
    for index, one in enumerate(found):
        assert one.device.type == "cuda"
        assert np.array_equal(one.cpu().numpy(), arrays[index // 50])


def test_tensors_on_the_gpu_stay_there(models: None, device: str) -> None:
    data = series()
    there = replace(
        data, **{key: torch.asarray(np.array(getattr(data, key)), device=device) for key in ("kspace", "mask", "maps")},
        acs=None,
    )  # fmt: skip
    found = method_class("cg_sense")()(there).images
    assert found.device.type == device
    assert relative_error(found.cpu().numpy(), method_class("cg_sense")(device="cpu")(data).images) < 1e-3


@pytest.mark.parametrize("variant", ["raki", "iraki"])
def test_raki_learns_as_on_the_cpu(device: str, variant: str) -> None:
    data = synthetic(lines(64, 3), noise=0.2).data
    settings = {**RAKI, "variant": variant, "rounds": 1}
    wanted = method_class("raki")(**settings, device="cpu")(data)
    found = method_class("raki")(**settings, device=device)(data)
    assert found.facts["device"].startswith(device)
    assert nrmse(found.images, wanted.images) < 0.02
