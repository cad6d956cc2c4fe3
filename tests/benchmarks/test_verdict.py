"""The verdict: L+S is tuned for each point and measure, and the lead is what the numbers say."""

from benchmarks import verdict
from benchmarks.learned_cine import ACCELERATIONS, SNR


def results(lead):
    """Two slices of every point: one pair of thresholds is best in the image, another where it moves."""
    found = {}
    for snr in SNR:
        for acceleration in ACCELERATIONS:
            for number in range(2):
                qualities = {
                    "low_rank_sparse": {"psnr": 40.0, "dynamic": 40.0},  # with wavelets: one of the default's own
                    "balanced": {"psnr": 30.0 + number, "dynamic": 25.0},
                    "0.5, 0.5": {"psnr": 31.0 + number, "dynamic": 24.0},
                    "default": {"psnr": 31.0 + number + lead + 0.1 * number, "dynamic": 26.0},
                }
                found[f"patient {number}, none, SNR {snr:g}, cmrxrecon R={acceleration} 24 ACS"] = qualities
    return found


def test_the_lead_is_over_the_best_thresholds_of_each_measure():
    made = list(verdict.rows(results(1.0)))
    assert [row[:2] for row in made] == [(snr, acceleration) for snr in SNR for acceleration in ACCELERATIONS]
    _, _, image, moving, lead, lead_moving = made[0]
    assert image == "31.5, 32.5" and moving == "25.0, 26.0"
    assert lead.startswith("+1.05 (+1.00 to +1.10), p = ") and lead_moving.startswith("+1.00 (+1.00 to +1.00)")


def test_a_default_that_is_behind_has_a_negative_lead():
    assert next(verdict.rows(results(-0.5)))[4].startswith("-0.45 (-0.50 to -0.40)")
