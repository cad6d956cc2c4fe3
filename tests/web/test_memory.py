"""Memory as the page shows it."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from onebreath.web import memory
from onebreath.web.memory import MemoryTrend, measured
from tests.web.served import served


def test_memory_is_that_of_the_system_and_of_this_process() -> None:
    found = measured()
    page = os.sysconf("SC_PAGE_SIZE")
    assert found.total == pytest.approx(os.sysconf("SC_PHYS_PAGES") * page, rel=0.05)
    assert 0 < found.available < found.total
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
    assert found.own == pytest.approx(resident, rel=0.1)


def test_a_gpu_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 1,
        mem_get_info=lambda number: (3 << 30, 8 << 30),
        memory_reserved=lambda number: 1 << 30,
    )
    with served(tmp_path) as page, monkeypatch.context() as patched:
        patched.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
        assert measured().gpus == ((0, 5 << 30, 8 << 30),)
        text = page.get("/").text
    assert "<h3>GPU 0</h3>" in text
    assert "<b>5.0 GiB</b> of 8.0 GiB" in text


def test_the_last_hour_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    trend = MemoryTrend()
    for number in range(memory.SAMPLES + 5):
        monkeypatch.setattr(memory, "measured", lambda number=number: number)
        trend.look()
    assert list(trend.samples) == list(range(5, memory.SAMPLES + 5))


def test_where_the_system_says_nothing_there_are_zeros(tmp_path: Path) -> None:
    assert memory._table(tmp_path / "none") == {}
