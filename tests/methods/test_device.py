"""Where the arrays of a slice are moved to; with a GPU see tests/gpu."""

import sys
from types import ModuleType

import numpy as np

from onebreath.methods.device import as_numpy, back, place
from tests.methods.slices import lines, synthetic


def test_numpy_arrays_are_known_while_another_thread_imports_torch(monkeypatch):
    """Its module is there then, but not yet its classes."""

    class Samples(np.ndarray):
        """A class that was not asked for before, as the answer for a class is kept."""

    data = synthetic(lines(32, 2, 8), 32, 24).data
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    kspace = data.kspace.view(Samples)
    placed, where = place(data, "cpu")
    assert as_numpy(placed) is data and where == "numpy cpu"
    assert back(kspace, data.kspace) is not None
