"""CRNN-MRI against the released network."""

import numpy as np
import pytest
import torch

from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.networks.crnn_mri.crnn_mri import CRNNMRI
from onebreath.networks.crunet_mr import official_names


def load(shared, coils, weights, mask, complex_):
    golden = np.load(shared / "golden" / f"crnn_mri_{coils}coil_{weights}.npz")
    network = CRNNMRI(channels=8, shared=weights == "shared")
    state = {key[8:]: torch.from_numpy(golden[key]) for key in golden if key.startswith("weights/")}
    network.load_state_dict(official_names.crnn_mri(state), strict=True)
    kspace, sampled = (torch.from_numpy(golden[f"in/{name}{mask}"]) for name in ("kspace", "mask"))
    if coils == "single":
        kspace, sampled = kspace[:, :, None], sampled[:, :, None]
        maps = torch.ones(1, 1, 1, *kspace.shape[-2:])
    else:
        maps = torch.from_numpy(golden["in/sens_maps"])
    return golden, network, (kspace.to(complex_), sampled, maps.to(complex_))


@pytest.mark.parametrize("mask", ["", "_acs_only"])
@pytest.mark.parametrize("weights", ["shared", "unshared"])
@pytest.mark.parametrize("coils", ["single", "multi"])
class TestReleasedNetwork:
    def test_every_cascade_in_single_precision(self, shared, deviation, coils, weights, mask):
        golden, network, inputs = load(shared, coils, weights, mask, torch.complex64)
        with torch.inference_mode():
            images = list(network.cascades(*inputs))
        assert len(images) == 5
        for index, image in enumerate(images):
            assert deviation(image, golden[f"out/cascade{index}{mask}"]) <= 3e-5

    def test_image_in_double_precision(self, shared, deviation, coils, weights, mask):
        """The reference starts from a zero-filled image that was rounded to single precision."""
        golden, network, inputs = load(shared, coils, weights, mask, torch.complex128)
        network.double()
        series, features = SampledSeries(*inputs), None
        image = torch.from_numpy(golden[f"in/image{mask}"]).to(torch.complex128)
        assert deviation(series.zero_filled(), image) <= 1e-6
        with torch.inference_mode():
            for index, consistency in enumerate(network.consistency):
                image, features = network.refine(index, image, features)
                image = consistency(image, series)
        assert deviation(image, golden[f"out/image_f64{mask}"]) <= 1e-9


def test_parameter_counts_are_the_published_ones():
    assert sum(parameter.numel() for parameter in CRNNMRI().parameters()) == 1_488_970
    assert sum(parameter.numel() for parameter in CRNNMRI(shared=True).parameters()) == 297_794
