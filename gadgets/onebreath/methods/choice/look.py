"""First look at a candidate: one draw of noise instead of two, beside a reference that has both.

Where a fast method is as good as it gets, testing a slow one in full would take more time than is saved. One draw tells
less than two, but enough to see that a candidate brings nothing, neither alone nor in a mean with the reference. With
the reference's predictions a1 and a2 (noise n1 and n2 added, `MORE` times that of the data), the candidate's b of the
first draw and the measurement y, as in `edge`:

- *Product of both errors*: Re<a2 - y, b - y>, in which the added noise is independent, less the noise of y.
- *Noise that both pass on*: <b - a1, a1 - a2> / MORE^2 + <a1, a1 - a2> / MORE^2. The second part is known of the
  reference; the first is small if both are alike.
- *Divergence*, for lines that are seen: <b - a1, n1> / MORE + that of the reference.
- *Noise that the candidate passes on*: at least the square of what it shares with the reference over that of the
  reference; it is taken to be that much.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from onebreath.methods.base import Method
from onebreath.methods.choice.edge import DRAWS, MORE, EdgeTrial, dot
from onebreath.methods.choice.stacked import stacking_weights
from onebreath.methods.choice.trial import Tested

_PAIR = 2
Products = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Of two candidates' errors, and of the noise in their predictions, at each line."""


class FirstLook:
    """Sees whether a candidate is worth a second draw; waits for the reference, which is tested at the same time.

    Parameters
    ----------
    trial
        The test.
    reference
        The reference's result, once it is there; a text if it could not be tested: everything is worth a second draw.
    """

    def __init__(self, trial: EdgeTrial, reference: Future[Tested | str]) -> None:
        self.trial, self._reference = trial, reference

    def run(self, method: Method) -> Tested | str:
        """Test a method: in full, or on one draw if it is behind."""
        return self.trial.run(method, self._behind)

    def _behind(self, first: np.ndarray, energy: float) -> Tested | None:
        """Return what one draw (slice, frame, coil, y, x) tells if a second one would bring nothing."""
        reference = self._reference.result()
        if isinstance(reference, str):
            return None
        shared, own = self._products(first, reference)
        pairs: list[list[Products]] = [[(reference.by_line[0], reference.by_line[1]), shared], [shared, own]]
        errors = np.array([[self.trial.whole(*pair) for pair in row] for row in pairs])
        weights = stacking_weights(errors)
        mean = self._judged(_mean_of(pairs, weights), reference.energy)
        if reference.total - mean.total > self.trial.standard_error(mean, reference):
            return None
        return self._judged(own, energy)

    def _judged(self, products: Products, energy: float) -> Tested:
        error, passed = products
        total = self.trial.whole(error, passed)
        return Tested(np.where(self.trial.held, error - passed, 0), total, energy, np.zeros(0), products, False)

    def _products(self, first: np.ndarray, reference: Tested) -> tuple[Products, Products]:
        """Products of the candidate with the reference, and with itself."""
        errors, noises, own_errors = [], [], []
        for number, part in enumerate(self.trial.parts):
            b, (a1, a2), (n1, n2) = first[number], reference.rest[DRAWS * number : DRAWS * (number + 1)], part.added
            apart = a1 - a2
            alone = dot(apart, n1 - n2) / (2 * MORE)
            divergence = dot(b - a1, n1) / MORE + alone
            seen = ~part.lines.held
            errors.append(dot(a2, b) - part.noise + np.where(seen, alone + divergence, 0))
            noises.append(dot(b - a1, apart) / MORE**2 + dot(apart, apart) / (2 * MORE**2))
            own_errors.append(dot(b, b) - part.noise + np.where(seen, 2 * divergence, 0))
        shared = np.concatenate(noises)
        own = self._own(shared, reference.by_line[1])
        return (np.concatenate(errors), shared), (np.concatenate(own_errors) - MORE**2 * own, own)

    def _own(self, shared: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
        """Noise in the candidate's prediction of each line, from that which it shares with the reference's."""
        found = np.zeros_like(shared)
        for these in self.trial.kinds:
            whole = float(reference[these].sum())
            if whole > 0:
                found[these] = reference[these] * (float(shared[these].sum()) / whole) ** 2
        return found


def _mean_of(pairs: Sequence[Sequence[Products]], weights: NDArray[np.float64]) -> Products:
    """Products of a pair's weighted mean with itself."""
    error, passed = (
        sum(weights[i] * weights[j] * pairs[i][j][which] for i in range(_PAIR) for j in range(_PAIR))
        for which in (0, 1)
    )
    return np.asarray(error), np.asarray(passed)
