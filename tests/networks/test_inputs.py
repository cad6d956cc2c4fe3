"""Wrong input is refused with the argument and both values."""

import pytest
import torch

from onebreath.errors import MethodError
from onebreath.networks.shared.inputs import check_inputs


def test_right_inputs_pass(scan):
    kspace, mask, maps = scan(batch=2)
    check_inputs(kspace, mask, maps)
    check_inputs(kspace, mask[:1, :1].float(), maps.expand(2, 3, 2, 10, 8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda k, m, s: (k[0], m, s), r"kspace has 4 axes \(3, 2, 10, 8\), expected 5"),
        (lambda k, m, s: (k.real, m, s), "kspace is torch.float32, expected a complex type"),
        (lambda k, m, s: (k, m, s.real), "maps is torch.float32, expected a complex type"),
        (lambda k, m, s: (k, m + 0j, s), "mask is torch.complex64, expected a boolean or real type"),
        (lambda k, m, s: (k, m[:, :2], s), r"mask has size 2 along frame, expected 1 or 3 \(kspace has 3\)"),
        (lambda k, m, s: (k, m.expand(-1, -1, 2, -1, -1), s), "mask has size 2 along coil, expected 1 "),
        (lambda k, m, s: (k, m, s[:, :, :1]), r"maps has size 1 along coil, expected 2 \(kspace has 2\)"),
        (lambda k, m, s: (k, m, s.expand(-1, 2, -1, -1, -1)), "maps has size 2 along frame, expected 1 or 3"),
        (lambda k, m, s: (k, m, s[..., :4]), "maps has size 4 along x, expected 8"),
        (lambda k, m, s: (k, m, s.expand(2, -1, -1, -1, -1)), "maps has size 2 along batch, expected 1 "),
        (lambda k, m, s: (k, torch.zeros_like(m), s), r"mask \(1, 3, 1, 10, 1\) marks 0 samples, expected at least 1"),
        (lambda k, m, s: (k.index_fill(-1, torch.tensor([0]), torch.nan), m, s), "kspace holds 60 values that are not"),
        (lambda k, m, s: (k, m, s * torch.inf), "maps holds 160 values that are not finite, expected none"),
    ],
)
def test_wrong_inputs_are_named(scan, change, message):
    with pytest.raises(MethodError, match=message):
        check_inputs(*change(*scan()))
