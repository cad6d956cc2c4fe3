"""Where the tests of the GPU run: on one, or for a rehearsal of `make gpu` on the CPU."""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> str:
    """Device under test, as torch names it; on a CPU the tests only show that they run."""
    if torch.cuda.is_available():
        return "cuda"
    if os.environ.get("ONEBREATH_REHEARSE"):
        return "cpu"
    pytest.skip("needs a CUDA device; with ONEBREATH_REHEARSE=1 these tests run on the CPU, to see that they work")
