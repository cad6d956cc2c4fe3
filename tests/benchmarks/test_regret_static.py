"""Tables of the choice for static scans and of the error map, from results that are known."""

import numpy as np
import pytest

from benchmarks import error_map, regret_static
from benchmarks.static_scans import Source, scanned


def result(key, best, chosen, estimated=0.1, true=0.1):
    choice = {"psnr": chosen, "error": true, "estimated": estimated, "interval": [0.08, 0.13], "cost": 0.2}
    return {
        "key": key,
        "psnr": {"cg_sense": best - 1, "grappa": best},
        "choice": dict.fromkeys(regret_static.SLICES, choice),
    }


def test_the_regret_is_what_the_best_candidate_would_add():
    found = [
        result("simulator:0, none, SNR 8, R = 2", 30.0, 29.5),
        result("brain7ch:0, none, SNR 8, R = 4", 30.0, 31.0, true=0.2),
        result("brain7ch:0, noise x 2, SNR 20, R = 4", 30.0, 30.0),
    ]
    rows = {name: regret_static.row(name, these) for name, these in regret_static.groups(found) if these}
    assert list(rows) == ["all", "simulator", "brain7ch", "SNR 8", "R = 2", "R = 4", "noise x 2"]
    assert rows["all"][1] == 3
    assert rows["simulator"][2] == "0.50, 0.50"
    assert rows["SNR 8"][2] == "-0.25, 0.42"
    always = 2 + len(regret_static.SLICES)
    assert rows["all"][always : always + 2] == ("1.00, 1.00", "0.00, 0.00")
    assert rows["all"][-1] == "67% of 3"


def test_the_error_maps_table_has_a_row_for_each_kind_and_part():
    def one(key, share):
        return {"key": key, "all": share, "small": 0.8, "large": 1.0, "noise": 0.5, "lost": 0.25}

    rows = list(error_map.rows([one("static, simulator:0, SNR 8, R = 2", 0.9), one("static, x:1, SNR 8, R = 4", 0.8)]))
    assert [row[0] for row in rows] == ["static", "static, SNR 8", "static, R = 2", "static, R = 4"]
    assert rows[0][1:] == (2, "85%", "80% to 90%", "80%", "100%", "50%", "25%")


@pytest.mark.parametrize("more", [1.0, 2.0])
def test_the_noise_of_a_simulated_scan_is_what_it_is_said_to_be(more):
    one = scanned(Source("simulator", 0), 20.0, 2, 24, more)
    assert one.merged.kspace.shape == one.imaging.kspace.shape
    assert not (one.imaging.mask & ~one.merged.mask).any()
    rim = one.merged.kspace[0][:, :4, :4][:, one.merged.mask[0, :4, 0]]
    assert np.std([rim.real, rim.imag]) == pytest.approx(more, rel=0.15)
