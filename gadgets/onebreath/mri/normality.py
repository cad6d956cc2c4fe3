"""Lilliefors test for normally distributed noise, pixel by pixel.

With mean and standard deviation estimated from the samples, the Kolmogorov-Smirnov test needs smaller critical values:
those of H. W. Lilliefors, J Am Stat Assoc 62:399 (1967), here in the form of M. A. Stephens, J Am Stat Assoc 69:730
(1974), table 1A, case 3.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

LIMIT = 0.895
"""Critical value: normal noise stays below it in 95 % of all pixels."""
LEAST_SAMPLES = 5
"""Fewest samples that the test accepts."""


def lilliefors(samples: np.ndarray) -> np.ndarray:
    """Test statistic of samples against a normal distribution.

    Parameters
    ----------
    samples : (sample, ...) real
        At least 5 independent samples of each pixel.

    Returns
    -------
    (...) real
        D (sqrt(n) - 0.01 + 0.85 / sqrt(n)) with D the largest difference of the distribution functions; compare with
        `LIMIT`.

    Raises
    ------
    ValueError
        If there are fewer than 5 samples.
    """
    count = samples.shape[0]
    if count < LEAST_SAMPLES:
        raise ValueError(f"the test needs at least {LEAST_SAMPLES} samples, not {count}")
    spread = samples.std(axis=0, ddof=1)
    scores = (np.sort(samples, axis=0) - samples.mean(axis=0)) / np.where(spread > 0, spread, 1)
    expected = ndtr(scores)
    step = np.arange(1, count + 1).reshape(-1, *[1] * (samples.ndim - 1)) / count
    distance = np.maximum(step - expected, expected - step + 1 / count).max(axis=0)
    found: np.ndarray = distance * (math.sqrt(count) - 0.01 + 0.85 / math.sqrt(count))
    return found
