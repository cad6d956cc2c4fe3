"""Signal of the tissues of the chest, balanced SSFP and spoiled gradient echo."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Tissue(NamedTuple):
    """Relaxation times in ms and proton density relative to water."""

    t1: float
    t2: float
    density: float


# T1 and T2 of heart, blood, liver, muscle and marrow: G. J. Stanisz et al., Magn Reson Med 54:507 (2005), and
# C. M. J. de Bazelaire et al., Radiology 230:652 (2004). Lung: the density is that of inflated tissue.
TISSUES = {
    1.5: {
        "blood": Tissue(1440, 290, 0.95),
        "myocardium": Tissue(1030, 50, 0.80),
        "muscle": Tissue(1010, 44, 0.78),
        "fat": Tissue(340, 60, 0.90),
        "liver": Tissue(580, 46, 0.70),
        "spleen": Tissue(1060, 79, 0.78),
        "marrow": Tissue(550, 49, 0.55),
        "fluid": Tissue(2800, 1500, 1.0),
        "lung": Tissue(1200, 40, 0.12),
        "air": Tissue(1000, 50, 0.0),
    },
    3.0: {
        "blood": Tissue(1930, 275, 0.95),
        "myocardium": Tissue(1470, 47, 0.80),
        "muscle": Tissue(1410, 40, 0.78),
        "fat": Tissue(380, 58, 0.90),
        "liver": Tissue(810, 42, 0.70),
        "spleen": Tissue(1330, 61, 0.78),
        "marrow": Tissue(590, 49, 0.55),
        "fluid": Tissue(3500, 1500, 1.0),
        "lung": Tissue(1500, 35, 0.12),
        "air": Tissue(1000, 50, 0.0),
    },
}


def bssfp_signal(tissue: Tissue, tr_ms: float, te_ms: float, flip_deg: float) -> float:
    """Steady-state signal of balanced SSFP on resonance.

    K. Scheffler and S. Lehnhardt, Eur Radiol 13:2409 (2003), equation 1, times the decay until the echo.
    """
    e1, e2 = np.exp(-tr_ms / tissue.t1), np.exp(-tr_ms / tissue.t2)
    flip = np.radians(flip_deg)
    steady = np.sin(flip) * (1 - e1) / (1 - (e1 - e2) * np.cos(flip) - e1 * e2)
    return float(tissue.density * steady * np.exp(-te_ms / tissue.t2))


def spoiled_signal(tissue: Tissue, tr_ms: float, te_ms: float, flip_deg: float) -> float:
    """Steady-state signal of a spoiled gradient echo.

    R. R. Ernst and W. A. Anderson, Rev Sci Instrum 37:93 (1966), times the decay until the echo; of the field's
    inhomogeneity nothing is known here, so the decay is that of T2.
    """
    e1, flip = np.exp(-tr_ms / tissue.t1), np.radians(flip_deg)
    steady = np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip))
    return float(tissue.density * steady * np.exp(-te_ms / tissue.t2))
