"""What is promised of the default cine model."""

from dataclasses import replace

import numpy as np

from onebreath.evaluation.data import read_slices
from onebreath.evaluation.metrics import measure
from onebreath.evaluation.scans import MaskChoice, ScanChoice, coil_maps, reference_scan, undersampled
from onebreath.methods.learned.unrolled import Unrolled


def test_bfloat16_convolutions_change_its_images_less_than_anybody_sees(monkeypatch):
    series, truth = next(read_slices("simulator", None, ["*"], [0]))
    scan = reference_scan(
        replace(series, images=series.images[:8]), ScanChoice(channels=6, coils=6, matrix=(64, 72)), truth
    )
    data = undersampled(scan, MaskChoice(family="cmrxrecon", acceleration=4, acs_lines=16), seed=0)
    data = replace(data, maps=coil_maps(scan)[0])
    images = {}
    # Processors without such units emulate them, slowly.
    monkeypatch.setattr("onebreath.networks.shared.precision.bfloat16_is_native", lambda device: True)
    for precision in ("float32", "bfloat16"):
        method = Unrolled(model="crunet_mr.cine", device="cpu", outside_domain="allow", precision=precision)
        images[precision] = np.abs(method(data).images)
    single, half = images["float32"], images["bfloat16"]
    error = np.linalg.norm(half - single) / np.linalg.norm(single)
    assert 0 < error < 2e-3
    assert measure(single, half)["ssim"].min() > 0.999
