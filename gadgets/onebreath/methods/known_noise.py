"""Noise level of a slice's samples, from whitening or measured."""

from __future__ import annotations

import logging

from onebreath.methods.base import Fact, SliceData

log = logging.getLogger("onebreath.noise")

WHITENING = "whitening"
"""The source of a noise level that is known."""
FAR_BELOW = 0.5
"""Whitened data whose weakest part has less noise than this are not in the units that whitening gives."""
FAR_ABOVE = 1.5
"""Nor are those with more, if it is noise as whitening leaves it: equally strong in all channels."""


def noise_level(data: SliceData) -> tuple[float, str]:
    """Return the noise standard deviation per real and imaginary part of a sample, and a text about its source.

    1 where the data are whitened. Otherwise, and where the weakest part of k-space contradicts that, the standard
    deviation measured there: the noise lines were then measured with another gain or bandwidth than the scan's.
    """
    measured = data.noise_floor.level
    if not data.whitened:
        return measured, "measured in the faintest part of k-space, as no noise scan was there"
    even = data.noise_floor.even or 1.0
    if 0 < measured < FAR_BELOW:
        measured = min(measured, even)
        log.debug("the data count as whitened, but their noise is %.3g, not 1; that is used", measured)
        return measured, "measured in the faintest part of k-space, as it is far below that of whitened data"
    if even > FAR_ABOVE:
        log.debug("the data count as whitened, but their noise is %.3g, not 1; that is used", even)
        return even, "measured in the faintest part of k-space, as it is far above that of whitened data"
    return 1.0, WHITENING


def contradicted(data: SliceData) -> dict[str, Fact]:
    """Return the fact that whitened data hold more or less noise than the noise scan says, by what factor; or none.

    `reconstruct` warns of it.
    """
    level = noise_level(data)[0] if data.whitened else 1.0
    if level > FAR_ABOVE:
        return {"noise_understated": round(level, 2)}
    return {"noise_overstated": round(1 / level, 2)} if level < FAR_BELOW else {}
