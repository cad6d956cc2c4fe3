"""Memory: what a network needs, what there is, and what fits."""

import gc
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from onebreath.methods.learned import memory
from onebreath.methods.learned.effort import OPERATIONS_PER_SECOND, network_seconds
from onebreath.methods.learned.memory import (
    GIB,
    Meter,
    Size,
    Way,
    container_bytes,
    free_bytes,
    needed_bytes,
    plans,
    tile_counts,
)
from onebreath.networks.shared.tiling import TiledNetwork
from onebreath.zoo.architectures import build

SIZE = Size(frames=6, coils=4, y=48, x=64)
MIB = 2**20
TILES = Way(tiles=2, halo=8)


def test_the_meter_counts_what_lives_at_the_same_time():
    with Meter() as meter:
        first = torch.empty(MIB, dtype=torch.uint8, device="meta")
        second = first.reshape(2, -1)[0] + 1
        del first, second
        torch.empty(MIB, dtype=torch.uint8, device="meta")
    assert meter.peak == MIB + MIB // 2


def test_the_meter_leaves_out_what_lies_elsewhere():
    with Meter() as meter:
        stored = meter.elsewhere((MIB,), torch.uint8)
        stored[:10].add_(1)
        torch.empty(10, dtype=torch.uint8, device="meta")
    assert meter.peak == 10


THREE = {"channels": 16, "cascades": 3}
NOISE_AWARE = {
    "channels": 4,
    "patch": 2,
    "data_consistency": "cg",
    "follows_noise": True,
    "inputs": ["noise", "mean", "residual"],
}
"""Of a network like the default's, which folds pixels into channels and sees complex means."""


@pytest.mark.parametrize(
    ("architecture", "arguments", "way"),
    [
        *((name, THREE, way) for name in ("crunet_mr", "crnn_mri", "unet3d_mr") for way in (Way(), TILES)),
        *(("crunet_mr", {**THREE, "fusion": "ca"}, way) for way in (Way(), TILES)),
        ("a_liknet", {"frames": 6, "coils": 4, "iterations": 2}, Way()),
        ("a_liknet", {"frames": 4, "coils": 4, "iterations": 2}, Way()),
    ],
)
def test_the_estimate_is_what_a_real_run_allocates(architecture, arguments, way):
    network = build(architecture, arguments).requires_grad_(False)
    weights = sum(p.numel() * 4 for p in network.parameters())
    if way.tiles > 1:
        network = TiledNetwork(network, way.tiles, way.halo)
    gc.collect()
    with torch.inference_mode(), Meter() as meter:
        kspace = torch.randn(1, SIZE.frames, SIZE.coils, SIZE.y, SIZE.x, dtype=torch.complex64)
        maps = torch.full((1, 1, SIZE.coils, SIZE.y, SIZE.x), 0.5 + 0j)
        network(kspace, torch.ones(1, 1, 1, SIZE.y, 1, dtype=torch.bool), maps)
    ratio = needed_bytes(architecture, arguments, SIZE, way) / (meter.peak + weights)
    assert 1.2 <= ratio <= 1.6  # tensors alone: the estimate has a reserve for workspace


@pytest.mark.parametrize("way", [Way(), Way(torch.bfloat16), TILES])
@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        *((name, THREE) for name in ("crunet_mr", "crnn_mri", "unet3d_mr")),
        *(("crunet_mr", more) for more in ({**THREE, "fusion": "ca"}, NOISE_AWARE)),
    ],
)
def test_shapes_alone_count_as_torch_counts(architecture, arguments, way, monkeypatch):
    size = Size(frames=5, coils=4, y=44, x=62)  # odd halves: padding and copies between memory formats
    ours = needed_bytes(architecture, arguments, size, way)
    memory._counted.cache_clear()
    monkeypatch.setattr(memory, "result", lambda *_, **__: None)
    # torch's convolutions of meta tensors forget that channels are innermost, and what follows makes copies
    assert ours <= needed_bytes(architecture, arguments, size, way) <= 1.12 * ours


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        *((name, {}) for name in ("crunet_mr", "crnn_mri", "cinenet", "prompt_mr", "unet3d_mr")),
        ("crunet_mr", NOISE_AWARE),
    ],
)
def test_operations_are_those_that_torch_counts(architecture, arguments):
    shape = (5, 4, 44, 62)
    with torch.device("meta"):
        network = build(architecture, arguments).requires_grad_(False)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.rehearse(*shape)
    counted = network_seconds(architecture, arguments, shape) * OPERATIONS_PER_SECOND
    assert round(counted) == counter.get_total_flops() > 0


@pytest.mark.parametrize("arguments", [{"channels": 4}, NOISE_AWARE])
def test_counting_imports_no_compiler(arguments):
    code = (
        "import sys; from onebreath.methods.learned.memory import *; "
        f"from onebreath.methods.learned.effort import network_seconds; network = 'crunet_mr', {arguments!r}; "
        "needed_bytes(*network, Size(4, 2, 32, 32), Way()); network_seconds(*network, (4, 2, 32, 32)); "
        "print({'torch._dynamo', 'torch.fx.experimental.symbolic_shapes'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_smaller_pieces_and_numbers_need_less():
    arguments = {"channels": 16, "cascades": 3}
    size = Size(frames=6, coils=2, y=48, x=256)
    counts = [1, 2, 4]
    needs = [needed_bytes("crunet_mr", arguments, size, Way(tiles=n, halo=8, features_elsewhere=True)) for n in counts]
    assert needs == sorted(needs, reverse=True)
    assert needs[2] < 0.5 * needs[0]
    assert needed_bytes("crunet_mr", arguments, size, Way(dtype=torch.bfloat16)) < 0.7 * needs[0]


def test_tiles_are_halved_until_they_are_narrow():
    assert tile_counts(448) == [1, 2, 4, 8]
    assert tile_counts(40) == [1]


def test_plans_come_in_order_and_the_others_are_told():
    passed_over = []
    need = {1: 8, 2: 5, 4: 3}
    devices = [("cuda:0", 5 * GIB), ("cpu", None)]
    found = [(plan.device, plan.tiles) for plan in plans(devices, [1, 2, 4], lambda _, n: need[n] * GIB, passed_over)]
    assert found == [("cuda:0", 2), ("cuda:0", 4), ("cpu", 1), ("cpu", 2), ("cpu", 4)]
    assert passed_over == ["whole image on cuda:0: needs 8.00 GiB, free 5.00 GiB"]


def test_the_limit_and_the_container_bound_what_is_free(tmp_path):
    free = free_bytes("cpu")
    assert free is None or free > 0
    assert free_bytes("cpu", 1000) == 1000
    (tmp_path / "memory.current").write_text("400\n")
    for text, wanted in (("1000\n", 600), ("max\n", None), ("300\n", 0)):
        (tmp_path / "memory.max").write_text(text)
        assert container_bytes(tmp_path) == wanted
    old = tmp_path / "old" / "memory"
    old.mkdir(parents=True)
    (old / "memory.usage_in_bytes").write_text("400\n")
    for text, wanted in (("1000\n", 600), ("9223372036854771712\n", None)):
        (old / "memory.limit_in_bytes").write_text(text)
        assert container_bytes(old.parent) == wanted
    assert container_bytes(tmp_path / "none") is None
