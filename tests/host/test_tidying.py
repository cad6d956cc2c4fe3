"""Memory goes back to the system soon after a large scan, and a while after small ones."""

import threading

import pytest

from onebreath.worker import watching
from onebreath.worker.watching import Watcher


@pytest.mark.parametrize(("sizes", "soon"), [([True], True), ([False], False), ([False, True], True)])
def test_a_large_scan_is_tidied_up_after_soon_and_a_small_one_later(monkeypatch, sizes, soon):
    tidied = threading.Event()
    monkeypatch.setattr(watching, "_give_back", tidied.set)
    monkeypatch.setattr(watching, "FORGOTTEN", 0.0)
    watcher = Watcher()
    try:
        for large in sizes:
            watcher.tidy(large)
        assert tidied.wait(5 if soon else 0.6) is soon
    finally:
        watcher.close(5)


def test_many_small_scans_do_not_put_it_off(monkeypatch):
    tidied = threading.Event()
    monkeypatch.setattr(watching, "_give_back", tidied.set)
    monkeypatch.setattr(watching, "SELDOM", 0.3)
    watcher = Watcher()
    try:
        for _ in range(100):
            watcher.tidy(False)
            if tidied.wait(0.05):
                return
        pytest.fail("nothing was given back")
    finally:
        watcher.close(5)
