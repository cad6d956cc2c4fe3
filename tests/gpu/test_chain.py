"""From prewhitening to export with the reconstruction on the GPU: the images of a chain on the CPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.chain.running import images_of, pixels, run, simulated, steps, stream_of
from tests.helpers import nrmse
from tests.models import save_model

pytestmark = pytest.mark.cuda
METHODS = {
    "unrolled": {"model": "crunet_mr.tiny", "outside_domain": "allow"},
    "low_rank_sparse": {"iterations": "10"},
    "cg_sense": {},
    "raki": {"iterations": "10", "channels_1": "8", "channels_2": "4", "gfactor": "none"},
}


@pytest.mark.parametrize("method", METHODS)
def test_images_are_those_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, method: str) -> None:
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    save_model(tmp_path)
    scan = simulated(mode="prospective", phases=3, ecg=True, acceleration=2, acs_mode="embedded", coils=4)
    made = {}
    for place in dict.fromkeys(("cpu", device)):
        chain = steps(method, reconstruct={"device": place, **METHODS[method]})
        made[place] = pixels(images_of(run(scan.header, stream_of(scan), chain)))
    assert len(made["cpu"]) == 3
    assert nrmse(made[device], made["cpu"]) < (0.02 if method == "raki" else 1e-3)


def test_memory_of_the_gpu_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    if device == "cpu":
        pytest.skip("only a GPU has memory of its own")
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    save_model(tmp_path)
    scan = simulated(mode="prospective", phases=3, ecg=True, acceleration=2, acs_mode="embedded", coils=4)
    chain = steps("unrolled", reconstruct={"device": "cuda", **METHODS["unrolled"]})
    allocated = []
    for _ in range(3):
        assert np.isfinite(pixels(images_of(run(scan.header, stream_of(scan), chain)))).all()
        torch.cuda.synchronize()
        allocated.append(torch.cuda.memory_allocated())
    assert allocated[1] == allocated[2]
